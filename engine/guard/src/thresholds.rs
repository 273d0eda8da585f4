//! Levels in force for one instrument.

use tidegate_wire::advice::{ADVICE_UNITS, TARGETS, Target};

use crate::profile::Profile;
use crate::rules::{RULE_COUNT, RULES};

/// Largest absolute value of a threshold: what nine decimals leave of 64 bits.
pub const LARGEST: f64 = 9e9;

/// Rules that a model tunes, by the [`Target`] that says their level. `Recovery` has no rule: it is about cooling.
pub const TUNED_RULES: [(Target, usize); TARGETS - 1] =
    [(Target::Volatility, 0), (Target::Spread, 4), (Target::Imbalance, 3), (Target::Latency, 2)];

/// A set of thresholds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThresholdSet {
    /// Level that trips, by rule.
    pub threshold: [f64; RULE_COUNT],
    /// Level that releases, by rule.
    pub release: [f64; RULE_COUNT],
    /// Factor on the profile's cooling periods, > 0.
    pub cooling_factor: f64,
}

/// A set that cannot be in force.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ThresholdError {
    /// A value that no record can hold.
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
}

impl ThresholdSet {
    /// The static set of a profile.
    pub fn of_profile(profile: &Profile) -> Self {
        Self {
            threshold: core::array::from_fn(|rule| profile.rules[rule].threshold),
            release: core::array::from_fn(|rule| profile.rules[rule].release),
            cooling_factor: 1.0,
        }
    }

    /// Whether every level can be in force.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(&self) -> Result<(), ThresholdError> {
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
        Ok(())
    }

    /// Moves a rule's level; its release keeps its proportion to it.
    pub(crate) fn set(&mut self, rule: usize, threshold: f64) {
        let before = self.threshold[rule];
        if before != 0.0 {
            self.release[rule] *= threshold / before;
        }
        self.threshold[rule] = threshold;
    }

    /// What a model moves, by [`Target`]: thresholds, and for recovery the factor on cooling periods.
    pub fn tuned(&self) -> [f64; TARGETS] {
        let mut levels = [self.cooling_factor; TARGETS];
        TUNED_RULES.iter().for_each(|(target, rule)| levels[*target as usize] = self.threshold[*rule]);
        levels
    }

    /// The same in fixed point, as records hold it.
    pub fn tuned_fixed(&self) -> [i64; TARGETS] {
        self.tuned().map(|level| (level * ADVICE_UNITS).round() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::rule_index;

    #[test]
    fn bad_sets_are_named() {
        let set = ThresholdSet::of_profile(&Profile::default());
        assert_eq!(set.check(), Ok(()));
        for bad in [f64::NAN, f64::INFINITY, 1e10] {
            let error = ThresholdSet { release: [bad; RULE_COUNT], ..set }.check();
            assert!(matches!(error, Err(ThresholdError::OutOfRange { .. })), "{error:?}");
        }
        let error = ThresholdSet { release: set.threshold.map(|t| t + 1.0), ..set }.check();
        assert!(matches!(error, Err(ThresholdError::WrongSide { .. })), "{error:?}");
    }

    #[test]
    fn tuned_rules_are_the_ones_they_name() {
        for ((_, rule), name) in TUNED_RULES.iter().zip(["volatility", "spread", "imbalance", "latency_spike"]) {
            assert_eq!(rule_index(name), Some(*rule as u8), "{name}");
        }
        let mut set = ThresholdSet::of_profile(&Profile::default());
        let proportion = set.release[0] / set.threshold[0];
        set.set(0, 1.0);
        assert_eq!((set.tuned()[0], set.release[0]), (1.0, proportion));
    }
}
