//! What models advise, and what the guard made of it.
//!
//! An [`Advice`] is a model's answer for one instrument: levels, never orders. It lies in a cell of a [`Cells`] that
//! the sidecar writes and the guard reads; stamps ride in it, so that whoever adopts it knows what each step took. An
//! [`Adjustment`] is the guard's record of a change of thresholds, with everything that is needed to repeat it.
//!
//! [`Cells`]: crate::cells::Cells

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};
use strum::{EnumCount, EnumString, FromRepr, IntoStaticStr, VariantArray};

use crate::instrument::InstrumentId;

/// What a tuner predicts, in the order of its outputs.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    EnumCount,
    EnumString,
    FromRepr,
    IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Target {
    /// Highest value of the volatility rule, fraction/year.
    Volatility = 0,
    /// Highest value of the spread rule, ratio.
    Spread = 1,
    /// Highest value of the imbalance rule, ratio.
    Imbalance = 2,
    /// Highest value of the latency rule, us.
    Latency = 3,
    /// How long a stress lasts, s.
    Recovery = 4,
}

/// Number of targets.
pub const TARGETS: usize = Target::COUNT;

impl Target {
    /// Name as in contracts and reports.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Units of advised levels: nine decimals.
pub const ADVICE_UNITS: f64 = 1e9;

/// Steps of advised levels, in their units: six decimals.
const LEVEL_STEP: i64 = 1_000;
/// Largest advised level, in its units: nine million, which text keeps to the last digit.
const LEVEL_MAX: i64 = 9_000_000_000_000_000;
/// Longest name of a model, bytes of ASCII.
pub const MODEL_NAME_MAX: usize = 24;

/// A model's answer for one instrument. 168 bytes: with its sequence it fits a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Advice {
    /// Number of the adjustment it belongs to, from 1; all instruments of one run of the model share it.
    pub adjustment: u64,
    /// Moment of event time it was computed for, ns since the Unix epoch.
    pub event_ns: i64,
    /// XXH3 of the model's input.
    pub input_digest: u64,
    /// SHA-256 of the model's file.
    pub model_hash: [u8; 32],
    /// Name of the model, ASCII, padded with zeros.
    pub model: [u8; MODEL_NAME_MAX],
    /// Version of the model.
    pub version: u32,
    /// Whom it concerns.
    pub instrument: InstrumentId,
    /// Zero.
    pub reserved: u16,
    /// Levels by [`Target`], in its unit times [`ADVICE_UNITS`], >= 0.
    pub levels: [i64; TARGETS],
    /// What it took.
    pub stamps: AdviceStamps,
}

/// Counter readings along an adjustment's way, ticks; 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct AdviceStamps {
    /// The frame that made it due arrived.
    pub arrived: u64,
    /// That frame's vector was complete.
    pub features: u64,
    /// The sidecar took the vector.
    pub taken: u64,
    /// The model had answered.
    pub inferred: u64,
    /// The answer was about to be published.
    pub published: u64,
}

/// Words of an [`Advice`].
pub const ADVICE_WORDS: usize = size_of::<Advice>() / 8;

impl Advice {
    /// Name of the model.
    pub fn model_name(&self) -> &str {
        let end = self.model.iter().position(|byte| *byte == 0).unwrap_or(MODEL_NAME_MAX);
        core::str::from_utf8(&self.model[..end]).unwrap_or("?")
    }

    /// The field for a model's name; cut off after [`MODEL_NAME_MAX`] bytes.
    pub fn name_field(name: &str) -> [u8; MODEL_NAME_MAX] {
        let mut field = [0; MODEL_NAME_MAX];
        field.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
        field
    }

    /// As words of a cell.
    pub fn words(&self) -> [u64; ADVICE_WORDS] {
        bytemuck::cast(*self)
    }

    /// From words of a cell.
    pub fn of_words(words: &[u64; ADVICE_WORDS]) -> Self {
        bytemuck::cast(*words)
    }

    /// The same with one byte pattern for everything that its text says alike: a foreign writer must not put into a
    /// digest what no record shows.
    pub fn canonical(&self) -> Self {
        let printable = |b: &u8| b.is_ascii_graphic();
        let length = self.model.iter().position(|b| !printable(b)).unwrap_or(MODEL_NAME_MAX);
        let name = core::str::from_utf8(&self.model[..length]).unwrap_or("");
        let levels = self.levels.map(|level| level.clamp(0, LEVEL_MAX) / LEVEL_STEP * LEVEL_STEP);
        Self { reserved: 0, model: Self::name_field(name), levels, ..*self }
    }

