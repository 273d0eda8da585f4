//! Positions as venues tell them, and as the risk desk has booked them, as wire events: what the trap detector and the
//! mirrors take.
//!
//! Both are asked for at the host's pace, not at the market's, and a report of an execution comes when somebody sends
//! it: what the detector makes of them is of this run's screens alone. No digest of a replay depends on it, and none
//! may: a replay that runs twice as fast would learn of the same position elsewhere in the market.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate_serve::redis::{Key, MirrorHandle};
use tidegate_wire::order::{MONEY_DECIMALS, Side};
use tidegate_wire::position::{PositionBody, PositionRecord};
use tidegate_wire::{InstrumentId, Price, Qty, Registry, Scale};

/// Positions of the private streams in a status of the feeds, by instrument; those of instruments that this run does
/// not know are left out. A side that is not told any more is closed: `held` remembers which were open.
pub(super) fn of_feeds(
    feeds: &Value,
    registry: &Registry,
    held: &mut Vec<(InstrumentId, Side)>,
) -> Vec<PositionRecord> {
    let mut found = Vec::new();
    let mut open = Vec::new();
    let mut told_ns = 0;
    for (venue, channels) in feeds["accounts"].as_object().into_iter().flatten() {
        let channel = &channels["positions"];
        let event_ns = channel["venue_ns"].as_i64().unwrap_or(0);
        told_ns = told_ns.max(event_ns);
        for row in channel["rows"].as_array().into_iter().flatten() {
            let text = |name: &str| row[name].as_str().unwrap_or_default();
            let symbol = if row["instId"].is_string() { text("instId") } else { text("symbol") };
            let listed = registry.iter().find(|(_, i)| i.venue.name() == venue && i.symbol == symbol);
            let Some((id, instrument)) = listed else { continue };
            let side = if text("holdSide") == "short" { Side::Sell } else { Side::Buy };
            let (price, qty) = (instrument.price_scale, instrument.qty_scale);
            let (Some(total), Some(entry)) = (raw(text("total"), qty), raw(text("openPriceAvg"), price)) else {
                // What cannot be read is not closed.
                open.extend(held.iter().filter(|one| **one == (id, side)).copied());
                continue;
            };
            let mut body = PositionBody::new(side, Qty::from_raw(total), Price::from_raw(entry));
            let mut know = |bit: u8, value: Option<i64>, place: &mut Price| {
                if let Some(value) = value.filter(|value| *value > 0) {
                    (body.known, *place) = (body.known | bit, Price::from_raw(value));
                }
            };
            let [mut current, mut stop, mut take] = [Price::from_raw(0); 3];
            know(PositionBody::KNOWN_CURRENT, raw(text("markPrice"), price), &mut current);
            know(PositionBody::KNOWN_STOP, raw(text("stopLoss"), price), &mut stop);
            know(PositionBody::KNOWN_TAKE, raw(text("takeProfit"), price), &mut take);
            (body.current, body.stop_loss, body.take_profit) = (current, stop, take);
            if let Some(profit) = raw(text("unrealizedPL"), Scale::saturating(MONEY_DECIMALS)) {
                (body.known, body.profit) = (body.known | PositionBody::KNOWN_PROFIT, profit);
            }
            if total > 0 {
                open.push((id, side));
            }
            found.push(PositionRecord::new(id, event_ns, body));
        }
    }
    for (id, side) in held.iter().filter(|gone| !open.contains(gone)) {
        let body = PositionBody::new(*side, Qty::from_raw(0), Price::from_raw(0));
        found.push(PositionRecord::new(*id, told_ns, body));
    }
    *held = open;
    found
}

/// An instrument and the side that is held of it.
type Held = (InstrumentId, Side);

