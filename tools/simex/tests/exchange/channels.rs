//! Every channel says something, and venues keep quiet books alive.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_simex::exchange::{Category, Exchange, ExchangeConfig, Limits, Venue};

use crate::support::{Client, only, violated, with_limits};

/// Longest wait for the slowest channel.
const WAIT: Duration = Duration::from_secs(8);

/// Sends requests, and reads until `name` has given every one of the names.
fn all_speak(venue: Venue, path: &str, requests: &[String], wanted: &[&str], name: impl Fn(&Value) -> Option<String>) {
    let exchange = Exchange::start(ExchangeConfig { interval_scale: 0.5, activity: 4.0, ..only(venue) }).unwrap();
    let mut client = Client::connect(&exchange, venue, path);
    for request in requests {
        client.send(request);
    }
    let mut missing: BTreeSet<_> = wanted.iter().map(|name| (*name).to_owned()).collect();
    let start = Instant::now();
    while !missing.is_empty() {
        assert!(start.elapsed() < WAIT, "{} says nothing on {missing:?}", venue.name());
        if let Some(name) = name(&client.json()) {
            missing.remove(&name);
        }
    }
    assert!(exchange.violations().is_empty(), "{:?}", exchange.violations());
    let streams = &exchange.clients()[0].streams;
    assert_eq!(streams.len(), wanted.len(), "{streams:?}");
}

#[test]
fn binance_streams() {
    let spot =
        ["@depth@100ms", "@depth20@100ms", "@bookTicker", "@trade", "@aggTrade"].map(|name| format!("btcusdt{name}"));
    let name = |value: &Value| value["stream"].as_str().map(str::to_owned);
    let wanted: Vec<&str> = spot.iter().map(String::as_str).collect();
    all_speak(Venue::BinanceSpot, &format!("/stream?streams={}", spot.join("/")), &[], &wanted, name);
    for venue in [Venue::BinanceUsdm, Venue::BinanceCoinm] {
        let symbol = if venue == Venue::BinanceUsdm { "btcusdt" } else { "btcusd_perp" };
        for (route, streams) in [
            ("public", ["@depth@100ms", "@depth5@100ms", "@bookTicker"].as_slice()),
            ("market", ["@aggTrade", "@markPrice@1s"].as_slice()),
        ] {
            let streams: Vec<_> = streams.iter().map(|name| format!("{symbol}{name}")).collect();
            let wanted: Vec<&str> = streams.iter().map(String::as_str).collect();
            all_speak(venue, &format!("/{route}/stream?streams={}", streams.join("/")), &[], &wanted, name);
        }
    }
}

