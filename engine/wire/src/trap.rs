//! The record of what a trap detector says of an instrument. How it comes to it is the market room's matter.

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};
use strum::{EnumCount, EnumString, FromRepr, IntoStaticStr, VariantArray};

use crate::decimal::Price;
use crate::event::{HEADER_WORDS, Header, RecordKind, record_of};
use crate::order::Side;

/// What the detector sees.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    EnumCount,
    EnumString,
    FromRepr,
    IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum TrapPattern {
    /// Nothing that looks like a trap.
    None = 0,
    /// Cannot be told: the book is not good, looks are missing, or too few have been seen yet.
    Unknown = 1,
    /// A break above a range's high, held for a while, that fails: whoever bought it is caught.
    BullTrap = 2,
    /// A break below a range's low, held for a while, that fails: whoever sold it is caught.
    BearTrap = 3,
    /// A fast spike through a swing level that triggers stops and reverses within seconds.
    StopHunt = 4,
    /// A sweep of several resting levels that is absorbed, refilled and undone.
    LiquidityGrab = 5,
    /// Large quantities on several levels of one side that appear together and vanish without being traded.
    Layering = 6,
}

/// Patterns that have a probability, in the order of [`TrapBody::probabilities`].
pub const TRAP_PATTERNS: [TrapPattern; TRAP_COUNT] = [
    TrapPattern::BullTrap,
    TrapPattern::BearTrap,
    TrapPattern::StopHunt,
    TrapPattern::LiquidityGrab,
    TrapPattern::Layering,
];

/// Number of patterns that have a probability.
pub const TRAP_COUNT: usize = TrapPattern::COUNT - 2;

/// Pieces of evidence that a pattern has.
pub const EVIDENCE_SLOTS: usize = 8;

/// Evidence of a break, see [`TrapPattern::evidence`].
const BREAK_EVIDENCE: [&str; EVIDENCE_SLOTS] =
    ["retraced", "held", "stalled", "flow", "failing", "absorption", "book_against", "thrust"];
/// Evidence of a stop hunt.
const HUNT_EVIDENCE: [&str; EVIDENCE_SLOTS] =
    ["retraced", "speed", "burst", "beyond", "stalled", "flow", "refilled", "book_against"];
/// Evidence of a liquidity grab.
const GRAB_EVIDENCE: [&str; EVIDENCE_SLOTS] =
    ["retraced", "swept", "consumed", "absorbed", "refilled", "stalled", "flow", "book_against"];
/// Evidence of layering.
const LAYER_EVIDENCE: [&str; EVIDENCE_SLOTS] =
    ["size", "levels", "together", "imbalance_shift", "vanished", "traded", "opposite_flow", "age"];

impl TrapPattern {
    /// Name as in reports.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Its place in [`TRAP_PATTERNS`]; `None` for [`Self::None`] and [`Self::Unknown`].
    pub const fn index(self) -> Option<usize> {
        (self as usize).checked_sub(2)
    }

    /// Names of the pattern's evidence, in the order of [`TrapBody::evidence`]; empty for `none` and `unknown`. Units
    /// and ranges stand where the evidence is gathered, in the market room's `traps`.
    pub const fn evidence(self) -> &'static [&'static str] {
        match self {
            Self::None | Self::Unknown => &[],
            Self::BullTrap | Self::BearTrap => &BREAK_EVIDENCE,
            Self::StopHunt => &HUNT_EVIDENCE,
            Self::LiquidityGrab => &GRAB_EVIDENCE,
            Self::Layering => &LAYER_EVIDENCE,
        }
    }
}

/// Why a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumString, FromRepr, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum TrapCause {
    /// Its time had come.
    Cadence = 0,
    /// The pattern changed.
    Event = 1,
}

/// What the detector says. Prices are mantissas at the instrument's scale.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct TrapBody {
    /// A [`TrapPattern`].
    pub pattern: u8,
    /// A [`TrapCause`].
    pub cause: u8,
    /// A [`Side`]: which way the trap lures, so that positions of this side are caught. Zero unless the pattern is one
    /// of [`TRAP_PATTERNS`].
    pub lure: u8,
    /// `KNOWN_*` bits: which of the prices below mean something; the others are zero.
    pub known: u8,
    /// Zero.
    pub reserved: [u8; 4],
    /// Probability of the pattern, in [0, 1]; of `none`: that of the likeliest pattern; of `unknown`: 0.
    pub probability: f64,
    /// How large it is, in [0, 1]: excursion and volume over what is usual. No probability.
    pub intensity: f64,
    /// Probabilities by place in [`TRAP_PATTERNS`], in [0, 1]; 0 where there is no candidate.
    pub probabilities: [f64; TRAP_COUNT],
    /// When the candidate began, ns since the Unix epoch; 0 without one.
    pub since_ns: i64,
    /// The level the trap is about: the broken or swept one, the nearest layer.
    pub reference: Price,
    /// The farthest price the lure has reached.
    pub extreme: Price,
    /// Advice for a position of the lured side that is open: a tighter stop-loss. The risk engine decides.
    pub stop_loss: Price,
    /// Advice for a position of the lured side that is open: a nearer take-profit. The risk engine decides.
    pub take_profit: Price,
    /// Evidence, named by [`TrapPattern::evidence`]; zeros where there is none.
    pub evidence: [f64; EVIDENCE_SLOTS],
}

