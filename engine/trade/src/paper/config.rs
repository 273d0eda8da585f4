//! Settings of a paper exchange.

use tidegate_guard::risk::Decimal;

use super::book::LEVELS;
use super::queue::QueueModel;

/// Longest latency, microseconds: a minute.
const LONGEST_US: u64 = 60_000_000;
/// Most accounts.
const MOST_ACCOUNTS: u16 = 1_024;
/// Most open orders, requests and reports.
const MOST: u32 = 1 << 20;
/// Reports beyond those that every open order and request needs, at least.
pub(super) const SPARE_REPORTS: u32 = 64;
/// Reports that one request causes at most, executions and ends of resting orders aside: its acknowledgement, its own
/// end, and a restatement on either side.
pub(super) const REPORTS_A_REQUEST: u32 = 4;
/// Highest fee or rebate, millionths of the value: a hundredth.
const HIGHEST_PPM: u32 = 10_000;

/// How long requests and reports travel. All of a kind arrive in the order they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LatencyConfig {
    /// From the owner to the matching engine, microseconds, at most a minute.
    pub entry_us: u64,
    /// From the matching engine to the owner, microseconds, at most a minute.
    pub response_us: u64,
    /// What is added to either, evenly between 0 and this, microseconds, at most a minute. It depends on the request's
    /// number and the key alone.
    pub jitter_us: u64,
    /// Key of the jitter.
    pub jitter_key: u64,
}

impl Default for LatencyConfig {
    fn default() -> Self {
        Self { entry_us: 2_000, response_us: 2_000, jitter_us: 0, jitter_key: 0 }
    }
}

/// What executions cost, millionths of their value (100 are a basis point); negative for a rebate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FeeConfig {
    /// Of orders that rested, -10000 to 10000.
    pub maker_ppm: i32,
    /// Of orders that arrived, -10000 to 10000.
    pub taker_ppm: i32,
}

impl Default for FeeConfig {
    /// Those of Binance USD-M for everybody (<https://www.binance.com/en/fee/futureFee>).
    fn default() -> Self {
        Self { maker_ppm: 200, taker_ppm: 500 }
    }
}

/// Settings of a paper exchange: one venue.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PaperConfig {
    /// Accounts it knows, 1 to 1024: those numbered from 0.
    pub accounts: u16,
    /// Open orders there is room for, 1 to 1048576.
    pub open_orders: u32,
    /// Requests on their way to the exchange that there is room for, 1 to 1048576.
    pub requests: u32,
    /// Reports there is room for, those on their way and those unread. Every open order needs one and every request
    /// four; 64 more are the least.
    pub reports: u32,
    /// Levels a side that it is shown, 1 to 20. A side with fewer is known to its end.
    pub depth: u32,
    /// How a resting order moves on in its queue.
    pub queue: QueueModel,
    /// How long the trade and the book change that tell of the same event may lie apart, ms of event time, at most
    /// 60000. Where a venue stamps both, its stamps decide and this only bounds memory.
    pub pairing_ms: u32,
    /// How much later than it changed the venue may stamp a book, ms, at most 60000. Binance stamps its when they are
    /// sent: up to 19 ms later on a busy day.
    pub slack_ms: u32,
    /// Whether liquidity that an order took is withheld from the next ones until the level's own trading replaced it.
    pub consume: bool,
    /// Least price times quantity of an order, quote units, at least 0; reduce-only orders may have less.
    pub min_notional: Decimal,
    /// How long requests and reports travel.
    pub latency: LatencyConfig,
    /// What executions cost.
    pub fees: FeeConfig,
}

impl Default for PaperConfig {
    fn default() -> Self {
        Self {
            accounts: 1,
            open_orders: 1_024,
            requests: 256,
            reports: 8_192,
            depth: LEVELS as u32,
            queue: QueueModel::default(),
            pairing_ms: 500,
            slack_ms: 20,
            consume: true,
            min_notional: Decimal::whole(0),
            latency: LatencyConfig::default(),
            fees: FeeConfig::default(),
        }
    }
}

/// Why a paper exchange cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaperError {
    /// A value that makes no sense; names the key, the value and what was expected.
    #[error("{0}")]
    Value(String),
    /// An instrument whose values do not fit 64 bits.
    #[error("{0}")]
    Instrument(String),
}

impl PaperConfig {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// The first key that does not, its value and what was expected.
    pub fn check(&self) -> Result<(), PaperError> {
        let value = |text| Err(PaperError::Value(text));
        let counts = [
            ("accounts", u64::from(self.accounts), 1, u64::from(MOST_ACCOUNTS)),
            ("open_orders", u64::from(self.open_orders), 1, u64::from(MOST)),
            ("requests", u64::from(self.requests), 1, u64::from(MOST)),
            ("reports", u64::from(self.reports), self.fewest_reports(), u64::from(MOST) * 8),
            ("depth", u64::from(self.depth), 1, LEVELS as u64),
            ("pairing_ms", u64::from(self.pairing_ms), 0, 60_000),
            ("slack_ms", u64::from(self.slack_ms), 0, 60_000),
            ("latency.entry_us", self.latency.entry_us, 0, LONGEST_US),
            ("latency.response_us", self.latency.response_us, 0, LONGEST_US),
            ("latency.jitter_us", self.latency.jitter_us, 0, LONGEST_US),
        ];
        if let Some((key, count, least, most)) =
            counts.iter().find(|(_, count, least, most)| count < least || count > most)
        {
            return value(format!("{key} is {count}, expected {least} to {most}"));
        }
        for (key, ppm) in [("fees.maker_ppm", self.fees.maker_ppm), ("fees.taker_ppm", self.fees.taker_ppm)] {
            if ppm.unsigned_abs() > HIGHEST_PPM {
                return value(format!("{key} is {ppm}, expected -{HIGHEST_PPM} to {HIGHEST_PPM}"));
            }
        }
        match self.min_notional.money() {
            Ok(0..) => {}
            Ok(_) => return value(format!("min_notional is {}, expected at least 0", self.min_notional)),
            Err(reason) => return value(format!("min_notional {reason}")),
        }
        self.queue.check().map_err(PaperError::Value)
    }

    /// Reports that there must be room for: with fewer, orders could end and nobody be told.
    fn fewest_reports(&self) -> u64 {
        let requests = u64::from(self.requests) * u64::from(REPORTS_A_REQUEST);
        u64::from(self.open_orders) + requests + u64::from(SPARE_REPORTS)
    }
}
