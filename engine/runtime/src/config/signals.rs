//! Signals, their models and their trading on paper: what must fit together.

use std::path::PathBuf;

use tidegate_guard::risk::RiskLimits;
use tidegate_trade::signals::{ConfidenceSource, SignalConfig};

use super::{Config, ConfigError, ModelsMode};
use crate::trading::TradingPlan;

impl Config {
    /// Symbols of all venues.
    fn symbols(&self) -> Vec<&str> {
        self.venues.iter().flat_map(|venue| &venue.symbols).map(String::as_str).collect()
    }

    pub(super) fn signals(
        &self,
        wrong: &impl Fn(&str, String) -> ConfigError,
    ) -> Result<Option<SignalConfig>, ConfigError> {
        let (ml, superp, psc) = (self.ml_microstructure.clone(), self.superp.clone(), self.psc_integration.clone());
        let config = SignalConfig { ml, superp, psc };
        config.check().map_err(|error| wrong(&error.key, error.reason))?;
        let learning = &config.ml.learning;
        let by_model = config.ml.confidence == ConfidenceSource::Model;
        if config.ml.enabled && by_model && self.models.mode == ModelsMode::Off {
            let reason = "\"model\" while models.mode is \"off\": expected models, or \"formula\"";
            return Err(wrong("ml_microstructure.confidence", reason.into()));
        }
        if config.ml.enabled && learning.training && !by_model {
            let reason = "true: expected ml_microstructure.confidence = \"model\", or what is trained is never asked";
            return Err(wrong("ml_microstructure.learning.training", reason.into()));
        }
        let live = config.ml.enabled && self.sources.is_empty() && !self.venues.is_empty();
        if live && config.lacks_reference(&self.symbols()) {
            let reason = format!(
                "{:?}: no symbol of [[venues]] is of it, expected one, such as {0}USDT, or a simulated_reference",
                config.psc.reference
            );
            return Err(wrong("psc_integration.reference", reason));
        }
        if let Some(core) = learning.core.filter(|core| learning.training && self.engine.cores.contains(core)) {
            let reason = format!("{core}: is a hot loop's, expected another");
            return Err(wrong("ml_microstructure.learning.core", reason));
        }
        if config.ml.enabled && learning.training && self.models.require_signature && learning.key.is_none() {
            let reason = "absent while models.require_signature is true: expected a key, or what is trained is refused";
            return Err(wrong("ml_microstructure.learning.key", reason.into()));
        }
        Ok(config.ml.enabled.then_some(config))
    }

    pub(super) fn trading(
        &self,
        wrong: &impl Fn(&str, String) -> ConfigError,
    ) -> Result<Option<TradingPlan>, ConfigError> {
        let settings = self.trading.clone();
        settings.check().map_err(|(key, reason)| wrong(&key, reason))?;
        let read = |path: &PathBuf| {
            let named = |reason: String| wrong("trading.limits", format!("{}: {reason}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
            RiskLimits::from_toml(&text).map_err(|error| named(error.to_string()))
        };
        let limits = settings.limits.as_ref().map(read).transpose()?;
        if settings.enabled && !self.ml_microstructure.enabled {
            let reason = "true: expected ml_microstructure.enabled too, or there is nothing to trade";
            return Err(wrong("trading.enabled", reason.into()));
        }
        if settings.enabled && !self.superp.enabled {
            let reason = "true while superp.enabled is false: what is traded on paper is the bounded-loss product";
            return Err(wrong("trading.enabled", reason.into()));
        }
        Ok(settings.enabled.then_some(TradingPlan { settings, limits }))
    }
}
