//! What clients may subscribe to.

use strum::{EnumCount, EnumIter, EnumString, IntoEnumIterator, IntoStaticStr};

/// A kind of news. Those of state have keys and a newest value each; those of logs have numbered entries.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    EnumCount,
    EnumIter,
    EnumString,
    IntoStaticStr,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Topic {
    /// State: what runs, since when, how far, how fast.
    Engine,
    /// State by instrument: best prices, mid, last trade.
    Price,
    /// State by instrument: the ladder, best levels first, and the tape since the look before.
    Book,
    /// State by instrument: the newest feature vector by name.
    Features,
    /// State by model and instrument: what models predict.
    Signal,
    /// State: breakers that are not closed, and thresholds in force by instrument.
    Breakers,
    /// State: latency percentiles by stage.
    Latency,
    /// State: models, versions, shadow results.
    Models,
    /// State: connections, clocks, accounts.
    Feeds,
    /// State: kill switches, positions, exposure, profits.
    Risk,
    /// State: the balance ledger.
    Ledger,
    /// State: size of the audit log, last checkpoint, verification.
    Audit,
    /// State by instrument: flow states.
    Flow,
    /// State by instrument: the newest trap signal.
    Trap,
    /// State: Redis and stores.
    Stores,
    /// State: how good the confidence of signals was: counts, calibration, profits, models beside the formula, trials.
    Calibration,
    /// State: the paper account, its open positions and those that ended last.
    Paper,
    /// State: queues, clients, drops, errors.
    Debug,
    /// State: what is wrong with host or run, and what to do about it.
    Findings,
    /// Log: breakers' changes of state.
    Breaker,
    /// Log: changes of thresholds.
    Threshold,
    /// Log: changes of books' quality.
    Quality,
    /// Log: operators' commands that reached the engine.
    Operator,
    /// Log: what happened to connections.
    Connection,
    /// Log: what happened to models.
    Model,
    /// Log: alerts of the risk desk, of prices, of operators' rules.
    Alert,
    /// Log: trap signals that are alarms.
    TrapAlarm,
    /// Log: microstructure signals.
    Psc,
    /// Log: prices that clients tell each other.
    Told,
}

impl Topic {
    /// Name as on the wire.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether it is a log.
    pub const fn is_log(self) -> bool {
        matches!(
            self,
            Self::Breaker
                | Self::Threshold
                | Self::Quality
                | Self::Operator
                | Self::Connection
                | Self::Model
                | Self::Alert
                | Self::TrapAlarm
                | Self::Psc
                | Self::Told
        )
    }

    /// All logs.
    pub fn logs() -> impl Iterator<Item = Self> {
        Self::iter().filter(|topic| topic.is_log())
    }
}
