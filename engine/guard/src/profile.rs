//! Profiles: the settings of all rules for one market, from TOML over defaults.
//!
//! A profile names only what differs from the rules' own defaults:
//!
//! ```toml
//! name = "binance-spot"
//!
//! [rules.price_move]
//! threshold = 0.08
//! ```

use std::collections::BTreeMap;

use tidegate_wire::Venue;

use crate::conditions::Conditions;
use crate::rules::{DRAWDOWN_RULE, Direction, RULE_COUNT, RULES, Rule, rule_index};
use crate::thresholds::{LARGEST, TUNED_RULES};
use crate::tuning::Tuning;

/// What happens after a trip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The breaker cools and closes by itself once the condition has gone.
    #[default]
    Auto,
    /// It stays tripped until an operator resets it.
    Latched,
}

/// Settings of one rule.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Settings {
    /// Whether the rule is in force.
    pub enabled: bool,
    /// The level that trips, in the rule's unit.
    pub threshold: f64,
    /// The level that releases, in the rule's unit; on the good side of the threshold.
    pub release: f64,
    /// How long the condition must hold before it trips, ms of event time.
    pub hold_ms: u64,
    /// How long trading stays stopped after the condition has gone, ms.
    pub cooling_ms: u64,
    /// How long the breaker is on probation after that, ms.
    pub probation_ms: u64,
    /// How long after an instrument's first event the rule waits before it may trip, ms.
    pub warmup_ms: u64,
    /// What happens after a trip.
    pub policy: Policy,
}

/// Longest time a setting may name, ms: a day.
const LONGEST_MS: u64 = 86_400_000;

impl Settings {
    /// Whether the settings make sense for a rule.
    ///
    /// # Errors
    /// The key, its value and what was expected.
    pub fn check(&self, rule: &Rule) -> Result<(), String> {
        let name = rule.name;
        for (key, value) in [("threshold", self.threshold), ("release", self.release)] {
            if !(-LARGEST..=LARGEST).contains(&value) {
                return Err(format!("rules.{name}.{key} is {value}, expected a number within +-{LARGEST}"));
            }
        }
        if !rule.direction.is_good_side(self.release, self.threshold) {
            let side = if rule.direction == Direction::Above { "at or below" } else { "at or above" };
            let (release, threshold) = (self.release, self.threshold);
            return Err(format!("rules.{name}.release is {release}, expected {side} the threshold {threshold}"));
        }
        let times = [
            ("hold_ms", self.hold_ms),
            ("cooling_ms", self.cooling_ms),
            ("probation_ms", self.probation_ms),
            ("warmup_ms", self.warmup_ms),
        ];
        check_times(&format!("rules.{name}"), &times)
    }

    /// Whether the settings make sense for the drawdown rule. It is judged when it is told, by whoever begins to tell
    /// it when there is something to lose: so it neither holds nor warms up.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_told(&self) -> Result<(), String> {
        let late = [("hold_ms", self.hold_ms), ("warmup_ms", self.warmup_ms)].into_iter().find(|(_, ms)| *ms > 0);
        if let Some((key, ms)) = late {
            return Err(format!("rules.drawdown.{key} is {ms}, expected 0"));
        }
        self.check(&DRAWDOWN_RULE)
    }
}

fn check_times(of: &str, times: &[(&str, u64)]) -> Result<(), String> {
    let long = times.iter().find(|(_, ms)| *ms > LONGEST_MS);
    long.map_or(Ok(()), |(key, ms)| Err(format!("{of}.{key} is {ms}, expected at most {LONGEST_MS} (a day)")))
}

/// What a profile file may say of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RuleOverride {
    /// Whether the rule is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The level that trips, in the rule's unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The level that releases, in the rule's unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<f64>,
    /// How long the condition must hold before it trips, ms of event time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_ms: Option<u64>,
    /// How long trading stays stopped after the condition has gone, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooling_ms: Option<u64>,
    /// How long the breaker is on probation after that, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probation_ms: Option<u64>,
    /// How long after an instrument's first event the rule waits, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_ms: Option<u64>,
    /// `auto` or `latched`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
}

impl RuleOverride {
    /// Settings with what differs.
    pub fn over(&self, old: Settings) -> Settings {
        Settings {
            enabled: self.enabled.unwrap_or(old.enabled),
            threshold: self.threshold.unwrap_or(old.threshold),
            release: self.release.unwrap_or(old.release),
            hold_ms: self.hold_ms.unwrap_or(old.hold_ms),
            cooling_ms: self.cooling_ms.unwrap_or(old.cooling_ms),
            probation_ms: self.probation_ms.unwrap_or(old.probation_ms),
            warmup_ms: self.warmup_ms.unwrap_or(old.warmup_ms),
            policy: self.policy.unwrap_or(old.policy),
        }
    }
}

