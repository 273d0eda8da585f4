//! Settings of the signal desk, as operators write them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use tidegate_wire::{Instrument, Venue};

use super::learning::{ConfidenceSource, Learning};

/// `[ml_microstructure]`: which coins are looked at, and what counts as a signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MlMicrostructure {
    /// Whether there are signals at all.
    pub enabled: bool,
    /// From this ratio on a coin is a candidate for a model; its action stays neutral below the long threshold.
    pub min_signal_ratio: f64,
    /// Who states the confidence that signals act on.
    pub confidence: ConfidenceSource,
    /// Least confidence that is traded; signals below it are told and flagged.
    pub min_confidence: f64,
    /// Cap of leverage where the bounded-loss product is off.
    pub max_leverage: f64,
    /// Length of a timer, minutes.
    pub timer_limit_minutes: u32,
    /// Minute at which the entry window of a timer ends.
    pub entry_until_minute: u32,
    /// Minute at which the exit window of a timer begins.
    pub exit_from_minute: u32,
    /// Coins, by name.
    pub trading_coins: Vec<String>,
    /// The instrument of a coin, such as `BTC = "BTCUSDT.binance-usdm"`; others get the first of their asset.
    pub instruments: BTreeMap<String, String>,
    /// How long back volatility is realised, hours.
    pub volatility_hours: u32,
    /// A spread of so much or less is tight, bp.
    pub tight_spread_bp: f64,
    /// What a trade must earn after costs, bp.
    pub target_bp: f64,
    /// Fee of one side of a trade, bp of its value.
    pub fee_bp: f64,
    /// How far a ratio must go back beyond its threshold before the coin may signal again in the same window.
    pub rearm_margin: f64,
    /// Caps of leverage by venue, such as `binance-usdm = 125`; no venue has one unless it is named.
    pub venue_leverage: BTreeMap<String, f64>,
    /// Cap of leverage on the risk desk's behalf; none unless it is set. What `trading.limits` says of values makes
    /// positions smaller besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk_leverage: Option<f64>,
    /// The model beside the formula.
    pub learning: Learning,
}

impl Default for MlMicrostructure {
    fn default() -> Self {
        Self {
            enabled: false,
            min_signal_ratio: 6.5,
            confidence: ConfidenceSource::Formula,
            min_confidence: 0.3,
            max_leverage: 20.0,
            timer_limit_minutes: 10,
            entry_until_minute: 3,
            exit_from_minute: 7,
            trading_coins: ["BTC", "ETH", "SOL", "SHIB", "DOGE", "PEPE"].map(String::from).to_vec(),
            instruments: BTreeMap::new(),
            volatility_hours: 24,
            tight_spread_bp: 2.0,
            target_bp: 10.0,
            fee_bp: 5.0,
            rearm_margin: 0.02,
            venue_leverage: BTreeMap::new(),
            risk_leverage: None,
            learning: Learning::default(),
        }
    }
}

/// `[superp]`: the bounded-loss paper product, whose loss is limited to its margin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Superp {
    /// Whether leverage is that of the product.
    pub enabled: bool,
    /// A position is never liquidated: what it may lose is its margin. The product has no other way.
    pub no_liquidation: bool,
    /// Cap of leverage.
    pub max_leverage: f64,
}

impl Default for Superp {
    fn default() -> Self {
        Self { enabled: true, no_liquidation: true, max_leverage: 10_000.0 }
    }
}

/// `[psc_integration]`: the ratio of a coin's price to the reference's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PscIntegration {
    /// Ratios are logarithms. No other ratio is defined.
    pub use_logarithmic_ratios: bool,
    /// LONG at or above.
    pub long_threshold: f64,
    /// SHORT at or below.
    pub short_threshold: f64,
    /// The asset that is divided by; its first instrument unless `reference_instrument` names one.
    pub reference: String,
    /// The reference's instrument, such as `TONUSDT.bybit-spot`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_instrument: Option<String>,
    /// An older reference price counts as none, ms.
    pub reference_stale_ms: u64,
    /// A made-up reference, for data that has none; every report says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulated_reference: Option<SimulatedReference>,
}

impl Default for PscIntegration {
    fn default() -> Self {
        Self {
            use_logarithmic_ratios: true,
            long_threshold: 7.0,
            short_threshold: 5.0,
            reference: "TON".into(),
            reference_instrument: None,
            reference_stale_ms: 10_000,
            simulated_reference: None,
        }
    }
}

/// A reference price that nobody recorded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SimulatedReference {
    /// Which path.
    pub seed: u64,
    /// The price that it moves around, quote units.
    pub price: f64,
}

impl Default for SimulatedReference {
    fn default() -> Self {
        Self { seed: 1, price: 5.0 }
    }
}

/// Everything the desk is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SignalConfig {
    /// Coins and signals.
    pub ml: MlMicrostructure,
    /// The bounded-loss product.
    pub superp: Superp,
    /// The ratio.
    pub psc: PscIntegration,
}

/// A setting that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct SignalConfigError {
    /// Dotted key.
    pub key: String,
    /// The value and what was expected.
    pub reason: String,
}

