//! Seeds of the transport's targets: WebSocket streams, captures of our own, and what venues say besides data.

use tidegate_feed::capture::{Block, CaptureWriter, Entry, EntryKind};
use tidegate_feed::session::dialect::{Channel, dialect};
use tidegate_feed::transport::websocket::{Encoder, Kind, Role};
use tidegate_wire::{Instrument, InstrumentId, Price, Registry, Venue};

/// What venues answer, by a word of their name.
const TEXTS: [(&str, &str); 16] = [
    ("binance", r#"{"result":null,"id":1}"#),
    ("binance", r#"{"error":{"code":2,"msg":"Invalid request"},"id":2}"#),
    ("binance", r#"{"serverTime":1790000000000}"#),
    ("okx", r#"{"event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT-SWAP"},"connId":"a"}"#),
    ("okx", r#"{"event":"error","code":"60012","msg":"Invalid request"}"#),
    ("okx", r#"{"event":"notice","code":"64008","msg":"closing","connId":"a"}"#),
    ("okx", "pong"),
    ("bybit", r#"{"success":true,"ret_msg":"","conn_id":"a","req_id":"1","op":"subscribe"}"#),
    ("bybit", r#"{"success":false,"ret_msg":"error:handler not found","req_id":"1","op":"subscribe"}"#),
    ("bybit", r#"{"success":true,"ret_msg":"pong","op":"ping"}"#),
    ("bitget", r#"{"event":"subscribe","arg":{"instType":"USDT-FUTURES","channel":"books","instId":"BTCUSDT"}}"#),
    ("bitget", r#"{"event":"login","code":0}"#),
    (
        "bitget",
        r#"{"action":"snapshot","arg":{"channel":"positions"},"data":[{"instId":"BTCUSDT"}],"ts":1790000000000}"#,
    ),
    ("deribit", r#"{"jsonrpc":"2.0","id":1,"result":["book.BTC-PERPETUAL.raw"]}"#),
    ("deribit", r#"{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}"#),
    ("deribit", r#"{"jsonrpc":"2.0","id":1,"error":{"code":13009,"message":"unauthorized"}}"#),
];

/// A folder's name and its seeds.
pub fn seeds() -> [(&'static str, Vec<Vec<u8>>); 3] {
    [("websocket", streams()), ("capture_file", captures()), ("session_text", texts())]
}

fn streams() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (role, head) in [(Role::Server, 0x0e), (Role::Client, 0x0f)] {
        let mut stream = vec![head, 3, 1, 7, 200];
        for (kind, payload) in [(Kind::Text, &b"{\"a\":1}"[..]), (Kind::Ping, b"x"), (Kind::Binary, &[7; 300])] {
            let mut frame = vec![0; payload.len() + 14];
            if let Ok(length) = Encoder::new(role).write(kind, payload, &mut frame) {
                stream.extend_from_slice(&frame[..length]);
            }
        }
        seeds.push(stream.clone());
        let mut close = vec![0; 64];
        if let Ok(length) = Encoder::new(role).write_close(1001, "bye", &mut close) {
            stream.extend_from_slice(&close[..length]);
        }
        seeds.push(stream);
    }
    // Fragments with a ping between them, cut inside a character.
    seeds.push([&[0x0e, 1, 2][..], b"\x01\x03\xe2\x82\xac\x00\x01\xc3\x89\x01p\x80\x02\xa9!"].concat());
    seeds
}

fn registry() -> Registry {
    let mut registry = Registry::new();
    let instrument = Instrument { tick: Price::from_raw(10), ..Instrument::linear(Venue::BinanceUsdm, "BTCUSDT", 2, 3) };
    registry.add(instrument).expect("an instrument");
    registry
}

fn captures() -> Vec<Vec<u8>> {
    let path = std::env::temp_dir().join(format!("seed-{}.tgcap", std::process::id()));
    let mut seeds = Vec::new();
    for (blocks, close) in [(0, true), (1, false), (2, true)] {
        let mut writer = CaptureWriter::create(&path, &registry(), 1, 1_790_000_000_000_000_000).expect("a file");
        for number in 0..blocks {
            let mut block = Block::default();
            let kinds = [EntryKind::Frame, EntryKind::Beat, EntryKind::Resync, EntryKind::Lost];
            for (kind, recv_ns) in kinds.into_iter().zip(1_790_000_000_000_000_000 + number..) {
                let (venue, hint) = (Venue::BinanceUsdm, InstrumentId(0));
                block.push(&Entry { kind, recv_ns, venue, source: 1, hint, bytes: b"{\"e\":\"x\"}" });
            }
            writer.write(&block).expect("written");
        }
        if close {
            writer.close().expect("closed");
        }
        let bytes = std::fs::read(&path).expect("a file");
        std::fs::remove_file(&path).expect("removed");
        // With checksums as they are, and put right by the target.
        seeds.extend([0, 1].map(|first| [&[first][..], &bytes].concat()));
    }
    seeds
}

fn texts() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, venue) in (0u8..).zip(Venue::ALL) {
        let Some(dialect) = dialect(venue) else { continue };
        let said = TEXTS.iter().filter(|(word, _)| venue.name().starts_with(word));
        let mut all = vec![number];
        for (_, text) in said {
            seeds.push([&[number][..], text.as_bytes()].concat());
            all.extend_from_slice(text.as_bytes());
            all.push(b'\n');
        }
        // What we would send ourselves: a venue that echoes it must not confuse us.
        if let Some(topic) = dialect.topic(InstrumentId(0), "BTCUSDT", Channel::Book) {
            all.extend_from_slice(dialect.subscribe(1, &[&topic]).as_bytes());
        }
        seeds.push(all);
    }
    seeds
}
