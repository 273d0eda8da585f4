//! Instruments out of what venues say about them.

use serde_json::Value;
use tidegate_wire::instrument::Contract;
use tidegate_wire::{Instrument, Price, Qty, Scale, Venue, decimal};

/// Scale and mantissa of a step written as a decimal number > 0, such as `0.10`.
///
/// # Errors
/// What it is instead.
pub fn step(text: &str) -> Result<(Scale, i64), String> {
    let decimals = text.split_once('.').map_or(0, |(_, fraction)| fraction.trim_end_matches('0').len());
    let expected = || format!("{text:?}, expected a decimal number above 0 such as \"0.01\"");
    let scale = u8::try_from(decimals).ok().and_then(Scale::new).ok_or_else(expected)?;
    match decimal::parse(text.as_bytes(), scale) {
        Ok(value) if value > 0 => Ok((scale, value)),
        _ => Err(expected()),
    }
}

/// An instrument from its steps as text.
///
/// # Errors
/// Which step is wrong.
pub fn instrument(venue: Venue, symbol: &str, tick: &str, lot: &str, contract: Contract) -> Result<Instrument, String> {
    let wrong = |what: &str, reason: String| format!("{symbol}: {what} is {reason}");
    let (price_scale, tick) = step(tick).map_err(|reason| wrong("tick", reason))?;
    let (qty_scale, lot) = step(lot).map_err(|reason| wrong("lot", reason))?;
    let (tick, lot) = (Price::from_raw(tick), Qty::from_raw(lot));
    Ok(Instrument { venue, symbol: symbol.to_owned(), price_scale, qty_scale, tick, lot, contract })
}

/// A JSON body.
///
/// # Errors
/// That it is none.
pub fn json(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body).map_err(|error| format!("the answer is no JSON: {error}"))
}

/// The text of a member; numbers are given as they were written, shortest form.
pub fn text(row: &Value, key: &str) -> Result<String, String> {
    match row.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(plain(number)),
        _ => Err(format!("{key} is missing")),
    }
}

/// A number without an exponent: `5e-5` would be no step.
fn plain(number: &serde_json::Number) -> String {
    let text = number.to_string();
    if !text.contains(['e', 'E']) {
        return text;
    }
    let written = format!("{:.18}", number.as_f64().unwrap_or(0.0));
    // Eighteen decimals show what a double cannot hold: fifteen significant digits are what a venue means.
    let digits = written.trim_start_matches(['0', '.']).len();
    let keep = written.len() - digits.saturating_sub(15);
    written[..keep].trim_end_matches('0').to_owned()
}

/// A number > 0 that may be written as text.
pub fn number(row: &Value, key: &str) -> Option<f64> {
    text(row, key).ok()?.parse().ok().filter(|value: &f64| value.is_finite() && *value > 0.0)
}

/// A price out of a short book: the first of any side, wherever the venue puts it.
pub fn price(body: &[u8]) -> Option<f64> {
    fn search(value: &Value) -> Option<f64> {
        match value {
            Value::Object(members) => {
                let side = |key: &&str| members.get(*key)?.get(0)?.get(0);
                let first = ["bids", "asks", "b", "a"].iter().find_map(side).and_then(|price| match price {
                    Value::String(text) => text.parse().ok(),
                    price => price.as_f64(),
                });
                first.or_else(|| members.values().find_map(search))
            }
            Value::Array(elements) => elements.iter().find_map(search),
            _ => None,
        }
    }
    search(&json(body).ok()?).filter(|price: &f64| price.is_finite() && *price > 0.0)
}

/// The rows of an array whose `key` is one of `symbols`.
pub fn rows<'v>(array: Option<&'v Value>, key: &str, symbols: &[String]) -> Result<Vec<(&'v str, &'v Value)>, String> {
    let array = array.and_then(Value::as_array).ok_or("the answer has no list of instruments")?;
    let named = array.iter().filter_map(|row| Some((row.get(key)?.as_str()?, row)));
    Ok(named.filter(|(symbol, _)| symbols.iter().any(|wanted| wanted == symbol)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_book_of_any_venue_has_a_price() {
        for (book, expected) in [
            (r#"{"lastUpdateId":7,"bids":[["61.5","1"]],"asks":[["61.6","2"]]}"#, Some(61.5)),
            (r#"{"code":"0","data":[{"asks":[["61.6","2","0","1"]],"bids":[],"ts":"1"}]}"#, Some(61.6)),
            (r#"{"retCode":0,"result":{"s":"A","b":[["61.5","1"]],"a":[],"u":1}}"#, Some(61.5)),
            (r#"{"result":{"bids":[[61.5,1]],"best_bid_price":61.5}}"#, Some(61.5)),
            (r#"{"result":{"bids":[],"asks":[]}}"#, None),
            (r#"{"bids":[["-1","1"]]}"#, None),
            ("<html>", None),
        ] {
            assert_eq!(price(book.as_bytes()), expected, "{book}");
        }
    }

    #[test]
    fn numbers_become_plain_text() {
        let row: Value = serde_json::from_str(r#"{"a":0.00005,"b":5e-05,"c":10.0,"d":"0.10","e":1e-8}"#).expect("JSON");
        let read = |key| text(&row, key).expect("there");
        assert_eq!((read("a"), read("b"), read("e")), ("0.00005".into(), "0.00005".into(), "0.00000001".into()));
        assert_eq!(step(&read("c")).expect("a step").1, 10);
        assert_eq!(step(&read("d")).map(|(scale, step)| (scale.decimals(), step)), Ok((1, 1)));
        assert!(step("0").is_err() && step("-1").is_err() && step("x").is_err());
    }
}
