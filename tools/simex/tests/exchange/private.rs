//! Logins: right ones and wrong ones, and what they open.

use serde_json::{Value, json};
use tidegate_simex::exchange::{Exchange, ExchangeConfig, Fault, FaultKind, Keys, Limits, Venue};

use crate::support::{Client, only, recorded, rest, violated, with_limits};

/// Time of the documents' signatures: 1,700,000,000 s. The venue's clock is set to it.
fn at_the_vectors(venue: Venue) -> Exchange {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let limits = Limits { connects: 100, rest_weight: 100, ..Limits::default() };
    let config = ExchangeConfig { clock_offset_ms: 1_700_000_000_000 - now, ..with_limits(venue, limits) };
    Exchange::start(config).unwrap()
}

const BITGET: &str = "gQcmFOO1x8QQwW4YI9SQxCJtPSDaZeUlpQhO8Ru9SdI=";
const OKX: &str = "YbxIb0FS4Nh4Yf9+njFfbeqJOJrxiZv6NgSimBW8s6w=";

fn login(key: &str, passphrase: &str, time: &str, sign: &str) -> String {
    json!({"op": "login", "args": [{"apiKey": key, "passphrase": passphrase, "timestamp": time, "sign": sign}]})
        .to_string()
}

#[test]
fn bitget_login_and_the_account_behind_it() {
    let exchange = at_the_vectors(Venue::Bitget);
    let path = "/v2/ws/private";
    let subscribe = |channel: &str, key: &str| {
        json!({"op": "subscribe", "args": [{"instType": "USDT-FUTURES", "channel": channel, key: "default"}]})
            .to_string()
    };
    let mut client = Client::connect(&exchange, Venue::Bitget, path);
    assert_eq!(client.ask(&subscribe("positions", "instId"), |_| true)["code"], 30_004);
    assert_eq!(client.ask(&login("test", "test", "1700000000", BITGET), |_| true)["event"], "login");
    for (channel, key) in [("positions", "instId"), ("account", "coin"), ("orders", "instId")] {
        client.send(&subscribe(channel, key));
        client.until(|value| value["event"] == "subscribe" && value["arg"]["channel"] == channel);
    }
    // The account moves on every second.
    let mut sizes = Vec::new();
    while sizes.len() < 3 {
        let push = client.until(|value| value["arg"]["channel"] == "positions" && value["action"] == "snapshot");
        let size = push["data"][0]["total"].clone();
        if push["data"][0]["leverage"] == 20 && !sizes.contains(&size) {
            sizes.push(size);
        }
    }
    client.until(|value| value["arg"]["channel"] == "account" && value["data"][0]["equity"].is_string());
    client.until(|value| value["arg"]["channel"] == "orders" && value["data"][0]["status"] == "filled");

    let milliseconds = "l//GORaM5CLKKWba9YQNc2u33hyGtc0cZA02lXGn+2k=";
    let cases = [
        (login("test", "test", "1700000000000", milliseconds), Value::from("0")),
        (login("other", "test", "1700000000", BITGET), 30_011.into()),
        (login("test", "wrong", "1700000000", BITGET), 30_012.into()),
        (login("test", "test", "soon", BITGET), 30_013.into()),
        (login("test", "test", "1600000000", BITGET), 30_014.into()),
        (login("test", "test", "1700000001", BITGET), 30_015.into()),
    ];
    for (text, code) in cases {
        let mut client = Client::connect(&exchange, Venue::Bitget, path);
        assert_eq!(client.ask(&text, |_| true)["code"], code);
        if code != "0" {
            assert_eq!(client.close_code(), 1008);
        }
    }
    violated(&exchange, "login");
}

#[test]
fn okx_login() {
    let exchange = at_the_vectors(Venue::Okx);
    let subscribe = r#"{"op":"subscribe","args":[{"channel":"account"}]}"#;
    let mut client = Client::connect(&exchange, Venue::Okx, "/ws/v5/private");
    assert_eq!(client.ask(subscribe, |_| true)["code"], "60011");
    assert_eq!(client.ask(&login("test", "test", "1700000000", OKX), |_| true)["event"], "login");
    assert_eq!(client.ask(subscribe, |_| true)["event"], "subscribe");
    assert!(exchange.clients()[0].logged_in);
    let id = exchange.inject(Fault::new(FaultKind::ExpiredLogin)).unwrap();
    assert_eq!(client.json()["code"], "60011");
    assert_eq!(client.close_code(), 4001);
    assert_eq!(recorded(&exchange, id).connection, Some(1));
    let cases = [
        (login("other", "test", "1700000000", OKX), "60005"),
        (login("test", "wrong", "1700000000", OKX), "60024"),
        (login("test", "test", "x", OKX), "60004"),
        (login("test", "test", "1600000000", OKX), "60006"),
        (login("test", "test", "1700000000", BITGET), "60007"),
    ];
    for (text, code) in cases {
        let mut client = Client::connect(&exchange, Venue::Okx, "/ws/v5/private");
        assert_eq!(client.ask(&text, |_| true)["code"], code);
        assert_eq!(client.close_code(), 4001);
    }
}