/// Positions that the risk desk has booked, as of `now_ns` (0 where the host's time is not the market's): net over
/// accounts and strategies, because the record names neither. What a venue tells of an instrument and side (`venues`)
/// is better, it has stops and an entry: those are left to it. A side that is not booked any more is closed: `booked`
/// remembers which were open.
///
/// The desk knows no entry price, so that is 0; the detector's advice does not look at it.
pub(super) fn of_desk(
    risk: &Value,
    registry: &Registry,
    (venues, booked): (&[Held], &mut Vec<Held>),
    now_ns: i64,
) -> Vec<PositionRecord> {
    let mut net = BTreeMap::<InstrumentId, i64>::new();
    for row in risk["positions"].as_array().into_iter().flatten() {
        let listed = registry.iter().find(|(_, listed)| row["instrument"] == listed.name());
        let qty = listed.and_then(|(id, listed)| Some((id, raw(row["qty"].as_str()?, listed.qty_scale)?)));
        if let Some((id, qty)) = qty {
            let sum = net.entry(id).or_default();
            *sum = sum.saturating_add(qty);
        }
    }
    let side = |qty: i64| if qty < 0 { Side::Sell } else { Side::Buy };
    let open = net.into_iter().filter(|(_, qty)| *qty != 0).map(|(id, qty)| ((id, side(qty)), qty.saturating_abs()));
    let open: BTreeMap<(InstrumentId, Side), i64> = open.filter(|(whose, _)| !venues.contains(whose)).collect();
    // One that a venue tells of now is the venue's to close.
    let closed = booked.iter().filter(|gone| !open.contains_key(gone) && !venues.contains(gone)).map(|gone| (*gone, 0));
    let record = |((id, side), qty): ((InstrumentId, Side), i64)| {
        PositionRecord::new(id, now_ns, PositionBody::new(side, Qty::from_raw(qty), Price::from_raw(0)))
    };
    let records = open.iter().map(|(whose, qty)| (*whose, *qty)).chain(closed).map(record).collect();
    *booked = open.into_keys().collect();
    records
}

/// Tells Redis of open positions and their stops and targets; of each change, their history.
pub(super) fn mirror(mirror: &MirrorHandle, records: &[PositionRecord], registry: &Registry, last: &mut String) {
    let line = |record: &PositionRecord| {
        let instrument = registry.get(record.header.instrument)?;
        let (price, qty) = (instrument.price_scale, instrument.qty_scale);
        let body = &record.body;
        let known = |bit: u8, value: Price| (body.known & bit != 0).then(|| value.to_f64(price));
        Some(json!({
            "instrument": instrument.name(),
            "side": if body.side() == Some(Side::Sell) { "short" } else { "long" },
            "size": body.qty.to_f64(qty),
            "entry": body.entry.to_f64(price),
            "current": known(PositionBody::KNOWN_CURRENT, body.current),
            "profit": (body.known & PositionBody::KNOWN_PROFIT != 0).then_some(body.profit as f64 * 1e-6),
            "stop_loss": known(PositionBody::KNOWN_STOP, body.stop_loss),
            "take_profit": known(PositionBody::KNOWN_TAKE, body.take_profit),
            "time_ns": record.header.event_ns,
        }))
    };
    let open: Vec<Value> = records.iter().filter(|record| record.body.qty.raw() > 0).filter_map(line).collect();
    let targets = open.iter().map(|one| {
        json!({ "instrument": one["instrument"], "stop_loss": one["stop_loss"], "take_profit": one["take_profit"] })
    });
    let (targets, current) = (Value::from_iter(targets), Value::from(open.clone()).to_string());
    mirror.set(Key::CurrentPosition, current);
    mirror.set(Key::PositionTargets, targets.to_string());
    // A position is another one when its side, size or entry is; marks and profits move all the time.
    let held: Vec<Value> = open
        .iter()
        .map(|one| json!({ "instrument": one["instrument"], "side": one["side"], "size": one["size"], "entry": one["entry"] }))
        .collect();
    let held = Value::from(held).to_string();
    if *last != held {
        if !last.is_empty() {
            mirror.set(Key::PositionHistory, last.clone());
        }
        *last = held;
    }
}

