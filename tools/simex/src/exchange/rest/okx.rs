//! OKX: `/api/v5`.

use serde_json::{Value, json};

use super::{Answer, Call, listed, lot_text, tick_text, with_book};
use crate::exchange::encode::okx::{funding, kind, levels, ticker};
use crate::exchange::hub::Hub;
use crate::exchange::market::Instrument;
use crate::exchange::sign::{Encoding, iso_ms, verify};
use crate::exchange::venue::Category;

/// Signed requests may be this old, ms.
const RECENT_MS: u64 = 30_000;

pub(super) fn answer(hub: &Hub, call: &Call) -> Answer {
    let now_ms = hub.clock.ms(call.venue);
    match call.path.as_str() {
        "/api/v5/public/time" => fine(&format!("{{\"ts\":\"{now_ms}\"}}")),
        "/api/v5/public/instruments" => instruments(hub, call),
        "/api/v5/public/funding-rate" => one(hub, call, |instrument| {
            (instrument.listing.config.category != Category::Spot).then(|| funding(instrument, now_ms))
        }),
        "/api/v5/market/ticker" => one(hub, call, |instrument| ticker(instrument, now_ms)),
        "/api/v5/market/books" => books(hub, call),
        "/api/v5/account/balance" | "/api/v5/account/positions" => match signed(hub, call) {
            Ok(()) => fine(""),
            Err(refusal) => refusal,
        },
        _ => (404, "{\"code\":\"404\",\"data\":{},\"msg\":\"Not Found\"}".into()),
    }
}

fn fine(rows: &str) -> Answer {
    (200, format!("{{\"code\":\"0\",\"msg\":\"\",\"data\":[{rows}]}}"))
}

fn error(status: u16, code: &str, msg: &str) -> Answer {
    (status, json!({"code": code, "msg": msg, "data": []}).to_string())
}

fn unknown() -> Answer {
    error(200, "51001", "Instrument ID or Spread ID doesn't exist.")
}

fn signed(hub: &Hub, call: &Call) -> Result<(), Answer> {
    let keys = &hub.config.keys;
    let time = call.header("ok-access-timestamp");
    let text = format!("{time}{}{}{}", call.method, call.target(), call.body);
    let fault = match iso_ms(time) {
        None => Some(("50112", "Invalid OK-ACCESS-TIMESTAMP")),
        Some(ms) if hub.clock.ms(call.venue).abs_diff(ms) > RECENT_MS => Some(("50102", "Timestamp request expired")),
        _ if call.header("ok-access-key") != keys.key => Some(("50111", "Invalid OK-ACCESS-KEY")),
        _ if call.header("ok-access-passphrase") != keys.passphrase => Some(("50105", "Passphrase incorrect")),
        _ if !verify(&keys.secret, &text, call.header("ok-access-sign"), Encoding::Base64) => {
            Some(("50113", "Invalid Sign"))
        }
        _ => None,
    };
    let Some((code, msg)) = fault else { return Ok(()) };
    hub.violation(call.venue, 0, "rest_auth", &format!("{}: {msg}", call.path));
    Err(error(401, code, msg))
}

fn one(hub: &Hub, call: &Call, row: impl Fn(&Instrument) -> Option<String>) -> Answer {
    let wanted = call.parameter("instId");
    let rows = listed(hub, call.venue, |instrument| (*instrument.symbol == *wanted).then(|| row(instrument)).flatten());
    rows.first().map_or_else(unknown, |row| fine(row))
}

fn books(hub: &Hub, call: &Call) -> Answer {
    let (symbol, depth) = (call.parameter("instId"), call.number("sz").unwrap_or(1).clamp(1, 400));
    // Where the book stands in the stream is told to who asks for it.
    let place = |id: i64| if call.parameter("source") == "0" { format!(",\"seqId\":{id}") } else { String::new() };
    let shown = with_book(
        hub,
        call.venue,
        |one| *one.symbol == *symbol,
        |instrument, view| {
            format!(
                "{{\"asks\":{},\"bids\":{},\"ts\":\"{}\"{}}}",
                levels(instrument, view.asks.iter().copied().take(depth)),
                levels(instrument, view.bids.iter().copied().take(depth)),
                view.ms,
                place(view.id)
            )
        },
    );
    shown.map_or_else(unknown, |row| fine(&row))
}

fn instruments(hub: &Hub, call: &Call) -> Answer {
    let (wanted, symbol) = (call.parameter("instType"), call.parameter("instId"));
    if !matches!(wanted, "SPOT" | "SWAP") {
        return error(400, "51000", "Parameter instType error");
    }
    let rows = listed(hub, call.venue, |instrument| {
        let ours = kind(instrument) == wanted && (symbol.is_empty() || *instrument.symbol == *symbol);
        ours.then(|| row(instrument).to_string())
    });
    fine(&rows.join(","))
}

fn row(instrument: &Instrument) -> Value {
    let config = &instrument.listing.config;
    let (spot, inverse) = (config.category == Category::Spot, config.category == Category::Inverse);
    let family = format!("{}-{}", config.base, config.quote);
    let text = |shown: bool, text: &str| if shown { text.to_owned() } else { String::new() };
    let lot = lot_text(instrument);
    json!({
        "alias": "",
        "baseCcy": text(spot, &config.base),
        "category": "1",
        "ctMult": text(!spot, "1"),
        "ctType": text(!spot, if inverse { "inverse" } else { "linear" }),
        "ctVal": text(!spot, &config.contract.to_string()),
        "ctValCcy": text(!spot, if inverse { &config.quote } else { &config.base }),
        "expTime": "",
        "instFamily": text(!spot, &family),
        "instId": config.symbol,
        "instIdCode": 10_000 + config.symbol.bytes().map(i64::from).sum::<i64>(),
        "instType": kind(instrument),
        "lever": "100",
        "listTime": "1611916828000",
        "lotSz": lot,
        "maxLmtSz": "100000000",
        "maxMktSz": "30000",
        "minSz": lot,
        "optType": "",
        "quoteCcy": text(spot, &config.quote),
        "ruleType": "normal",
        "settleCcy": text(!spot, if inverse { &config.base } else { &config.quote }),
        "state": "live",
        "stk": "",
        "tickSz": tick_text(instrument),
        "uly": text(!spot, &family),
    })
}
