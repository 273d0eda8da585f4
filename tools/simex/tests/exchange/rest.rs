//! REST: public answers of every venue, weights, and what follows from too much.

use serde_json::Value;
use tidegate_simex::exchange::{Exchange, ExchangeConfig, Limits, Venue};

use crate::support::{http, only, rest, tls, units, violated, with_limits};

fn get(venue: Venue, targets: &[&str]) -> Vec<Value> {
    let exchange = Exchange::start(only(venue)).unwrap();
    let answers = targets.iter().map(|target| {
        let answer = rest(&exchange, venue, target, &[]);
        assert_eq!(answer.status, 200, "{target}: {}", answer.body);
        answer.body
    });
    answers.collect()
}

#[test]
fn binance() {
    let spot = get(
        Venue::BinanceSpot,
        &["/api/v3/ping", "/api/v3/time", "/api/v3/exchangeInfo", "/api/v3/depth?symbol=ETHUSDT"],
    );
    assert_eq!(spot[0], serde_json::json!({}));
    assert!(spot[1]["serverTime"].as_i64().unwrap() > 1_700_000_000_000);
    let filters = spot[2]["symbols"][0]["filters"].as_array().unwrap();
    assert_eq!(filters[0]["tickSize"], "0.01000000");
    assert_eq!(filters[1]["stepSize"], "0.00001000");
    assert_eq!(spot[3]["bids"].as_array().unwrap().len(), 100);
    let usdm = get(
        Venue::BinanceUsdm,
        &["/fapi/v1/exchangeInfo", "/fapi/v1/premiumIndex?symbol=BTCUSDT", "/fapi/v1/depth?symbol=BTCUSDT&limit=5"],
    );
    assert_eq!(usdm[0]["symbols"][0]["filters"][0]["tickSize"], "0.10");
    assert!(units(&usdm[1]["markPrice"]) > 0);
    assert!(usdm[2]["E"].is_i64() && usdm[2]["T"].is_i64());
    let coinm = get(
        Venue::BinanceCoinm,
        &["/dapi/v1/exchangeInfo", "/dapi/v1/depth?symbol=BTCUSD_PERP&limit=10", "/dapi/v1/time"],
    );
    assert_eq!(coinm[0]["symbols"][0]["contractSize"], 100.0);
    assert_eq!(coinm[1]["pair"], "BTCUSD");
    let exchange = Exchange::start(only(Venue::BinanceUsdm)).unwrap();
    let bad = |target: &str| rest(&exchange, Venue::BinanceUsdm, target, &[]);
    assert_eq!(bad("/fapi/v1/depth?symbol=NOSUCH").body["code"], -1_121);
    assert_eq!(bad("/fapi/v1/depth?symbol=BTCUSDT&limit=7").status, 400);
    assert_eq!(bad("/nowhere").status, 404);
}

#[test]
fn okx() {
    let answers = get(
        Venue::Okx,
        &[
            "/api/v5/public/time",
            "/api/v5/public/instruments?instType=SWAP",
            "/api/v5/market/books?instId=BTC-USDT&sz=5",
            "/api/v5/public/funding-rate?instId=BTC-USDT-SWAP",
            "/api/v5/market/ticker?instId=BTC-USDT-SWAP",
            "/api/v5/market/books?instId=NO",
        ],
    );
    assert!(answers[0]["data"][0]["ts"].is_string());
    let swaps = answers[1]["data"].as_array().unwrap();
    assert_eq!(swaps.len(), 3);
    assert_eq!(
        (&swaps[0]["ctVal"], &swaps[0]["ctType"], &swaps[0]["tickSz"]),
        (&"0.01".into(), &"linear".into(), &"0.1".into())
    );
    assert_eq!(swaps[2]["ctType"], "inverse");
    assert_eq!(answers[2]["data"][0]["bids"].as_array().unwrap().len(), 5);
    assert!(answers[3]["data"][0]["fundingRate"].is_string() && answers[4]["data"][0]["last"].is_string());
    assert_eq!(answers[5]["code"], "51001");
}

#[test]
fn bybit() {
    let answers = get(
        Venue::Bybit,
        &[
            "/v5/market/time",
            "/v5/market/instruments-info?category=linear",
            "/v5/market/instruments-info?category=spot&symbol=BTCUSDT",
            "/v5/market/orderbook?category=inverse&symbol=BTCUSD&limit=50",
            "/v5/market/tickers?category=linear&symbol=BTCUSDT",
            "/v5/market/orderbook?category=linear&symbol=NO",
        ],
    );
    assert!(answers[0]["result"]["timeNano"].as_str().unwrap().len() == 19);
    assert_eq!(answers[1]["result"]["list"][0]["lotSizeFilter"]["qtyStep"], "0.001");
    assert_eq!(answers[2]["result"]["list"][0]["lotSizeFilter"]["basePrecision"], "0.000010");
    assert_eq!(answers[3]["result"]["b"].as_array().unwrap().len(), 50);
    assert!(answers[4]["result"]["list"][0]["fundingRate"].is_string());
    assert_ne!(answers[5]["retCode"], 0);
}

#[test]
fn bitget() {
    let answers = get(
        Venue::Bitget,
        &[
            "/api/v2/public/time",
            "/api/v2/mix/market/contracts?productType=USDT-FUTURES",
            "/api/v2/spot/public/symbols",
            "/api/v2/mix/market/merge-depth?symbol=BTCUSDT&productType=usdt-futures&limit=max",
            "/api/v2/spot/market/orderbook?symbol=BTCUSDT&limit=15",
        ],
    );
    assert!(answers[0]["data"]["serverTime"].is_string());
    let contracts = answers[1]["data"].as_array().unwrap();
    assert_eq!(
        (contracts.len(), &contracts[0]["pricePlace"], &contracts[0]["priceEndStep"]),
        (2, &"1".into(), &"1".into())
    );
    assert_eq!(answers[2]["data"][0]["pricePrecision"], "2");
    assert!(answers[3]["data"]["asks"][0][0].is_f64() && answers[3]["data"]["asks"].as_array().unwrap().len() > 200);
    assert!(answers[4]["data"]["asks"][0][0].is_string());
}

