//! Every feature of bars against its definition, computed from all bars anew each time.

use tidegate_market::bars::schema::{self as f, BAR_FEATURE_COUNT, BAR_FEATURES};
use tidegate_market::bars::{BarFeatures, BarMarkets, BarVector, Finished, MINUTE_NS, MinuteBar, Origin};
use tidegate_wire::event::{Bar as VenueBar, Mark, Trade};
use tidegate_wire::instrument::Contract;
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, Registry, Scale, Venue};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn bar(minute: i64, [open, high, low, close]: [f64; 4], volume: Option<f64>, bought: Option<f64>) -> MinuteBar {
    let (start_ns, end_ns) = (minute * MINUTE_NS, (minute + 1) * MINUTE_NS);
    MinuteBar { start_ns, end_ns, open, high, low, close, volume, bought, value: None, trades: None }
}

/// The last `count` of a slice.
fn last<T>(all: &[T], count: usize) -> Option<&[T]> {
    all.len().checked_sub(count).map(|from| &all[from..])
}

/// An exponential mean of span n over everything.
fn ema(values: &[f64], span: f64) -> Vec<f64> {
    let weight = 2.0 / (span + 1.0);
    let mut means: Vec<f64> = Vec::new();
    for value in values {
        means.push(means.last().map_or(*value, |mean| (1.0 - weight) * mean + weight * value));
    }
    means
}

fn wilder(values: &[f64]) -> Option<f64> {
    let (first, rest) = values.split_at_checked(14)?;
    Some(rest.iter().fold(first.iter().sum::<f64>() / 14.0, |mean, value| (mean * 13.0 + value) / 14.0))
}

/// All features by their definitions. `bars` have no holes.
fn reference(bars: &[MinuteBar], funding: Option<f64>, dvol: Option<f64>) -> [Option<f64>; BAR_FEATURE_COUNT] {
    let mut found = [None; BAR_FEATURE_COUNT];
    let closes: Vec<f64> = bars.iter().map(|b| b.close).collect();
    let returns: Vec<f64> = closes.windows(2).map(|pair| (pair[1] / pair[0]).ln()).collect();
    let now = bars[bars.len() - 1];
    for (index, n) in [(f::RETURN_1, 1), (f::RETURN_5, 5), (f::RETURN_15, 15), (f::RETURN_60, 60), (f::RETURN_240, 240)]
    {
        found[index] = last(&closes, n + 1).map(|window| (now.close / window[0]).ln());
    }
    for (index, n) in [(f::REALISED_VOL_15, 15), (f::REALISED_VOL_60, 60), (f::REALISED_VOL_240, 240)] {
        let squares = last(&returns, n).map(|window| window.iter().map(|r| r * r).sum::<f64>());
        found[index] = squares.map(|sum| (sum / n as f64 * 525_600.0).sqrt());
    }
    let parkinson = |window: &[MinuteBar]| window.iter().map(|b| (b.high / b.low).ln().powi(2)).sum::<f64>();
    let mean = last(bars, 60).map(|window| parkinson(window) / 60.0 / (4.0 * 2f64.ln()));
    found[f::PARKINSON_VOL_60] = mean.map(|variance| (variance * 525_600.0).sqrt());
    for (index, n) in [(f::RANGE_15, 15), (f::RANGE_60, 60)] {
        found[index] = last(bars, n).map(|window| {
            let high = window.iter().map(|b| b.high).fold(f64::MIN, f64::max);
            high / window.iter().map(|b| b.low).fold(f64::MAX, f64::min) - 1.0
        });
    }
    let sum = |n: usize, get: fn(&MinuteBar) -> Option<f64>| last(bars, n)?.iter().map(get).sum::<Option<f64>>();
    let (volume, bought) = (|n| sum(n, |b| b.volume), |n| sum(n, |b| b.bought));
    found[f::VOLUME_RATIO_5_60] =
        volume(5).zip(volume(60)).filter(|(_, long)| *long > 0.0).map(|(short, long)| 12.0 * short / long);
    for (index, n) in [(f::TAKER_BUY_SHARE_1, 1), (f::TAKER_BUY_SHARE_15, 15), (f::TAKER_BUY_SHARE_60, 60)] {
        found[index] = bought(n).zip(volume(n)).filter(|(_, all)| *all > 0.0).map(|(part, all)| part / all);
    }
    indicators(bars, &closes, &mut found);
    let seconds = now.end_ns / 1_000_000_000;
    let day = std::f64::consts::TAU * (seconds % 86_400) as f64 / 86_400.0;
    // 1970-01-05 was a Monday.
    let week = std::f64::consts::TAU * ((seconds - 4 * 86_400) % 604_800) as f64 / 604_800.0;
    (found[f::MINUTE_OF_DAY_SIN], found[f::MINUTE_OF_DAY_COS]) = (Some(day.sin()), Some(day.cos()));
    (found[f::MINUTE_OF_WEEK_SIN], found[f::MINUTE_OF_WEEK_COS]) = (Some(week.sin()), Some(week.cos()));
    (found[f::FUNDING_RATE], found[f::DVOL]) = (funding, dvol.map(|points| points / 100.0));
    found
}

