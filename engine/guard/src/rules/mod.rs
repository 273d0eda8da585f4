//! The breaker rules: one file each, and their table.
//!
//! To add a rule: write its file and add one line to `rules!` below. Rules are appended, never reordered: their index
//! is in every decision record.

mod book_integrity;
mod correlation_break;
mod drawdown;
mod imbalance;
mod latency_spike;
mod liquidity_drop;
mod message_rate;
mod price_move;
mod spread;
mod stale_feed;
mod volatility;
mod volume_spike;

use tidegate_wire::feature::FeatureBody;

pub use drawdown::RULE as DRAWDOWN_RULE;

use crate::profile::Settings;

/// On which side of the threshold the trouble lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Trouble at or above the threshold.
    Above,
    /// Trouble below the threshold.
    Below,
}

impl Direction {
    /// Whether a release level lies where the trouble is over: on the threshold, or on the side away from the trouble.
    pub fn is_good_side(self, release: f64, threshold: f64) -> bool {
        match self {
            Self::Above => release <= threshold,
            Self::Below => release >= threshold,
        }
    }
}

/// What a rule is.
#[derive(Debug)]
pub struct Rule {
    /// Name in profiles and reports.
    pub name: &'static str,
    /// Unit of the measured value and its threshold.
    pub unit: &'static str,
    /// What it protects from.
    pub about: &'static str,
    /// On which side the trouble lies.
    pub direction: Direction,
    /// The number; `None` while it cannot be known (the breaker then stays as it is).
    pub measure: fn(&FeatureBody) -> Option<f64>,
    /// Settings that hold unless a profile says otherwise.
    pub defaults: Settings,
}

macro_rules! rules {
    ($($module:ident)*) => {
        /// All rules, by index.
        pub static RULES: &[&Rule] = &[$(&$module::RULE),*];
    };
}

rules! {
    volatility
    price_move
    latency_spike
    imbalance
    spread
    volume_spike
    liquidity_drop
    correlation_break
    stale_feed
    book_integrity
    message_rate
}

/// Number of rules that measure.
pub const RULE_COUNT: usize = 11;

/// Index of the breaker on a strategy's or the engine's drawdown.
pub const DRAWDOWN: u8 = 253;
/// Index of the breaker that trips when enough members of a scope are stopped.
pub const ESCALATION: u8 = 254;
/// Index of the breaker that an operator trips.
pub const MANUAL: u8 = 255;

/// Name of a rule by its index in a decision record.
pub fn rule_name(index: u8) -> &'static str {
    match index {
        DRAWDOWN => DRAWDOWN_RULE.name,
        ESCALATION => "escalation",
        MANUAL => "manual",
        _ => RULES.get(usize::from(index)).map_or("unknown", |rule| rule.name),
    }
}

/// Index of a rule by its name.
pub fn rule_index(name: &str) -> Option<u8> {
    match name {
        "drawdown" => Some(DRAWDOWN),
        "escalation" => Some(ESCALATION),
        "manual" => Some(MANUAL),
        _ => RULES.iter().position(|rule| rule.name == name).map(|index| index as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        assert_eq!(RULES.len(), RULE_COUNT);
        for (index, rule) in RULES.iter().enumerate() {
            assert_eq!(rule_index(rule.name), Some(index as u8), "{} has a name of its own", rule.name);
            assert_eq!(rule_name(index as u8), rule.name);
            let settings = &rule.defaults;
            assert_eq!(settings.check(rule), Ok(()), "{}", rule.name);
        }
    }
}
