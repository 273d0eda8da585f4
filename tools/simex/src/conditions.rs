//! What a script does to the market: regimes become conditions of the order flow and of the latent prices.

use crate::config::InstrumentSpec;
use crate::market::Conditions;
use crate::market::latent::AssetConditions;
use crate::script::{RegimeKind, RegimeSpan};

/// Part of a flash crash in which the price falls.
const FALL: f64 = 0.3;

/// Conditions of one instrument at a venue time.
pub(crate) fn of_instrument(
    truth: &[RegimeSpan],
    specs: &[InstrumentSpec],
    instrument: usize,
    now_ns: i64,
) -> Conditions {
    let mut conditions = Conditions::default();
    for span in truth.iter().filter(|span| span.at(now_ns)) {
        let listed = span.instruments.contains(&instrument);
        let reached = reaches(span, specs, specs[instrument].asset);
        match span.kind {
            RegimeKind::Volatile { factor } if reached => {
                let busier = libm::sqrt(factor);
                conditions.orders *= busier;
                conditions.quotes *= busier;
                conditions.depth *= 0.8;
            }
            RegimeKind::FlashCrash { .. } if reached => {
                let falling = span.progress(now_ns) < FALL;
                conditions.orders *= if falling { 8.0 } else { 4.0 };
                conditions.sizes *= if falling { 2.0 } else { 1.3 };
                conditions.quotes *= 2.0;
                conditions.depth *= if falling { 0.25 } else { 0.5 };
                conditions.lean += if falling { -0.8 } else { 0.2 };
                conditions.snipes = if falling { 0.8 } else { 0.5 };
            }
            RegimeKind::LiquidityHole { half_width_bp } if listed => {
                conditions.hole_bp = conditions.hole_bp.max(half_width_bp);
                conditions.orders *= 0.5;
                conditions.quotes *= 0.4;
            }
            RegimeKind::VolumeSpike { factor } if listed => {
                conditions.orders *= factor;
                conditions.sizes *= 1.5;
                conditions.quotes *= 1.5;
            }
            _ => {}
        }
    }
    conditions
}

/// Conditions of one asset for the step from `from_ns` to `to_ns`.
pub(crate) fn of_asset(
    truth: &[RegimeSpan],
    specs: &[InstrumentSpec],
    asset: usize,
    from_ns: i64,
    to_ns: i64,
) -> AssetConditions {
    let mut conditions = AssetConditions { volatility: 1.0, drift: 0.0 };
    for span in truth.iter().filter(|span| span.start_ns < to_ns && from_ns < span.end_ns) {
        if !reaches(span, specs, asset) {
            continue;
        }
        match span.kind {
            RegimeKind::Volatile { factor } => conditions.volatility *= factor,
            RegimeKind::FlashCrash { drop_percent, rebound } => {
                let at = |time| crash_path(span.progress(time), drop_percent / 100.0, rebound);
                conditions.drift += at(to_ns) - at(from_ns);
                conditions.volatility *= 2.0;
            }
            _ => {}
        }
    }
    conditions
}

/// Whether an instrument follows a path of its own.
pub(crate) fn decoupled(truth: &[RegimeSpan], instrument: usize, now_ns: i64) -> bool {
    truth.iter().any(|span| span.kind == RegimeKind::CorrelationBreak && span.covers(now_ns, instrument))
}

fn reaches(span: &RegimeSpan, specs: &[InstrumentSpec], asset: usize) -> bool {
    span.instruments.iter().any(|&index| specs[index].asset == asset)
}

/// Scripted part of the log-price in a crash: it falls ever faster, then recovers ever slower.
fn crash_path(progress: f64, drop: f64, rebound: f64) -> f64 {
    if progress < FALL {
        let part = progress / FALL;
        return libm::log(1.0 - drop * part * part);
    }
    let left = 1.0 - (progress - FALL) / (1.0 - FALL);
    libm::log(1.0 - drop + drop * rebound * (1.0 - left * left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_falls_and_recovers_as_configured() {
        assert_eq!(crash_path(0.0, 0.04, 0.5), 0.0);
        assert!((libm::exp(crash_path(FALL, 0.04, 0.5)) - 0.96).abs() < 1e-12);
        assert!((libm::exp(crash_path(1.0, 0.04, 0.5)) - 0.98).abs() < 1e-12);
    }
}
