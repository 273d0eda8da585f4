//! Each fault is seen on the wire, and recorded when it happened.

use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_simex::exchange::{BadCertificate, Chaos, Exchange, ExchangeConfig, Fault, FaultKind, Limits, Venue};
use tungstenite::Message;

use crate::support::{Client, eventually, only, recorded, rest, tls, with_limits};

const VENUE: Venue = Venue::Okx;
const SUBSCRIBE: &str = r#"{"op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT-SWAP"}]}"#;

fn lenient() -> Exchange {
    Exchange::start(with_limits(VENUE, Limits { connects: 1_000, rest_weight: 1_000, ..Limits::default() })).unwrap()
}

/// A client whose book has begun.
fn subscribed(exchange: &Exchange) -> Client {
    let mut client = Client::connect(exchange, VENUE, "/ws/v5/public");
    client.ask(SUBSCRIBE, |value| value["action"] == "snapshot");
    client.until(|value| value["action"] == "update");
    client
}

fn fault(kind: FaultKind) -> Fault {
    Fault { venue: Some(VENUE), ..Fault::new(kind) }
}

fn short(kind: FaultKind, milliseconds: u64) -> Fault {
    Fault { lasting: Duration::from_millis(milliseconds), ..fault(kind) }
}

fn ids(frame: &Value) -> (i64, i64) {
    let data = &frame["data"][0];
    (data["prevSeqId"].as_i64().unwrap(), data["seqId"].as_i64().unwrap())
}

/// Ids of the next updates.
fn chain(client: &mut Client, count: usize) -> Vec<(i64, i64)> {
    (0..count).map(|_| ids(&client.until(|value| value["action"] == "update"))).collect()
}

#[test]
fn lost_frames_leave_a_gap() {
    let exchange = lenient();
    let mut client = subscribed(&exchange);
    let id = exchange.inject(Fault { count: 2, ..fault(FaultKind::Lost) }).unwrap();
    let ids = chain(&mut client, 6);
    let gaps: Vec<_> = ids.windows(2).filter(|pair| pair[1].0 != pair[0].1).collect();
    let records = eventually("both records", || {
        let ours: Vec<_> = exchange.faults().into_iter().filter(|record| record.id == id).collect();
        (ours.len() == 2).then_some(ours)
    });
    // Both frames were lost before the first one read here, or in one gap.
    assert!(gaps.len() <= 1);
    for record in records {
        assert_eq!((record.venue, record.kind, record.connection), (VENUE, FaultKind::Lost, Some(1)));
        assert_eq!(record.symbol.as_deref(), Some("BTC-USDT-SWAP"));
        let last: i64 = record.detail.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(ids.iter().all(|(_, id)| *id != last), "{} was sent", record.detail);
    }
}

#[test]
fn repeated_and_reordered_frames() {
    let exchange = lenient();
    let mut client = subscribed(&exchange);
    exchange.inject(fault(FaultKind::Repeated)).unwrap();
    let repeated = chain(&mut client, 5);
    assert!(repeated.windows(2).any(|pair| pair[0] == pair[1]));
    let id = exchange.inject(Fault { count: 2, ..fault(FaultKind::Reordered) }).unwrap();
    let reordered = chain(&mut client, 8);
    let swaps = reordered.windows(2).filter(|pair| pair[0].0 == pair[1].1).count();
    assert_eq!(swaps, 2, "{reordered:?}");
    assert!(reordered.windows(2).any(|pair| pair[0].0 == pair[1].1), "{reordered:?}");
    recorded(&exchange, id);
}

#[test]
fn messages_with_wrong_content() {
    let exchange = lenient();
    let mut client = subscribed(&exchange);
    let id = exchange.inject(fault(FaultKind::Truncated)).unwrap();
    eventually("a truncated message", || serde_json::from_str::<Value>(&client.text()).is_err().then_some(()));
    recorded(&exchange, id);

    let id = exchange.inject(Fault { by: 5_000_000, ..fault(FaultKind::SequenceJump) }).unwrap();
    let ids = chain(&mut client, 5);
    // The frame itself may have been the first one read; then the next one steps back.
    let jump = ids.windows(2).any(|pair| (pair[1].0 - pair[0].1).abs() > 4_000_000);
    assert!(jump, "{ids:?}");
    assert!(recorded(&exchange, id).detail.contains("5000000"));
}