impl SignalConfig {
    /// Whether a run on these symbols has no reference price.
    pub fn lacks_reference(&self, symbols: &[&str]) -> bool {
        let of = |symbol: &str| {
            let instrument = Instrument::linear(Venue::BinanceUsdm, symbol, 0, 0);
            super::desk::coins_per_price(&instrument, &self.psc.reference).is_some()
        };
        let named = self.psc.simulated_reference.is_some() || self.psc.reference_instrument.is_some();
        !named && !symbols.iter().any(|symbol| of(symbol))
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first that makes no sense, with key, value and what was expected.
    pub fn check(&self) -> Result<(), SignalConfigError> {
        let (ml, psc) = (&self.ml, &self.psc);
        let wrong = |key: &str, reason: String| Err(SignalConfigError { key: key.into(), reason });
        let within = |key: &str, value: f64, low: f64, high: f64| match (low..=high).contains(&value) {
            true => Ok(()),
            false => wrong(key, format!("{value}: expected a number in [{low}, {high}]")),
        };
        within("ml_microstructure.min_signal_ratio", ml.min_signal_ratio, psc.short_threshold, psc.long_threshold)?;
        within("ml_microstructure.min_confidence", ml.min_confidence, 0.0, 1.0)?;
        within("ml_microstructure.max_leverage", ml.max_leverage, 1.0, 10_000.0)?;
        within("ml_microstructure.tight_spread_bp", ml.tight_spread_bp, 0.0, 1_000.0)?;
        within("ml_microstructure.target_bp", ml.target_bp, 0.01, 1_000.0)?;
        within("ml_microstructure.fee_bp", ml.fee_bp, -100.0, 1_000.0)?;
        within("ml_microstructure.rearm_margin", ml.rearm_margin, 0.0, 10.0)?;
        within("ml_microstructure.volatility_hours", f64::from(ml.volatility_hours), 1.0, 720.0)?;
        within("ml_microstructure.timer_limit_minutes", f64::from(ml.timer_limit_minutes), 3.0, 1_440.0)?;
        let (entry, exit) = (ml.entry_until_minute, ml.exit_from_minute);
        if !(0 < entry && entry < exit && exit < ml.timer_limit_minutes) {
            let limit = ml.timer_limit_minutes;
            let reason = format!("{entry} and exit_from_minute {exit}: expected 0 < entry < exit < {limit}");
            return wrong("ml_microstructure.entry_until_minute", reason);
        }
        for (venue, cap) in &ml.venue_leverage {
            let key = format!("ml_microstructure.venue_leverage.{venue}");
            if tidegate_wire::Venue::from_name(venue).is_none() {
                return wrong(&key, format!("{venue:?}: expected the name of a venue, such as \"binance-usdm\""));
            }
            within(&key, *cap, 0.0, 10_000.0)?;
        }
        if let Some(cap) = ml.risk_leverage {
            within("ml_microstructure.risk_leverage", cap, 0.0, 10_000.0)?;
        }
        ml.learning.check()?;
        within("superp.max_leverage", self.superp.max_leverage, 1.0, 10_000.0)?;
        if self.superp.enabled && !self.superp.no_liquidation {
            return wrong("superp.no_liquidation", "false: expected true; the product's loss is its margin".into());
        }
        if !psc.use_logarithmic_ratios {
            let reason = "false: expected true; only the logarithmic ratio is defined".into();
            return wrong("psc_integration.use_logarithmic_ratios", reason);
        }
        within("psc_integration.long_threshold", psc.long_threshold, psc.short_threshold, 30.0)?;
        within("psc_integration.short_threshold", psc.short_threshold, -30.0, psc.long_threshold)?;
        within("psc_integration.reference_stale_ms", psc.reference_stale_ms as f64, 1.0, 86_400_000.0)?;
        if let Some(simulated) = psc.simulated_reference {
            within("psc_integration.simulated_reference.price", simulated.price, 1e-9, 1e9)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_mission() {
        let config = SignalConfig::default();
        assert_eq!(config.check(), Ok(()));
        assert_eq!((config.psc.long_threshold, config.psc.short_threshold), (7.0, 5.0));
        assert_eq!((config.ml.min_signal_ratio, config.ml.min_confidence), (6.5, 0.3));
        assert_eq!((config.ml.timer_limit_minutes, config.superp.max_leverage), (10, 10_000.0));
        assert_eq!(config.ml.trading_coins, ["BTC", "ETH", "SOL", "SHIB", "DOGE", "PEPE"]);
    }

    #[test]
    fn errors_name_key_value_and_what_was_expected() {
        type Change = fn(&mut SignalConfig);
        let cases: [(Change, &str); 9] = [
            (|c| c.ml.min_confidence = 1.5, "ml_microstructure.min_confidence: 1.5: expected a number in [0, 1]"),
            (|c| c.ml.min_confidence = f64::NAN, "ml_microstructure.min_confidence: NaN: expected"),
            (|c| c.ml.min_signal_ratio = 7.5, "ml_microstructure.min_signal_ratio: 7.5: expected a number in [5, 7]"),
            (|c| c.ml.exit_from_minute = 10, "exit_from_minute 10: expected 0 < entry < exit < 10"),
            (|c| c.psc.use_logarithmic_ratios = false, "psc_integration.use_logarithmic_ratios: false"),
            (|c| c.psc.short_threshold = 8.0, "expected a number in"),
            (|c| c.superp.no_liquidation = false, "superp.no_liquidation: false"),
            (|c| c.superp.max_leverage = 20_000.0, "superp.max_leverage: 20000: expected"),
            (
                |c| {
                    c.ml.venue_leverage.insert("nowhere".into(), 5.0);
                },
                "venue_leverage.nowhere",
            ),
        ];
        for (change, expected) in cases {
            let mut config = SignalConfig::default();
            change(&mut config);
            let error = config.check().expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