/// A profile file.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileFile {
    /// Name in reports.
    pub name: String,
    /// When a scope with several members trips.
    pub escalation: Escalation,
    /// What models may do.
    pub tuning: Tuning,
    /// What changes thresholds besides.
    pub conditions: Conditions,
    /// Rules that differ from their defaults, by name.
    pub rules: BTreeMap<String, RuleOverride>,
}

/// When a venue, a strategy or the engine trips because of its members.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Escalation {
    /// Part of the members that must be stopped, in (0, 1].
    pub share: f64,
    /// Number of members that must be stopped at least.
    pub members: u32,
    /// How long the scope stays stopped after enough members are back, ms.
    pub cooling_ms: u64,
    /// How long it is on probation after that, ms.
    pub probation_ms: u64,
}

impl Escalation {
    /// Whether the settings make sense.
    ///
    /// # Errors
    /// The key, its value and what was expected.
    pub fn check(&self) -> Result<(), String> {
        if !(self.share > 0.0 && self.share <= 1.0) {
            return Err(format!("escalation.share is {}, expected above 0 and at most 1", self.share));
        }
        if self.members == 0 {
            return Err("escalation.members is 0, expected above 0".into());
        }
        check_times("escalation", &[("cooling_ms", self.cooling_ms), ("probation_ms", self.probation_ms)])
    }
}

impl Default for Escalation {
    fn default() -> Self {
        Self { share: 0.5, members: 2, cooling_ms: 5_000, probation_ms: 5_000 }
    }
}

/// Settings of all rules.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Profile {
    /// Name in reports.
    pub name: String,
    /// When scopes with several members trip.
    pub escalation: Escalation,
    /// What models may do.
    pub tuning: Tuning,
    /// What changes thresholds besides.
    pub conditions: Conditions,
    /// Settings by rule index.
    pub rules: [Settings; RULE_COUNT],
}

/// Why a profile cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Not TOML, an unknown key, a value of another type.
    #[error("{0}")]
    Syntax(String),
    /// A rule that does not exist.
    #[error("rules.{name}: no such rule; rules are {known}", known = RULES.iter().map(|r| r.name).collect::<Vec<_>>().join(", "))]
    UnknownRule {
        /// What was written.
        name: String,
    },
    /// A value that makes no sense.
    #[error("{0}")]
    Value(String),
}

impl Default for Profile {
    fn default() -> Self {
        let rules = core::array::from_fn(|index| RULES[index].defaults);
        let (escalation, tuning, conditions) = Default::default();
        Self { name: "default".into(), escalation, tuning, conditions, rules }
    }
}

impl Profile {
    /// The profile that ships for a venue.
    ///
    /// # Panics
    /// Never: the shipped files are read by a test.
    pub fn builtin(venue: Venue) -> Self {
        let text = match venue {
            Venue::BinanceSpot => include_str!("../profiles/binance-spot.toml"),
            Venue::BinanceUsdm => include_str!("../profiles/binance-usdm.toml"),
            Venue::BinanceCoinm => include_str!("../profiles/binance-coinm.toml"),
            Venue::Coinbase => include_str!("../profiles/coinbase.toml"),
            Venue::Bitstamp => include_str!("../profiles/bitstamp.toml"),
            Venue::Bitmex => include_str!("../profiles/bitmex.toml"),
            Venue::Deribit => include_str!("../profiles/deribit.toml"),
            Venue::Bybit => include_str!("../profiles/bybit.toml"),
            Venue::BybitSpot => include_str!("../profiles/bybit-spot.toml"),
            Venue::BybitInverse => include_str!("../profiles/bybit-inverse.toml"),
            Venue::Okx => include_str!("../profiles/okx.toml"),
            Venue::BitgetSpot => include_str!("../profiles/bitget-spot.toml"),
            Venue::BitgetUsdt => include_str!("../profiles/bitget-usdt.toml"),
            Venue::BitgetCoin => include_str!("../profiles/bitget-coin.toml"),
            Venue::BitgetUsdc => include_str!("../profiles/bitget-usdc.toml"),
        };
        match Self::from_toml(text) {
            Ok(profile) => profile,
            Err(error) => unreachable!("shipped profile of {venue}: {error}"),
        }
    }

