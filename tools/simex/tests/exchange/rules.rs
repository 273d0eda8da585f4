//! What a venue does not allow is noticed, recorded, and answered as the venue answers it.

use std::time::Duration;

use tidegate_simex::exchange::{Exchange, ExchangeConfig, Limits, Venue};
use tungstenite::Message;

use crate::support::{Client, only, violated, with_limits};

/// Minutes become fractions of a second.
fn hurried(venue: Venue) -> ExchangeConfig {
    ExchangeConfig { time_scale: 0.01, ..only(venue) }
}

/// A masked client frame.
fn frame(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    let mut bytes = vec![first, length | if masked { 0x80 } else { 0 }];
    if masked {
        bytes.extend_from_slice(&[0; 4]);
    }
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn broken_frames_are_closed_with_the_code_of_the_rfc() {
    let exchange =
        Exchange::start(with_limits(Venue::Okx, Limits { connects: 100, message_bytes: 60, ..Limits::default() }))
            .unwrap();
    let cases = [
        (frame(0x81, b"ping", false), 1002, "unmasked_frame"),
        (frame(0xc1, b"ping", true), 1002, "reserved_bits"),
        (frame(0x83, b"ping", true), 1002, "bad_opcode"),
        (frame(0x80, b"ping", true), 1002, "bad_fragment"),
        (frame(0x09, b"ping", true), 1002, "bad_control_frame"),
        (frame(0x82, b"ping", true), 1003, "binary_frame"),
        (frame(0x81, b"\xff\xfe", true), 1007, "bad_utf8"),
        (frame(0x81, &[b'x'; 61], true), 1009, "oversize_message"),
    ];
    for (bytes, code, rule) in cases {
        let mut client = Client::connect(&exchange, Venue::Okx, "/ws/v5/public");
        client.raw(&bytes);
        assert_eq!(client.close_code(), code, "{rule}");
        violated(&exchange, rule);
    }
}

#[test]
fn fragments_and_pings_are_handled() {
    let exchange = Exchange::start(only(Venue::Bitget)).unwrap();
    let mut client = Client::connect(&exchange, Venue::Bitget, "/v2/ws/public");
    client.raw(&frame(0x01, b"pi", true));
    client.raw(&frame(0x89, b"between", true));
    client.raw(&frame(0x80, b"ng", true));
    let pong = client.next_within(Duration::from_secs(5)).unwrap().unwrap();
    assert_eq!(pong, Message::Pong("between".into()));
    assert_eq!(client.text(), "pong");
    client.socket.close(None).unwrap();
    assert_eq!(client.close_code(), 1000);
    assert!(exchange.violations().is_empty());
}

#[test]
fn message_rates() {
    for (venue, path, most, text) in [
        (Venue::BinanceSpot, "/ws", 5, "{\"method\":\"LIST_SUBSCRIPTIONS\",\"id\":1}"),
        (Venue::BinanceUsdm, "/public/ws", 10, "{\"method\":\"LIST_SUBSCRIPTIONS\",\"id\":1}"),
        (Venue::Bitget, "/v2/ws/public", 10, "ping"),
    ] {
        let exchange = Exchange::start(only(venue)).unwrap();
        let mut client = Client::connect(&exchange, venue, path);
        for _ in 0..most {
            client.send(text);
            client.text();
        }
        client.send(text);
        assert_eq!(client.close_code(), 1008);
        violated(&exchange, "message_rate");
    }
}

#[test]
fn deribit_credits_end_the_session() {
    let exchange = Exchange::start(only(Venue::Deribit)).unwrap();
    let mut client = Client::connect(&exchange, Venue::Deribit, "/ws/api/v2");
    let subscribe =
        "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"public/subscribe\",\"params\":{\"channels\":[\"quote.none\"]}}";
    // A pool of 30,000 at 3,000 each; what refills meanwhile is little.
    for _ in 0..20 {
        client.send(subscribe);
    }
    let error = client.until(|value| value["error"].is_object());
    assert_eq!((&error["error"]["code"], &error["id"]), (&10_028.into(), &"x".into()));
    assert_eq!(client.close_code(), 1000);
    violated(&exchange, "credits");
}

#[test]
fn silent_clients_are_cut_off() {
    for (venue, path, rule, code) in [
        (Venue::Bitget, "/v2/ws/public", "no_ping", 1000),
        (Venue::Okx, "/ws/v5/public", "no_ping", 4004),
        (Venue::Bybit, "/v5/public/linear?max_active_time=30s", "no_ping", 1000),
    ] {
        let exchange = Exchange::start(hurried(venue)).unwrap();
        let mut client = Client::connect(&exchange, venue, path);
        assert_eq!(client.close_code(), code, "{}", venue.name());
        violated(&exchange, rule);
    }
}

#[test]
fn text_pings_keep_connections() {
    for (venue, path, ping) in [
        (Venue::Okx, "/ws/v5/public", "ping"),
        (Venue::Bybit, "/v5/public/linear?max_active_time=30s", "{\"req_id\":\"1\",\"op\":\"ping\"}"),
    ] {
        let exchange = Exchange::start(ExchangeConfig { time_scale: 0.03, ..only(venue) }).unwrap();
        let mut client = Client::connect(&exchange, venue, path);
        // 30 s are 900 ms here.
        for _ in 0..20 {
            client.send(ping);
            assert!(client.text().contains("pong"));
            std::thread::sleep(Duration::from_millis(60));
        }
        assert!(exchange.violations().is_empty());
    }
}

#[test]
fn binance_pings_and_wants_the_same_payload_back() {
    let exchange = Exchange::start(ExchangeConfig { time_scale: 0.02, ..only(Venue::BinanceSpot) }).unwrap();
    let mut client = Client::connect(&exchange, Venue::BinanceSpot, "/ws");
    // The first two are answered by the client's own reads.
    let mut pings = 0;
    while pings < 2 {
        if let Some(Ok(Message::Ping(payload))) = client.next_within(Duration::from_secs(5)) {
            assert!(payload.len() > 10);
            pings += 1;
        }
    }
    // Now a client that answers with something else.
    let mut other = Client::connect(&exchange, Venue::BinanceSpot, "/ws");
    let stream = other.socket.get_mut();
    let (mut bytes, start) = ([0; 256], std::time::Instant::now());
    let mut seen = Vec::new();
    while start.elapsed() < Duration::from_secs(5) {
        let read = std::io::Read::read(stream, &mut bytes).unwrap_or(0);
        if read == 0 {
            break;
        }
        seen.extend_from_slice(&bytes[..read]);
        std::io::Write::write_all(stream, &frame(0x8a, b"unasked", true)).unwrap_or_default();
    }
    assert_eq!(seen[0], 0x89, "a ping first");
    let close = seen.windows(2).any(|pair| pair == 1008_u16.to_be_bytes());
    assert!(close, "closed for want of a pong");
    violated(&exchange, "no_pong");
}

#[test]
fn deribit_heartbeats_must_be_answered() {
    let exchange = Exchange::start(ExchangeConfig { time_scale: 0.03, ..only(Venue::Deribit) }).unwrap();
    let mut client = Client::connect(&exchange, Venue::Deribit, "/ws/api/v2");
    let call = |method: &str, params: &str| {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":{params}}}")
    };
    client.send(&call("public/set_heartbeat", "{\"interval\":5}"));
    assert_eq!(client.json()["error"]["code"], 11_029);
    client.send(&call("public/set_heartbeat", "{\"interval\":30}"));
    assert_eq!(client.json()["result"], "ok");
    let test = |value: &serde_json::Value| value["params"]["type"] == "test_request";
    client.until(test);
    let answer = client.ask(&call("public/test", "{}"), |value| value["id"] == 1);
    assert_eq!(answer["result"]["version"], "1.2.26");
    assert!(answer["usIn"].is_i64() && answer["usDiff"].is_i64());
    client.until(test);
    assert_eq!(client.close_code(), 1000);
    violated(&exchange, "no_test");
}

