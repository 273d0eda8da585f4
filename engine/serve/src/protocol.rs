//! What clients send over the stream, as types and as a published schema.
//!
//! A message is a JSON object in a text frame. One with `op` is for the server; any other tells prices: each of its
//! fields is a name that ends in `_price` and a number above zero, such as `{"btc_price": 83964.99}`, and is sent on
//! to every client that has not said otherwise, the sender included. Told prices are news among clients and nothing
//! else: they never reach the engine.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::topic::Topic;

/// Longest message of a client, bytes.
pub const MESSAGE_MAX: usize = 16 << 10;
/// Prices in one message.
pub const PRICES_MAX: usize = 64;
/// Topics in one message.
pub const TOPICS_MAX: usize = 256;
/// Shortest interval between two values of the same state, ms: a screen's frame.
pub const EVERY_MIN_MS: u64 = 16;

/// A message for the server.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Says who the client is; must come first where the server asks for tokens.
    Auth {
        /// The token.
        token: String,
    },
    /// Adds topics.
    Subscribe {
        /// Each is `TOPIC` or `TOPIC:KEY`, such as `book:BTCUSDT.binance-usdm`; at most 256.
        topics: Vec<String>,
        /// Least time between two values of the same state, ms; 100 without, at least 16.
        #[serde(default)]
        every_ms: Option<u64>,
        /// For logs: begin behind these numbers, by topic; without, what comes from now on.
        #[serde(default)]
        after: BTreeMap<Topic, u64>,
        /// The `epoch` of the greeting that those numbers are of; where the server has another, logs begin anew.
        #[serde(default)]
        epoch: Option<u64>,
    },
    /// Takes topics away.
    Unsubscribe {
        /// As they were subscribed.
        topics: Vec<String>,
    },
    /// Asks for `{"pong": N}`.
    Ping {
        /// Any number.
        #[serde(default)]
        id: u64,
    },
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// For the server.
    Command(Command),
    /// Prices, as they are sent on.
    Prices(String),
}

/// Reads a message.
///
/// # Errors
/// What is wrong with it, and what was expected.
pub fn read(text: &str) -> Result<Message, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
    let Value::Object(fields) = &value else {
        return Err("expected an object such as {\"btc_price\": 83964.99} or {\"op\": \"subscribe\", ...}".into());
    };
    if fields.contains_key("op") {
        return serde_json::from_value(value).map(Message::Command).map_err(|error| error.to_string());
    }
    if fields.is_empty() || fields.len() > PRICES_MAX {
        return Err(format!("{} prices, expected 1 to {PRICES_MAX}", fields.len()));
    }
    for (name, price) in fields {
        let known = name.strip_suffix("_price").is_some_and(|asset| {
            (1..=24).contains(&asset.len()) && asset.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        });
        if !known {
            return Err(format!("field {name:?}, expected ASSET_price such as btc_price, or an `op`"));
        }
        if !price.as_f64().is_some_and(|price| price.is_finite() && price > 0.0 && price <= 1e15) {
            return Err(format!("{name}: {price}, expected a number above 0 and at most 1e15"));
        }
    }
    Ok(Message::Prices(value.to_string()))
}

/// A topic and a key, as subscribed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Which topic.
    pub topic: Topic,
    /// Which key; all without.
    pub key: Option<String>,
}

impl std::str::FromStr for Interest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, key) = text.split_once(':').map_or((text, None), |(name, key)| (name, Some(key.to_owned())));
        let topic = name.parse().map_err(|_| {
            let known: Vec<&str> = <Topic as strum::IntoEnumIterator>::iter().map(Topic::name).collect();
            format!("topic {name:?}, expected one of {}", known.join(", "))
        })?;
        Ok(Self { topic, key })
    }
}