#[test]
fn bybit_auth() {
    let now = 1_700_000_000_000_i64;
    let exchange = at_the_vectors(Venue::Bybit);
    // The documents' expiry is the present moment; one a little later needs a clock that is a little earlier.
    let mut back = Fault::new(FaultKind::ClockJump);
    back.by = -60_000;
    exchange.inject(back).unwrap();
    let sign = "0bdc095fac2402c71453e2a5c22897043cf74e0fc10335c3bb9b534b799d16a6";
    let auth = |key: &str, expires: i64, sign: &str| {
        json!({"req_id": "10001", "op": "auth", "args": [key, expires, sign]}).to_string()
    };
    let mut client = Client::connect(&exchange, Venue::Bybit, "/v5/private");
    let topics = r#"{"op":"subscribe","args":["order","wallet","position.linear"]}"#;
    assert_eq!(client.ask(topics, |_| true)["success"], false);
    let answer = client.ask(&auth("test", now, sign), |_| true);
    assert_eq!((&answer["success"], &answer["op"]), (&true.into(), &"auth".into()));
    assert_eq!(client.ask(topics, |_| true)["success"], true);
    assert_eq!(client.ask(r#"{"req_id":"p","op":"ping"}"#, |_| true)["op"], "pong");
    for (text, code) in [
        (auth("other", now, sign), 10_003),
        (auth("test", now + 1, sign), 10_004),
        (auth("test", now - 120_000, sign), 10_002),
    ] {
        let mut client = Client::connect(&exchange, Venue::Bybit, "/v5/private");
        assert_eq!(client.ask(&text, |_| true)["retCode"], code);
        assert_eq!(client.close_code(), 1008);
    }
}

#[test]
fn deribit_auth() {
    let exchange = at_the_vectors(Venue::Deribit);
    let call = |method: &str, params: Value| {
        json!({"jsonrpc": "2.0", "id": 5, "method": method, "params": params}).to_string()
    };
    let signed = |sign: &str| {
        let data = "";
        json!({"grant_type": "client_signature", "client_id": "test", "timestamp": 1_700_000_000_000_i64,
            "nonce": "abcd1234", "data": data, "signature": sign})
    };
    let right = "9123295b63733b79252046c2695de08bf573e21ec2b19fa810f96e8a6b0b03ec";
    let mut client = Client::connect(&exchange, Venue::Deribit, "/ws/api/v2");
    let positions = call("private/get_positions", json!({"currency": "BTC"}));
    assert_eq!(client.ask(&positions, |_| true)["error"]["code"], 10_000);
    let wrong = call("public/auth", signed(&right.replace('9', "8")));
    assert_eq!(client.ask(&wrong, |_| true)["error"]["code"], 13_004);
    assert!(client.ask(&call("public/auth", signed(right)), |_| true)["result"]["access_token"].is_string());
    assert_eq!(client.ask(&positions, |_| true)["result"], json!([]));
    let raw = call("public/subscribe", json!({"channels": ["book.BTC-PERPETUAL.raw"]}));
    assert_eq!(client.ask(&raw, |value| value["id"] == 5)["result"][0], "book.BTC-PERPETUAL.raw");
    client.until(|value| value["params"]["data"]["type"] == "change");
    let id = exchange.inject(Fault::new(FaultKind::ExpiredLogin)).unwrap();
    recorded(&exchange, id);
    assert_eq!(client.ask(&positions, |value| value["id"] == 5)["error"]["code"], 13_009);
    let again = call("public/auth", json!({"grant_type": "refresh_token", "refresh_token": "refresh-1"}));
    assert!(client.ask(&again, |value| value["id"] == 5)["result"]["access_token"].is_string());
    assert_eq!(client.ask(&positions, |value| value["id"] == 5)["result"], json!([]));
}

#[test]
fn signed_rest_requests() {
    let exchange = at_the_vectors(Venue::Bitget);
    let target = "/api/v2/mix/position/all-position?marginCoin=USDT&productType=USDT-FUTURES";
    let headers = |sign: &'static str| {
        [
            ("ACCESS-KEY", "test"),
            ("ACCESS-SIGN", sign),
            ("ACCESS-TIMESTAMP", "1700000000000"),
            ("ACCESS-PASSPHRASE", "test"),
        ]
    };
    let fine = rest(&exchange, Venue::Bitget, target, &headers("Eim0um4rx+j81NOYzfBqHsWPFSYqS5z0uNhxdMh/fPk="));
    assert_eq!((fine.status, &fine.body["code"]), (200, &"00000".into()));
    assert_eq!(rest(&exchange, Venue::Bitget, target, &headers("AAAA")).body["code"], "40009");
    assert_eq!(rest(&exchange, Venue::Bitget, target, &[]).body["code"], "40001");

    let exchange = at_the_vectors(Venue::Okx);
    let target = "/api/v5/account/balance?ccy=BTC";
    let headers = |sign: &'static str| {
        [
            ("OK-ACCESS-KEY", "test"),
            ("OK-ACCESS-SIGN", sign),
            ("OK-ACCESS-TIMESTAMP", "2023-11-14T22:13:20.000Z"),
            ("OK-ACCESS-PASSPHRASE", "test"),
        ]
    };
    let fine = rest(&exchange, Venue::Okx, target, &headers("IBv0Ej/QDwTVt+6WEzJayBuY7xZ+ntdKYyVdJMT/ptE="));
    assert_eq!((fine.status, &fine.body["code"]), (200, &"0".into()));
    assert_eq!(rest(&exchange, Venue::Okx, target, &headers("AAAA")).body["code"], "50113");

    let exchange = at_the_vectors(Venue::BinanceUsdm);
    let sign = "e59754a5216cf0f48affa9b9f4e570a856580bce605c718bf61bd4f165b9accc";
    let target = format!("/fapi/v3/positionRisk?timestamp=1700000000000&signature={sign}");
    let key = [("X-MBX-APIKEY", "test")];
    assert_eq!(rest(&exchange, Venue::BinanceUsdm, &target, &key).status, 200);
    assert_eq!(rest(&exchange, Venue::BinanceUsdm, &target.replace("e59", "e58"), &key).body["code"], -1_022);
    assert_eq!(rest(&exchange, Venue::BinanceUsdm, &target, &[]).body["code"], -2_014);

    let exchange = at_the_vectors(Venue::Bybit);
    let headers = |sign: &'static str| {
        [
            ("X-BAPI-API-KEY", "test"),
            ("X-BAPI-TIMESTAMP", "1700000000000"),
            ("X-BAPI-SIGN", sign),
            ("X-BAPI-RECV-WINDOW", "5000"),
        ]
    };
    let sign = "f46767e084223bb605ba72b5f826ff8c21f95e1c9e7c8335947a5b793d30e648";
    let target = "/v5/position/list?category=linear&symbol=BTCUSDT";
    assert_eq!(rest(&exchange, Venue::Bybit, target, &headers(sign)).body["retCode"], 0);
    assert_eq!(rest(&exchange, Venue::Bybit, target, &headers("00")).body["retCode"], 10_004);

    let exchange = at_the_vectors(Venue::Deribit);
    let target = "/api/v2/private/get_positions?currency=BTC&kind=future";
    let sign = "4e7685befe462ee93db02111ae76f9484c85971b5345fea35aa74b547b237fd4";
    let value = format!("deri-hmac-sha256 id=test,ts=1700000000000,nonce=abcd1234,sig={sign}");
    assert_eq!(rest(&exchange, Venue::Deribit, target, &[("Authorization", &value)]).body["result"], json!([]));
    assert_eq!(rest(&exchange, Venue::Deribit, target, &[("Authorization", "Bearer x")]).status, 401);
}

#[test]
fn other_keys_can_be_configured() {
    let keys = Keys { key: "k".into(), secret: "AMANDASECRECT".into(), passphrase: "p".into() };
    let exchange = Exchange::start(ExchangeConfig { keys, ..only(Venue::Deribit) }).unwrap();
    let mut client = Client::connect(&exchange, Venue::Deribit, "/ws/api/v2");
    let auth = |secret: &str| {
        json!({"jsonrpc": "2.0", "id": 1, "method": "public/auth", "params": {"grant_type": "client_credentials",
            "client_id": "k", "client_secret": secret}})
        .to_string()
    };
    assert!(client.ask(&auth("AMANDASECRECT"), |_| true)["result"].is_object());
    assert!(client.ask(&auth("test"), |_| true)["error"].is_object());
}
