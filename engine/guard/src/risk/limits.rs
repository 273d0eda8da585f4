//! The configuration of risk limits: who may do what, and how much of it.
//!
//! ```toml
//! [firm]
//! max_order_value = 250000
//! max_gross_exposure = 5000000
//! messages = { count = 500, window_ms = 1000 }
//!
//! [accounts.main]
//! strategies = ["carry"]
//! instruments = ["*"]
//! venues = ["binance-usdm"]
//! limits = { max_gross_exposure = 1000000, max_daily_loss = 20000, leverage = 3 }
//!
//! [strategies.carry]
//! executions = { count = 50, window_ms = 1000 }
//!
//! [instruments."BTCUSDT.binance-usdm"]
//! max_order_qty = 2
//! account_max_long = 10
//! account_max_short = 10
//! ```
//!
//! A limit that is not named does not bind at its scope; the firm's order value, gross exposure and message rate, and
//! every instrument's price collar, always do. An account may do nothing that it is not allowed by name. Requirements
//! behind the limits: 17 CFR 240.15c3-5(c), Delegated Regulation (EU) 2017/589 (RTS 6) Articles 12, 15, 16 and 17.

use std::collections::BTreeMap;

use tidegate_wire::{Registry, Venue};

use super::amount::Decimal;
use super::people::Role;

/// Longest window or age, ms: a day.
const LONGEST_MS: u64 = 86_400_000;
/// Most events a window may count: each takes a word.
const MOST_EVENTS: u32 = 1_000_000;

/// So many in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Largest number, in `[1, 1000000]`.
    pub count: u32,
    /// In any window of this length, ms of event time, in `[1, 86400000]`.
    pub window_ms: u64,
}

/// Limits that every scope may have. Money is in the reporting currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScopeLimits {
    /// Largest worst-case value of one order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_order_value: Option<Decimal>,
    /// Largest sum of worst-case exposures, open orders included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_gross_exposure: Option<Decimal>,
    /// Capital set aside; exposure may reach `leverage` times it. A strategy's and the firm's drawdown breaker measures
    /// losses since the highest equity, capital and profit, and stops what makes positions larger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capital: Option<Decimal>,
    /// Exposure over credit, at most three decimals; for accounts it makes credit that was told a condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leverage: Option<Decimal>,
    /// Loss since midnight UTC, open positions included, that stops the scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_daily_loss: Option<Decimal>,
    /// Loss since the highest profit that stops the scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_drawdown: Option<Decimal>,
    /// Largest number of open orders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_open_orders: Option<u32>,
    /// Messages of any kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Rate>,
    /// New orders and replacements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orders: Option<Rate>,
    /// Cancels; more of them raise an alert, none is held back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancels: Option<Rate>,
    /// Refusals that stop the scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusals: Option<Rate>,
    /// Executions that stop the scope until a designated person lets it go on (RTS 6 Art. 15(3)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executions: Option<Rate>,
}

/// Limits of one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InstrumentLimits {
    /// Reporting currency in one unit of the quote currency.
    pub conversion: Decimal,
    /// Largest quantity of one order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_order_qty: Option<Decimal>,
    /// Longest position of everybody together, open buys included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_long: Option<Decimal>,
    /// Shortest position of everybody together, open sells included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_short: Option<Decimal>,
    /// The same for one account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_max_long: Option<Decimal>,
    /// The same for one account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_max_short: Option<Decimal>,
    /// The same for one strategy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy_max_long: Option<Decimal>,
    /// The same for one strategy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy_max_short: Option<Decimal>,
    /// How far a price may lie on the wrong side of the reference, basis points, in (0, 10000], at most two decimals.
    pub collar_bp: Decimal,
    /// How far a price may lie beyond the period's best reference (a buy above its lowest, a sell below its highest).
    pub period_collar_bp: Decimal,
    /// Length of that period, ms of event time.
    pub period_ms: u64,
    /// Oldest reference price that counts, ms of event time.
    pub max_reference_age_ms: u64,
    /// Limits as every scope has them.
    pub limits: ScopeLimits,
}

