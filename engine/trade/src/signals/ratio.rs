//! The PSC ratio and what it asks for.

use tidegate_wire::signal::Action;

/// Where actions begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// LONG at or above.
    pub long: f64,
    /// SHORT at or below.
    pub short: f64,
    /// Candidate for a model at or above, neutral below `long`.
    pub candidate: f64,
}

/// `log10(price) - log10(reference) + 6`; `None` unless both prices are finite and above zero.
///
/// It is a level, not an event: a coin keeps its ratio for months.
pub fn psc_ratio(price: f64, reference: f64) -> Option<f64> {
    let usable = |price: f64| price.is_finite() && price > 0.0;
    (usable(price) && usable(reference)).then(|| libm::log10(price) - libm::log10(reference) + 6.0)
}

impl Thresholds {
    /// What a ratio asks for.
    pub fn action(&self, ratio: f64) -> Action {
        if ratio >= self.long {
            Action::Long
        } else if ratio <= self.short {
            Action::Short
        } else {
            Action::Neutral
        }
    }

    /// Whether a model should look at a coin whose action is neutral.
    pub fn is_candidate(&self, ratio: f64) -> bool {
        ratio >= self.candidate && ratio < self.long
    }

    /// How far a ratio is beyond the threshold of its action, >= 0; 0 for neutral.
    pub fn difference(&self, action: Action, ratio: f64) -> f64 {
        match action {
            Action::Long => (ratio - self.long).max(0.0),
            Action::Short => (self.short - ratio).max(0.0),
            Action::Neutral => 0.0,
        }
    }

    /// Whether a ratio has gone back so far that the coin may signal again.
    pub fn rearms(&self, action: Action, ratio: f64, margin: f64) -> bool {
        match action {
            Action::Long => ratio < self.long - margin,
            Action::Short => ratio > self.short + margin,
            Action::Neutral => false,
        }
    }
}

/// `min(0.25, max(0, difference * 0.08))`.
pub fn ratio_strength(difference: f64) -> f64 {
    (difference * 0.08).clamp(0.0, 0.25)
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { long: 7.0, short: 5.0, candidate: 6.5 };

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn the_ratio_is_a_difference_of_logarithms() {
        assert!(psc_ratio(5.0, 5.0).is_some_and(|ratio| near(ratio, 6.0)));
        assert!(psc_ratio(50.0, 5.0).is_some_and(|ratio| near(ratio, 7.0)));
        assert!(psc_ratio(0.5, 5.0).is_some_and(|ratio| near(ratio, 5.0)));
        assert!(psc_ratio(50_000.0, 5.0).is_some_and(|ratio| near(ratio, 10.0)), "Bitcoin sits near 10");
        for (price, reference) in [(0.0, 5.0), (-1.0, 5.0), (f64::NAN, 5.0), (5.0, 0.0), (5.0, f64::INFINITY)] {
            assert_eq!(psc_ratio(price, reference), None, "{price} over {reference}");
        }
    }

    #[test]
    fn actions_begin_at_their_thresholds() {
        let below = |value: f64| f64::from_bits(value.to_bits() - 1);
        let above = |value: f64| f64::from_bits(value.to_bits() + 1);
        for (ratio, action, candidate) in [
            (7.0, Action::Long, false),
            (below(7.0), Action::Neutral, true),
            (6.5, Action::Neutral, true),
            (below(6.5), Action::Neutral, false),
            (above(5.0), Action::Neutral, false),
            (5.0, Action::Short, false),
            (0.5, Action::Short, false),
            (10.0, Action::Long, false),
        ] {
            assert_eq!((THRESHOLDS.action(ratio), THRESHOLDS.is_candidate(ratio)), (action, candidate), "{ratio}");
        }
    }

    #[test]
    fn strength_is_bounded_at_both_ends() {
        let strength = |action, ratio| ratio_strength(THRESHOLDS.difference(action, ratio));
        for (action, ratio, expected) in [
            (Action::Long, 7.0, 0.0),
            (Action::Long, 8.0, 0.08),
            (Action::Long, 7.0 + 0.25 / 0.08, 0.25),
            (Action::Long, 30.0, 0.25),
            (Action::Long, 6.0, 0.0),
            (Action::Short, 5.0, 0.0),
            (Action::Short, 3.0, 0.16),
            (Action::Short, -9.0, 0.25),
            (Action::Neutral, 6.9, 0.0),
        ] {
            assert!(near(strength(action, ratio), expected), "{action:?} {ratio}");
        }
    }

    #[test]
    fn a_coin_is_armed_again_beyond_the_margin() {
        assert!(!THRESHOLDS.rearms(Action::Long, 6.99, 0.02));
        assert!(THRESHOLDS.rearms(Action::Long, 6.97, 0.02));
        assert!(!THRESHOLDS.rearms(Action::Short, 5.01, 0.02));
        assert!(THRESHOLDS.rearms(Action::Short, 5.03, 0.02));
    }
}
