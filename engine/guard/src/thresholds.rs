//! Thresholds in force: one sequence-lock cell an instrument.
//!
//! Whoever moves thresholds (the profile at start, later a model) publishes whole sets; the guard polls the version and
//! copies a set only when it has moved. Values are fixed point at nine decimals, so that a set is the same bits
//! wherever it was computed.

use std::sync::Arc;

use tidegate_wire::InstrumentId;
use tidegate_wire::cell::SeqCell;

use crate::profile::Profile;
use crate::rules::{RULE_COUNT, RULES};

/// Units of a threshold's fixed point: nine decimals.
const UNITS: f64 = 1e9;

/// Words of a set: thresholds, releases, the factor on cooling periods, and who published it.
const WORDS: usize = 2 * RULE_COUNT + 2;

/// A set of thresholds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThresholdSet {
    /// Level that trips, by rule.
    pub threshold: [f64; RULE_COUNT],
    /// Level that releases, by rule.
    pub release: [f64; RULE_COUNT],
    /// Factor on the profile's cooling periods, > 0.
    pub cooling_factor: f64,
    /// 0 for the static profile, else the model that published it.
    pub publisher: u64,
}

/// Largest absolute value of a threshold: what nine decimals leave of 64 bits.
pub const LARGEST: f64 = 9e9;

/// A set that cannot be put on the board.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ThresholdError {
    /// A value that no cell can hold.
    #[error("{rule}: {value} is no threshold, expected a number within +-{LARGEST}")]
    OutOfRange {
        /// Name of the rule.
        rule: &'static str,
        /// What it should have been.
        value: f64,
    },
    /// It would release before it trips.
    #[error("{rule}: release {release} is on the wrong side of the threshold {threshold}")]
    WrongSide {
        /// Name of the rule.
        rule: &'static str,
        /// Level that trips.
        threshold: f64,
        /// Level that releases.
        release: f64,
    },
    /// Cooling must take its time.
    #[error("the factor on cooling periods is {0}, expected a number above 0 and at most {COOLING_FACTOR_MAX}")]
    CoolingFactor(f64),
}

/// Largest factor on cooling periods: a day becomes less than three years.
const COOLING_FACTOR_MAX: f64 = 1_000.0;

impl ThresholdSet {
    /// The static set of a profile.
    pub fn of_profile(profile: &Profile) -> Self {
        Self {
            threshold: core::array::from_fn(|rule| profile.rules[rule].threshold),
            release: core::array::from_fn(|rule| profile.rules[rule].release),
            cooling_factor: 1.0,
            publisher: 0,
        }
    }

    fn check(&self) -> Result<(), ThresholdError> {
        for (rule, (&threshold, &release)) in RULES.iter().zip(self.threshold.iter().zip(&self.release)) {
            for value in [threshold, release] {
                if !(-LARGEST..=LARGEST).contains(&value) {
                    return Err(ThresholdError::OutOfRange { rule: rule.name, value });
                }
            }
            if !rule.direction.is_good_side(release, threshold) {
                return Err(ThresholdError::WrongSide { rule: rule.name, threshold, release });
            }
        }
        let factor = self.cooling_factor;
        // Above 0 after rounding, too.
        let fits = factor * UNITS >= 1.0 && factor <= COOLING_FACTOR_MAX;
        if fits { Ok(()) } else { Err(ThresholdError::CoolingFactor(factor)) }
    }

    fn words(&self) -> Result<[u64; WORDS], ThresholdError> {
        self.check()?;
        let mut words = [0; WORDS];
        let values = self.threshold.iter().chain(&self.release).chain([&self.cooling_factor]);
        for (word, value) in words.iter_mut().zip(values) {
            *word = ((value * UNITS).round() as i64) as u64;
        }
        words[WORDS - 1] = self.publisher;
        Ok(words)
    }

    fn of_words(words: &[u64; WORDS]) -> Self {
        let value = |index: usize| words[index] as i64 as f64 / UNITS;
        Self {
            threshold: core::array::from_fn(value),
            release: core::array::from_fn(|rule| value(RULE_COUNT + rule)),
            cooling_factor: value(2 * RULE_COUNT),
            publisher: words[WORDS - 1],
        }
    }
}

/// The cells of all instruments. Clones share them. One publisher at a time.
#[derive(Clone, Debug)]
pub struct ThresholdBoard {
    cells: Arc<[SeqCell<WORDS>]>,
}

impl ThresholdBoard {
    /// A board with one set an instrument, at version 0.
    ///
    /// # Errors
    /// See [`ThresholdError`].
    pub fn new(sets: impl IntoIterator<Item = ThresholdSet>) -> Result<Self, ThresholdError> {
        let cells = sets.into_iter().map(|set| Ok(SeqCell::new(set.words()?))).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { cells: cells.into() })
    }

    /// Publishes a set for an instrument; an unknown instrument is ignored.
    ///
    /// # Errors
    /// See [`ThresholdError`]; the old set stays in force.
    pub fn publish(&self, instrument: InstrumentId, set: &ThresholdSet) -> Result<(), ThresholdError> {
        let words = set.words()?;
        if let Some(cell) = self.cells.get(instrument.index()) {
            cell.store(&words);
        }
        Ok(())
    }

    /// How often sets were published for an instrument.
    #[inline(always)]
    pub fn version(&self, instrument: InstrumentId) -> u64 {
        self.cells.get(instrument.index()).map_or(0, SeqCell::version)
    }

    /// The newest set with its version; `None` while it is being written.
    pub fn load(&self, instrument: InstrumentId) -> Option<(u64, ThresholdSet)> {
        let (version, words) = self.cells.get(instrument.index())?.load()?;
        Some((version, ThresholdSet::of_words(&words)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_travel_unchanged_and_bad_ones_are_refused() {
        let mut set = ThresholdSet::of_profile(&Profile::default());
        let board = ThresholdBoard::new([set]).expect("defaults fit");
        assert_eq!(board.load(InstrumentId(0)), Some((0, set)));
        set.threshold[1] = 0.061;
        set.publisher = 7;
        board.publish(InstrumentId(0), &set).expect("fits");
        assert_eq!((board.version(InstrumentId(0)), board.load(InstrumentId(0))), (1, Some((1, set))));
        for bad in [f64::NAN, f64::INFINITY, 1e10] {
            let error = board.publish(InstrumentId(0), &ThresholdSet { release: [bad; RULE_COUNT], ..set });
            assert!(matches!(error, Err(ThresholdError::OutOfRange { .. })), "{error:?}");
        }
        let error = board.publish(InstrumentId(0), &ThresholdSet { release: set.threshold.map(|t| t + 1.0), ..set });
        assert!(matches!(error, Err(ThresholdError::WrongSide { .. })), "{error:?}");
        for cooling_factor in [0.0, -1.0, 1e-10, f64::NAN, 1e4] {
            let error = board.publish(InstrumentId(0), &ThresholdSet { cooling_factor, ..set });
            assert!(matches!(error, Err(ThresholdError::CoolingFactor(_))), "{error:?}");
        }
        assert_eq!(board.version(InstrumentId(0)), 1);
        assert_eq!(board.load(InstrumentId(9)), None);
    }
}
