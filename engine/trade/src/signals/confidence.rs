//! The formula's confidence: a stated probability that a trade earns its profit. Whether it is one is measured by
//! [`crate::calibration`].

use super::score::SCORE_MAX;

/// What goes into a confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inputs {
    /// Microstructure score, in `[0, 12]`.
    pub score: f64,
    /// How far the ratio is beyond its threshold, in `[0, 0.25]`.
    pub ratio_strength: f64,
    /// Spread and volatility, in `[-0.1, 0.13]`.
    pub market_boost: f64,
    /// Of the timer window, in `[0, 1]`.
    pub timer_efficiency: f64,
}

/// `(min(0.7, score / 12) + ratio_strength + market_boost) * timer_efficiency`, clamped to `[0, 1]`. What is not a
/// number gives 0.
pub fn confidence(inputs: &Inputs) -> f64 {
    let base = (inputs.score / SCORE_MAX).clamp(0.0, 0.7);
    let value = (base + inputs.ratio_strength + inputs.market_boost) * inputs.timer_efficiency;
    if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }
}

/// +0.05 for a tight spread; +0.08 for a volatility in 2 to 8 %, -0.1 above 10 %. `spread_bp` and `tight_bp` in basis
/// points, `volatility` a fraction that is not annualised; what is not known adds nothing.
pub fn market_boost(spread_bp: Option<f64>, tight_bp: f64, volatility: Option<f64>) -> f64 {
    let tight = if spread_bp.is_some_and(|spread| spread <= tight_bp) { 0.05 } else { 0.0 };
    let moved = match volatility {
        Some(volatility) if (0.02..=0.08).contains(&volatility) => 0.08,
        Some(volatility) if volatility > 0.10 => -0.1,
        _ => 0.0,
    };
    tight + moved
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn boosts_have_borders() {
        for (spread, volatility, expected) in [
            (Some(2.0), None, 0.05),
            (Some(2.000_001), None, 0.0),
            (None, None, 0.0),
            (None, Some(0.02), 0.08),
            (None, Some(0.019_999), 0.0),
            (None, Some(0.08), 0.08),
            (None, Some(0.080_001), 0.0),
            (None, Some(0.10), 0.0),
            (None, Some(0.100_001), -0.1),
            (Some(0.1), Some(0.05), 0.13),
            (Some(0.1), Some(0.5), -0.05),
        ] {
            let boost = market_boost(spread, 2.0, volatility);
            assert!((boost - expected).abs() < 1e-12, "{spread:?} {volatility:?}: {boost}");
        }
    }

    #[test]
    fn the_formula_at_its_borders() {
        for (score, ratio_strength, market_boost, timer_efficiency, expected) in [
            (0.0, 0.0, 0.0, 1.0, 0.0),
            (0.0, 0.0, -0.1, 1.0, 0.0),
            (6.0, 0.0, 0.0, 1.0, 0.5),
            (8.4, 0.0, 0.0, 1.0, 0.7),
            (12.0, 0.0, 0.0, 1.0, 0.7),
            (12.0, 0.25, 0.13, 1.0, 1.0),
            (12.0, 0.25, 0.05, 0.8, 0.8),
            (3.0, 0.25, 0.05, 0.6, 0.33),
            (f64::NAN, 0.25, 0.0, 1.0, 0.0),
            (3.0, f64::NAN, 0.0, 1.0, 0.0),
        ] {
            let value = confidence(&Inputs { score, ratio_strength, market_boost, timer_efficiency });
            assert!((value - expected).abs() < 1e-12, "{score} {ratio_strength}: {value}");
        }
    }

    proptest! {
        #[test]
        fn a_confidence_is_a_probability(
            score in prop::num::f64::ANY,
            ratio_strength in prop::num::f64::ANY,
            market_boost in prop::num::f64::ANY,
            timer_efficiency in prop::num::f64::ANY,
        ) {
            let value = confidence(&Inputs { score, ratio_strength, market_boost, timer_efficiency });
            prop_assert!((0.0..=1.0).contains(&value), "{value}");
        }
    }
}
