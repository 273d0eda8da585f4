//! Frames of our own, as OKX, Bybit, Bitget and Deribit document them: each must say exactly what is written beside it.

mod common;

use common::any::Any;
use common::differential::{Reading, differential};
use common::streams::{registry, streams};
use tidegate_feed::Reason;
use tidegate_feed::sync::Previous;
use tidegate_feed::venues::{Body, Decode, OptionMessage};
use tidegate_wire::event::{Level, OptionMark};
use tidegate_wire::{InstrumentId, Venue};

const MS: i64 = 1_000_000;

/// Levels as `price x quantity`, mantissas.
fn levels(levels: &[Level]) -> String {
    levels.iter().map(|level| format!(" {}x{}", level.price.raw(), level.qty.raw())).collect()
}

/// One message in words; the time is in milliseconds, prices and quantities are mantissas.
fn words(instrument: InstrumentId, body: &Body, venue_ns: i64, reading: &Reading) -> String {
    let said = match body {
        Body::Stream(frame) => {
            let kind = if frame.whole { "snapshot" } else { "delta" };
            let last = frame.ids.last.map_or("none".into(), |last| last.to_string());
            let previous = match frame.ids.previous {
                Previous::Absent => "absent".into(),
                Previous::Nothing => "nothing".into(),
                Previous::Id(id) => id.to_string(),
            };
            let (rank, crc, window) = (frame.ids.rank, frame.checksum, frame.window);
            let head = format!("{kind} last={last} prev={previous} rank={rank} crc={crc} window={window}");
            let sides = format!("bids{} asks{}", levels(&reading.bids), levels(&reading.asks));
            return format!("#{} {head} at={} {sides}", instrument.0, venue_ns / MS);
        }
        Body::Quote { quote, order } => {
            format!("quote{}{} order={order}", levels(&[quote.bid]), levels(&[quote.ask]))
        }
        Body::Trade { trade, sell, raw } => {
            assert_eq!(trade.transact_ns, venue_ns);
            let (side, raw) = (if *sell { "sell" } else { "buy" }, if *raw { " raw" } else { "" });
            format!("{side} {}x{} id={}{raw}", trade.price.raw(), trade.qty.raw(), trade.trade_id)
        }
        Body::Mark(mark) => {
            format!("mark {} {} {} {}", mark.mark, mark.index, mark.funding, mark.next_funding_ns / MS)
        }
        other => panic!("no stream says {other:?}"),
    };
    format!("#{} {said} at={}", instrument.0, venue_ns / MS)
}

fn option(message: &OptionMessage) -> String {
    let words: &[i64] = &[
        message.option.mark,
        message.option.underlying,
        message.option.mark_iv,
        message.option.bid_iv,
        message.option.ask_iv,
        message.option.delta,
        message.option.gamma,
        message.option.vega,
        message.option.theta,
        message.option.rho,
        message.option.open_interest,
    ];
    let word = |word: &i64| if *word == OptionMark::NOT_TOLD { " ?".into() } else { format!(" {word}") };
    let words: String = words.iter().map(word).collect();
    format!("#{} option{words} at={}", message.instrument.0, message.venue_ns / MS)
}

fn said(reading: &Reading) -> String {
    if reading.message.body != Body::Batch {
        let message = &reading.message;
        return words(message.instrument, &message.body, message.venue_ns, reading);
    }
    let messages = reading.batch.messages().iter().map(|m| words(m.instrument, &m.body, m.venue_ns, reading));
    messages.chain(reading.batch.options().iter().map(option)).collect::<Vec<_>>().join(" & ")
}

#[test]
fn every_golden_frame_says_exactly_what_it_should() {
    let registry = registry();
    // Decoders that keep the last mark of an instrument read their frames in order.
    let mut decoders: Vec<(Venue, Any)> = Vec::new();
    for stream in streams() {
        let known = decoders.iter().position(|(venue, _)| *venue == stream.venue);
        let at = known.unwrap_or_else(|| {
            decoders.push((stream.venue, Any::new(&registry, stream.venue)));
            decoders.len() - 1
        });
        let read = differential(&mut decoders[at].1, stream.frame.as_bytes(), InstrumentId::NONE);
        assert_eq!(read.as_ref().map(said), Ok(stream.says.to_owned()), "{}", stream.name);
    }
}

/// Whether a frame is a book: those a scanner reads.
fn is_book(says: &str) -> bool {
    says.contains(" rank=")
}

#[test]
fn scanners_read_the_books() {
    let registry = registry();
    for stream in streams() {
        let mut decoder = Any::new(&registry, stream.venue);
        differential(&mut decoder, stream.frame.as_bytes(), InstrumentId::NONE).expect("a golden frame");
        assert_eq!(decoder.fallbacks(), 0, "{}", stream.name);
        let mut bytes = stream.frame.as_bytes().to_vec();
        bytes.resize(stream.frame.len() + tidegate_feed::PADDING, b'0');
        let frame = tidegate_feed::FrameMut::new(&mut bytes, stream.frame.len()).expect("padding");
        let scanned = decoder.scan(&frame, true).is_some();
        assert_eq!(scanned, is_book(stream.says) || stream.name == "bybit best", "{}", stream.name);
    }
}