impl Default for InstrumentLimits {
    fn default() -> Self {
        Self {
            conversion: Decimal::whole(1),
            max_order_qty: None,
            max_long: None,
            max_short: None,
            account_max_long: None,
            account_max_short: None,
            strategy_max_long: None,
            strategy_max_short: None,
            collar_bp: Decimal::whole(200),
            period_collar_bp: Decimal::whole(500),
            period_ms: 60_000,
            max_reference_age_ms: 2_000,
            limits: ScopeLimits::default(),
        }
    }
}

/// What an account may do. `"*"` stands for everything of its kind; an empty list for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccountLimits {
    /// Strategies that may trade on it.
    pub strategies: Vec<String>,
    /// Instruments it may trade, such as `BTCUSDT.binance-usdm`.
    pub instruments: Vec<String>,
    /// Venues it may reach.
    pub venues: Vec<String>,
    /// Accounts of one trade group count as one owner in self-trade prevention; 0 is none.
    pub trade_group: u32,
    /// Limits as every scope has them.
    pub limits: ScopeLimits,
}

/// When an order counts as a repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Duplicates {
    /// How long a client order id is remembered after it was let through, ms; while it is open it always is.
    pub client_id_ms: u64,
    /// How long account, strategy, instrument, side, type, price and quantity of an order are remembered, ms.
    pub content_ms: u64,
    /// How many client order ids are remembered; one more within the time is refused.
    pub remembered: u32,
    /// How many contents are remembered; one more within the time is refused. Less memory is nearer memory.
    pub contents: u32,
}

impl Default for Duplicates {
    fn default() -> Self {
        Self { client_id_ms: 60_000, content_ms: 500, remembered: 65_536, contents: 4_096 }
    }
}

/// What kill switches and overrides may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Switches {
    /// Whether a thrown switch lets orders through that can only make a position smaller.
    pub reduce_only: bool,
    /// Whether an open breaker does.
    pub reduce_only_through_breakers: bool,
    /// Whether a reset needs a second person with the role `risk`.
    pub two_person_reset: bool,
    /// How long the operator's heartbeat may stay away, ms; 0 switches the timer off.
    pub dead_man_ms: u64,
    /// Longest life of an override, ms.
    pub override_ms: u64,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            reduce_only: true,
            reduce_only_through_breakers: false,
            two_person_reset: false,
            dead_man_ms: 0,
            override_ms: 60_000,
        }
    }
}

/// An entry of the restricted list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestrictedEntry {
    /// Name of an instrument, or `"*"`.
    pub instrument: String,
    /// Name of an account, or `"*"`.
    pub account: String,
}

/// The restricted list: what nobody, or who nobody, may trade (17 CFR 240.15c3-5(c)(2)(ii)).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RestrictedFile {
    /// Grows with every list.
    pub version: u32,
    /// What is restricted.
    pub entries: Vec<RestrictedEntry>,
}

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RiskLimits {
    /// Largest number of open orders the gate has room for; 4096 when 0.
    pub capacity: u32,
    /// Everything together.
    pub firm: ScopeLimits,
    /// Accounts by name; they are numbered in the order of their names.
    pub accounts: BTreeMap<String, AccountLimits>,
    /// Strategies by name.
    pub strategies: BTreeMap<String, ScopeLimits>,
    /// Venues by name.
    pub venues: BTreeMap<String, ScopeLimits>,
    /// Instruments by name.
    pub instruments: BTreeMap<String, InstrumentLimits>,
    /// Limits of instruments that have none by name.
    pub instrument_defaults: InstrumentLimits,
    /// Repetitions.
    pub duplicates: Duplicates,
    /// Kill switches and overrides.
    pub switches: Switches,
    /// The first restricted list.
    pub restricted: RestrictedFile,
    /// Who may do what about limits; they are numbered in the order of their names.
    pub people: BTreeMap<String, Vec<Role>>,
}