#[test]
fn binance_requests() {
    let exchange = Exchange::start(only(Venue::BinanceSpot)).unwrap();
    let mut client = Client::connect(&exchange, Venue::BinanceSpot, "/ws/btcusdt@bookTicker");
    assert!(client.json()["u"].is_i64());
    let mut ask = |request: Value| client.ask(&request.to_string(), |value| value["id"] == request["id"]);
    assert_eq!(ask(json!({"method": "LIST_SUBSCRIPTIONS", "id": "a"}))["result"], json!(["btcusdt@bookTicker"]));
    assert_eq!(ask(json!({"method": "SET_PROPERTY", "params": ["combined", true], "id": 5}))["result"], Value::Null);
    assert_eq!(ask(json!({"method": "GET_PROPERTY", "params": ["combined"], "id": 6}))["result"], true);
    let request = json!({"method": "UNSUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 7});
    assert_eq!(ask(request)["result"], Value::Null);
    client.drain(Duration::from_millis(300), |value| assert_eq!(value["stream"], "btcusdt@bookTicker"));
    assert!(exchange.clients()[0].streams.is_empty());
}

#[test]
fn okx_channels() {
    let channels = ["books", "books5", "bbo-tbt", "trades", "tickers", "mark-price", "funding-rate"];
    let args: Vec<_> = channels.iter().map(|name| json!({"channel": name, "instId": "BTC-USDT-SWAP"})).collect();
    let request = json!({"id": "1", "op": "subscribe", "args": args}).to_string();
    all_speak(Venue::Okx, "/ws/v5/public", &[request], &channels, |value| {
        value["data"].is_array().then(|| value["arg"]["channel"].as_str().unwrap().to_owned())
    });
}

#[test]
fn bybit_topics() {
    for (path, symbol) in [("linear", "ETHUSDT"), ("spot", "BTCUSDT"), ("inverse", "BTCUSD")] {
        let topics = ["orderbook.1.", "orderbook.50.", "orderbook.200.", "orderbook.1000.", "publicTrade.", "tickers."];
        let topics = topics.map(|topic| format!("{topic}{symbol}"));
        let wanted: Vec<&str> = topics.iter().map(String::as_str).collect();
        let request = json!({"op": "subscribe", "args": topics}).to_string();
        let path = format!("/v5/public/{path}");
        all_speak(Venue::Bybit, &path, &[request], &wanted, |value| value["topic"].as_str().map(str::to_owned));
    }
}

#[test]
fn bybit_tickers_send_what_is_new() {
    let exchange = Exchange::start(only(Venue::Bybit)).unwrap();
    let mut client = Client::connect(&exchange, Venue::Bybit, "/v5/public/linear");
    let snapshot = client.ask(r#"{"op":"subscribe","args":["tickers.BTCUSDT"]}"#, |value| value["type"] == "snapshot");
    let fields = snapshot["data"].as_object().unwrap().len();
    let delta = client.until(|value| value["type"] == "delta");
    assert!(delta["data"].as_object().unwrap().len() < fields);
    assert_eq!(delta["data"]["symbol"], "BTCUSDT");
}

#[test]
fn ticker_changes_reach_everybody_while_others_join() {
    let exchange = Exchange::start(ExchangeConfig { activity: 4.0, ..only(Venue::Bybit) }).unwrap();
    let subscribe = r#"{"op":"subscribe","args":["tickers.BTCUSDT"]}"#;
    let merged = |into: &mut Value, frame: &Value| {
        for (key, value) in frame["data"].as_object().into_iter().flatten() {
            into[key] = value.clone();
        }
    };
    let mut first = Client::connect(&exchange, Venue::Bybit, "/v5/public/linear");
    let mut ours = json!({});
    merged(&mut ours, &first.ask(subscribe, |value| value["type"] == "snapshot"));
    for _ in 0..10 {
        let mut other = Client::connect(&exchange, Venue::Bybit, "/v5/public/linear");
        other.ask(subscribe, |value| value["type"] == "snapshot");
        first.drain(Duration::from_millis(20), |frame| merged(&mut ours, frame));
    }
    exchange.freeze();
    first.drain(Duration::from_millis(400), |frame| merged(&mut ours, frame));
    let mut last = Client::connect(&exchange, Venue::Bybit, "/v5/public/linear");
    let theirs = last.ask(subscribe, |value| value["type"] == "snapshot");
    assert_eq!(ours, theirs["data"]);
}

#[test]
fn bitget_channels() {
    for kind in ["USDT-FUTURES", "SPOT"] {
        let channels = ["books", "books1", "books5", "books15", "trade", "ticker"];
        let args: Vec<_> =
            channels.iter().map(|name| json!({"instType": kind, "channel": name, "instId": "BTCUSDT"})).collect();
        let request = json!({"op": "subscribe", "args": args}).to_string();
        all_speak(Venue::Bitget, "/v2/ws/public", &[request], &channels, |value| {
            value["data"].is_array().then(|| value["arg"]["channel"].as_str().unwrap().to_owned())
        });
    }
}

#[test]
fn deribit_channels_and_options() {
    let exchange = Exchange::start(only(Venue::Deribit)).unwrap();
    let mut names =
        exchange.books().into_iter().filter(|book| book.category == Category::Option).map(|book| book.symbol);
    let option = names.find(|name| name.starts_with("ETH")).unwrap();
    exchange.stop();
    let channels = [
        "book.BTC-PERPETUAL.100ms".to_owned(),
        "book.BTC-PERPETUAL.none.10.100ms".to_owned(),
        "trades.BTC-PERPETUAL.100ms".to_owned(),
        "ticker.BTC-PERPETUAL.100ms".to_owned(),
        "quote.ETH-PERPETUAL".to_owned(),
        format!("ticker.{option}.100ms"),
        format!("book.{option}.100ms"),
        "deribit_volatility_index.btc_usd".to_owned(),
        "deribit_price_index.eth_usd".to_owned(),
    ];
    let wanted: Vec<&str> = channels.iter().map(String::as_str).collect();
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "public/subscribe", "params": {"channels": channels}});
    all_speak(Venue::Deribit, "/ws/api/v2", &[request.to_string()], &wanted, |value| {
        let data = &value["params"]["data"];
        if data["greeks"].is_object() {
            assert!(data["mark_iv"].as_f64().unwrap() > 10.0 && data["greeks"]["gamma"].as_f64().unwrap() > 0.0);
        }
        value["params"]["channel"].as_str().map(str::to_owned)
    });
}

#[test]
fn quiet_books_stay_alive() {
    let config = ExchangeConfig { time_scale: 0.05, ..only(Venue::Okx) };
    let exchange = Exchange::start(config).unwrap();
    exchange.freeze();
    let mut client = Client::connect(&exchange, Venue::Okx, "/ws/v5/public");
    let subscribe = r#"{"op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"}]}"#;
    let snapshot = client.ask(subscribe, |value| value["action"] == "snapshot");
    let id = &snapshot["data"][0]["seqId"];
    // Pings keep the connection, which is quiet for longer than the venue allows.
    let empty = loop {
        client.send("ping");
        if let Some(Ok(message)) = client.next_within(Duration::from_millis(100))
            && let Ok(value) = serde_json::from_str::<Value>(&message.to_string())
        {
            break value;
        }
    };
    let data = &empty["data"][0];
    assert_eq!((&data["prevSeqId"], &data["seqId"], &data["asks"]), (id, id, &json!([])));

    let exchange = Exchange::start(ExchangeConfig { time_scale: 0.1, ..only(Venue::Bybit) }).unwrap();
    exchange.freeze();
    let mut client = Client::connect(&exchange, Venue::Bybit, "/v5/public/linear");
    let first = client.ask(r#"{"op":"subscribe","args":["orderbook.1.BTCUSDT"]}"#, |value| value["topic"].is_string());
    let again = client.until(|value| value["topic"].is_string());
    assert_eq!((&again["data"]["u"], &again["data"]["b"]), (&first["data"]["u"], &first["data"]["b"]));
    assert!(again["ts"].as_i64() > first["ts"].as_i64());
}

#[test]
fn clients_that_do_not_read_are_cut_off() {
    let limits = Limits { queue: 50, messages_per_second: 10_000, subscribes_per_hour: 10_000, ..Limits::default() };
    let exchange = Exchange::start(with_limits(Venue::Bitget, limits)).unwrap();
    let mut client = Client::connect(&exchange, Venue::Bitget, "/v2/ws/public");
    // Whole books, again and again: more than the system's buffers hold.
    for _ in 0..400 {
        let arg = json!({"instType": "USDT-FUTURES", "channel": "books", "instId": "BTCUSDT"});
        client.send(&json!({"op": "subscribe", "args": [arg]}).to_string());
    }
    violated(&exchange, "slow_consumer");
    crate::support::eventually("the end of the connection", || exchange.clients().is_empty().then_some(()));
}
