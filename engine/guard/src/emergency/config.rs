//! The configuration of emergency protocols.
//!
//! ```toml
//! [protocols.drawdown]
//! trigger = "drawdown"
//! scope = { strategy = "carry" }
//! levels = [
//!     { threshold = 5000, release = 3000, actions = [{ do = "stop-quoting" }, { do = "cancel-all" }] },
//!     { threshold = 10000, release = 7000, actions = [{ do = "reduce", share = 0.5 }] },
//!     { threshold = 15000, release = 12000, actions = [{ do = "close" }], latched = true },
//! ]
//! cool_down_ms = 60000
//! ```

use std::collections::BTreeMap;

use crate::risk::{Decimal, RiskError};

/// What a protocol watches. Money is in the reporting currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// Loss since the highest profit of the scope.
    Drawdown,
    /// Loss of the scope since midnight UTC.
    DailyLoss,
    /// Worst-case exposure of the scope, open orders included.
    GrossExposure,
    /// Instruments whose breakers are open at the same time, whatever the scope.
    CorrelatedTrips,
    /// Absolute net value of the scope's positions, of one asset where one is named.
    Delta,
}

/// Whose positions and losses a protocol watches, and whose orders it acts on.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// Everybody's.
    #[default]
    Firm,
    /// One account's.
    Account(String),
    /// One strategy's.
    Strategy(String),
}

/// What is done on a level, in this order of severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "do", deny_unknown_fields)]
pub enum Action {
    /// No new risk from the scope: while the level holds, or until a designated person resets the scope's kill switch
    /// where the level is latched.
    StopQuoting,
    /// Cancels every open order of the scope.
    CancelAll,
    /// Makes every position of the scope smaller by a share of what it was when the level was reached.
    Reduce {
        /// In (0, 1].
        share: Decimal,
    },
    /// Trades against the scope's net value on the protocol's hedge instrument until it is `share` smaller.
    Hedge {
        /// In (0, 1].
        share: Decimal,
    },
    /// Closes every position of the scope.
    Close,
}

/// One level of a protocol.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// Measured value at or above which the level is reached.
    pub threshold: Decimal,
    /// Value below which it may be left; below the threshold, so that a value on the border does not flap.
    pub release: Decimal,
    /// What is done.
    pub actions: Vec<Action>,
    /// Whether only a designated person ends it.
    #[serde(default)]
    pub latched: bool,
}

/// Where hedges are placed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HedgeOn {
    /// Name of the instrument, such as `BTCUSDT.bybit`.
    pub instrument: String,
    /// Account that hedges.
    pub account: String,
    /// Strategy that hedges are booked on.
    pub strategy: String,
}

/// One protocol.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// What it watches.
    pub trigger: Trigger,
    /// Whose.
    #[serde(default)]
    pub scope: Whose,
    /// Base asset that `delta` is about; all of them without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset: Option<String>,
    /// Levels, mildest first; thresholds grow.
    pub levels: Vec<Level>,
    /// How long a value must stand at a level before it is reached, ms.
    #[serde(default)]
    pub hold_ms: u64,
    /// How long a level lasts at least, ms.
    #[serde(default = "cool_down")]
    pub cool_down_ms: u64,
    /// How often the plan of a level is made anew while it holds, ms.
    #[serde(default = "repeat")]
    pub repeat_ms: u64,
    /// How far beyond the reference its orders may execute, basis points, within the instrument's collar.
    #[serde(default = "slippage")]
    pub slippage_bp: Decimal,
    /// Where hedges are placed; needed by `hedge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<HedgeOn>,
}

const fn cool_down() -> u64 {
    60_000
}

const fn repeat() -> u64 {
    1_000
}

const fn slippage() -> Decimal {
    Decimal::whole(50)
}

/// Emergency protocols by name; they are numbered in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EmergencyFile {
    /// The protocols.
    pub protocols: BTreeMap<String, Protocol>,
}

/// Longest time, ms: a day.
const LONGEST_MS: u64 = 86_400_000;

impl EmergencyFile {
    /// Reads protocols.
    ///
    /// # Errors
    /// See [`RiskError`]: the key, the value and what was expected.
    pub fn from_toml(text: &str) -> Result<Self, RiskError> {
        let table = toml::Deserializer::parse(text).map_err(|error| RiskError::Syntax(error.to_string()))?;
        let file: Self = serde_path_to_error::deserialize(table)
            .map_err(|error| RiskError::Syntax(format!("{}: {}", error.path(), error.inner())))?;
        file.check().map_err(RiskError::Value)?;
        Ok(file)
    }

    /// Whether the values make sense by themselves.
    ///
    /// # Errors
    /// The first key that does not.
    pub fn check(&self) -> Result<(), String> {
        self.protocols.iter().try_for_each(|(name, protocol)| protocol.check(&format!("protocols.{name}")))
    }
}

