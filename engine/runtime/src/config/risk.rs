//! `[risk]`: limits of orders, kill switches, emergency protocols.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_guard::emergency::EmergencyFile;
use tidegate_guard::luld::Tier;
use tidegate_guard::risk::RiskLimits;

use super::ConfigError;
use crate::risk::RiskPlan;

/// The risk desk of a running engine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RiskConfig {
    /// File of limits (`tidegate risk schema` describes it). Without one no order may be sent; kill switches work, and
    /// a person called `operator` has every role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<PathBuf>,
    /// File of emergency protocols; none without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emergency: Option<PathBuf>,
    /// Instruments with limit-up, limit-down bands, such as `"BTCUSDT.binance-usdm" = "tier1"`.
    pub luld: BTreeMap<String, Tier>,
    /// Where thrown switches are kept; `kill.state` in the output directory without. Whoever removes it frees them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switches: Option<PathBuf>,
}

impl RiskConfig {
    pub(super) fn plan(
        &self,
        output: &Path,
        wrong: &impl Fn(&str, String) -> ConfigError,
    ) -> Result<RiskPlan, ConfigError> {
        let read = |key: &str, path: &Path| {
            let text = std::fs::read_to_string(path);
            text.map_err(|error| wrong(key, format!("{}: {error}", path.display())))
        };
        let limits = match &self.limits {
            None => RiskLimits::deny_all(),
            Some(path) => RiskLimits::from_toml(&read("risk.limits", path)?)
                .map_err(|error| wrong("risk.limits", format!("{}: {error}", path.display())))?,
        };
        let emergency = match &self.emergency {
            None => EmergencyFile::default(),
            Some(path) => EmergencyFile::from_toml(&read("risk.emergency", path)?)
                .map_err(|error| wrong("risk.emergency", format!("{}: {error}", path.display())))?,
        };
        Ok(RiskPlan {
            limits,
            emergency,
            luld: self.luld.clone().into_iter().collect(),
            switches: self.switches.clone().unwrap_or_else(|| output.join("kill.state")),
            alerts: output.join("alerts.jsonl"),
            orders: output.join("orders.jsonl"),
            signalled: Arc::default(),
            halted: Arc::default(),
        })
    }
}
