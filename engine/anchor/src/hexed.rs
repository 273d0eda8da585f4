//! Bytes as hex with a prefix, as Ethereum's tools write them, in JSON.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// The text.
pub fn text(bytes: impl AsRef<[u8]>) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// The bytes of such a text, with or without the prefix; `None` when it is none, or of another length.
pub fn bytes<T: TryFrom<Vec<u8>>>(text: &str) -> Option<T> {
    let text = text.trim();
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).ok()?.try_into().ok()
}

pub(crate) fn serialize<S: Serializer>(bytes: impl AsRef<[u8]>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&text(bytes))
}

pub(crate) fn deserialize<'a, T: TryFrom<Vec<u8>>, D: Deserializer<'a>>(from: D) -> Result<T, D::Error> {
    let text = String::deserialize(from)?;
    bytes(&text).ok_or_else(|| D::Error::custom(format!("{text}: no hex of the right length")))
}
