//! The ladder against the obvious book: two `BTreeMap`s.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidegate_market::book::{Book, TOP};
use tidegate_wire::event::{Depth, DepthIds};
use tidegate_wire::{Instrument, Level, Price, Qty, Venue};

fn instrument(tick: i64) -> Instrument {
    Instrument { tick: Price::from_raw(tick), ..Instrument::linear(Venue::BinanceUsdm, "BTCUSDT", 1, 3) }
}

#[derive(Default)]
struct Model {
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
}

impl Model {
    fn apply(&mut self, bids: &[Level], asks: &[Level]) {
        for (side, levels) in [(&mut self.bids, bids), (&mut self.asks, asks)] {
            for level in levels {
                if level.qty.raw() == 0 {
                    side.remove(&level.price.raw());
                } else {
                    side.insert(level.price.raw(), level.qty.raw());
                }
            }
        }
    }

    fn bids(&self) -> Vec<(i64, i64)> {
        self.bids.iter().rev().map(|(p, q)| (*p, *q)).collect()
    }

    fn asks(&self) -> Vec<(i64, i64)> {
        self.asks.iter().map(|(p, q)| (*p, *q)).collect()
    }
}

fn pairs(levels: impl Iterator<Item = Level>) -> Vec<(i64, i64)> {
    levels.map(|level| (level.price.raw(), level.qty.raw())).collect()
}

fn check(book: &Book, model: &Model) {
    let (bids, asks) = (model.bids(), model.asks());
    assert_eq!(pairs(book.iter_bids()), bids);
    assert_eq!(pairs(book.iter_asks()), asks);
    assert_eq!(pairs(book.best_bid().into_iter()), bids[..bids.len().min(1)]);
    assert_eq!(pairs(book.best_ask().into_iter()), asks[..asks.len().min(1)]);
    let top = |keys: &[i64], qtys: &[i64], sign: i64| -> Vec<(i64, i64)> {
        keys.iter().zip(qtys).map(|(k, q)| (sign * k * book.tick(), *q)).collect()
    };
    let (b, a) = (book.top_bids(), book.top_asks());
    assert_eq!(top(&b.keys[..b.len], &b.qtys[..b.len], -1), bids[..bids.len().min(TOP)]);
    assert_eq!(top(&a.keys[..a.len], &a.qtys[..a.len], 1), asks[..asks.len().min(TOP)]);
    assert_eq!((book.bids().len(), book.asks().len()), (bids.len(), asks.len()));
}

/// Prices and quantities of one side.
type Side = Vec<(i64, i64)>;

/// Frames whose prices wander through windows, jump out of them and come back; a third of the quantities delete.
fn frames() -> impl Strategy<Value = Vec<(Side, Side)>> {
    let level = (prop_oneof![8 => -300i64..300, 2 => -9_000i64..9_000, 1 => -60_000i64..60_000], 0i64..3);
    let frame = (-4_000i64..4_000, prop::collection::vec(level.clone(), 0..30), prop::collection::vec(level, 0..30));
    prop::collection::vec(frame, 1..40).prop_map(|frames| {
        let mut centre = 100_000;
        let mut out = Vec::new();
        for (drift, bids, asks) in frames {
            centre = (centre + drift).max(70_000);
            let side = |levels: Vec<(i64, i64)>| levels.into_iter().map(|(p, q)| (centre + p, q)).collect();
            out.push((side(bids), side(asks)));
        }
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 300 }))]

    #[test]
    fn every_operation_agrees_with_the_model(frames in frames(), tick in 1i64..6, window in 0usize..40_000) {
        let mut book = Book::with_window(&instrument(tick), window);
        let mut model = Model::default();
        for (bids, asks) in &frames {
            let levels = |side: &[(i64, i64)]| -> Vec<Level> {
                side.iter().map(|(p, q)| Level { price: Price::from_raw(p * tick), qty: Qty::from_raw(*q) }).collect()
            };
            let (bids, asks) = (levels(bids), levels(asks));
            let depth = Depth { ids: DepthIds::default(), bids: &bids, asks: &asks };
            prop_assert!(book.apply(&depth).is_ok());
            model.apply(&bids, &asks);
            check(&book, &model);
        }
        book.clear();
        check(&book, &Model::default());
    }

    #[test]
    fn band_sums_agree_with_the_model(frames in frames(), width in 0i64..20_000) {
        let mut book = Book::with_window(&instrument(1), 8192);
        let mut model = Model::default();
        for (bids, asks) in &frames {
            let levels = |side: &[(i64, i64)]| -> Vec<Level> {
                side.iter().map(|(p, q)| Level { price: Price::from_raw(*p), qty: Qty::from_raw(*q) }).collect()
            };
            let (bids, asks) = (levels(bids), levels(asks));
            let depth = Depth { ids: DepthIds::default(), bids: &bids, asks: &asks };
            prop_assert!(book.apply(&depth).is_ok());
            model.apply(&bids, &asks);
            let ask = model.asks.first_key_value().map_or(0, |(p, _)| *p);
            let expected: i64 = model.asks.range(..=ask + width).map(|(_, q)| q).sum();
            prop_assert_eq!(book.ask_depth(Price::from_raw(ask + width)).raw(), expected);
            let bid = model.bids.last_key_value().map_or(0, |(p, _)| *p);
            let expected: i64 = model.bids.range(bid - width..).map(|(_, q)| q).sum();
            prop_assert_eq!(book.bid_depth(Price::from_raw(bid - width)).raw(), expected);
        }
    }
}

#[test]
fn a_price_off_the_grid_is_an_error_and_absent_deletes_are_nothing() {
    let mut book = Book::with_window(&instrument(5), 4096);
    let level = |price, qty| Level { price: Price::from_raw(price), qty: Qty::from_raw(qty) };
    let apply = |book: &mut Book, bids: &[Level]| book.apply(&Depth { ids: DepthIds::default(), bids, asks: &[] });
    assert!(apply(&mut book, &[level(1000, 0)]).is_ok());
    assert!(book.bids().is_empty());
    assert!(apply(&mut book, &[level(1000, 7), level(995, 0), level(9_000_000, 0)]).is_ok());
    assert!(apply(&mut book, &[level(1001, 7)]).is_err());
    assert_eq!(book.best_bid(), Some(level(1000, 7)));
}

#[test]
fn crossing_is_seen() {
    let mut book = Book::with_window(&instrument(1), 4096);
    let level = |price, qty| Level { price: Price::from_raw(price), qty: Qty::from_raw(qty) };
    let mut apply = |bids: &[Level], asks: &[Level]| {
        book.apply(&Depth { ids: DepthIds::default(), bids, asks }).expect("on the grid");
        book.is_crossed()
    };
    assert!(!apply(&[], &[]));
    assert!(!apply(&[level(100, 1)], &[level(101, 1)]));
    assert!(apply(&[level(101, 1)], &[]));
    assert!(!apply(&[level(101, 0)], &[]));
}
