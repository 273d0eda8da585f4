//! Everything at once: the exchange goes on, and a client that connects again finds a sound book.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_simex::exchange::{Category, Chaos, Exchange, ExchangeConfig, FaultKind, Limits, Venue, VenueConfig};

use crate::books::bitget_book;
use crate::support::{Client, eventually, http, tls};

/// Connects, subscribes, reads whatever comes, and begins again, until told to stop.
fn bear(exchange: &Exchange, venue: Venue, path: &str, subscribe: &str, stop: &AtomicBool) -> usize {
    let mut texts = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut client) = Client::try_connect(exchange, venue, path) else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        client.send(subscribe);
        let mut quiet = 0;
        while quiet < 20 && !stop.load(Ordering::Relaxed) {
            match client.next_within(Duration::from_millis(50)) {
                Some(Ok(_)) => (texts, quiet) = (texts + 1, 0),
                Some(Err(_)) => break,
                None => quiet += 1,
            }
        }
    }
    texts
}

#[test]
fn nothing_stops_the_exchange() {
    let limits = Limits { connects: 100_000, connections: 1_000, ..Limits::default() };
    let settings = VenueConfig { limits, ..VenueConfig::default() };
    let venues = [Venue::BinanceUsdm, Venue::Okx, Venue::Bybit, Venue::Bitget, Venue::Deribit];
    let config = ExchangeConfig {
        venue: venues.iter().map(|venue| (*venue, settings.clone())).collect(),
        chaos: Some(Chaos::new(7, 600.0)),
        activity: 0.3,
        time_scale: 0.2,
        ..ExchangeConfig::default()
    };
    let exchange = Exchange::start(config).unwrap();
    let stop = AtomicBool::new(false);
    let clients = [
        (Venue::BinanceUsdm, "/public/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker", "{}"),
        (Venue::Okx, "/ws/v5/public", r#"{"op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT-SWAP"}]}"#),
        (Venue::Bybit, "/v5/public/linear", r#"{"op":"subscribe","args":["orderbook.50.BTCUSDT"]}"#),
        (
            Venue::Deribit,
            "/ws/api/v2",
            r#"{"id":1,"method":"public/subscribe","params":{"channels":["book.BTC-PERPETUAL.100ms"]}}"#,
        ),
    ];
    std::thread::scope(|scope| {
        let bearers = clients.map(|(venue, path, subscribe)| {
            let (exchange, stop) = (&exchange, &stop);
            scope.spawn(move || bear(exchange, venue, path, subscribe, stop))
        });
        let requests = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if let Ok(stream) = tls(&exchange, Venue::Okx) {
                    http(stream, "GET", "/api/v5/public/time", &[], "");
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        std::thread::sleep(Duration::from_secs(4));
        stop.store(true, Ordering::Relaxed);
        let texts: Vec<usize> = bearers.map(|thread| thread.join().unwrap()).into();
        requests.join().unwrap();
        assert!(texts.iter().all(|count| *count > 10), "{texts:?}");
    });
    let kinds: std::collections::BTreeSet<FaultKind> = exchange.faults().iter().map(|record| record.kind).collect();
    assert!(kinds.len() >= 8, "{kinds:?}");
    drop(exchange);

    // Connections of all kinds of ends leave nothing behind, and books are as sound as before.
    let chaos = ExchangeConfig { venue: [(Venue::Bitget, settings)].into(), ..ExchangeConfig::default() };
    let exchange = Exchange::start(chaos).unwrap();
    for path in ["/v2/ws/public", "/v2/ws/private"] {
        drop(Client::connect(&exchange, Venue::Bitget, path));
    }
    eventually("no connection", || exchange.clients().is_empty().then_some(()));
    bitget_book(&exchange, "USDT-FUTURES", "ETHUSDT", Category::Linear);
}