/// Why limits cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RiskError {
    /// Not TOML, an unknown key, a value of another type.
    #[error("{0}")]
    Syntax(String),
    /// A value that makes no sense; names the key, the value and what was expected.
    #[error("{0}")]
    Value(String),
}

impl RiskLimits {
    /// Limits under which no order may be sent. A person called `operator` has every role, so that a thrown switch can
    /// be reset.
    pub fn deny_all() -> Self {
        let firm = ScopeLimits {
            max_order_value: Some(Decimal::whole(1)),
            max_gross_exposure: Some(Decimal::whole(1)),
            messages: Some(Rate { count: 1, window_ms: 1_000 }),
            ..ScopeLimits::default()
        };
        let roles = vec![Role::Operator, Role::Risk, Role::Designated];
        Self {
            firm,
            // The gate wants an account; this one may trade nothing.
            accounts: BTreeMap::from([("none".to_owned(), AccountLimits::default())]),
            people: BTreeMap::from([("operator".to_owned(), roles)]),
            ..Self::default()
        }
    }

    /// Reads limits.
    ///
    /// # Errors
    /// See [`RiskError`].
    pub fn from_toml(text: &str) -> Result<Self, RiskError> {
        let table = toml::Deserializer::parse(text).map_err(|error| RiskError::Syntax(error.to_string()))?;
        let limits: Self = serde_path_to_error::deserialize(table)
            .map_err(|error| RiskError::Syntax(format!("{}: {}", error.path(), error.inner())))?;
        limits.check().map_err(RiskError::Value)?;
        Ok(limits)
    }

    /// Whether the values make sense by themselves; names are looked up when the gate is made.
    ///
    /// # Errors
    /// The first key that does not, its value and what was expected.
    pub fn check(&self) -> Result<(), String> {
        let firm = &self.firm;
        let missing = [
            ("max_order_value", firm.max_order_value.is_none()),
            ("max_gross_exposure", firm.max_gross_exposure.is_none()),
            ("messages", firm.messages.is_none()),
        ];
        if let Some((key, _)) = missing.iter().find(|(_, missing)| *missing) {
            return Err(format!("firm.{key} is not set, expected a limit: no order is sent without one"));
        }
        firm.check("firm")?;
        self.accounts.iter().try_for_each(|(name, a)| a.limits.check(&format!("accounts.{name}.limits")))?;
        self.strategies.iter().try_for_each(|(name, limits)| limits.check(&format!("strategies.{name}")))?;
        self.venues.iter().try_for_each(|(name, limits)| limits.check(&format!("venues.{name}")))?;
        self.instrument_defaults.check("instrument_defaults")?;
        self.instruments.iter().try_for_each(|(name, i)| i.check(&format!("instruments.{name}")))?;
        let times = [
            ("duplicates.client_id_ms", self.duplicates.client_id_ms),
            ("duplicates.content_ms", self.duplicates.content_ms),
            ("switches.dead_man_ms", self.switches.dead_man_ms),
            ("switches.override_ms", self.switches.override_ms),
        ];
        times.iter().try_for_each(|(key, ms)| short_enough(key, *ms))?;
        let counts = [
            ("capacity", self.capacity),
            ("duplicates.remembered", self.duplicates.remembered),
            ("duplicates.contents", self.duplicates.contents),
        ];
        counts.iter().try_for_each(|(key, count)| match *count {
            0..=MOST_EVENTS => Ok(()),
            more => Err(format!("{key} is {more}, expected at most {MOST_EVENTS}")),
        })
    }

