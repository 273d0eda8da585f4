//! Each venue's book, rebuilt by its rules from what is pushed, equals the exchange's at rest.

use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_simex::exchange::{Category, Exchange, Venue};

use crate::support::{Book, Client, only, rest, units};

/// How long books are rebuilt before they are compared.
const RUN: Duration = Duration::from_millis(800);
/// After this much silence nothing more comes.
const QUIET: Duration = Duration::from_millis(300);

/// The exchange's book in the form of a client's.
fn oracle(exchange: &Exchange, venue: Venue, symbol: &str, category: Option<Category>) -> Book {
    let state = exchange.book(venue, symbol, category).expect("a book");
    let mut book = Book { id: state.id, ..Book::default() };
    for (is_bid, levels) in [(true, &state.bids), (false, &state.asks)] {
        for [price, quantity] in levels {
            book.set(is_bid, &price.as_str().into(), &quantity.as_str().into());
        }
    }
    book
}

/// Rebuilds for a while, stops the market, and reads to the end of what is pending.
fn rebuild(exchange: &Exchange, client: &mut Client, mut see: impl FnMut(&Value)) {
    let start = Instant::now();
    while start.elapsed() < RUN {
        see(&client.json());
    }
    exchange.freeze();
    client.drain(QUIET, see);
}

fn compare(ours: &Book, theirs: &Book, depth: usize) {
    assert!(ours.updates > 2, "only {} updates", ours.updates);
    let [bids, asks] = theirs.top(depth);
    let [our_bids, our_asks] = ours.top(depth);
    assert!(bids.len() > 4 && asks.len() > 4);
    assert_eq!(our_bids, bids);
    assert_eq!(our_asks, asks);
}

fn binance(venue: Venue, path: &str, rest_path: &str, symbol: &str) {
    let exchange = Exchange::start(only(venue)).unwrap();
    let mut client = Client::connect(&exchange, venue, path);
    let stream = format!("{}@depth@100ms", symbol.to_lowercase());
    client.send(&format!("{{\"method\":\"SUBSCRIBE\",\"params\":[\"{stream}\"],\"id\":7}}"));
    assert_eq!(client.text(), "{\"result\":null,\"id\":7}");
    let first = client.json();
    assert_eq!((&first["e"], &first["s"]), (&"depthUpdate".into(), &symbol.into()));
    let spot = venue == Venue::BinanceSpot;
    let limit = if spot { 5_000 } else { 1_000 };
    let snapshot = rest(&exchange, venue, &format!("{rest_path}/depth?symbol={symbol}&limit={limit}"), &[]).body;
    let mut book = Book::default();
    let snapshot_id = snapshot["lastUpdateId"].as_i64().unwrap();
    assert!(snapshot_id >= first["U"].as_i64().unwrap());
    book.replace(&snapshot["bids"], &snapshot["asks"], snapshot_id);
    let (mut previous, mut started) = (first["u"].as_i64().unwrap(), false);
    // The snapshot is newer than the first event, which is therefore in it.
    let see = |event: &Value| {
        let (first, last) = (event["U"].as_i64().unwrap(), event["u"].as_i64().unwrap());
        if spot {
            assert_eq!(first, previous + 1);
        } else {
            assert_eq!(event["pu"].as_i64().unwrap(), previous);
            assert_ne!(first, previous + 1, "ids are shared by the whole venue");
            assert!(event["st"].is_i64() && event["ps"].is_string());
        }
        previous = last;
        let stale = if spot { last <= snapshot_id } else { last < snapshot_id };
        if stale {
            return;
        }
        let joins = if spot { snapshot_id + 1 } else { snapshot_id };
        assert!(started || first <= joins || event["pu"] == snapshot_id, "{first} after {snapshot_id}");
        started = true;
        book.apply(&event["b"], &event["a"]);
        book.id = last;
        book.updates += 1;
    };
    rebuild(&exchange, &mut client, see);
    let theirs = oracle(&exchange, venue, symbol, None);
    assert_eq!(book.id, theirs.id);
    compare(&book, &theirs, 500);
}

