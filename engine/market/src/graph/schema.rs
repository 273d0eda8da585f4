//! What the nodes and edges of the market graph are, and the hash that binds models to it.
//!
//! Python reads the same tables from the generated `models/src/tidegate_models/schema.json`; a test on either side
//! compares.

use serde::Serialize;
use sha2::{Digest, Sha256};
use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::features::schema as f;

/// Values a node carries.
pub const NODE_SLOTS: usize = 24;
/// Values an edge carries.
pub const EDGE_SLOTS: usize = 8;
/// First slot that holds a market value; the ones before tell the node's kind and whether it is present.
pub const FIRST_VALUE: usize = 5;
/// Whether a node's values mean something: 0 or 1 for a book, the part of its books that do for the others.
pub const PRESENT: usize = 4;
/// The regime node's own slots: the clock, in place of what means little as a mean over books.
pub const CLOCK: usize = 20;

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum NodeKind {
    /// A venue.
    Exchange = 0,
    /// What is traded, such as BTC.
    Asset = 1,
    /// An instrument's order book.
    Book = 2,
    /// The market as a whole.
    Regime = 3,
}

/// Why two nodes are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum EdgeKind {
    /// An exchange, or an asset, and an order book of it; `reverse` is 1 from the book.
    ListsOn = 0,
    /// Two books of one asset, or neighbours on one exchange, whose returns are compared.
    Correlates = 1,
    /// Two books of one asset: the first one's returns against the second one's a second later, and the distance of
    /// their mids.
    Leads = 2,
    /// The regime and a book; `reverse` is 1 from the book. Also each node with itself, all values 0.
    SharesRegime = 3,
}

/// How a value is brought to about [-3, 3] before a network sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transform {
    /// As it is.
    Plain,
    /// Its absolute value.
    Absolute,
    /// `ln(1 + max(0, v) / scale)`.
    Log(f64),
    /// `asinh(v / scale)`.
    Asinh(f64),
}

impl Transform {
    /// The transformed value.
    pub fn apply(self, value: f64) -> f64 {
        match self {
            Self::Plain => value,
            Self::Absolute => value.abs(),
            Self::Log(scale) => libm::log1p(value.max(0.0) / scale),
            Self::Asinh(scale) => libm::asinh(value / scale),
        }
    }
}

/// A value that book nodes take from a feature vector.
#[derive(Clone, Copy, Debug)]
pub struct BookValue {
    /// Name of the slot.
    pub name: &'static str,
    /// Index of the feature.
    pub feature: usize,
    /// What is done with it.
    pub transform: Transform,
}

const fn value(name: &'static str, feature: usize, transform: Transform) -> BookValue {
    BookValue { name, feature, transform }
}

/// Slots from [`FIRST_VALUE`] on. Books hold their own, exchanges, assets and the regime the mean over their books that
/// are present; an absent feature is 0.
pub const BOOK_VALUES: [BookValue; NODE_SLOTS - FIRST_VALUE] = [
    value("vol_10s", f::REALISED_VOL_10S, Transform::Log(0.5)),
    value("vol_60s", f::REALISED_VOL_60S, Transform::Log(0.5)),
    value("vol_300s", f::REALISED_VOL_300S, Transform::Log(0.5)),
    value("jump_share", f::JUMP_SHARE_300S, Transform::Plain),
    value("spread_bp", f::SPREAD_BP, Transform::Log(1.0)),
    value("spread_ratio", f::SPREAD_RATIO, Transform::Log(1.0)),
    value("imbalance", f::IMBALANCE_10, Transform::Plain),
    value("imbalance_size", f::IMBALANCE_10, Transform::Absolute),
    value("latency_excess", f::FEED_LATENCY_EXCESS, Transform::Log(1e4)),
    value("message_rate", f::MESSAGE_RATE_10S, Transform::Log(10.0)),
    value("trade_rate", f::TRADE_RATE_10S, Transform::Log(10.0)),
    value("volume_ratio", f::VOLUME_RATIO, Transform::Log(1.0)),
    value("depth_ratio", f::DEPTH_RATIO, Transform::Log(1.0)),
    value("range_60s", f::RANGE_60S, Transform::Log(1e-3)),
    value("return_10s", f::RETURN_10S, Transform::Asinh(1e-3)),
    value("vpin", f::VPIN, Transform::Plain),
    value("cancel_ratio", f::CANCEL_RATIO, Transform::Plain),
    value("correlation", f::CORRELATION, Transform::Plain),
    value("depth_age", f::DEPTH_AGE_MS, Transform::Log(100.0)),
];