/// A decimal as a mantissa at a scale; digits beyond it are cut off.
fn raw(text: &str, scale: Scale) -> Option<i64> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let units = scale.units();
    let decimals = units.ilog10() as usize;
    let padded: String = fraction.chars().chain(std::iter::repeat('0')).take(decimals).collect();
    let part: i64 = if padded.is_empty() { 0 } else { padded.parse().ok()? };
    Some(sign * whole.parse::<i64>().ok()?.checked_mul(units)?.checked_add(part)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_wire::instrument::Contract;
    use tidegate_wire::{Instrument, Venue};

    use super::*;

    fn one() -> (Registry, InstrumentId) {
        let mut registry = Registry::new();
        let (price_scale, qty_scale) = (Scale::saturating(1), Scale::saturating(2));
        let (tick, lot) = (Price::from_raw(1), Qty::from_raw(1));
        let (venue, contract) = (Venue::BitgetUsdt, Contract::Linear);
        let instrument = Instrument { venue, symbol: "ETHUSDT".into(), price_scale, qty_scale, tick, lot, contract };
        let id = registry.add(instrument).expect("an instrument");
        (registry, id)
    }

    #[test]
    fn what_the_desk_has_booked_is_told_where_no_venue_tells_better() {
        let (registry, id) = one();
        let row =
            |qty: &str| json!({ "account": "a", "strategy": "s", "instrument": "ETHUSDT.bitget-usdt", "qty": qty });
        let risk = |rows: &[Value]| json!({ "positions": rows });
        let mut booked = Vec::new();
        let other = json!({ "instrument": "OTHER.bitget-usdt", "qty": "1" });
        let mut told = |rows: &[Value], venues: &[(InstrumentId, Side)]| {
            let records = of_desk(&risk(rows), &registry, (venues, &mut booked), 9);
            let all = records.iter().map(|record| {
                assert_eq!((record.header.instrument, record.header.event_ns, record.body.known), (id, 9, 0));
                (record.body.side(), record.body.qty.raw())
            });
            all.collect::<Vec<_>>()
        };
        let (long, short) = (Some(Side::Buy), Some(Side::Sell));
        assert_eq!(told(&[row("0.50"), row("-0.75"), other], &[]), [(short, 25)], "netted over who holds it");
        assert_eq!(told(&[row("0.10")], &[]), [(long, 10), (short, 0)], "the other side is closed");
        assert_eq!(told(&[row("0.10")], &[(id, Side::Buy)]), [], "the venue tells of it, and closes it");
        assert_eq!(told(&[row("0.10")], &[]), [(long, 10)]);
        assert_eq!(told(&[], &[]), [(long, 0)]);
        assert_eq!(told(&[], &[]), []);
    }

    #[test]
    fn rows_become_records_and_what_is_not_told_any_more_is_closed() {
        let (registry, id) = one();
        let row = json!({
            "instId": "ETHUSDT", "holdSide": "short", "total": "0.15", "openPriceAvg": "1900.55", "markPrice": "2500",
            "unrealizedPL": "-90.000001", "stopLoss": "", "takeProfit": "1500",
        });
        let feeds =
            |rows: Value| json!({ "accounts": { "bitget-usdt": { "positions": { "rows": rows, "venue_ns": 7 } } } });
        let mut held = Vec::new();
        let found = of_feeds(&feeds(json!([row, { "instId": "OTHER", "total": "1" }])), &registry, &mut held);
        let [record] = found[..] else { panic!("{found:?}") };
        assert_eq!((record.header.instrument, record.header.event_ns), (id, 7));
        let body = record.body;
        assert_eq!((body.side(), body.qty.raw(), body.entry.raw()), (Some(Side::Sell), 15, 19_005));
        assert_eq!((body.current.raw(), body.profit, body.stop_loss()), (25_000, -90_000_001, None));
        assert_eq!(body.take_profit(), Some(Price::from_raw(15_000)));
        let closed = of_feeds(&feeds(json!([])), &registry, &mut held);
        assert_eq!((closed.len(), closed[0].body.qty.raw()), (1, 0));
        assert!(of_feeds(&feeds(json!([])), &registry, &mut held).is_empty());
    }
}
