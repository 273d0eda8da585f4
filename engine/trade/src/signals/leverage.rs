//! Leverage of a signal: the formula under every cap there is.

use tidegate_wire::signal::{Action, LeverageBound};

use super::config::SignalConfig;

/// Most that any product of ours offers.
pub const FORMULA_SCALE: f64 = 10_000.0;

/// Caps of a signal's leverage, times the margin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Caps {
    /// The product's own.
    pub product: f64,
    /// The venue's, where it has one.
    pub venue: Option<f64>,
    /// The risk engine's, where it has one.
    pub risk: Option<f64>,
}

impl Caps {
    /// Those of a configuration, at a venue of this name.
    pub fn of(config: &SignalConfig, venue: &str) -> Self {
        let (ml, superp) = (&config.ml, &config.superp);
        Self {
            product: if superp.enabled { superp.max_leverage } else { ml.max_leverage },
            venue: ml.venue_leverage.get(venue).copied(),
            risk: ml.risk_leverage,
        }
    }
}

/// Leverage of a signal: [`leverage`] of what is to be traded, nothing of a neutral one.
pub fn of_action(action: Action, confidence: f64, volatility: Option<f64>, caps: Caps) -> (f64, LeverageBound) {
    match action {
        Action::Neutral => (0.0, LeverageBound::None),
        Action::Long | Action::Short => leverage(confidence, volatility, caps),
    }
}

/// `min(confidence * 10,000, product cap) * max(0.1, 1 - volatility)`, under the venue's and the risk engine's caps;
/// gives what bounded it. A volatility that is not known (`None`) counts as the highest: the factor is 0.1.
///
/// `confidence` in `[0, 1]`, `volatility` a fraction that is not annualised. The result is finite and never above a
/// cap, whatever comes in.
pub fn leverage(confidence: f64, volatility: Option<f64>, caps: Caps) -> (f64, LeverageBound) {
    let finite = |value: f64| if value.is_finite() { value.max(0.0) } else { 0.0 };
    let wanted = finite(confidence).min(1.0) * FORMULA_SCALE;
    let product = finite(caps.product);
    let calm = volatility.filter(|v| v.is_finite()).map_or(0.1, |v| (1.0 - v.max(0.0)).max(0.1));
    let (mut lowest, mut bound) =
        if product < wanted { (product, LeverageBound::Product) } else { (wanted, LeverageBound::Formula) };
    lowest *= calm;
    for (cap, name) in [(caps.venue, LeverageBound::Venue), (caps.risk, LeverageBound::Risk)] {
        if let Some(cap) = cap.map(finite).filter(|cap| *cap < lowest) {
            (lowest, bound) = (cap, name);
        }
    }
    (lowest, bound)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRODUCT: Caps = Caps { product: 10_000.0, venue: None, risk: None };

    #[test]
    fn the_lowest_cap_wins_and_says_so() {
        let capped = |venue, risk| Caps { product: 5_000.0, venue, risk };
        for (confidence, volatility, caps, expected, bound) in [
            (0.3, Some(0.0), PRODUCT, 3_000.0, LeverageBound::Formula),
            (0.3, Some(0.04), PRODUCT, 2_880.0, LeverageBound::Formula),
            (1.0, Some(0.0), PRODUCT, 10_000.0, LeverageBound::Formula),
            (0.8, Some(0.5), capped(None, None), 2_500.0, LeverageBound::Product),
            (0.8, Some(0.9), capped(None, None), 500.0, LeverageBound::Product),
            (0.8, Some(7.0), capped(None, None), 500.0, LeverageBound::Product),
            (0.8, None, capped(None, None), 500.0, LeverageBound::Product),
            (0.3, Some(0.04), capped(Some(125.0), None), 125.0, LeverageBound::Venue),
            (0.3, Some(0.04), capped(Some(125.0), Some(20.0)), 20.0, LeverageBound::Risk),
            (0.3, Some(0.04), capped(Some(125.0), Some(200.0)), 125.0, LeverageBound::Venue),
            (0.0, Some(0.04), capped(Some(125.0), Some(20.0)), 0.0, LeverageBound::Formula),
        ] {
            let (times, by) = leverage(confidence, volatility, caps);
            assert!((times - expected).abs() < 1e-9 && by == bound, "{confidence} {volatility:?}: {times} {by:?}");
        }
    }

    proptest! {
        #[test]
        fn no_input_breaks_a_cap(
            confidence in prop::num::f64::ANY,
            volatility in prop::option::of(prop::num::f64::ANY),
            product in 0.0..10_000.0f64,
            venue in prop::option::of(0.0..200.0f64),
            risk in prop::option::of(0.0..200.0f64),
        ) {
            let (times, _) = leverage(confidence, volatility, Caps { product, venue, risk });
            prop_assert!(times.is_finite() && times >= 0.0);
            prop_assert!(times <= product);
            prop_assert!(venue.is_none_or(|cap| times <= cap) && risk.is_none_or(|cap| times <= cap));
        }
    }
}