    /// Whether every name is one of this run's.
    ///
    /// # Errors
    /// The key, the name and what there is.
    pub fn check_names(&self, registry: &Registry, strategies: &[&str]) -> Result<(), String> {
        let instruments: Vec<String> = registry.iter().map(|(_, instrument)| instrument.name()).collect();
        let instruments: Vec<&str> = instruments.iter().map(String::as_str).collect();
        let venues = Venue::ALL.map(Venue::name);
        let accounts: Vec<&str> = self.accounts.keys().map(String::as_str).collect();
        known("strategies", self.strategies.keys(), strategies)?;
        known("venues", self.venues.keys(), &venues)?;
        known("instruments", self.instruments.keys(), &instruments)?;
        for (name, account) in &self.accounts {
            let key = |list: &str| format!("accounts.{name}.{list}");
            known(&key("strategies"), account.strategies.iter().filter(|name| *name != "*"), strategies)?;
            known(&key("instruments"), account.instruments.iter().filter(|name| *name != "*"), &instruments)?;
            known(&key("venues"), account.venues.iter().filter(|name| *name != "*"), &venues)?;
        }
        let entries = &self.restricted.entries;
        let named = |name: &&String| *name != "*";
        known("restricted.entries", entries.iter().map(|entry| &entry.instrument).filter(named), &instruments)?;
        known("restricted.entries", entries.iter().map(|entry| &entry.account).filter(named), &accounts)
    }
}

/// Whether names are known.
pub(crate) fn known<'a>(
    key: &str,
    mut names: impl Iterator<Item = &'a String>,
    there_are: &[&str],
) -> Result<(), String> {
    let unknown = names.find(|name| !there_are.contains(&name.as_str()));
    let list = || if there_are.len() > 12 { "one that is configured".into() } else { there_are.join(", ") };
    unknown.map_or(Ok(()), |name| Err(format!("{key} names {name:?}, expected {}", list())))
}

fn short_enough(key: &str, ms: u64) -> Result<(), String> {
    if ms <= LONGEST_MS { Ok(()) } else { Err(format!("{key} is {ms}, expected at most {LONGEST_MS} (a day)")) }
}

fn positive(of: &str, key: &str, value: Option<Decimal>, decimals: u8) -> Result<(), String> {
    let Some(value) = value else { return Ok(()) };
    match value.at_scale(decimals) {
        Ok(1..) => Ok(()),
        Ok(_) => Err(format!("{of}.{key} is {value}, expected above 0")),
        Err(reason) => Err(format!("{of}.{key} {reason}")),
    }
}

impl ScopeLimits {
    fn check(&self, of: &str) -> Result<(), String> {
        positive(of, "max_order_value", self.max_order_value, 6)?;
        positive(of, "max_gross_exposure", self.max_gross_exposure, 6)?;
        positive(of, "capital", self.capital, 6)?;
        positive(of, "leverage", self.leverage, 3)?;
        positive(of, "max_daily_loss", self.max_daily_loss, 6)?;
        positive(of, "max_drawdown", self.max_drawdown, 6)?;
        if self.max_open_orders == Some(0) {
            return Err(format!("{of}.max_open_orders is 0, expected above 0"));
        }
        let rates = [
            ("messages", self.messages),
            ("orders", self.orders),
            ("cancels", self.cancels),
            ("refusals", self.refusals),
            ("executions", self.executions),
        ];
        for (key, rate) in rates {
            let Some(Rate { count, window_ms }) = rate else { continue };
            if count == 0 || count > MOST_EVENTS {
                return Err(format!("{of}.{key}.count is {count}, expected 1 to {MOST_EVENTS}"));
            }
            if window_ms == 0 {
                return Err(format!("{of}.{key}.window_ms is 0, expected above 0"));
            }
            short_enough(&format!("{of}.{key}.window_ms"), window_ms)?;
        }
        Ok(())
    }
}

