//! Decision records: what the engine decided, when, on what, and why.

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};
use strum::{EnumString, FromRepr, IntoStaticStr};

use crate::advice::{Adjustment, Operated};
use crate::event::{Header, Status};
use crate::instrument::InstrumentId;

/// What a breaker guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumString, FromRepr, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Scope {
    /// One instrument; the id is its [`InstrumentId`].
    Instrument = 0,
    /// One venue; the id is its number.
    Venue = 1,
    /// One strategy; the id is its position in the configuration.
    Strategy = 2,
    /// Everything; the id is 0.
    Engine = 3,
}

/// State of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, FromRepr, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum BreakerState {
    /// Nothing is wrong; trading is allowed.
    #[default]
    Closed = 0,
    /// The condition holds; trading is stopped.
    Tripped = 1,
    /// The condition has gone; trading stays stopped for the cooling period.
    Cooling = 2,
    /// Cooling is over; trading is allowed on probation, and the first relapse trips again.
    HalfOpen = 3,
}

/// Why a breaker changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, FromRepr, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Cause {
    /// The measured value went past the threshold.
    Breached = 0,
    /// The measured value came back past the release level.
    Released = 1,
    /// The cooling period ended.
    Cooled = 2,
    /// Probation ended without a relapse.
    Proven = 3,
    /// An operator tripped it.
    ManualTrip = 4,
    /// An operator reset it.
    ManualReset = 5,
    /// Enough breakers of the scope below are open.
    Escalated = 6,
}

/// One transition of one breaker. 88 bytes: with a header three ring lines.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Decision {
    /// Number of the decision, from 1.
    pub sequence: u64,
    /// Event time it was taken at, ns since the Unix epoch; a timer's own deadline for timer causes.
    pub event_ns: i64,
    /// Frame that caused it, or the last one before a timer fired.
    pub frame: u64,
    /// A [`Scope`].
    pub scope: u8,
    /// Which rule, by its index in the guard's table.
    pub rule: u8,
    /// A [`BreakerState`].
    pub from: u8,
    /// A [`BreakerState`].
    pub to: u8,
    /// A [`Cause`].
    pub cause: u8,
    /// A [`crate::event::BookQuality`]: of the book the value was measured on.
    pub quality: u8,
    /// Whom it concerns within the scope.
    pub scope_id: u16,
    /// The measured value, in the rule's unit; meaningless when `has_value` is 0.
    pub value: f64,
    /// The level that trips, in force at that moment.
    pub threshold: f64,
    /// The level that releases, in force at that moment.
    pub release: f64,
    /// Digest of the feature vector it was taken on; 0 for timers and operators.
    pub features_digest: u64,
    /// Version of the thresholds in force; moves with every publication.
    pub thresholds_version: u64,
    /// Until when cooling or probation lasts, ns since the Unix epoch; 0 when nothing runs.
    pub until_ns: i64,
    /// Instrument whose event it was ([`InstrumentId::NONE`] for timers and operators).
    pub instrument: InstrumentId,
    /// 1 when `value` was measured, else 0.
    pub has_value: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

const _: () = {
    assert!(size_of::<Decision>() == 88 && align_of::<Decision>() == 8);
    assert!(core::mem::offset_of!(Decision, value) == 32);
};

/// Whoever consumes decisions: a ring to the recorder, a file, a test.
pub trait DecisionSink {
    /// A decision, in order.
    fn decision(&mut self, decision: &Decision);
    /// Thresholds changed, in order with the decisions.
    fn adjustment(&mut self, adjustment: &Adjustment);
    /// An operator's command reached the engine; what it changed is told as decisions and adjustments.
    fn operated(&mut self, operated: &Operated);
    /// A book changed its quality. Only those who keep a log want to know; decisions say their own quality.
    fn status(&mut self, _header: &Header, _status: &Status) {}
}

impl BreakerState {
    /// Name as in reports.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether trading is allowed in this state.
    pub const fn allows_trading(self) -> bool {
        matches!(self, Self::Closed | Self::HalfOpen)
    }
}

impl Cause {
    /// Name as in reports.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl Scope {
    /// Name as in reports.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