/// What the regime holds from [`CLOCK`] on: time of day on a circle, the weekend, and how far the next funding is.
pub const CLOCK_VALUES: [&str; NODE_SLOTS - CLOCK] = ["hour_sin", "hour_cos", "weekend", "to_funding"];

/// Names of the slots before [`FIRST_VALUE`].
const KIND_SLOTS: [&str; FIRST_VALUE] = ["is_exchange", "is_asset", "is_book", "is_regime", "present"];

/// Slots of an edge.
pub const EDGE_VALUES: [&str; EDGE_SLOTS] =
    ["is_lists_on", "is_correlates", "is_leads", "is_shares_regime", "reverse", "correlation", "lead", "basis"];

/// Moves whenever a definition here does without a name changing.
const VERSION: u16 = 1;

/// A slot as files describe it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Slot {
    /// Name of the column.
    pub name: String,
    /// The feature it is made of, for values of books.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature: Option<&'static str>,
    /// What is done with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform: Option<Transform>,
}

/// The slots of a node, in order.
pub fn node_slots() -> Vec<Slot> {
    let kinds = KIND_SLOTS.iter().map(|name| Slot { name: (*name).into(), feature: None, transform: None });
    let values = BOOK_VALUES.iter().map(|v| Slot {
        name: v.name.into(),
        feature: Some(f::FEATURES[v.feature].name),
        transform: Some(v.transform),
    });
    kinds.chain(values).collect()
}

/// The whole schema as files hold it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GraphSchema {
    /// [`schema_hash_hex`].
    pub hash: String,
    /// Kinds of nodes, by number.
    pub node_kinds: &'static [NodeKind],
    /// Kinds of edges, by number.
    pub edge_kinds: &'static [EdgeKind],
    /// Values of a node.
    pub node_slots: Vec<Slot>,
    /// Values of the regime's node from slot [`CLOCK`] on, in place of those.
    pub clock_slots: [&'static str; NODE_SLOTS - CLOCK],
    /// Values of an edge.
    pub edge_slots: [&'static str; EDGE_SLOTS],
}

/// The schema.
pub fn schema() -> GraphSchema {
    GraphSchema {
        hash: schema_hash_hex(),
        node_kinds: NodeKind::VARIANTS,
        edge_kinds: EdgeKind::VARIANTS,
        node_slots: node_slots(),
        clock_slots: CLOCK_VALUES,
        edge_slots: EDGE_VALUES,
    }
}

/// SHA-256 over version, kinds, slots and transforms, a line each.
pub fn schema_hash() -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(format!("version:{VERSION}\n"));
    for (index, kind) in NodeKind::VARIANTS.iter().enumerate() {
        hasher.update(format!("node:{index}:{}\n", <&str>::from(kind)));
    }
    for (index, kind) in EdgeKind::VARIANTS.iter().enumerate() {
        hasher.update(format!("edge:{index}:{}\n", <&str>::from(kind)));
    }
    for (index, slot) in node_slots().iter().enumerate() {
        let feature = slot.feature.unwrap_or("-");
        let transform = slot.transform.map_or("-".to_owned(), describe);
        hasher.update(format!("node_slot:{index}:{}:{feature}:{transform}\n", slot.name));
    }
    for (index, name) in CLOCK_VALUES.iter().enumerate() {
        hasher.update(format!("clock_slot:{}:{name}\n", CLOCK + index));
    }
    for (index, name) in EDGE_VALUES.iter().enumerate() {
        hasher.update(format!("edge_slot:{index}:{name}\n"));
    }
    hasher.finalize().into()
}

fn describe(transform: Transform) -> String {
    match transform {
        Transform::Plain => "plain".into(),
        Transform::Absolute => "absolute".into(),
        Transform::Log(scale) => format!("log:{scale}"),
        Transform::Asinh(scale) => format!("asinh:{scale}"),
    }
}

/// [`schema_hash`] in hexadecimal.
pub fn schema_hash_hex() -> String {
    hex::encode(schema_hash())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_pinned() {
        assert_eq!(node_slots().len(), NODE_SLOTS);
        // A change of this value means that every tuner must be trained anew: bump the version on purpose.
        assert_eq!(&schema_hash_hex()[..16], PINNED);
    }

    const PINNED: &str = "056f1e0ea2c5ca2e";
}