#[test]
fn binance_spot() {
    binance(Venue::BinanceSpot, "/ws", "/api/v3", "BTCUSDT");
}

#[test]
fn binance_usdm() {
    binance(Venue::BinanceUsdm, "/public/ws", "/fapi/v1", "BTCUSDT");
}

#[test]
fn binance_coinm() {
    binance(Venue::BinanceCoinm, "/ws", "/dapi/v1", "BTCUSD_PERP");
}

#[test]
fn okx() {
    let exchange = Exchange::start(only(Venue::Okx)).unwrap();
    let mut client = Client::connect(&exchange, Venue::Okx, "/ws/v5/public");
    let arg = r#"{"channel":"books","instId":"BTC-USDT-SWAP"}"#;
    client.send(&format!("{{\"id\":\"a1\",\"op\":\"subscribe\",\"args\":[{arg}]}}"));
    let ack = client.json();
    assert_eq!((&ack["event"], &ack["id"]), (&"subscribe".into(), &"a1".into()));
    let mut book = Book::default();
    rebuild(&exchange, &mut client, |frame| {
        let data = &frame["data"][0];
        let (previous, id) = (data["prevSeqId"].as_i64().unwrap(), data["seqId"].as_i64().unwrap());
        assert_eq!(data["checksum"], 0);
        if frame["action"] == "snapshot" {
            assert_eq!((previous, book.updates), (-1, 0));
            book.replace(&data["bids"], &data["asks"], id);
            assert_eq!(book.bids.len(), 400);
        } else {
            assert_eq!(previous, book.id);
            book.apply(&data["bids"], &data["asks"]);
            book.id = id;
            book.updates += 1;
            assert_eq!((book.bids.len(), book.asks.len()), (400, 400));
        }
    });
    let state = exchange.book(Venue::Okx, "BTC-USDT-SWAP", None).unwrap();
    assert_eq!(state.channels["books"], book.id);
    compare(&book, &oracle(&exchange, Venue::Okx, "BTC-USDT-SWAP", None), 400);
}