#[test]
fn subscribe_budgets_and_sizes() {
    let limits = Limits { subscribes_per_hour: 3, args_bytes: 400, ..Limits::default() };
    let exchange = Exchange::start(with_limits(Venue::Bitget, limits)).unwrap();
    let mut client = Client::connect(&exchange, Venue::Bitget, "/v2/ws/public");
    let request = r#"{"op":"unsubscribe","args":[{"instType":"SPOT","channel":"trade","instId":"BTCUSDT"}]}"#;
    let long = format!("{{\"op\":\"subscribe\",\"args\":[{}]}}", "\"x\",".repeat(100) + "\"x\"");
    assert_eq!(client.ask(&long, |_| true)["code"], 30_016);
    for _ in 0..3 {
        assert_eq!(client.ask(request, |_| true)["event"], "unsubscribe");
    }
    assert_eq!(client.ask(request, |_| true)["code"], 30_006);
    assert_eq!(client.close_code(), 1008);
    violated(&exchange, "subscribe_budget");
    violated(&exchange, "args_bytes");

    let limits = Limits { subscribes_per_hour: 2, connects: 100, ..Limits::default() };
    let exchange = Exchange::start(with_limits(Venue::Okx, limits)).unwrap();
    let mut client = Client::connect(&exchange, Venue::Okx, "/ws/v5/public");
    let request = r#"{"op":"unsubscribe","args":[{"channel":"trades","instId":"BTC-USDT"}]}"#;
    for _ in 0..2 {
        assert_eq!(client.ask(request, |_| true)["event"], "unsubscribe");
    }
    assert_eq!(client.ask(request, |_| true)["code"], "60014");
    violated(&exchange, "subscribe_budget");

    let exchange = Exchange::start(with_limits(Venue::Bybit, Limits { args_bytes: 60, ..Limits::default() })).unwrap();
    let mut client = Client::connect(&exchange, Venue::Bybit, "/v5/public/spot");
    let many = ["\"publicTrade.BTCUSDT\""; 11].join(",");
    let answer = client.ask(&format!("{{\"op\":\"subscribe\",\"args\":[{many}]}}"), |_| true);
    assert_eq!(answer["success"], false);
    violated(&exchange, "args_per_request");
    let four = ["\"publicTrade.BTCUSDT\""; 4].join(",");
    assert_eq!(client.ask(&format!("{{\"op\":\"subscribe\",\"args\":[{four}]}}"), |_| true)["success"], false);
    assert_eq!(client.close_code(), 1009);
    violated(&exchange, "args_bytes");
}