fn indicators(bars: &[MinuteBar], closes: &[f64], found: &mut [Option<f64>; BAR_FEATURE_COUNT]) {
    let now = bars[bars.len() - 1];
    let moves: Vec<f64> = closes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let gains = wilder(&moves.iter().map(|m| m.max(0.0)).collect::<Vec<_>>());
    let losses = wilder(&moves.iter().map(|m| (-m).max(0.0)).collect::<Vec<_>>());
    found[f::RSI_14] = gains.zip(losses).map(|(gain, loss)| 100.0 - 100.0 / (1.0 + gain / loss));
    let macd: Vec<f64> = ema(closes, 12.0).iter().zip(ema(closes, 26.0)).map(|(fast, slow)| fast - slow).collect();
    let histogram = macd[macd.len() - 1] - ema(&macd, 9.0)[macd.len() - 1];
    found[f::MACD_HISTOGRAM] = (bars.len() >= 35).then_some(histogram / now.close);
    found[f::BOLLINGER_POSITION_20] = last(closes, 20).map(|window| {
        let mean = window.iter().sum::<f64>() / 20.0;
        let deviation = (window.iter().map(|close| close * close).sum::<f64>() / 20.0 - mean * mean).sqrt();
        (now.close - mean) / (2.0 * deviation)
    });
    for (index, n) in [(f::EMA_DISTANCE_20, 20), (f::EMA_DISTANCE_50, 50), (f::EMA_DISTANCE_200, 200)] {
        let mean = ema(closes, n as f64)[closes.len() - 1];
        found[index] = (bars.len() >= n).then_some(now.close / mean - 1.0);
    }
    let range = |pair: &[MinuteBar]| {
        let (before, now) = (pair[0].close, pair[1]);
        now.high.max(before) - now.low.min(before)
    };
    found[f::ATR_14] = wilder(&bars.windows(2).map(range).collect::<Vec<_>>()).map(|range| range / now.close);
    found[f::CLOSE_LOCATION] = (now.high > now.low).then(|| (now.close - now.low) / (now.high - now.low));
}

fn assert_close(vector: &BarVector, expected: &[Option<f64>; BAR_FEATURE_COUNT], at: usize) {
    for (index, feature) in BAR_FEATURES.iter().enumerate() {
        match (vector.get(index), expected[index]) {
            (None, None) => {}
            (Some(got), Some(wanted)) => {
                let close = (got - wanted).abs() <= 1e-7 * wanted.abs().max(1e-4);
                assert!(close, "bar {at}, {}: {got} instead of {wanted}", feature.name);
            }
            (got, wanted) => panic!("bar {at}, {}: {got:?} instead of {wanted:?}", feature.name),
        }
    }
}

/// Random bars; every hundredth minute or so nothing traded and there is no bar.
#[test]
fn every_feature_is_what_its_definition_says() {
    let mut random = Random(1);
    let (mut features, mut all) = (BarFeatures::default(), Vec::new());
    let (mut price, start) = (100.0, 28_000_000);
    for minute in start..start + 900 {
        let (funding, dvol) = ((minute >= start + 60).then_some(1e-4), (minute >= start + 30).then_some(55.5));
        if minute == start + 60 {
            features.funding(minute * MINUTE_NS, 1e-4);
        }
        if minute == start + 30 {
            features.dvol(minute * MINUTE_NS, 55.5);
        }
        if minute > start && random.unit() < 0.01 {
            let mut silent = bar(minute, [price; 4], Some(0.0), Some(0.0));
            let before: &MinuteBar = &all[all.len() - 1];
            (silent.volume, silent.bought) = (before.volume.map(|_| 0.0), before.bought.map(|_| 0.0));
            all.push(silent);
            continue;
        }
        let open = price * (1.0 + 0.001 * (random.unit() - 0.5));
        price = open * (1.0 + 0.002 * (random.unit() - 0.5));
        let (high, low) =
            (open.max(price) * (1.0 + 0.001 * random.unit()), open.min(price) * (1.0 - 0.001 * random.unit()));
        let volume = (minute % 211 != 0).then(|| 10.0 * random.unit());
        let bought = volume.filter(|_| minute % 97 != 0).map(|volume| volume * random.unit());
        let next = bar(minute, [open, high, low, price], volume, bought);
        all.push(next);
        assert_close(&features.bar(&next), &reference(&all, funding, dvol), all.len());
    }
    assert!(all.len() == 900);
}

