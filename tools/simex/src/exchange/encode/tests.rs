//! Every push has the keys of the recorded or documented frames, and values of the same type.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::push;
use crate::exchange::clock::Clock;
use crate::exchange::config::ExchangeConfig;
use crate::exchange::market::{Change, Channel, Core, Instrument, Print, Push, TopicSpec};
use crate::exchange::venue::{Category, Venue};
use crate::market::book::{Level, Side};

/// Recorded frames; `None` after saying loudly that a test is skipped. In CI they must be there.
fn frames() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var_os("TIDEGATE_VENUES").map_or_else(|| workspace.join("../shared/venues"), PathBuf::from);
    if folder.join("frames/MANIFEST.md").exists() {
        return Some(folder.join("frames"));
    }
    let missing = format!("TIDEGATE_VENUES: {} is not there", folder.display());
    assert!(std::env::var_os("CI").is_none(), "{missing}");
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("SKIPPED: {missing}\n"));
    None
}

/// One line of a fixture.
fn line(folder: &Path, name: &str, index: usize) -> Value {
    let text = std::fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
    serde_json::from_str(text.lines().nth(index).unwrap()).unwrap()
}

/// Every key of `theirs` is in `ours` with the same type; arrays are compared by their first items.
fn covers(ours: &Value, theirs: &Value, place: &str, except: &[&str]) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (key, value) in theirs.iter().filter(|(key, _)| !except.contains(&key.as_str())) {
                let found = ours.get(key).unwrap_or_else(|| panic!("{place}.{key} is missing in {ours:?}"));
                covers(found, value, &format!("{place}.{key}"), except);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            if let (Some(ours), Some(theirs)) = (ours.first(), theirs.first()) {
                covers(ours, theirs, &format!("{place}[]"), except);
            }
        }
        (_, Value::Null) => {}
        (ours, theirs) => {
            let same = std::mem::discriminant(ours) == std::mem::discriminant(theirs);
            assert!(same, "{place} is {ours} and should be like {theirs}");
        }
    }
}

struct Rig {
    core: Core,
    clock: Arc<Clock>,
}

impl Rig {
    fn new() -> Self {
        let clock = Arc::new(Clock::new(0, 1.0));
        Self { core: Core::new(&ExchangeConfig::default(), Arc::clone(&clock)).unwrap(), clock }
    }

    fn instrument(&self, venue: Venue, symbol: &str, category: Category) -> &Instrument {
        &self.core.instruments[self.core.find(venue, symbol, Some(category)).unwrap()]
    }

    fn encode(&self, instrument: &Instrument, name: &str, channel: Channel, mut what: Push<'_>) -> Value {
        let spec = TopicSpec { name: name.to_owned(), channel, interval_ms: 0, bare: false };
        serde_json::from_slice(&push(instrument, &spec, &mut what, &self.clock)).unwrap()
    }

    /// The five kinds of pushes of a book and its trades.
    fn book(&self, instrument: &Instrument, name: &str, channel: Channel, kind: &str) -> Value {
        let [bids, asks] = Side::BOTH.map(|side| instrument.best(side, 5));
        let changes = |levels: &[Level]| levels.iter().map(|level| Change { level: *level, before: 1 }).collect();
        let (bid_changes, ask_changes): (Vec<Change>, Vec<Change>) = (changes(&bids), changes(&asks));
        let print = Print { id: 9, first_id: 7, tick: bids[0].tick, lots: 5, taker: Side::Sell, ms: 3, seq: 4 };
        let what = match kind {
            "snapshot" => Push::Snapshot { id: 5, bids: &bids, asks: &asks },
            "delta" => Push::Delta { first: 3, id: 5, previous: 2, bids: &bid_changes, asks: &ask_changes },
            "top" => Push::Top { id: 5, bids: &bids, asks: &asks },
            "quote" => Push::Quote { id: 5, bid: bids[0], ask: asks[0] },
            "trade" => Push::Trades { prints: &[print], first: true },
            _ => Push::Aggregate { id: 5, print },
        };
        self.encode(instrument, name, channel, what)
    }
}

#[test]
fn binance() {
    let Some(folder) = frames() else { return };
    let rig = Rig::new();
    for (venue, symbol, category, prefix) in [
        (Venue::BinanceSpot, "BTCUSDT", Category::Spot, "binance_spot"),
        (Venue::BinanceUsdm, "BTCUSDT", Category::Linear, "binance_usdm"),
        (Venue::BinanceCoinm, "BTCUSD_PERP", Category::Inverse, "binance_usdm"),
    ] {
        let instrument = rig.instrument(venue, symbol, category);
        let check = |kind: &str, fixture: &str| {
            let ours = rig.book(instrument, "x@depth", Channel::Diff, kind);
            covers(&ours, &line(&folder, &format!("{prefix}_{fixture}"), 0), fixture, &[]);
        };
        check("delta", "depth");
        check("quote", "bookTicker");
        check("aggregate", "aggTrade");
        if category == Category::Spot {
            check("trade", "trade");
            check("top", "partial_depth");
        } else {
            let ours = rig.encode(instrument, "x@markPrice", Channel::Mark, Push::Value);
            covers(&ours, &line(&folder, "binance_usdm_markPrice", 0), "markPrice", &[]);
        }
    }
}