#[test]
fn one_bit_is_wrong() {
    // Bitget's checksum finds it where the text is still JSON; here the text is compared with an undamaged client's.
    let exchange = lenient();
    let mut good = subscribed(&exchange);
    let mut bad = subscribed(&exchange);
    let connection = exchange.clients()[1].connection;
    let id = exchange.inject(Fault { connection: Some(connection), ..fault(FaultKind::BitFlip) }).unwrap();
    recorded(&exchange, id);
    exchange.freeze();
    let bytes = |client: &mut Client| {
        let mut all = Vec::new();
        while let Some(message) = client.next_within(Duration::from_millis(300)) {
            // A flipped bit may make the text no UTF-8, which the client refuses.
            match message {
                Ok(Message::Text(text)) => all.push(text.to_string()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        Some(all)
    };
    let (good, bad) = (bytes(&mut good).unwrap(), bytes(&mut bad));
    let damaged = bad.is_none_or(|bad| {
        let wrong: Vec<_> = bad.iter().filter(|text| !good.contains(text)).collect();
        let bits = |a: &str, b: &str| a.bytes().zip(b.bytes()).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
        wrong.len() == 1 && good.iter().any(|text| text.len() == wrong[0].len() && bits(text, wrong[0]) == 1)
    });
    assert!(damaged);
}

#[test]
fn a_wrong_checksum_is_bitgets() {
    let exchange = Exchange::start(only(Venue::Bitget)).unwrap();
    let mut client = Client::connect(&exchange, Venue::Bitget, "/v2/ws/public");
    let arg = r#"{"op":"subscribe","args":[{"instType":"USDT-FUTURES","channel":"books","instId":"BTCUSDT"}]}"#;
    client.ask(arg, |value| value["action"] == "snapshot");
    let id = exchange.inject(Fault::new(FaultKind::WrongChecksum)).unwrap();
    let record = recorded(&exchange, id);
    assert_eq!(record.kind, FaultKind::WrongChecksum);
    // What the checksum should be is known from the record's neighbour: the books test verifies all of them.
    assert!(record.detail.contains("checksum changed, ids"));
    assert!(exchange.inject(Fault { venue: Some(VENUE), ..Fault::new(FaultKind::WrongChecksum) }).is_err());
}

#[test]
fn stalls_hold_everything_or_one_symbol() {
    let exchange = lenient();
    let mut client = subscribed(&exchange);
    client.send(&SUBSCRIBE.replace("BTC", "ETH"));
    client.until(|value| value["arg"]["instId"] == "ETH-USDT-SWAP" && value["action"] == "update");
    let symbol = Some("BTC-USDT-SWAP".to_owned());
    let id = exchange.inject(Fault { symbol, ..short(FaultKind::Stall, 700) }).unwrap();
    recorded(&exchange, id);
    let start = Instant::now();
    let (mut other, mut ours) = (0, Vec::new());
    while start.elapsed() < Duration::from_millis(1_000) {
        let frame = client.json();
        if frame["arg"]["instId"] == "BTC-USDT-SWAP" {
            ours.push((start.elapsed(), ids(&frame)));
        } else {
            other += 1;
        }
    }
    assert!(other >= 4);
    assert!(ours.windows(2).all(|pair| pair[1].1.0 == pair[0].1.1), "late, but complete");
    assert!(ours.windows(2).any(|pair| pair[1].0 - pair[0].0 < Duration::from_millis(20)), "all at once");

    exchange.inject(short(FaultKind::Stall, 600)).unwrap();
    let start = Instant::now();
    let mut longest = Duration::ZERO;
    let mut last = Instant::now();
    while start.elapsed() < Duration::from_millis(1_000) {
        client.json();
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    assert!(longest > Duration::from_millis(450), "{longest:?}");
}

#[test]
fn half_open_connections_say_nothing_and_stay() {
    let exchange = lenient();
    let mut client = subscribed(&exchange);
    let id = exchange.inject(short(FaultKind::HalfOpen, 900)).unwrap();
    recorded(&exchange, id);
    while client.next_within(Duration::from_millis(200)).is_some() {}
    client.send("ping");
    assert!(client.next_within(Duration::from_millis(300)).is_none(), "neither an answer nor an end");
    // In the end it is gone without a close.
    assert_eq!(client.close_code(), 0);
}

#[test]
fn the_connection_ends_inside_a_frame() {
    let exchange = lenient();
    let mut client = subscribed(&exchange);
    let id = exchange.inject(fault(FaultKind::DisconnectMidFrame)).unwrap();
    assert_eq!(client.close_code(), 0);
    assert!(recorded(&exchange, id).detail.contains(" of "));
}

#[test]
fn slow_loris_sends_byte_by_byte() {
    let exchange = lenient();
    let mut client = subscribed(&exchange);
    let id = exchange.inject(Fault { gap: Duration::from_millis(20), ..short(FaultKind::SlowLoris, 500) }).unwrap();
    recorded(&exchange, id);
    let stream = client.socket.get_mut();
    let (mut single, mut bytes, start) = (0, [0; 4_096], Instant::now());
    while start.elapsed() < Duration::from_millis(400) {
        if stream.read(&mut bytes).unwrap() == 1 {
            single += 1;
        }
    }
    assert!(single >= 10, "{single} single bytes");
}

#[test]
fn closes_with_any_code() {
    let exchange = lenient();
    let mut client = subscribed(&exchange);
    let id = exchange.inject(Fault { code: Some(4_321), ..fault(FaultKind::Close) }).unwrap();
    assert_eq!(client.close_code(), 4_321);
    assert!(recorded(&exchange, id).detail.contains("4321"));
}

#[test]
fn cuts_are_announced_where_the_venue_does() {
    let config = ExchangeConfig { time_scale: 0.02, ..only(VENUE) };
    let exchange = Exchange::start(config).unwrap();
    let mut client = subscribed(&exchange);
    exchange.inject(fault(FaultKind::Cut24h)).unwrap();
    assert_eq!(client.until(|value| value["event"] == "notice")["code"], "64008");
    let told = Instant::now();
    assert_eq!(client.close_code(), 0);
    assert!(told.elapsed() > Duration::from_millis(800), "60 s, scaled");

    let exchange = Exchange::start(ExchangeConfig { time_scale: 0.02, ..only(Venue::BinanceSpot) }).unwrap();
    let mut client = Client::connect(&exchange, Venue::BinanceSpot, "/stream?streams=btcusdt@depth@100ms");
    client.json();
    exchange.inject(Fault::new(FaultKind::Cut24h)).unwrap();
    let notice = client.until(|value| value["stream"] == "!serverShutdown");
    assert_eq!(notice["data"]["e"], "serverShutdown");
    assert_eq!(client.close_code(), 0);

    let exchange = Exchange::start(only(Venue::Bitget)).unwrap();
    let mut client = Client::connect(&exchange, Venue::Bitget, "/v2/ws/public");
    let id = exchange.inject(Fault::new(FaultKind::Cut24h)).unwrap();
    assert_eq!(client.close_code(), 0);
    assert_eq!(recorded(&exchange, id).detail, "not announced");
}

#[test]
fn rest_faults() {
    let exchange = lenient();
    let target = "/api/v5/public/time";
    let limited = Fault { retry_after: Duration::from_millis(1_500), ..short(FaultKind::RateLimited, 300) };
    let id = exchange.inject(limited).unwrap();
    let answer = rest(&exchange, VENUE, target, &[]);
    assert_eq!((answer.status, answer.headers["retry-after"].as_str()), (429, "2"));
    assert_eq!(answer.body["code"], "50011");
    recorded(&exchange, id);
    eventually("the end of it", || (rest(&exchange, VENUE, target, &[]).status == 200).then_some(()));

    let id = exchange.inject(Fault { code: Some(502), ..short(FaultKind::RestError5xx, 300) }).unwrap();
    assert_eq!(rest(&exchange, VENUE, target, &[]).status, 502);
    assert!(recorded(&exchange, id).detail.contains("502"));
    eventually("the end of it", || (rest(&exchange, VENUE, target, &[]).status == 200).then_some(()));

    let id = exchange.inject(Fault { delay: Duration::from_millis(400), ..short(FaultKind::RestSlow, 300) }).unwrap();
    let start = Instant::now();
    assert_eq!(rest(&exchange, VENUE, target, &[]).status, 200);
    assert!(start.elapsed() > Duration::from_millis(400));
    recorded(&exchange, id);
}

#[test]
fn stale_snapshots_stand_still() {
    let exchange = lenient();
    let target = "/api/v5/market/books?instId=BTC-USDT-SWAP&source=0&sz=400";
    let sequence = || rest(&exchange, VENUE, target, &[]).body["data"][0]["seqId"].as_i64().unwrap();
    let id = exchange.inject(short(FaultKind::StaleSnapshot, 800)).unwrap();
    let first = sequence();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(sequence(), first);
    assert!(exchange.book(VENUE, "BTC-USDT-SWAP", None).unwrap().id > first);
    recorded(&exchange, id);
    eventually("a fresh snapshot", || (sequence() > first).then_some(()));
}

#[test]
fn clocks_jump() {
    let exchange = lenient();
    let time = || -> i64 {
        let answer = rest(&exchange, VENUE, "/api/v5/public/time", &[]);
        answer.body["data"][0]["ts"].as_str().unwrap().parse().unwrap()
    };
    let before = time();
    let id = exchange.inject(Fault { by: -3_600_000, ..fault(FaultKind::ClockJump) }).unwrap();
    recorded(&exchange, id);
    let jump = time() - before;
    assert!((-3_600_000..-3_590_000).contains(&jump), "{jump}");
}

#[test]
fn floods_send_more() {
    let exchange = lenient();
    let mut client = subscribed(&exchange);
    let mut count = |time: u64| {
        let start = Instant::now();
        let mut frames = 0;
        while start.elapsed() < Duration::from_millis(time) {
            frames += usize::from(client.next_within(Duration::from_millis(50)).is_some());
        }
        frames
    };
    let usual = count(1_000);
    let id = exchange.inject(Fault { factor: 10.0, ..short(FaultKind::Flood, 1_500) }).unwrap();
    recorded(&exchange, id);
    let flooded = count(1_000);
    assert!(flooded > 3 * usual, "{usual} and {flooded}");
}

#[test]
fn tls_faults_are_for_new_connections() {
    let exchange = lenient();
    let mut client = subscribed(&exchange);
    for certificate in [BadCertificate::WrongHost, BadCertificate::Expired] {
        let id = exchange.inject(Fault { certificate, ..short(FaultKind::TlsBadCertificate, 400) }).unwrap();
        let error = tls(&exchange, VENUE).expect_err("a refused certificate").to_string();
        let reason = if certificate == BadCertificate::Expired { "xpired" } else { "not valid for name" };
        assert!(error.contains(reason), "{error}");
        recorded(&exchange, id);
        eventually("a good certificate", || tls(&exchange, VENUE).ok());
    }
    let id = exchange.inject(short(FaultKind::TlsAbort, 400)).unwrap();
    assert!(tls(&exchange, VENUE).is_err());
    recorded(&exchange, id);
    eventually("a handshake", || tls(&exchange, VENUE).ok());
    client.until(|value| value["action"] == "update");
}

#[test]
fn faults_of_a_script_happen_at_their_time() {
    let config: ExchangeConfig = toml::from_str(
        r#"
        activity = 0.5
        [venue.okx]
        [[fault]]
        at = "600ms"
        venue = "okx"
        kind = "close"
        code = 4002
        "#,
    )
    .unwrap();
    let start = Instant::now();
    let exchange = Exchange::start(config).unwrap();
    let mut client = Client::connect(&exchange, VENUE, "/ws/v5/public");
    assert_eq!(client.close_code(), 4_002);
    assert!(start.elapsed() >= Duration::from_millis(600));
    assert_eq!(exchange.addresses().venues.len(), 1);
}

#[test]
fn chaos_happens_in_the_order_of_its_seed() {
    let run = || {
        // Only kinds that happen whoever is connected.
        let mut chaos = Chaos::new(11, 1_200.0);
        chaos.kinds = vec![FaultKind::ClockJump, FaultKind::Flood];
        let exchange = Exchange::start(ExchangeConfig { chaos: Some(chaos), ..only(VENUE) }).unwrap();
        let faults = eventually("ten faults", || Some(exchange.faults()).filter(|faults| faults.len() >= 10));
        faults.into_iter().take(10).map(|record| (record.id, record.kind, record.detail)).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