#[test]
fn keys_come_in_any_order_and_unknown_ones_do_not_matter() {
    let registry = registry();
    for stream in streams() {
        let mut value: serde_json::Value = serde_json::from_str(stream.frame).expect("JSON");
        // Numbers keep their digits because none here has more than a double holds; keys come out sorted.
        let grow = |value: &mut serde_json::Value| {
            let object = value.as_object_mut().expect("an object");
            object.insert("aaaNew".into(), serde_json::json!({"deep": [1, {"a": null}]}));
            object.insert("zzzNew".into(), serde_json::json!([[], "text", 1.5e-3]));
        };
        grow(&mut value);
        if let Some(data) = value.get_mut("data").filter(|data| data.is_object()) {
            grow(data);
        }
        let text = value.to_string();
        let mut decoder = Any::new(&registry, stream.venue);
        let plain = differential(&mut decoder, stream.frame.as_bytes(), InstrumentId::NONE);
        let mut decoder = Any::new(&registry, stream.venue);
        assert_eq!(differential(&mut decoder, text.as_bytes(), InstrumentId::NONE), plain, "{}", stream.name);
    }
}

#[test]
fn frames_that_say_nothing_are_refused_by_name() {
    let registry = registry();
    for (venue, reason, frame) in [
        (Venue::Okx, Reason::Control, "pong"),
        (Venue::Okx, Reason::Control, r#"{"event":"error","code":"60012","msg":"","connId":"a"}"#),
        (Venue::Okx, Reason::Control, r#"{"op":"ping"}"#),
        (Venue::Okx, Reason::UnknownMessage, r#"{"table":"spot/trade","data":[]}"#),
        (Venue::Okx, Reason::UnknownMessage, "[1]"),
        (Venue::Okx, Reason::NotJson, r#"{"arg":"#),
        (Venue::Okx, Reason::UnusedStream, r#"{"arg":{"channel":"instruments","instType":"SWAP"},"data":[{}]}"#),
        (Venue::Okx, Reason::UnknownSymbol, r#"{"arg":{"channel":"books","instId":"X"},"data":[{}]}"#),
        (Venue::Okx, Reason::BadField, r#"{"arg":{"channel":"books","instId":"ABC-USDT"},"data":[]}"#),
        (
            Venue::Okx,
            Reason::OneSided,
            r#"{"arg":{"channel":"bbo-tbt","instId":"ABC-USDT"},"data":[{"asks":[],"bids":[["1","1"]],"ts":"1"}]}"#,
        ),
        (Venue::Bybit, Reason::Control, r#"{"success":true,"ret_msg":"pong","conn_id":"0","op":"ping"}"#),
        (Venue::Bybit, Reason::Control, r#"{"args":["1672916271846"],"op":"pong"}"#),
        (Venue::Bybit, Reason::Control, r#"{"success":true,"data":{"successTopics":[]},"type":"COMMAND_RESP"}"#),
        (Venue::Bybit, Reason::UnusedStream, r#"{"topic":"kline.5.ABCUSDT","data":[],"ts":1,"type":"snapshot"}"#),
        (Venue::Bybit, Reason::UnusedStream, r#"{"topic":"orderbook.full.ABCUSDT","type":"delta","ts":1,"data":{}}"#),
        (
            Venue::Bybit,
            Reason::OffGrid,
            r#"{"topic":"orderbook.50.ABCUSDT","type":"delta","ts":1,"data":{"s":"ABCUSDT","b":[["1.25","1"]],"a":[],"u":1}}"#,
        ),
        (
            Venue::Bybit,
            Reason::UnusedStream,
            r#"{"topic":"tickers.ABCUSDT","type":"delta","ts":1,"data":{"symbol":"ABCUSDT","bid1Price":"1"}}"#,
        ),
        (Venue::BitgetSpot, Reason::Control, "pong"),
        (Venue::BitgetSpot, Reason::Control, r#"{"event":"error","code":30001,"msg":"x"}"#),
        (
            Venue::BitgetSpot,
            Reason::UnusedStream,
            r#"{"action":"snapshot","arg":{"instType":"SPOT","channel":"trade","instId":"ABCUSDT"},"data":[{}]}"#,
        ),
        (
            Venue::BitgetSpot,
            Reason::UnknownSymbol,
            r#"{"action":"update","arg":{"instType":"USDC-FUTURES","channel":"books","instId":"ABCUSDT"},"data":[{}]}"#,
        ),
        (Venue::Deribit, Reason::Control, r#"{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}"#),
        (Venue::Deribit, Reason::Control, r#"{"jsonrpc":"2.0","id":1,"error":{"code":10028,"message":"x"}}"#),
        (Venue::Deribit, Reason::Control, r#"{"jsonrpc":"2.0","id":"a","result":["book.X.raw"]}"#),
        (Venue::Deribit, Reason::UnknownMessage, r#"{"jsonrpc":"2.0"}"#),
        (
            Venue::Deribit,
            Reason::UnusedStream,
            r#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"platform_state","data":{}}}"#,
        ),
    ] {
        let mut decoder = Any::new(&registry, venue);
        let read = differential(&mut decoder, frame.as_bytes(), InstrumentId::NONE);
        assert_eq!(read.map(|read| read.message), Err(reason), "{frame}");
    }
}