    /// The same without stamps: what a digest is taken over.
    pub fn timeless(&self) -> Self {
        Self { stamps: AdviceStamps::default(), ..*self }
    }
}

/// Why thresholds changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumString, FromRepr, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Origin {
    /// A model's advice was taken.
    Advised = 0,
    /// The advice in force became too old: the static profile holds again.
    Expired = 1,
    /// Conditions changed the static profile.
    Conditions = 2,
}

/// What held a level back: the envelope, the slew limit on the way there, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Clamp {
    /// The envelope's lower end.
    Lowest = 1,
    /// The envelope's upper end.
    Highest = 2,
    /// The slew limit.
    Slew = 4,
}

impl Clamp {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Lowest, Self::Highest, Self::Slew];

    /// Those of a level's bits.
    pub fn of_bits(bits: u8) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |clamp| bits & *clamp as u8 != 0)
    }
}

/// A change of one instrument's thresholds. 296 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Adjustment {
    /// Number of the change, from 1.
    pub sequence: u64,
    /// Number of the guard's event from which it holds, from 1.
    pub event: u64,
    /// Event time, ns since the Unix epoch.
    pub event_ns: i64,
    /// Until when it holds unless renewed, ns since the Unix epoch; 0 for the static profile.
    pub until_ns: i64,
    /// The advice; zeros unless the origin is [`Origin::Advised`].
    pub advice: Advice,
    /// Levels in force before, by [`Target`]: thresholds in the rule's unit, for recovery the factor on cooling
    /// periods; times [`ADVICE_UNITS`].
    pub before: [i64; TARGETS],
    /// Levels in force from now on.
    pub after: [i64; TARGETS],
    /// Bits of every [`Clamp`] that held a level back, by [`Target`].
    pub clamps: [u8; TARGETS],
    /// An [`Origin`].
    pub origin: u8,
    /// Whose thresholds.
    pub instrument: InstrumentId,
    /// Bits of the conditions in force, as the guard numbers them.
    pub conditions: u64,
}

/// An operator's command that reached a running engine. 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Operated {
    /// Number of the guard's event from which it holds, from 1.
    pub event: u64,
    /// Event time, ns since the Unix epoch.
    pub event_ns: i64,
    /// 0 trips, 1 resets, 2 says that there is news, 3 that there is no more, 4 tells a drawdown.
    pub command: u8,
    /// A [`crate::decision::Scope`], unless it is about news.
    pub scope: u8,
    /// Which one within the scope.
    pub scope_id: u16,
    /// A drawdown's size, millionths; zero in other commands.
    pub value: u32,
}

const _: () = {
    assert!(size_of::<Operated>() == 24);
    assert!(size_of::<Advice>() == 168 && align_of::<Advice>() == 8);
    assert!(ADVICE_WORDS <= crate::cell::CELL_WORDS_MAX);
    assert!(size_of::<Adjustment>() == 296 && align_of::<Adjustment>() == 8);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_words_go_round() {
        let mut advice = Advice::zeroed();
        advice.model = Advice::name_field("breaker-tuner");
        advice.levels[2] = -7;
        assert_eq!(advice.model_name(), "breaker-tuner");
        assert_eq!(Advice::of_words(&advice.words()), advice);
        advice.model[20] = 7;
        (advice.reserved, advice.levels[0]) = (3, 1_234_567);
        let canonical = advice.canonical();
        assert_eq!((canonical.model_name(), canonical.model[20], canonical.reserved), ("breaker-tuner", 0, 0));
        assert_eq!((canonical.levels[0], canonical.levels[2]), (1_234_000, 0));
        assert_eq!(canonical.canonical(), canonical);
        let long = "x".repeat(40);
        assert_eq!(Advice { model: Advice::name_field(&long), ..advice }.model_name(), &long[..MODEL_NAME_MAX]);
        assert_eq!(Target::VARIANTS.iter().map(|t| t.name()).collect::<Vec<_>>()[3], "latency");
    }
}