/// As the venue announced it: the first event is ignored, REST tells the place from which the others count.
#[test]
fn okx_without_a_snapshot() {
    let mut config = only(Venue::Okx);
    config.venue.get_mut(&Venue::Okx).expect("it is there").no_snapshots = true;
    let exchange = Exchange::start(config).unwrap();
    let mut client = Client::connect(&exchange, Venue::Okx, "/ws/v5/public");
    client.send(r#"{"op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT-SWAP"}]}"#);
    assert_eq!(client.json()["event"], "subscribe");
    let first = client.json();
    assert_eq!(first["action"], "update");
    let target = "/api/v5/market/books?instId=BTC-USDT-SWAP&sz=400";
    assert!(rest(&exchange, Venue::Okx, target, &[]).body["data"][0]["seqId"].is_null(), "nobody asked for it");
    let answer = rest(&exchange, Venue::Okx, &format!("{target}&source=0"), &[]).body;
    let snapshot = &answer["data"][0];
    let snapshot_id = snapshot["seqId"].as_i64().unwrap();
    assert!(snapshot_id >= first["data"][0]["seqId"].as_i64().unwrap());
    let mut book = Book::default();
    book.replace(&snapshot["bids"], &snapshot["asks"], snapshot_id);
    assert_eq!((book.bids.len(), book.asks.len()), (400, 400));
    let mut joined = false;
    rebuild(&exchange, &mut client, |frame| {
        let data = &frame["data"][0];
        let (previous, id) = (data["prevSeqId"].as_i64().unwrap(), data["seqId"].as_i64().unwrap());
        assert_eq!(frame["action"], "update");
        if id <= snapshot_id {
            return;
        }
        assert!(if joined { previous == book.id } else { previous <= snapshot_id });
        joined = true;
        book.apply(&data["bids"], &data["asks"]);
        book.id = id;
        book.updates += 1;
    });
    compare(&book, &oracle(&exchange, Venue::Okx, "BTC-USDT-SWAP", None), 400);
}

#[test]
fn bybit_categories_and_depths() {
    let exchange = Exchange::start(only(Venue::Bybit)).unwrap();
    let cases = [
        ("/v5/public/linear", "BTCUSDT", 50, Category::Linear),
        ("/v5/public/spot", "BTCUSDT", 200, Category::Spot),
        ("/v5/public/inverse", "BTCUSD", 200, Category::Inverse),
    ];
    for (path, symbol, depth, category) in cases {
        exchange.thaw();
        let mut client = Client::connect(&exchange, Venue::Bybit, path);
        client.send(&format!("{{\"req_id\":\"r\",\"op\":\"subscribe\",\"args\":[\"orderbook.{depth}.{symbol}\"]}}"));
        let ack = client.json();
        assert_eq!((&ack["success"], &ack["req_id"]), (&true.into(), &"r".into()));
        let mut book = Book::default();
        rebuild(&exchange, &mut client, |frame| {
            let data = &frame["data"];
            let id = data["u"].as_i64().unwrap();
            if frame["type"] == "snapshot" {
                book.replace(&data["b"], &data["a"], id);
            } else {
                assert_eq!(id, book.id + 1);
                book.apply(&data["b"], &data["a"]);
                book.id = id;
                book.updates += 1;
            }
            assert_eq!((book.bids.len(), book.asks.len()), (depth, depth));
        });
        compare(&book, &oracle(&exchange, Venue::Bybit, symbol, Some(category)), depth);
    }
}

/// CRC-32 of the best 25 levels as they were received.
fn checksum(book: &Book) -> i32 {
    let bids = book.bids.keys().rev().take(25).map(|price| (true, *price));
    let asks = book.asks.keys().take(25).map(|price| (false, *price));
    let (bids, asks): (Vec<_>, Vec<_>) = (bids.collect(), asks.collect());
    let mut parts = Vec::new();
    for rank in 0..25 {
        for key in [bids.get(rank), asks.get(rank)].into_iter().flatten() {
            let (price, quantity) = &book.texts[key];
            parts.push(format!("{price}:{quantity}"));
        }
    }
    crc(parts.join(":").as_bytes())
}

/// The polynomial by hand: independent of the exchange's library.
fn crc(bytes: &[u8]) -> i32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    (!crc).cast_signed()
}

#[test]
fn the_checksum_is_that_of_the_documents() {
    assert_eq!(crc(b"43231.1:4:43232.8:9:43231:6:43232.9:8"), -1_504_501_796);
    assert_eq!(crc(b"3366.1:7:3366.8:9:3368:8:3372:8"), 831_078_360);
}

/// Rebuilds a Bitget book with its checksums and compares it.
pub(crate) fn bitget_book(exchange: &Exchange, kind: &str, symbol: &str, category: Category) {
    let mut client = Client::connect(exchange, Venue::Bitget, "/v2/ws/public");
    let arg = format!("{{\"instType\":\"{kind}\",\"channel\":\"books\",\"instId\":\"{symbol}\"}}");
    client.send(&format!("{{\"op\":\"subscribe\",\"args\":[{arg}]}}"));
    let ack = client.json();
    assert_eq!((&ack["event"], &ack["arg"]["instId"]), (&"subscribe".into(), &symbol.into()));
    let mut book = Book::default();
    rebuild(exchange, &mut client, |frame| {
        let data = &frame["data"][0];
        let id = data["seq"].as_i64().unwrap();
        if frame["action"] == "snapshot" {
            book.replace(&data["bids"], &data["asks"], id);
        } else {
            assert_eq!(data["pseq"].as_i64().unwrap(), book.id);
            assert!(id > book.id);
            book.apply(&data["bids"], &data["asks"]);
            book.id = id;
            book.updates += 1;
        }
        assert_eq!(data["checksum"].as_i64().unwrap(), i64::from(checksum(&book)));
    });
    compare(&book, &oracle(exchange, Venue::Bitget, symbol, Some(category)), usize::MAX);
}

