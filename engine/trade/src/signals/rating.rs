//! A signal's confidence by a model: who states it, and what follows from it.
//!
//! The formula and, where the configuration says so, a model state a probability of the same thing. What a signal acts
//! on is one of them, and the [`Rating`] that is recorded with it says which, beside all that was said.

use serde::Serialize;
use tidegate_wire::signal::{FLAG_BELOW_CONFIDENCE, FLAG_VOLATILITY, SignalBody};
use xxhash_rust::xxh3::xxh3_64;

use super::config::SignalConfig;
use super::leverage::{Caps, of_action};

/// Whose probability a signal acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum StatedBy {
    /// The formula.
    Formula,
    /// The model in force.
    Champion,
    /// The model on trial, on its share of signals.
    Challenger,
}

impl StatedBy {
    /// Its name in files and reports.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What a version of a model says of a signal.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct ModelSaid {
    /// Version.
    pub version: u32,
    /// SHA-256 of its file, hexadecimal.
    pub hash: String,
    /// XXH3 of its input, hexadecimal.
    pub input_digest: String,
    /// Probability that the trade reaches its profit, in `[0, 1]`.
    pub probability: f64,
}

/// All that was said of a signal, and what it acts on.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Rating {
    /// Number of the signal.
    pub sequence: u64,
    /// Name of the model.
    pub model: String,
    /// What the formula says.
    pub formula: f64,
    /// What the version in force says.
    pub champion: Option<ModelSaid>,
    /// What the version on trial says.
    pub challenger: Option<ModelSaid>,
    /// Whose probability the signal acts on.
    pub stated_by: StatedBy,
    /// That probability.
    pub confidence: f64,
    /// The leverage that follows from it, times the margin.
    pub leverage: f64,
    /// What bounded that.
    pub leverage_bound: &'static str,
    /// Why the formula states it although a model was to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
}

/// Whether a signal belongs to the challenger's share: the same for every run.
pub fn is_challengers(sequence: u64, share: f64) -> bool {
    (xxh3_64(&sequence.to_le_bytes()) >> 11) as f64 / (1_u64 << 53) as f64 >= 1.0 - share
}

/// Puts another confidence into a signal, with the leverage and the flag that follow from it. `venue` names the venue
/// of its instrument.
pub fn restate(signal: &SignalBody, config: &SignalConfig, venue: &str, confidence: f64) -> SignalBody {
    let volatility = signal.has(FLAG_VOLATILITY).then_some(signal.volatility);
    let (times, bound) = of_action(signal.action(), confidence, volatility, Caps::of(config, venue));
    let below = if confidence < config.ml.min_confidence { FLAG_BELOW_CONFIDENCE } else { 0 };
    let flags = signal.flags & !FLAG_BELOW_CONFIDENCE | below;
    SignalBody { confidence, leverage: times, bound: bound as u8, flags, ..*signal }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use tidegate_wire::signal::{Action, LeverageBound};

    use super::*;

    #[test]
    fn a_share_is_one() {
        for share in [0.0, 0.2, 0.5, 1.0] {
            let count = (1..=10_000).filter(|sequence| is_challengers(*sequence, share)).count() as f64;
            assert!((count / 10_000.0 - share).abs() < 0.02, "{share}: {count}");
        }
    }

    #[test]
    fn another_confidence_has_its_own_leverage_and_flag() {
        let config = SignalConfig::default();
        let signal = SignalBody {
            action: Action::Long as u8,
            confidence: 0.6,
            volatility: 0.05,
            flags: FLAG_VOLATILITY,
            ..SignalBody::zeroed()
        };
        let low = restate(&signal, &config, "binance-usdm", 0.1);
        assert!(low.has(FLAG_BELOW_CONFIDENCE) && low.has(FLAG_VOLATILITY));
        assert!((low.leverage - 0.1 * 10_000.0 * 0.95).abs() < 1e-9, "{}", low.leverage);
        let high = restate(&low, &config, "binance-usdm", 0.5);
        assert!(!high.has(FLAG_BELOW_CONFIDENCE) && high.confidence == 0.5);
        let neutral = restate(&SignalBody { action: 0, ..signal }, &config, "binance-usdm", 0.9);
        assert_eq!((neutral.leverage, neutral.bound()), (0.0, LeverageBound::None));
    }
}
