//! Dialects: what they write equals the venues' documentation and signature vectors, what venues say is understood.

mod common;

use serde_json::Value;
use tidegate_feed::session::credentials::{Credentials, Secret};
use tidegate_feed::session::dialect::{
    AccountChannel, Acked, Bootstrap, Channel, Dialect, Remedy, Reply, Route, Topic, dialect,
};
use tidegate_wire::instrument::Contract;
use tidegate_wire::{InstrumentId, Venue};

const LIVE: [Venue; 12] = [
    Venue::BinanceSpot,
    Venue::BinanceUsdm,
    Venue::BinanceCoinm,
    Venue::Bybit,
    Venue::BybitSpot,
    Venue::BybitInverse,
    Venue::Okx,
    Venue::BitgetSpot,
    Venue::BitgetUsdt,
    Venue::BitgetCoin,
    Venue::BitgetUsdc,
    Venue::Deribit,
];

fn of(venue: Venue) -> &'static dyn Dialect {
    dialect(venue).expect("a live venue")
}

fn topic(venue: Venue, symbol: &str, channel: Channel) -> Topic {
    of(venue).topic(InstrumentId(0), symbol, channel).expect("a topic")
}

fn credentials() -> Credentials {
    Credentials { key: Secret::new("test"), secret: Secret::new("test"), passphrase: Some(Secret::new("test")) }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// The frames that the protocol reference shows for `test` keys and these times, byte for byte in meaning.
#[test]
fn logins_equal_the_documented_frames() {
    let login = |venue, now_ms| json(&of(venue).login(&credentials(), now_ms).expect("a login"));
    let bitget = r#"{"op":"login","args":[{"apiKey":"test","passphrase":"test","timestamp":"1700000000","sign":"gQcmFOO1x8QQwW4YI9SQxCJtPSDaZeUlpQhO8Ru9SdI="}]}"#;
    assert_eq!(login(Venue::BitgetUsdt, 1_700_000_000_123), json(bitget));
    let okx = r#"{"op":"login","args":[{"apiKey":"test","passphrase":"test","timestamp":"1700000000","sign":"YbxIb0FS4Nh4Yf9+njFfbeqJOJrxiZv6NgSimBW8s6w="}]}"#;
    assert_eq!(login(Venue::Okx, 1_700_000_000_999), json(okx));
    let bybit = r#"{"op":"auth","args":["test",1700000000000,"0bdc095fac2402c71453e2a5c22897043cf74e0fc10335c3bb9b534b799d16a6"]}"#;
    assert_eq!(login(Venue::Bybit, 1_700_000_000_000 - 10_000), json(bybit));
    let deribit = login(Venue::Deribit, 1_700_000_000_000);
    let nonce = deribit["params"]["nonce"].as_str().expect("a nonce").to_owned();
    assert!(nonce.len() >= 8);
    let signed = credentials().sign_hex(&format!("1700000000000\n{nonce}\n"));
    assert_eq!(deribit["params"]["signature"], signed);
    assert!(of(Venue::BinanceSpot).login(&credentials(), 0).is_none(), "market data needs no login there");
}

/// Every vector of the protocol reference.
#[test]
fn signatures_equal_the_vectors() {
    let Some(path) = common::venues().map(|folder| folder.join("frames")) else { return };
    let text = std::fs::read_to_string(path.join("auth_vectors.json")).expect("the vectors");
    let vectors: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    assert!(vectors.len() >= 16, "{}", vectors.len());
    for vector in &vectors {
        let said = |key: &str| vector[key].as_str().expect("text");
        let keys = Credentials { key: Secret::new("k"), secret: Secret::new(said("secret")), passphrase: None };
        let signature = match said("encoding") {
            "base64" => keys.sign_base64(said("string_to_sign")),
            _ => keys.sign_hex(said("string_to_sign")),
        };
        assert_eq!(signature, said("signature"), "{} {}", said("venue"), said("what"));
    }
}

#[test]
fn subscriptions_are_what_the_venues_document() {
    let books = |venue, symbol| topic(venue, symbol, Channel::Book);
    let request = |venue, topics: &[&Topic]| json(&of(venue).subscribe(7, topics));
    let (depth, quote) = (books(Venue::BinanceUsdm, "BTCUSDT"), topic(Venue::BinanceUsdm, "BTCUSDT", Channel::Quotes));
    let expected = r#"{"method":"SUBSCRIBE","params":["btcusdt@depth@100ms","btcusdt@bookTicker"],"id":7}"#;
    assert_eq!(request(Venue::BinanceUsdm, &[&depth, &quote]), json(expected));
    let expected = r#"{"op":"subscribe","args":[{"instType":"USDT-FUTURES","channel":"books","instId":"BTCUSDT"}]}"#;
    assert_eq!(request(Venue::BitgetUsdt, &[&books(Venue::BitgetUsdt, "BTCUSDT")]), json(expected));
    let expected = r#"{"id":"7","op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT-SWAP"}]}"#;
    assert_eq!(request(Venue::Okx, &[&books(Venue::Okx, "BTC-USDT-SWAP")]), json(expected));
    let expected = r#"{"req_id":"7","op":"subscribe","args":["orderbook.200.BTCUSDT"]}"#;
    assert_eq!(request(Venue::Bybit, &[&books(Venue::Bybit, "BTCUSDT")]), json(expected));
    let expected =
        r#"{"jsonrpc":"2.0","id":7,"method":"public/subscribe","params":{"channels":["book.BTC-PERPETUAL.100ms"]}}"#;
    assert_eq!(request(Venue::Deribit, &[&books(Venue::Deribit, "BTC-PERPETUAL")]), json(expected));
    let index = topic(Venue::Deribit, "BTCDVOL", Channel::Marks);
    assert_eq!(index.key, "deribit_volatility_index.btc_usd");
    assert!(of(Venue::Deribit).topic(InstrumentId(0), "BTCDVOL", Channel::Book).is_none());
    let account = of(Venue::BitgetUsdt).account();
    let request = json(&of(Venue::BitgetUsdt).subscribe(1, &account.iter().collect::<Vec<_>>()));
    assert_eq!(request["args"][2], json(r#"{"instType":"USDT-FUTURES","channel":"account","coin":"default"}"#));
    assert_eq!(request["args"][0]["instId"], "default");
}

/// Binance's futures: a stream on the wrong socket is acknowledged and never comes.
#[test]
fn routes_of_the_futures() {
    let route = |channel| topic(Venue::BinanceUsdm, "BTCUSDT", channel).route;
    assert_eq!((route(Channel::Book), route(Channel::Quotes)), (Route::Public, Route::Public));
    assert_eq!((route(Channel::Trades), route(Channel::Marks)), (Route::Market, Route::Market));
    assert_eq!(of(Venue::BinanceUsdm).path(Route::Public), "/public/stream");
    assert_eq!(of(Venue::BinanceUsdm).path(Route::Market), "/market/stream");
    assert_eq!(of(Venue::BinanceSpot).path(Route::Public), "/stream");
}

#[test]
fn answers_are_understood() {
    let read = |venue, text: &str| of(venue).read(text.as_bytes());
    assert_eq!(read(Venue::BinanceSpot, r#"{"result":null,"id":3}"#), Reply::Acked(Acked::Request(3)));
    assert!(matches!(
        read(Venue::BinanceSpot, r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}"#),
        Reply::Leaving(_)
    ));
    let acked = |key: &str| Reply::Acked(Acked::Topic(key.into()));
    let text = r#"{"event":"subscribe","arg":{"instType":"USDT-FUTURES","channel":"books","instId":"BTCUSDT"}}"#;
    assert_eq!(read(Venue::BitgetUsdt, text), acked("USDT-FUTURES:books:BTCUSDT"));
    let text = r#"{"event":"subscribe","arg":{"instType":"USDT-FUTURES","channel":"account","coin":"default"}}"#;
    assert_eq!(read(Venue::BitgetUsdt, text), acked(&of(Venue::BitgetUsdt).account()[2].key));
    let text =
        r#"{"id":"1512","event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT-SWAP"},"connId":"a4d3ae55"}"#;
    assert_eq!(read(Venue::Okx, text), acked("books:BTC-USDT-SWAP"));
    let text = r#"{"jsonrpc":"2.0","id":1,"result":["trades.A.100ms"],"testnet":true}"#;
    assert_eq!(read(Venue::Deribit, text), Reply::Acked(Acked::Topics(1, vec!["trades.A.100ms".into()])));
    let text = r#"{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}"#;
    assert!(matches!(read(Venue::Deribit, text), Reply::Answer(answer) if answer.contains("public/test")));
    assert_eq!(read(Venue::Okx, "pong"), Reply::Pong);
    assert_eq!(read(Venue::BitgetSpot, "pong"), Reply::Pong);
    for pong in [
        r#"{"success":true,"ret_msg":"pong","conn_id":"0970","op":"ping"}"#,
        r#"{"args":["1672916271846"],"op":"pong"}"#,
        r#"{"req_id":"test","op":"pong","args":["1675418560633"],"conn_id":"cf"}"#,
    ] {
        assert_eq!(read(Venue::Bybit, pong), Reply::Pong, "{pong}");
    }
    assert!(matches!(
        read(Venue::Okx, r#"{"event":"notice","code":"64008","msg":"","connId":"a"}"#),
        Reply::Leaving(_)
    ));
}

#[test]
fn errors_lead_to_actions() {
    let remedy = |venue, text: &str| match of(venue).read(text.as_bytes()) {
        Reply::Refused { remedy, .. } => remedy,
        other => panic!("{text}: {other:?}"),
    };
    // Mission D2: 1001 authenticates anew, 1002 reconnects; codes come as numbers and as text.
    assert_eq!(remedy(Venue::BitgetUsdt, r#"{"event":"error","code":1001,"msg":""}"#), Remedy::Authenticate);
    assert_eq!(remedy(Venue::BitgetUsdt, r#"{"event":"error","code":"1002","msg":""}"#), Remedy::Reconnect);
    assert_eq!(remedy(Venue::BitgetUsdt, r#"{"event":"error","code":30001,"msg":"doesn't exist"}"#), Remedy::Drop);
    assert_eq!(remedy(Venue::BitgetUsdt, r#"{"event":"error","code":"30006","msg":""}"#), Remedy::SlowDown);
    assert_eq!(remedy(Venue::BitgetUsdt, r#"{"event":"error","code":"30005","msg":"error"}"#), Remedy::Stop);
    assert_eq!(remedy(Venue::Okx, r#"{"event":"error","code":"60006","msg":""}"#), Remedy::Authenticate);
    assert_eq!(remedy(Venue::Okx, r#"{"event":"error","code":"60005","msg":""}"#), Remedy::Stop);
    assert_eq!(remedy(Venue::Okx, r#"{"event":"error","code":"60018","msg":""}"#), Remedy::Drop);
    let text = r#"{"success":false,"ret_msg":"error:handler not found,topic:orderbook.500.BTCUSDT","conn_id":"","req_id":"4","op":"subscribe"}"#;
    assert_eq!(remedy(Venue::Bybit, text), Remedy::Drop);
    let text = r#"{"op":"auth","success":false,"retCode":10003,"retMsg":"Invalid apikey","connId":"c"}"#;
    assert_eq!(remedy(Venue::Bybit, text), Remedy::Stop);
    let text = r#"{"jsonrpc":"2.0","id":1,"error":{"code":10028,"message":"too_many_requests","data":null}}"#;
    assert_eq!(remedy(Venue::Deribit, text), Remedy::Reconnect);
    assert_eq!(remedy(Venue::BinanceSpot, r#"{"code":2,"msg":"Invalid request: ..."}"#), Remedy::Drop);
}

/// Every recorded or documented frame of every venue may come as a text: none is misread badly enough to stop.
#[test]
fn every_fixture_can_be_read() {
    let Some(path) = common::venues().map(|folder| folder.join("frames")) else { return };
    let mut read = 0;
    for file in std::fs::read_dir(path).expect("the folder").flatten() {
        if file.path().extension().is_some_and(|extension| extension == "jsonl") {
            for line in std::fs::read_to_string(file.path()).expect("text").lines() {
                for venue in LIVE {
                    let _ = of(venue).read(line.as_bytes());
                    read += 1;
                }
            }
        }
    }
    assert!(read > 5_000, "{read}");
}

#[test]
fn an_accounts_pushes_are_read() {
    let Some(path) = common::venues().map(|folder| folder.join("frames")) else { return };
    for (file, channel) in [
        ("bitget_positions.jsonl", AccountChannel::Positions),
        ("bitget_orders.jsonl", AccountChannel::Orders),
        ("bitget_account.jsonl", AccountChannel::Account),
    ] {
        let text = std::fs::read_to_string(path.join(file)).expect("the fixture");
        let push = text.lines().nth(2).expect("a push");
        let Reply::Account(data) = of(Venue::BitgetUsdt).read(push.as_bytes()) else { panic!("{push}") };
        assert_eq!((data.channel, data.rows.len()), (channel, 1));
        assert!(data.venue_ns > 1_600_000_000_000_000_000);
    }
}

#[test]
fn instruments_are_read_from_recorded_answers() {
    let Some(path) = common::venues().map(|folder| folder.join("frames")) else { return };
    let line = |file: &str, index: usize| {
        let text = std::fs::read_to_string(path.join(file)).expect("the fixture");
        text.lines().nth(index).expect("a line").as_bytes().to_vec()
    };
    let read = |venue, body: &[u8], symbol: &str| {
        let found = of(venue).read_instruments(body, &[symbol.to_owned()]).expect("instruments");
        found.into_iter().next().unwrap_or_else(|| panic!("{symbol} is not listed"))
    };
    let steps = |i: &tidegate_wire::Instrument| {
        (i.tick.raw() as f64 / i.price_scale.units() as f64, i.lot.raw() as f64 / i.qty_scale.units() as f64)
    };
    let found = read(Venue::BinanceUsdm, &line("binance_usdm_rest.jsonl", 0), "BTCUSDT");
    assert_eq!(steps(&found), (0.1, 0.001));
    assert_eq!(steps(&read(Venue::BitgetUsdt, &line("bitget_rest_contracts.jsonl", 0), "BTCUSDT")), (0.1, 0.01));
    assert_eq!(steps(&read(Venue::BitgetSpot, &line("bitget_rest_spot-symbols.jsonl", 0), "BTCUSDT")), (0.01, 1e-6));
    assert_eq!(steps(&read(Venue::Bybit, &line("bybit_rest_instruments.jsonl", 0), "BTCUSDT")), (0.1, 0.001));
    assert_eq!(steps(&read(Venue::BybitSpot, &line("bybit_rest_instruments.jsonl", 3), "BTCUSDT")), (0.1, 1e-6));
    let swap = read(Venue::Okx, &line("okx_rest.jsonl", 5), "BTC-USD-SWAP");
    assert_eq!(swap.contract, Contract::Inverse { quote_per_contract: 100.0 });
    let option = read(Venue::Deribit, &line("deribit_rest.jsonl", 0), "BTC-27DEC24-100000-C");
    assert_eq!((steps(&option), option.contract), ((0.0005, 0.1), Contract::Linear));
    let perpetual = read(Venue::Deribit, &line("deribit_rest.jsonl", 1), "BTC-PERPETUAL");
    assert_eq!((steps(&perpetual), perpetual.contract), ((0.5, 10.0), Contract::Inverse { quote_per_contract: 1.0 }));
    let index = read(Venue::Deribit, &line("deribit_rest.jsonl", 3), "BTCDVOL");
    assert_eq!(index.symbol, "BTCDVOL");
    assert_eq!(of(Venue::Deribit).read_time(&line("deribit_rest.jsonl", 3)), Some(1_733_338_800_000_000_000));
    let time = of(Venue::BitgetUsdt).read_time(&line("bitget_rest_server-time.jsonl", 0));
    assert!(time.is_some_and(|ns| ns > 1_600_000_000_000_000_000));
    assert!(of(Venue::Bybit).read_time(&line("bybit_rest_time.jsonl", 0)).is_some());
    assert!(of(Venue::BinanceSpot).read_time(&line("binance_spot_rest.jsonl", 0)).is_some());
}

#[test]
fn what_must_hold_of_every_dialect() {
    for venue in LIVE {
        let dialect = of(venue);
        let (stream, rest) = dialect.endpoints();
        assert!(stream.starts_with("wss://") && rest.starts_with("https://"));
        let heartbeat = dialect.heartbeat();
        assert!(heartbeat.every < heartbeat.dead_after, "{venue}: a dead connection is noticed after a probe");
        assert_eq!(!dialect.snapshots("BTCUSDT").is_empty(), dialect.bootstrap() != Bootstrap::Stream);
        assert!(!dialect.instruments(&["BTCUSDT".into()]).is_empty());
    }
    let debug = format!("{:?}", credentials());
    assert!(!debug.contains("test"), "{debug}");
}