impl TrapBody {
    /// [`Self::reference`] and [`Self::extreme`] are known.
    pub const KNOWN_LEVELS: u8 = 1;
    /// [`Self::stop_loss`] is advised.
    pub const KNOWN_STOP: u8 = 2;
    /// [`Self::take_profit`] is advised.
    pub const KNOWN_TAKE: u8 = 4;

    /// Its pattern; `Unknown` for a foreign byte.
    pub fn pattern(&self) -> TrapPattern {
        TrapPattern::from_repr(self.pattern).unwrap_or(TrapPattern::Unknown)
    }

    /// Why it was written; `None` for a foreign byte.
    pub fn cause(&self) -> Option<TrapCause> {
        TrapCause::from_repr(self.cause)
    }

    /// The side of positions that are caught, where there is a trap.
    pub fn lure(&self) -> Option<Side> {
        self.pattern().index().and_then(|_| Side::from_repr(self.lure))
    }

    /// The advised stop-loss.
    pub fn stop_loss(&self) -> Option<Price> {
        (self.known & Self::KNOWN_STOP != 0).then_some(self.stop_loss)
    }

    /// The advised take-profit.
    pub fn take_profit(&self) -> Option<Price> {
        (self.known & Self::KNOWN_TAKE != 0).then_some(self.take_profit)
    }

    /// The evidence with its names.
    pub fn named_evidence(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.pattern().evidence().iter().copied().zip(self.evidence)
    }
}

/// Header and signal as one record of four lines.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct TrapSignal {
    /// Kind [`RecordKind::Trap`]; its event time is that of the look it was told at.
    pub header: Header,
    /// What is said.
    pub body: TrapBody,
}

impl TrapSignal {
    /// The record at the start of a ring's words; `None` when they are another one, or none.
    pub fn of_words(words: &[u64]) -> Option<&Self> {
        record_of(words, RecordKind::Trap)
    }

    /// As words, to be pushed into a ring.
    pub fn words_mut(&mut self) -> &mut [u64] {
        bytemuck::cast_slice_mut(core::slice::from_mut(self))
    }
}

const _: () = {
    assert!(size_of::<TrapBody>() == 3 * HEADER_WORDS * 8, "header and body are whole lines");
    assert!(core::mem::offset_of!(TrapBody, probability) == 8);
    assert!(core::mem::offset_of!(TrapSignal, body) == HEADER_WORDS * 8);
    assert!(TRAP_PATTERNS[TRAP_COUNT - 1] as usize == TRAP_COUNT + 1, "places follow the numbers");
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instrument::InstrumentId;

    #[test]
    fn patterns_have_names_places_and_evidence() {
        for (place, pattern) in TRAP_PATTERNS.into_iter().enumerate() {
            assert_eq!(pattern.index(), Some(place));
            assert_eq!(pattern.evidence().len(), EVIDENCE_SLOTS);
            assert_eq!(pattern.name().parse(), Ok(pattern));
        }
        assert_eq!((TrapPattern::None.index(), TrapPattern::Unknown.evidence().len()), (None, 0));
        assert_eq!(TrapPattern::LiquidityGrab.name(), "liquidity-grab");
    }

    #[test]
    fn a_signal_goes_through_words() {
        let mut signal = TrapSignal::zeroed();
        signal.header = Header::new(RecordKind::Trap, InstrumentId(1));
        (signal.body.pattern, signal.body.lure) = (TrapPattern::StopHunt as u8, Side::Sell as u8);
        (signal.body.known, signal.body.stop_loss, signal.body.evidence[1]) =
            (TrapBody::KNOWN_STOP, Price::from_raw(7), 0.5);
        let mut words = signal.words_mut().to_vec();
        let found = TrapSignal::of_words(&words).expect("a signal").body;
        assert_eq!(
            (found.pattern(), found.cause(), found.lure()),
            (TrapPattern::StopHunt, Some(TrapCause::Cadence), Some(Side::Sell))
        );
        assert_eq!((found.stop_loss(), found.take_profit()), (Some(Price::from_raw(7)), None));
        assert_eq!(found.named_evidence().nth(1), Some(("speed", 0.5)));
        signal.body.pattern = 99;
        assert_eq!((signal.body.pattern(), signal.body.lure()), (TrapPattern::Unknown, None));
        words[0] = RecordKind::Look as u64;
        assert_eq!(TrapSignal::of_words(&words), None);
    }
}