    /// Reads a profile; what it does not name keeps the rules' defaults.
    ///
    /// # Errors
    /// See [`ProfileError`]; messages name the key, the value and what was expected.
    pub fn from_toml(text: &str) -> Result<Self, ProfileError> {
        let table = toml::Deserializer::parse(text).map_err(|error| ProfileError::Syntax(error.to_string()))?;
        let file: ProfileFile = serde_path_to_error::deserialize(table)
            .map_err(|error| ProfileError::Syntax(format!("{}: {}", error.path(), error.inner())))?;
        Self::from_file(&file)
    }

    /// The profile of a file's contents.
    ///
    /// # Errors
    /// As [`Self::from_toml`].
    pub fn from_file(file: &ProfileFile) -> Result<Self, ProfileError> {
        let ProfileFile { escalation, tuning, conditions, .. } = *file;
        let mut profile = Self { name: file.name.clone(), escalation, tuning, conditions, ..Self::default() };
        profile.apply(&file.rules)?;
        profile.check().map_err(ProfileError::Value)?;
        Ok(profile)
    }

    /// Whether everything besides single rules makes sense.
    ///
    /// # Errors
    /// The first value that does not, with what was expected.
    pub fn check(&self) -> Result<(), String> {
        self.escalation.check()?;
        self.tuning.check()?;
        self.conditions.check()?;
        // Envelopes, slew and conditions are proportions of the static level.
        let flat = TUNED_RULES.iter().find(|(_, rule)| self.tuning.enabled && self.rules[*rule].threshold <= 0.0);
        flat.map_or(Ok(()), |(_, rule)| {
            let (name, threshold) = (RULES[*rule].name, self.rules[*rule].threshold);
            Err(format!("rules.{name}.threshold is {threshold}, expected above 0 (or tuning.enabled = false)"))
        })
    }

    /// Puts overrides over this profile.
    ///
    /// # Errors
    /// As [`Self::from_toml`].
    pub fn apply(&mut self, overrides: &BTreeMap<String, RuleOverride>) -> Result<(), ProfileError> {
        for (name, change) in overrides {
            let index = rule_index(name).map(usize::from).filter(|index| *index < RULE_COUNT);
            let index = index.ok_or_else(|| ProfileError::UnknownRule { name: name.clone() })?;
            self.rules[index] = change.over(self.rules[index]);
            self.rules[index].check(RULES[index]).map_err(ProfileError::Value)?;
        }
        Ok(())
    }

    /// Settings of a rule by name.
    pub fn rule(&self, name: &str) -> Option<&Settings> {
        self.rules.get(usize::from(rule_index(name)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_profiles_load() {
        for venue in Venue::ALL {
            assert_eq!(Profile::builtin(venue).name, venue.name());
        }
    }

    #[test]
    fn errors_name_key_value_and_expectation() {
        let error = |text: &str| Profile::from_toml(text).expect_err(text).to_string();
        let flat = "name = \"x\"\n[rules.spread]\nthreshold = 0.0\nrelease = 0.0\n";
        assert!(error(flat).contains("rules.spread.threshold is 0, expected above 0"), "{}", error(flat));
        assert!(Profile::from_toml(&format!("{flat}[tuning]\nenabled = false\n")).is_ok());
        assert!(error("[rules.volatility]\nthreshhold = 1.0").contains("rules.volatility"));
        assert!(error("[rules.volatility]\nthreshhold = 1.0").contains("threshold"), "the right key is offered");
        assert!(error("[rules.volatilty]\nthreshold = 1.0").contains("no such rule"));
        let message = error("[rules.volatility]\nthreshold = 1.0\nrelease = 2.0");
        assert!(message.contains("rules.volatility.release is 2") && message.contains("threshold 1"), "{message}");
        assert!(error("[rules.spread]\nhold_ms = -1").contains("rules.spread.hold_ms"));
        assert!(error("[escalation]\nshare = 1.5").contains("escalation.share is 1.5"));
        assert!(error("[escalation]\nmembers = 0").contains("escalation.members is 0"));
        assert!(error("[escalation]\ncooling_ms = 1000000000000").contains("escalation.cooling_ms is 1000000000000"));
        assert!(error("[rules.spread]\nthreshold = 1e10").contains("rules.spread.threshold is 10000000000"));
        assert!(error("[rules.spread]\nthreshold = nan").contains("rules.spread.threshold is NaN"));
        assert!(error("[rules.correlation_break]\nrelease = 0.1").contains("at or above"));
        assert!(error("nonsense").contains("nonsense"));
        assert!(error("[tuning]\nttl_ms = 0").contains("tuning.ttl_ms is 0"));
        assert!(error("[tuning.spread]\nlowest = 0.0\nhighest = 1.0").contains("tuning.spread.lowest is 0"));
        assert!(error("[conditions.news]\nthresholds = 20").contains("conditions.news.thresholds is 20"));
    }
}