#[test]
fn bitget_products() {
    let exchange = Exchange::start(only(Venue::Bitget)).unwrap();
    for (kind, symbol, category) in [
        ("USDT-FUTURES", "BTCUSDT", Category::Linear),
        ("SPOT", "BTCUSDT", Category::Spot),
        ("COIN-FUTURES", "BTCUSD", Category::Inverse),
    ] {
        exchange.thaw();
        bitget_book(&exchange, kind, symbol, category);
    }
}

#[test]
fn deribit_perpetual_and_option() {
    let exchange = Exchange::start(only(Venue::Deribit)).unwrap();
    let names = exchange.books().into_iter().filter(|book| book.category == Category::Option).map(|book| book.symbol);
    let option = names.into_iter().find(|name| name.starts_with("BTC")).unwrap();
    for symbol in ["BTC-PERPETUAL", &option] {
        exchange.thaw();
        let mut client = Client::connect(&exchange, Venue::Deribit, "/ws/api/v2");
        let channel = format!("book.{symbol}.100ms");
        client.send(&format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"public/subscribe\",\
             \"params\":{{\"channels\":[\"{channel}\"]}}}}"
        ));
        assert_eq!(client.json()["result"][0], channel.as_str());
        let mut book = Book::default();
        let mut rebuilt = |frame: &Value| {
            let data = &frame["params"]["data"];
            let id = data["change_id"].as_i64().unwrap();
            if data["type"] == "snapshot" {
                book = Book::default();
            } else {
                assert_eq!(data["prev_change_id"].as_i64().unwrap(), book.id);
                book.updates += 1;
            }
            book.id = id;
            for (is_bid, key) in [(true, "bids"), (false, "asks")] {
                for row in data[key].as_array().unwrap() {
                    let side = if is_bid { &book.bids } else { &book.asks };
                    let known = side.contains_key(&units(&row[1]));
                    assert_eq!(known, row[0] != "new", "{row}");
                    assert_eq!(row[0] == "delete", units(&row[2]) == 0);
                    book.set(is_bid, &row[1], &row[2]);
                }
            }
        };
        if symbol == option {
            // Options are quoted slowly: wait for enough of them.
            for _ in 0..5 {
                rebuilt(&client.json());
            }
        }
        rebuild(&exchange, &mut client, rebuilt);
        compare(&book, &oracle(&exchange, Venue::Deribit, symbol, None), usize::MAX);
    }
}

#[test]
fn two_clients_get_the_same_and_a_late_one_catches_up() {
    let exchange = Exchange::start(only(Venue::Okx)).unwrap();
    let arg = r#"{"op":"subscribe","args":[{"channel":"books","instId":"ETH-USDT-SWAP"}]}"#;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(&exchange, Venue::Okx, "/ws/v5/public");
        client.ask(arg, |value| value["event"] == "subscribe");
        std::thread::sleep(Duration::from_millis(400));
        clients.push(client);
    }
    exchange.freeze();
    assert!(exchange.stats().frozen && exchange.stats().open == 2);
    let mut ends = Vec::new();
    for mut client in clients {
        let mut book = Book::default();
        client.drain(QUIET, |frame| {
            let data = &frame["data"][0];
            let id = data["seqId"].as_i64().unwrap();
            if frame["action"] == "snapshot" {
                book.replace(&data["bids"], &data["asks"], id);
            } else {
                assert_eq!(data["prevSeqId"], book.id);
                book.apply(&data["bids"], &data["asks"]);
                book.id = id;
            }
        });
        ends.push((book.id, book.top(400)));
    }
    assert_eq!(ends[0], ends[1]);
}