#[test]
fn connection_limits() {
    let exchange = Exchange::start(only(Venue::Okx)).unwrap();
    let mut open: Vec<_> = (0..3).map(|_| Client::connect(&exchange, Venue::Okx, "/ws/v5/public")).collect();
    assert_eq!(Client::try_connect(&exchange, Venue::Okx, "/ws/v5/public").err(), Some(429));
    violated(&exchange, "connection_rate");
    open.clear();

    let exchange =
        Exchange::start(with_limits(Venue::Deribit, Limits { connections: 2, ..Limits::default() })).unwrap();
    let _open: Vec<_> = (0..2).map(|_| Client::connect(&exchange, Venue::Deribit, "/ws/api/v2")).collect();
    assert_eq!(Client::try_connect(&exchange, Venue::Deribit, "/ws/api/v2").err(), Some(429));
    violated(&exchange, "too_many_connections");
    assert_eq!(Client::try_connect(&exchange, Venue::Deribit, "/nowhere").err(), Some(404));
}

#[test]
fn too_many_streams() {
    let limits = Limits { streams_per_connection: 1, ..Limits::default() };
    let exchange = Exchange::start(with_limits(Venue::BinanceSpot, limits)).unwrap();
    let mut client = Client::connect(&exchange, Venue::BinanceSpot, "/stream?streams=btcusdt@trade/btcusdt@bookTicker");
    assert_eq!(client.close_code(), 1008);
    violated(&exchange, "streams_per_connection");
}

#[test]
fn the_wrong_route_is_acknowledged_and_silent() {
    let exchange = Exchange::start(only(Venue::BinanceUsdm)).unwrap();
    let subscribe = "{\"method\":\"SUBSCRIBE\",\"params\":[\"btcusdt@depth@100ms\",\"nosuch@bookTicker\"],\"id\":1}";
    let mut client = Client::connect(&exchange, Venue::BinanceUsdm, "/market/ws");
    assert_eq!(client.ask(subscribe, |_| true)["id"], 1);
    client.drain(Duration::from_millis(400), |value| panic!("{value} on the wrong route"));
    violated(&exchange, "wrong_route");

    let mut client = Client::connect(&exchange, Venue::BinanceUsdm, "/public/ws");
    client.send(&subscribe.replace("btcusdt@depth@100ms", "btcusdt@markPrice@1s"));
    client.text();
    client.drain(Duration::from_millis(1_200), |value| panic!("{value} on the wrong route"));
    violated(&exchange, "unknown_symbol");
    let mut client =
        Client::connect(&exchange, Venue::BinanceUsdm, "/market/stream?streams=btcusdt@markPrice@1s/btcusdt@aggTrade");
    let mark = client.until(|value| value["data"]["e"] == "markPriceUpdate");
    assert_eq!((&mark["stream"], &mark["data"]["st"]), (&"btcusdt@markPrice@1s".into(), &1.into()));
    client.until(|value| value["data"]["e"] == "aggTrade");
}