#[test]
fn deribit() {
    let answers = get(
        Venue::Deribit,
        &[
            "/api/v2/public/get_time",
            "/api/v2/public/get_instruments?currency=BTC&kind=option",
            "/api/v2/public/get_order_book?instrument_name=BTC-PERPETUAL&depth=20",
            "/api/v2/public/ticker?instrument_name=ETH-PERPETUAL",
            "/api/v2/public/get_volatility_index_data?currency=BTC",
        ],
    );
    assert!(answers[0]["result"].is_i64());
    let options = answers[1]["result"].as_array().unwrap();
    assert_eq!(options.len(), 4);
    assert!(options[0]["strike"].is_f64() && options[0]["expiration_timestamp"].is_i64());
    assert_eq!(answers[2]["result"]["bids"].as_array().unwrap().len(), 20);
    assert!(answers[2]["result"]["change_id"].is_i64() && answers[3]["result"]["funding_8h"].is_f64());
    assert_eq!(answers[4]["result"]["data"].as_array().unwrap().len(), 10);
    let exchange = Exchange::start(only(Venue::Deribit)).unwrap();
    let body =
        r#"{"jsonrpc":"2.0","id":3,"method":"public/get_instrument","params":{"instrument_name":"BTC-PERPETUAL"}}"#;
    let posted = http(tls(&exchange, Venue::Deribit).unwrap(), "POST", "/api/v2", &[], body);
    assert_eq!((posted.status, &posted.body["id"], &posted.body["result"]["tick_size"]), (200, &3.into(), &0.5.into()));
    assert_eq!(rest(&exchange, Venue::Deribit, "/api/v2/public/nothing", &[]).body["error"]["code"], -32_601);
}

#[test]
fn weights_lead_to_429_and_then_to_418() {
    let config = with_limits(Venue::BinanceSpot, Limits { rest_weight: 60, ..Limits::default() });
    let exchange = Exchange::start(ExchangeConfig { time_scale: 0.02, ..config }).unwrap();
    let ask = |target: &str| rest(&exchange, Venue::BinanceSpot, target, &[]);
    let depth = ask("/api/v3/depth?symbol=BTCUSDT&limit=1000");
    assert_eq!((depth.status, depth.headers["x-mbx-used-weight-1m"].as_str()), (200, "50"));
    let slow = ask("/api/v3/exchangeInfo");
    assert_eq!((slow.status, &slow.body["code"]), (429, &Value::from(-1_003)));
    assert!((50..=60).contains(&slow.headers["retry-after"].parse::<u64>().unwrap()));
    let statuses: Vec<_> = (0..4).map(|_| ask("/api/v3/exchangeInfo").status).collect();
    assert_eq!(statuses, [429, 429, 418, 418]);
    // Two minutes, scaled.
    assert!(["2", "3"].contains(&ask("/api/v3/time").headers["retry-after"].as_str()));
    violated(&exchange, "rest_rate");
    violated(&exchange, "rest_ban");
}

#[test]
fn other_venues_refuse_in_their_own_way() {
    for (venue, target, status) in [
        (Venue::Okx, "/api/v5/public/time", 429),
        (Venue::Bybit, "/v5/market/time", 403),
        (Venue::Bitget, "/api/v2/public/time", 429),
    ] {
        let exchange =
            Exchange::start(with_limits(venue, Limits { rest_weight: 1, rest_window: 60, ..Limits::default() }))
                .unwrap();
        assert_eq!(rest(&exchange, venue, target, &[]).status, 200);
        assert_eq!(rest(&exchange, venue, target, &[]).status, status);
    }
}

#[test]
fn hostile_requests_harm_nobody() {
    let least = i64::MIN.to_string();
    let headers = [
        ("X-MBX-APIKEY", "test"),
        ("ACCESS-KEY", "test"),
        ("ACCESS-TIMESTAMP", &least),
        ("OK-ACCESS-TIMESTAMP", "9999-99-99T99:99:99Z"),
        ("X-BAPI-API-KEY", "test"),
        ("X-BAPI-TIMESTAMP", &least),
        ("X-BAPI-RECV-WINDOW", &least),
        ("Authorization", "deri-hmac-sha256 id=test,ts=-9223372036854775808,nonce=,sig="),
    ];
    let targets = [
        "/api/v3/account?timestamp=-9223372036854775808&recvWindow=-9223372036854775808&signature=00",
        "/api/v3/depth?symbol=BTCUSDT&limit=99999999999999999999",
        "/v5/position/list?category=linear",
        "/v5/market/orderbook?category=&limit=0",
        "/api/v5/account/balance",
        "/api/v5/market/books?instId=BTC-USDT&sz=0",
        "/api/v2/mix/position/all-position?productType=",
        "/api/v2/mix/market/merge-depth?symbol=BTCUSDT&productType=USDT-FUTURES&limit=0",
        "/api/v2/private/get_positions?currency=%00",
        "/api/v2/public/get_order_book?instrument_name=BTC-PERPETUAL&depth=99999999999999999999",
        "/api/v2",
        "/?&&==&",
    ];
    for venue in [Venue::BinanceSpot, Venue::Bybit, Venue::Okx, Venue::Bitget, Venue::Deribit] {
        let exchange = Exchange::start(only(venue)).unwrap();
        for target in targets {
            assert!(rest(&exchange, venue, target, &headers).status < 500);
        }
    }
}