#[test]
fn a_long_hole_begins_everything_anew_and_odd_bars_change_nothing() {
    let prices = [10.0, 11.0, 9.0, 10.0];
    let mut features = BarFeatures::default();
    for minute in 1_000..1_020 {
        features.bar(&bar(minute, prices, Some(1.0), Some(0.5)));
    }
    let mut next = features.clone();
    // Sixty missing minutes are bars without volume, sixty-one are a hole.
    assert_eq!(next.clone().bar(&bar(1_080, prices, Some(1.0), Some(0.5))).get(f::RETURN_60), Some(0.0));
    assert_eq!(next.bar(&bar(1_081, prices, Some(1.0), Some(0.5))).get(f::RETURN_1), None);
    let before = features.bar(&bar(1_020, prices, Some(1.0), None));
    assert_eq!((before.get(f::RETURN_15), before.get(f::TAKER_BUY_SHARE_1)), (Some(0.0), None));
    for odd in [
        bar(1_020, prices, None, None),
        bar(900, prices, None, None),
        MinuteBar { end_ns: 1_030 * MINUTE_NS, ..bar(1_021, prices, None, None) },
        MinuteBar { start_ns: 1_021 * MINUTE_NS + 1, ..bar(1_021, prices, None, None) },
        bar(1_021, [10.0, 9.0, 11.0, 10.0], None, None),
        bar(1_021, [0.0; 4], None, None),
    ] {
        assert_eq!(features.bar(&odd), BarVector::EMPTY, "{odd:?}");
    }
    let flat = features.bar(&bar(1_021, [10.0; 4], Some(0.0), Some(0.0)));
    let absent =
        [f::RSI_14, f::BOLLINGER_POSITION_20, f::CLOSE_LOCATION, f::TAKER_BUY_SHARE_1, f::DVOL, f::FUNDING_RATE];
    assert!(absent.iter().all(|index| flat.get(*index).is_none()), "{flat:?}");
}

#[test]
fn funding_and_index_grow_old() {
    let prices = [10.0, 11.0, 9.0, 10.0];
    let mut features = BarFeatures::default();
    features.funding(0, -2e-4);
    features.dvol(0, 80.0);
    let mut at = |minute: i64| {
        let vector = features.bar(&bar(minute - 1, prices, None, None));
        (vector.get(f::FUNDING_RATE), vector.get(f::DVOL))
    };
    assert_eq!(at(1_440), (Some(-2e-4), Some(0.8)));
    assert_eq!(at(1_441), (None, Some(0.8)));
    assert_eq!(at(4_320), (None, Some(0.8)));
    assert_eq!(at(4_321), (None, None));
    // What becomes known when a bar ends is not part of it, whichever came first; the value before is.
    features.funding(4_321 * MINUTE_NS, 1e-4);
    features.funding(4_322 * MINUTE_NS, 9e-4);
    let tied = |features: &mut BarFeatures, minute| features.bar(&bar(minute, prices, None, None)).get(f::FUNDING_RATE);
    assert_eq!((tied(&mut features, 4_321), tied(&mut features, 4_322)), (Some(1e-4), Some(9e-4)));
}

fn registry(symbols: &[(Venue, &str)]) -> Registry {
    let mut registry = Registry::new();
    for (venue, symbol) in symbols {
        let scale = Scale::saturating(2);
        let (tick, lot, contract) = (Price::from_raw(1), Qty::from_raw(1), Contract::Linear);
        let symbol = (*symbol).to_owned();
        let instrument =
            Instrument { venue: *venue, symbol, price_scale: scale, qty_scale: scale, tick, lot, contract };
        registry.add(instrument).expect("an instrument");
    }
    registry
}

