//! Settings of the trade desk, as operators write them.

use serde::{Deserialize, Serialize};
use tidegate_guard::ledger::PLACES_MAX;
use tidegate_guard::risk::{AccountLimits, Decimal, Duplicates, Rate, RiskLimits, ScopeLimits};

use super::RESERVED_NS;
use crate::paper::PaperConfig;

/// Account that the desk's orders are booked on.
pub const ACCOUNT: &str = "paper";
/// Strategy that they belong to.
pub const STRATEGY: &str = "signals";

/// `[trading]`: what is done with signals. Orders go to the paper exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Trading {
    /// Whether signals are traded, on paper.
    pub enabled: bool,
    /// What the account begins with, quote units.
    pub balance: u64,
    /// Margin of a position, quote units: the most it can lose.
    pub margin: u64,
    /// Largest value of one order, quote units, whatever its leverage; a larger one is made smaller.
    pub max_order_value: u64,
    /// Most positions at a time: the balance ledger's limit.
    pub max_positions: u32,
    /// How long a close that did not fill waits before it is sent again, ms.
    pub retry_ms: u64,
    /// The paper exchange: latency, fees, queue.
    pub paper: PaperConfig,
    /// A file of limits instead of the desk's own; it must let account `paper` trade strategy `signals`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<std::path::PathBuf>,
}

impl Default for Trading {
    fn default() -> Self {
        Self {
            enabled: false,
            balance: 10_000,
            margin: 100,
            max_order_value: 250_000,
            max_positions: 10,
            retry_ms: 1_000,
            paper: PaperConfig::default(),
            limits: None,
        }
    }
}

impl Trading {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// Key, value and what was expected.
    pub fn check(&self) -> Result<(), (String, String)> {
        let within = |key: &str, value: u64, low: u64, high: u64| match (low..=high).contains(&value) {
            true => Ok(()),
            false => Err((format!("trading.{key}"), format!("{value}: expected {low} to {high}"))),
        };
        within("balance", self.balance, 1, 1_000_000_000)?;
        within("margin", self.margin, 1, self.balance)?;
        within("max_order_value", self.max_order_value, 1, 100_000_000)?;
        within("max_positions", self.max_positions.into(), 1, PLACES_MAX.into())?;
        within("retry_ms", self.retry_ms, 1, 600_000)?;
        let latency = &self.paper.latency;
        let way_us = latency.entry_us.saturating_add(latency.response_us).saturating_add(latency.jitter_us * 2);
        // A margin is reserved for so long: its fill must be known before that is over.
        within("paper.latency", way_us, 0, RESERVED_NS / 2_000)?;
        self.paper.check().map_err(|error| ("trading.paper".into(), error.to_string()))
    }

    /// The limits that hold where no file names others: orders of the largest value, so many positions of it, a rate.
    pub fn own_limits(&self) -> RiskLimits {
        let whole = |value: u64| Some(Decimal::whole(i64::try_from(value).unwrap_or(i64::MAX / 4)));
        // Entries are held to the largest value where they are sized. What they have become when they are closed is not
        // known then, and a close must not be refused for it.
        let order = self.max_order_value.saturating_mul(10);
        let firm = ScopeLimits {
            max_order_value: whole(order),
            max_gross_exposure: whole(order.saturating_mul(2 * u64::from(self.max_positions) + 2)),
            messages: Some(Rate { count: 1_000, window_ms: 1_000 }),
            ..ScopeLimits::default()
        };
        let everything = || vec!["*".to_owned()];
        let account = AccountLimits {
            strategies: vec![STRATEGY.into()],
            instruments: everything(),
            venues: everything(),
            ..AccountLimits::default()
        };
        RiskLimits {
            firm,
            accounts: [(ACCOUNT.to_owned(), account)].into(),
            // Two positions may well end at once with the same quantity: their numbers tell them apart.
            duplicates: Duplicates { content_ms: 0, ..Duplicates::default() },
            ..RiskLimits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_key() {
        assert_eq!(Trading::default().check(), Ok(()));
        let wrong = Trading { margin: 20_000, ..Trading::default() };
        assert_eq!(wrong.check(), Err(("trading.margin".into(), "20000: expected 1 to 10000".into())));
    }
}