#[test]
fn okx() {
    let Some(folder) = frames() else { return };
    let rig = Rig::new();
    let instrument = rig.instrument(Venue::Okx, "BTC-USDT-SWAP", Category::Linear);
    let book = |channel, kind: &str, fixture: &str, index| {
        let ours = rig.book(instrument, "books", channel, kind);
        covers(&ours, &line(&folder, fixture, index), fixture, &[]);
    };
    book(Channel::Window(400), "snapshot", "okx_books", 0);
    book(Channel::Window(400), "delta", "okx_books", 1);
    book(Channel::Top(1), "top", "okx_bbo-tbt", 0);
    book(Channel::Trade, "trade", "okx_trades", 0);
    let ours = rig.encode(instrument, "funding-rate", Channel::Funding, Push::Value);
    covers(&ours, &line(&folder, "okx_funding-rate_full", 0), "funding-rate", &[]);
    let mut known = Vec::new();
    let ours = rig.encode(instrument, "tickers", Channel::Ticker, Push::Ticker { known: &mut known, first: true });
    covers(&ours, &line(&folder, "okx_tickers", 0), "tickers", &[]);
}

#[test]
fn bybit() {
    let Some(folder) = frames() else { return };
    let rig = Rig::new();
    for category in [Category::Linear, Category::Spot] {
        let instrument = rig.instrument(Venue::Bybit, "BTCUSDT", category);
        let book = |kind: &str, fixture: &str, index| {
            let ours = rig.book(instrument, "orderbook.50.BTCUSDT", Channel::Window(50), kind);
            covers(&ours, &line(&folder, fixture, index), fixture, &[]);
        };
        book("snapshot", "bybit_orderbook", 0);
        book("delta", "bybit_orderbook", 1);
        book("trade", "bybit_publicTrade", 0);
        let mut known = Vec::new();
        let what = Push::Ticker { known: &mut known, first: true };
        let ours = rig.encode(instrument, "tickers.BTCUSDT", Channel::Ticker, what);
        let index = if category == Category::Linear { 0 } else { 3 };
        covers(&ours, &line(&folder, "bybit_tickers", index), "tickers", &[]);
        if category == Category::Linear {
            known.retain(|(key, _)| *key != "markPrice");
            let what = Push::Ticker { known: &mut known, first: false };
            let delta = rig.encode(instrument, "tickers.BTCUSDT", Channel::Ticker, what);
            let keys: Vec<_> = delta["data"].as_object().unwrap().keys().collect();
            assert_eq!(delta["type"], "delta");
            assert_eq!(keys, ["markPrice", "symbol"]);
        }
    }
}

#[test]
fn bitget() {
    let Some(folder) = frames() else { return };
    let rig = Rig::new();
    let instrument = rig.instrument(Venue::Bitget, "BTCUSDT", Category::Linear);
    let book = |kind: &str, fixture: &str, index| {
        let ours = rig.book(instrument, "books", Channel::Diff, kind);
        covers(&ours, &line(&folder, fixture, index), fixture, &[]);
        ours
    };
    book("snapshot", "bitget_books", 2);
    let delta = book("delta", "bitget_books", 2);
    assert_eq!((&delta["data"][0]["seq"], &delta["data"][0]["pseq"]), (&5.into(), &2.into()));
    book("trade", "bitget_trade", 2);
    for (category, fixture) in [(Category::Linear, "bitget_ticker"), (Category::Spot, "bitget_spot_ticker")] {
        let instrument = rig.instrument(Venue::Bitget, "BTCUSDT", category);
        let mut known = Vec::new();
        let ours = rig.encode(instrument, "ticker", Channel::Ticker, Push::Ticker { known: &mut known, first: true });
        covers(&ours, &line(&folder, fixture, 2), fixture, &[]);
    }
}

#[test]
fn deribit() {
    let Some(folder) = frames() else { return };
    let rig = Rig::new();
    let instrument = rig.instrument(Venue::Deribit, "BTC-PERPETUAL", Category::Inverse);
    let book = |kind: &str, fixture: &str, index, except: &[&str]| {
        let ours = rig.book(instrument, "book.BTC-PERPETUAL.100ms", Channel::Diff, kind);
        covers(&ours, &line(&folder, fixture, index), fixture, except);
    };
    // A snapshot's previous id is missing or null.
    book("snapshot", "deribit_book", 0, &["prev_change_id"]);
    book("delta", "deribit_book", 1, &[]);
    book("quote", "deribit_quote", 0, &[]);
    book("trade", "deribit_trades", 0, &["combo_trade_id"]);
    let ticker = |instrument: &Instrument| {
        let mut known = Vec::new();
        rig.encode(instrument, "ticker.x.100ms", Channel::Ticker, Push::Ticker { known: &mut known, first: true })
    };
    covers(&ticker(instrument), &line(&folder, "deribit_ticker", 0), "ticker", &[]);
    let option = rig.core.instruments.iter().find(|one| one.listing.option.is_some()).unwrap();
    covers(&ticker(option), &line(&folder, "deribit_ticker_option_capture", 0), "option ticker", &[]);
    let ours = rig.encode(instrument, "deribit_volatility_index.btc_usd", Channel::Volatility, Push::Value);
    covers(&ours, &line(&folder, "deribit_deribit_volatility_index", 0), "volatility index", &[]);
}

/// Every signature of the documents is accepted, and none of them for a changed text.
#[test]
fn signatures() {
    use crate::exchange::sign::{Encoding, verify};
    let Some(folder) = frames() else { return };
    let text = std::fs::read_to_string(folder.join("auth_vectors.json")).unwrap();
    let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(vectors.len() > 15);
    for vector in vectors {
        let get = |key: &str| vector[key].as_str().unwrap();
        let encoding = if get("encoding") == "hex" { Encoding::Hex } else { Encoding::Base64 };
        let (secret, signed, signature) = (get("secret"), get("string_to_sign"), get("signature"));
        assert!(verify(secret, signed, signature, encoding), "{vector}");
        assert!(!verify(secret, &format!("{signed} "), signature, encoding));
    }
}