impl Protocol {
    fn check(&self, of: &str) -> Result<(), String> {
        if self.levels.is_empty() || self.levels.len() > 16 {
            return Err(format!("{of}.levels has {} entries, expected 1 to 16", self.levels.len()));
        }
        let times =
            [("hold_ms", self.hold_ms), ("cool_down_ms", self.cool_down_ms), ("repeat_ms", self.repeat_ms.max(1))];
        if let Some((key, ms)) = times.iter().find(|(_, ms)| *ms > LONGEST_MS) {
            return Err(format!("{of}.{key} is {ms}, expected at most {LONGEST_MS} (a day)"));
        }
        if self.repeat_ms == 0 {
            return Err(format!("{of}.repeat_ms is 0, expected above 0"));
        }
        if !matches!(self.slippage_bp.at_scale(2), Ok(0..=1_000_000)) {
            return Err(format!("{of}.slippage_bp is {}, expected 0 to 10000", self.slippage_bp));
        }
        let mut least = Decimal::default();
        for (index, level) in self.levels.iter().enumerate() {
            let key = format!("{of}.levels[{index}]");
            if level.threshold <= least {
                return Err(format!("{key}.threshold is {}, expected above {least}", level.threshold));
            }
            least = level.threshold;
            if level.release >= level.threshold || level.release < Decimal::default() {
                let (release, threshold) = (level.release, level.threshold);
                return Err(format!("{key}.release is {release}, expected 0 or more and below {threshold}"));
            }
            self.trigger.scaled(level.threshold).map_err(|reason| format!("{key}.threshold {reason}"))?;
            self.trigger.scaled(level.release).map_err(|reason| format!("{key}.release {reason}"))?;
            level.actions.iter().try_for_each(|action| self.check_action(&key, action))?;
        }
        Ok(())
    }

    fn check_action(&self, key: &str, action: &Action) -> Result<(), String> {
        let (Action::Reduce { share } | Action::Hedge { share }) = action else { return Ok(()) };
        if !matches!(share.at_scale(6), Ok(1..=1_000_000)) {
            return Err(format!("{key}.actions: share is {share}, expected above 0, at most 1, six decimals"));
        }
        if matches!(action, Action::Hedge { .. }) && self.hedge.is_none() {
            return Err(format!("{key}.actions: hedge needs the protocol's key hedge: instrument, account, strategy"));
        }
        Ok(())
    }
}

impl Trigger {
    /// A level's value in the unit of what is measured: millionths, or a count.
    pub(crate) fn scaled(self, value: Decimal) -> Result<i64, String> {
        value.at_scale(if self == Self::CorrelatedTrips { 0 } else { 6 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_key_value_and_expectation() {
        let error = |lines: &str| {
            let text = format!("[protocols.x]\ntrigger = \"delta\"\n{lines}\n");
            EmergencyFile::from_toml(&text).expect_err(lines).to_string()
        };
        let level = |rest: &str| format!("levels = [{{ threshold = 5, release = 3, actions = [{rest}] }}]");
        for (lines, parts) in [
            ("levels = []".to_owned(), ["protocols.x.levels has 0", "1 to 16"]),
            (level("") + "\nrepeat_ms = 0", ["protocols.x.repeat_ms is 0", "above 0"]),
            (level("") + "\nslippage_bp = -1", ["slippage_bp is -1", "0 to 10000"]),
            (level("{ do = \"reduce\", share = 1.5 }"), ["share is 1.5", "at most 1"]),
            (level("{ do = \"hedge\", share = 1 }"), ["hedge needs", "instrument"]),
            (level("{ do = \"pray\" }"), ["protocols.x", "pray"]),
            ("levels = [{ threshold = 5, release = 5, actions = [] }]".into(), ["release is 5", "below 5"]),
            ("levels = [{ threshold = 0, release = 0, actions = [] }]".into(), ["threshold is 0", "above 0"]),
            (level("") + "\nscope = { desk = \"a\" }", ["protocols.x.scope", "desk"]),
        ] {
            let message = error(&lines);
            assert!(parts.iter().all(|part| message.contains(part)), "{lines}: {message}");
        }
        let halves = "[protocols.x]\ntrigger = \"correlated-trips\"\n\
                      levels = [{ threshold = 2.5, release = 1, actions = [] }]\n";
        assert!(EmergencyFile::from_toml(halves).is_err_and(|error| error.to_string().contains("at most 0 decimals")));
    }

    #[test]
    fn files_go_round() {
        let text = "[protocols.d]\ntrigger = \"delta\"\nasset = \"BTC\"\nscope = { account = \"main\" }\nhold_ms = 5\n\
                    hedge = { instrument = \"BTCUSDT.bybit\", account = \"main\", strategy = \"carry\" }\n\
                    levels = [{ threshold = 10.5, release = 3, latched = true, \
                    actions = [{ do = \"stop-quoting\" }, { do = \"hedge\", share = 0.25 }] }]\n";
        let file = EmergencyFile::from_toml(text).expect("good protocols");
        let written = toml::to_string(&file).expect("TOML");
        assert_eq!(EmergencyFile::from_toml(&written), Ok(file));
    }
}