#[test]
fn bars_come_from_the_best_there_is() {
    let registry = registry(&[(Venue::Coinbase, "BTCUSD")]);
    let (id, mut markets, mut told) = (InstrumentId(0), BarMarkets::new(&registry), Vec::<Finished>::new());
    let out = |told: &mut Vec<Finished>, finished: &Finished| told.push(*finished);
    for (now, mid) in [(5, 10.0), (30, 12.0), (59, 11.0)] {
        markets.advance(id, now * 1_000_000_000, &mut |_, finished| out(&mut told, finished));
        markets.mid(id, now * 1_000_000_000, mid);
    }
    assert!(told.is_empty() && markets.wants_mids(id));
    markets.advance(id, MINUTE_NS, &mut |_, finished| out(&mut told, finished));
    let bar = told[0].bar;
    assert_eq!([bar.open, bar.high, bar.low, bar.close], [10.0, 12.0, 10.0, 11.0]);
    assert_eq!((told[0].origin, bar.start_ns, bar.end_ns, bar.volume), (Origin::Mids, 0, MINUTE_NS, None));
    // The first trade ends that; what had begun of mids is no bar of trades.
    markets.mid(id, MINUTE_NS + 1, 50.0);
    let trade = Trade { price: Price::from_raw(1_300), qty: Qty::from_raw(200), trade_id: 1, transact_ns: 0 };
    markets.trade(id, MINUTE_NS + 2, &trade, false);
    markets.mid(id, MINUTE_NS + 3, 99.0);
    markets.advance(id, 2 * MINUTE_NS, &mut |_, finished| out(&mut told, finished));
    let bar = told[1].bar;
    assert_eq!((told[1].origin, bar.high, bar.bought, bar.trades), (Origin::Trades, 13.0, Some(2.0), Some(1)));
    assert_eq!(told[1].features.get(f::RETURN_1), None, "another kind of price");
    // And the venue's own end both.
    let price = Price::from_raw(1_400);
    let (open, high, low, close) = (price, price, price, price);
    let (start_ns, end_ns, volume) = (2 * MINUTE_NS, 3 * MINUTE_NS, Qty::from_raw(100));
    let (bought, trades) = (VenueBar::NOT_TOLD, VenueBar::NOT_COUNTED);
    let own = VenueBar { start_ns, end_ns, open, high, low, close, volume, bought, trades };
    markets.bar(id, &own, &mut |_, finished| out(&mut told, finished));
    markets.trade(id, 3 * MINUTE_NS, &trade, false);
    markets.advance(id, 9 * MINUTE_NS, &mut |_, finished| out(&mut told, finished));
    assert_eq!((told.len(), told[2].origin, told[2].bar.bought, told[2].bar.trades), (3, Origin::Venue, None, None));
    assert_eq!((told[2].bar.close, told[2].bar.volume), (14.0, Some(1.0)));
}

#[test]
fn an_index_reaches_those_that_look_at_it_and_no_bar_that_ended_before() {
    let registry = registry(&[
        (Venue::BinanceUsdm, "ALGOUSDT"),
        (Venue::Bitmex, "XBTUSD"),
        (Venue::BinanceUsdm, "ETHUSDT"),
        (Venue::Deribit, "BTCDVOL"),
        (Venue::Deribit, "ETHDVOL"),
    ]);
    let (mut markets, mut told) = (BarMarkets::new(&registry), Vec::new());
    let mut out = |id: InstrumentId, finished: &Finished| told.push((id.0, finished.features.get(f::DVOL)));
    let trade = Trade { price: Price::from_raw(100), qty: Qty::from_raw(1), trade_id: 1, transact_ns: 0 };
    (0..3).for_each(|id| markets.trade(InstrumentId(id), 1, &trade, false));
    let index = |points: i64| Mark { index: points * 100_000_000, ..Mark::default() };
    markets.mark(InstrumentId(4), MINUTE_NS - 1, &index(70), &mut out);
    // Bitcoin's comes when the minute is over.
    markets.mark(InstrumentId(3), MINUTE_NS, &index(50), &mut out);
    (0..3).for_each(|id| markets.trade(InstrumentId(id), MINUTE_NS + 1, &trade, false));
    markets.advance(InstrumentId(2), MINUTE_NS + 1, &mut out);
    (0..3).for_each(|id| markets.advance(InstrumentId(id), 2 * MINUTE_NS, &mut out));
    assert_eq!(told, [(0, None), (1, None), (2, Some(0.7)), (0, Some(0.5)), (1, Some(0.5))]);
}