/// The JSON schema (2020-12) of what clients send and of what they get.
pub fn schema() -> Value {
    let topics: Vec<&str> = <Topic as strum::IntoEnumIterator>::iter().map(Topic::name).collect();
    let mut command = schemars::schema_for!(Command).to_value();
    let definitions = command.as_object_mut().and_then(|schema| {
        schema.remove("$schema");
        schema.remove("$defs")
    });
    let envelope = json!({
        "type": "object",
        "required": ["topic", "wall_ns", "data"],
        "properties": {
            "topic": { "enum": topics },
            "key": { "type": "string", "description": "instrument, model or whatever the topic's values belong to" },
            "number": { "type": "integer", "minimum": 1, "description": "within the log; a hole is what was missed" },
            "wall_ns": { "type": "integer", "description": "when the engine told it, ns since the Unix epoch" },
            "event_ns": { "type": "integer", "description": "event time, ns since the Unix epoch" },
            "data": {},
        },
    });
    let prices = json!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": PRICES_MAX,
        "additionalProperties": false,
        "patternProperties": {
            "^[a-z0-9]{1,24}_price$": { "type": "number", "exclusiveMinimum": 0, "maximum": 1e15 },
        },
    });
    let said = json!({
        "type": "object",
        "minProperties": 1,
        "properties": {
            "hello": { "type": "object", "description": "the first message: version, topics, limits, clock" },
            "clock": { "type": "object", "description": "the server's wall time, every second" },
            "subscribed": { "type": "array", "items": { "type": "string" } },
            "missed": { "type": "object", "description": "a hole in a log: topic, from, to; those entries are gone from the server" },
            "pong": { "type": "integer" },
            "error": { "type": "string" },
        },
        "additionalProperties": false,
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tidegate stream",
        // Prices are sent on as they came: they are a client's message and a server's.
        "anyOf": [{ "$ref": "#/$defs/client" }, { "$ref": "#/$defs/server" }],
        "$defs": {
            "client": { "oneOf": [command, { "$ref": "#/$defs/prices" }] },
            "server": { "oneOf": [{ "$ref": "#/$defs/news" }, { "$ref": "#/$defs/prices" }, { "$ref": "#/$defs/said" }] },
            "news": envelope,
            "prices": prices,
            "said": said,
            "Topic": definitions.and_then(|all| all.get("Topic").cloned()).unwrap_or_else(|| json!({ "enum": topics })),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_and_commands_are_told_apart() {
        assert_eq!(read(r#"{"btc_price": 83964.99}"#), Ok(Message::Prices(r#"{"btc_price":83964.99}"#.into())));
        let subscribe = read(r#"{"op":"subscribe","topics":["book:X"],"every_ms":50}"#).expect("a command");
        let topics = vec!["book:X".into()];
        let expected = Command::Subscribe { topics, every_ms: Some(50), after: BTreeMap::new(), epoch: None };
        assert_eq!(subscribe, Message::Command(expected));
        for wrong in [
            "",
            "[]",
            "1",
            "{}",
            r#"{"btc_price":"1"}"#,
            r#"{"btc_price":0}"#,
            r#"{"btc_price":-1}"#,
            r#"{"btc_price":1e16}"#,
            r#"{"BTC_price":1}"#,
            r#"{"_price":1}"#,
            r#"{"price":1}"#,
            r#"{"btc_price":1,"x":2}"#,
            r#"{"op":"reboot"}"#,
            r#"{"op":"ping","x":1}"#,
            r#"{"op":"subscribe"}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn topics_have_names_and_keys() {
        let interest: Interest = "book:BTCUSDT.binance-usdm".parse().expect("a topic");
        assert_eq!((interest.topic, interest.key.as_deref()), (Topic::Book, Some("BTCUSDT.binance-usdm")));
        assert_eq!("trap-alarm".parse::<Interest>().map(|i| i.topic), Ok(Topic::TrapAlarm));
        assert!("books".parse::<Interest>().is_err_and(|error| error.contains("breaker")));
    }

    #[test]
    fn the_schema_names_every_topic() {
        let text = schema().to_string();
        for topic in <Topic as strum::IntoEnumIterator>::iter() {
            assert!(text.contains(topic.name()), "{topic:?}");
        }
    }
}
