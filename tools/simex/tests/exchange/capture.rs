//! A recorded capture behind another venue's protocol.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tidegate_simex::exchange::{Category, Exchange, ExchangeConfig, InstrumentConfig, Venue};

use crate::books::bitget_book;
use crate::support::{Book, Client, eventually, only, units};

/// A capture with a snapshot in the middle, as recorders write it, and one update that the snapshot already has.
fn write(path: &Path) {
    let mut gzip = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
    let line = |ms: i64, json: &str| format!("{} {json}\n", 1_723_161_253_000_000_000 + ms * 1_000_000);
    let depth = |id: i64, bids: &str, asks: &str| {
        format!(r#"{{"stream":"x","data":{{"e":"depthUpdate","U":{id},"u":{id},"b":{bids},"a":{asks}}}}}"#)
    };
    let mut text = line(0, &depth(10, r#"[["100.05","7"]]"#, "[]"));
    text += &line(
        50,
        r#"{"lastUpdateId":12,"bids":[["100.00","1.5"],["99.95","2"]],"asks":[["100.10","3"],["100.20","1"]]}"#,
    );
    text += &line(100, &depth(13, r#"[["100.00","0"],["99.90","4"]]"#, r#"[["100.15","2.25"]]"#));
    text +=
        &line(150, r#"{"stream":"x","data":{"e":"trade","s":"BTCUSDT","t":1,"p":"100.10","q":"0.5","T":1,"m":false}}"#);
    text += &line(200, &depth(14, "[]", r#"[["100.10","2.5"]]"#));
    text += "this is no frame\n";
    text += &line(900, &depth(15, r#"[["99.80","1"]]"#, "[]"));
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap();
}

fn config(path: &Path) -> ExchangeConfig {
    let instrument = InstrumentConfig {
        venue: Venue::Okx,
        symbol: "BTC-USDT-SWAP".into(),
        category: Category::Linear,
        base: "BTC".into(),
        quote: "USDT".into(),
        price: 100.0,
        price_decimals: 2,
        tick_units: 1,
        qty_decimals: 2,
        lot_units: 1,
        contract: 1.0,
        capture: Some(path.into()),
        repeat: false,
    };
    ExchangeConfig { instrument: vec![instrument], ..only(Venue::Okx) }
}

#[test]
fn a_capture_is_spoken_in_another_protocol() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spot.gz");
    write(&path);
    let exchange = Exchange::start(config(&path)).unwrap();
    let mut client = Client::connect(&exchange, Venue::Okx, "/ws/v5/public");
    for channel in ["books", "trades"] {
        let arg = format!("{{\"channel\":\"{channel}\",\"instId\":\"BTC-USDT-SWAP\"}}");
        client.send(&format!("{{\"op\":\"subscribe\",\"args\":[{arg}]}}"));
    }
    let (mut book, mut trades) = (Book::default(), 0);
    client.drain(Duration::from_millis(1_200), |frame| {
        if frame["arg"]["channel"] == "trades" && frame["data"].is_array() {
            assert_eq!((&frame["data"][0]["px"], &frame["data"][0]["side"]), (&"100.10".into(), &"buy".into()));
            trades += 1;
        } else if frame["data"].is_array() {
            book.apply(&frame["data"][0]["bids"], &frame["data"][0]["asks"]);
        }
    });
    let pairs = |rows: &[(&str, &str)]| -> Vec<(i64, i64)> {
        rows.iter().map(|(price, quantity)| (units(&(*price).into()), units(&(*quantity).into()))).collect()
    };
    let [bids, asks] = book.top(10);
    assert_eq!(bids, pairs(&[("99.95", "2"), ("99.90", "4"), ("99.80", "1")]));
    assert_eq!(asks, pairs(&[("100.10", "2.5"), ("100.15", "2.25"), ("100.20", "1")]));
    assert!(trades <= 1);
    let state = exchange.book(Venue::Okx, "BTC-USDT-SWAP", None).unwrap();
    assert_eq!(state.bids[0], ["99.95", "2.00"]);
}

/// Recordings; `None` after saying loudly that a test is skipped. In CI they must be there.
fn recordings() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var_os("TIDEGATE_DATA").map_or_else(|| workspace.join("../shared/data"), PathBuf::from);
    if folder.join("hftbacktest").exists() {
        return Some(folder.join("hftbacktest"));
    }
    let missing = format!("TIDEGATE_DATA: {} is not there", folder.display());
    assert!(std::env::var_os("CI").is_none(), "{missing}");
    // On the stream itself: what tests print is shown only when they fail.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {missing}");
    None
}

#[test]
fn recordings_with_and_without_a_snapshot() {
    let Some(folder) = recordings() else { return };
    for name in ["usdm_btcusdt_20240808.gz", "spot_btcusdt_20230405.dat.gz"] {
        let mut config = config(&folder.join(name));
        config.speed = 3.0;
        config.venue = only(Venue::Bitget).venue;
        config.instrument[0].venue = Venue::Bitget;
        config.instrument[0].symbol = "BTCUSDT".into();
        (config.instrument[0].price, config.instrument[0].qty_decimals) = (60_000.0, 5);
        config.instrument[0].repeat = true;
        let exchange = Exchange::start(config).unwrap();
        // A recording without a snapshot needs some updates before there is a book.
        eventually("both sides of a book", || {
            let book = exchange.book(Venue::Bitget, "BTCUSDT", None)?;
            (book.bids.len() > 30 && book.asks.len() > 30).then_some(())
        });
        bitget_book(&exchange, "USDT-FUTURES", "BTCUSDT", Category::Linear);
    }
}

#[test]
fn a_missing_capture_is_an_error() {
    assert!(Exchange::start(config(Path::new("/nonexistent/capture.gz"))).is_err());
}