impl InstrumentLimits {
    fn check(&self, of: &str) -> Result<(), String> {
        for (key, value) in [("collar_bp", self.collar_bp), ("period_collar_bp", self.period_collar_bp)] {
            positive(of, key, Some(value), 2)?;
            if value > Decimal::whole(10_000) {
                return Err(format!("{of}.{key} is {value}, expected at most 10000"));
            }
        }
        for (key, ms) in [("period_ms", self.period_ms), ("max_reference_age_ms", self.max_reference_age_ms)] {
            if ms == 0 {
                return Err(format!("{of}.{key} is 0, expected above 0"));
            }
            short_enough(&format!("{of}.{key}"), ms)?;
        }
        positive(of, "conversion", Some(self.conversion), 12)?;
        self.limits.check(&format!("{of}.limits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::RiskGate;
    use crate::risk::testing::{limits, registry};

    const FIRM: &str = "[firm]\nmax_order_value = 1\nmax_gross_exposure = 1\nmessages = { count = 1, window_ms = 1 }\n";

    #[test]
    fn errors_name_key_value_and_expectation() {
        let error = |text: &str| RiskLimits::from_toml(&format!("{FIRM}{text}")).expect_err(text).to_string();
        for (text, parts) in [
            ("max_ordervalue = 3", ["firm", "max_ordervalue"]),
            ("max_drawdown = -1", ["firm.max_drawdown is -1", "above 0"]),
            ("capital = 0.0000001", ["firm.capital is 0.0000001", "at most 6 decimals"]),
            ("capital = \"many\"", ["firm.capital", "no decimal"]),
            ("max_open_orders = 0", ["firm.max_open_orders is 0", "above 0"]),
            ("orders = { count = 0, window_ms = 5 }", ["firm.orders.count is 0", "expected 1 to"]),
            ("orders = { count = 5, window_ms = 0 }", ["firm.orders.window_ms is 0", "above 0"]),
            ("orders = { count = 5 }", ["firm.orders", "window_ms"]),
            ("cancels = { count = 2000000, window_ms = 1 }", ["2000000", "1000000"]),
            ("[instrument_defaults]\ncollar_bp = 10001", ["instrument_defaults.collar_bp is 10001", "at most 10000"]),
            ("[instrument_defaults]\nperiod_ms = 0", ["instrument_defaults.period_ms is 0", "above 0"]),
            ("[switches]\ndead_man_ms = 86400001", ["switches.dead_man_ms is 86400001", "a day"]),
            ("[accounts.a.limits]\nleverage = 0", ["accounts.a.limits.leverage is 0", "above 0"]),
            ("[people]\nada = [\"king\"]", ["people.ada", "king"]),
        ] {
            let message = error(text);
            assert!(parts.iter().all(|part| message.contains(part)), "{text}: {message}");
        }
        let without = RiskLimits::from_toml("[firm]\nmax_order_value = 1\n").expect_err("not enough").to_string();
        assert!(without.contains("firm.max_gross_exposure is not set"), "{without}");
    }

    #[test]
    fn names_are_looked_up_when_the_gate_is_made() {
        let made = |text: &str| {
            let limits = RiskLimits::from_toml(&format!("{FIRM}{text}")).expect(text);
            RiskGate::new(&registry(), &["carry"], &limits).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(made("[accounts.main]\n"), Ok(()));
        for (text, parts) in [
            ("", ["0 accounts", "make 0 cells"]),
            ("[accounts.main]\nstrategies = [\"cary\"]", ["accounts.main.strategies", "\"cary\""]),
            ("[accounts.main]\n[strategies.grid]", ["strategies", "\"grid\""]),
            ("[accounts.main]\n[instruments.XYZ]", ["instruments", "\"XYZ\""]),
            ("[accounts.main]\n[venues.nyse]", ["venues", "\"nyse\""]),
            ("[accounts.main]\n[instruments.\"BTCUSDT.binance-usdm\"]\nmax_long = 0.0001", ["BTCUSDT", "3 decimals"]),
        ] {
            let error = made(text).expect_err(text);
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
    }

    #[test]
    fn files_go_round() {
        let text = "[instruments.\"BTCUSDT.binance-usdm\"]\nmax_order_qty = \"0.125\"\nconversion = 0.9995\n\
                    [strategies.carry]\nexecutions = { count = 3, window_ms = 20 }\nmax_drawdown = 12.5\n\
                    [restricted]\nversion = 3\nentries = [{ instrument = \"*\", account = \"main\" }]\n";
        let limits = limits("capacity = 77\n", text);
        let written = toml::to_string(&limits).expect("TOML");
        assert_eq!(RiskLimits::from_toml(&written), Ok(limits));
        let schema = schemars::schema_for!(RiskLimits);
        assert!(schema.get("properties").is_some_and(|p| p.get("firm").is_some()), "{schema:?}");
    }
}