#[test]
fn nonsense_is_answered_in_the_venues_words() {
    let ask = |venue, path: &str, text: &str| {
        let exchange = Exchange::start(only(venue)).unwrap();
        let mut client = Client::connect(&exchange, venue, path);
        client.ask(text, |_| true)
    };
    assert_eq!(ask(Venue::BinanceSpot, "/ws", "{")["code"], 3);
    assert_eq!(ask(Venue::BinanceSpot, "/ws", "{\"method\":\"SUBSCRIBE\",\"params\":[],\"id\":1}")["code"], 2);
    assert_eq!(ask(Venue::BinanceSpot, "/ws", "{\"method\":\"SUBSCRIBE\",\"id\":{}}")["code"], 2);
    assert_eq!(ask(Venue::Okx, "/ws/v5/public", "[1,2]")["code"], "60012");
    let unknown = r#"{"op":"subscribe","args":[{"channel":"books","instId":"NO-SUCH"}]}"#;
    assert_eq!(ask(Venue::Okx, "/ws/v5/public", unknown)["code"], "60018");
    assert_eq!(ask(Venue::Okx, "/ws/v5/business", &unknown.replace("NO-SUCH", "BTC-USDT"))["code"], "60018");
    assert_eq!(ask(Venue::Bitget, "/v2/ws/public", "{\"op\":\"fly\"}")["code"], 30_003);
    let unknown = r#"{"op":"subscribe","args":[{"instType":"SPOT","channel":"books","instId":"X"}]}"#;
    assert_eq!(ask(Venue::Bitget, "/v2/ws/public", unknown)["code"], 30_001);
    let removed = "{\"op\":\"subscribe\",\"args\":[\"orderbook.500.BTCUSDT\"]}";
    let answer = ask(Venue::Bybit, "/v5/public/linear", removed);
    assert_eq!(answer["ret_msg"], "error:handler not found,topic:orderbook.500.BTCUSDT");
    assert_eq!(ask(Venue::Bybit, "/v5/public/linear", "null")["success"], false);
    let unnumbered = "{\"jsonrpc\":\"2.0\",\"method\":\"public/test\",\"params\":{}}";
    assert_eq!(ask(Venue::Deribit, "/ws/api/v2", unnumbered)["error"]["code"], 11_050);
    let channels = r#"{"channels":["book.BTC-PERPETUAL.raw"]}"#;
    let raw = &format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"public/subscribe\",\"params\":{channels}}}");
    assert_eq!(ask(Venue::Deribit, "/ws/api/v2", raw)["error"]["code"], 13_778);
}

#[test]
fn hostile_messages_harm_nobody() {
    let least = i64::MIN;
    let hostile = [
        "null".to_owned(),
        "[[[[]]]]".to_owned(),
        "\u{0}".to_owned(),
        "[".repeat(2_000),
        format!(
            "{{\"op\":\"login\",\"args\":[{{\"apiKey\":\"test\",\"passphrase\":\"test\",\"timestamp\":\"{least}\"}}]}}"
        ),
        format!("{{\"op\":\"auth\",\"args\":[\"test\",{least},null]}}"),
        "{\"op\":\"subscribe\",\"args\":[null,1,[],{},{\"channel\":1},\"..\",\"orderbook..\"]}".to_owned(),
        "{\"op\":\"\u{20ac}\u{20ac}\u{20ac}\u{20ac}\u{20ac}\u{20ac}\u{20ac}\",\"args\":{}}".to_owned(),
        "{\"method\":\"SUBSCRIBE\",\"params\":[\"@\",\"@@@\",\"\u{e9}@depth\",\"\"],\"id\":1}".to_owned(),
        "{\"method\":\"SET_PROPERTY\",\"params\":{},\"id\":null}".to_owned(),
        format!(
            "{{\"id\":1,\"method\":\"public/auth\",\"params\":{{\"grant_type\":\"client_signature\",\
             \"client_id\":\"test\",\"timestamp\":{least}}}}}"
        ),
        "{\"id\":1,\"method\":\"public/subscribe\",\"params\":{\"channels\":[\"...\",\"book.X.none.99.raw\",1]}}"
            .to_owned(),
        "{\"id\":1,\"method\":\"public/set_heartbeat\",\"params\":{\"interval\":1e308}}".to_owned(),
        "{\"id\":1,\"method\":\"public/get_order_book\",\"params\":{\"depth\":-1}}".to_owned(),
    ];
    for (venue, path) in [
        (Venue::BinanceSpot, "/ws"),
        (Venue::BinanceUsdm, "/public/stream?streams=/@/%%%/btcusdt@"),
        (Venue::Bybit, "/v5/public/linear?max_active_time=x"),
        (Venue::Bybit, "/v5/private"),
        (Venue::Okx, "/ws/v5/private"),
        (Venue::Bitget, "/v2/ws/private"),
        (Venue::Deribit, "/ws/api/v2"),
    ] {
        let limits = Limits { connects: 10_000, ..Limits::default() };
        let exchange = Exchange::start(with_limits(venue, limits)).unwrap();
        for text in &hostile {
            let mut client = Client::connect(&exchange, venue, path);
            client.send(text);
            client.next_within(Duration::from_millis(30));
        }
        // A task that had panicked would have left its connection in the list.
        crate::support::eventually("no connection", || exchange.clients().is_empty().then_some(()));
    }
}
