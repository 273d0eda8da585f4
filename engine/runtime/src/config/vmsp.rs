//! The balance ledger's section.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_guard::ledger::{Account, Limits};
use tidegate_guard::risk::RiskLimits;
use tidegate_wire::ledger::Name;
use tidegate_wire::{Registry, Scale};

use super::ConfigError;
use crate::vmsp::channel::{ChannelPlan, PACE};
use crate::vmsp::{TradePlan, VmspPlan};

/// The balance ledger (VMSP).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VmspConfig {
    /// Whether `run` hosts one; `tidegate vmsp serve` does in any case.
    pub enabled: bool,
    /// Its folder; `vmsp` in the output directory without. Made when missing, continued when there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Whose balance it is.
    pub owner: String,
    /// In which asset.
    pub asset: String,
    /// Decimals of the asset's minor units, 0 to 18; never changed once there is a balance.
    pub decimals: u8,
    /// Whether protection runs from the start: expiry is watched, locks are given.
    pub balance_protection: bool,
    /// Whether entries and exits of trades drift.
    pub timing_drift: bool,
    /// Whether the status shows a virtual balance; nothing else ever sees it.
    pub virtual_market_enabled: bool,
    /// Whether the drift's sequence begins at a step that follows from the ledger's history, so that a restart does not
    /// repeat it; else at its first step.
    pub alpha_encryption_sync: bool,
    /// How long a lock holds that is not posted, and a trade before its exit drifts, s.
    pub drift_protection_window: f64,
    /// Shortest and longest drift, s.
    pub shift_delay_range: [f64; 2],
    /// Part of the total that can never be locked, 0 to 1.
    pub protection_buffer_ratio: f64,
    /// The virtual balance is the total times this.
    pub virtual_balance_multiplier: f64,
    /// Steps of the drift's sequence.
    pub timing_sequence_length: u32,
    /// Locks and positions at once.
    pub max_locked_positions: u32,
    /// File of the drift's key, which only its owner may read; the folder's name with `.key` without. Made when
    /// missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// File of pre-trade limits that trades are held against, on `[[instruments]]`; no trade is booked without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk_limits: Option<PathBuf>,
    /// Where other processes may ask over the network; nowhere without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<VmspChannelConfig>,
}

/// The ledger's control channel: TLS 1.3 with certificates on both sides, frames of one size at a fixed pace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VmspChannelConfig {
    /// Address and port, such as `127.0.0.1:7443`.
    pub listen: String,
    /// Folder of the certificates; `tidegate vmsp keys` makes one.
    pub keys: PathBuf,
    /// Name of this process in them.
    #[serde(default = "ledger")]
    pub name: String,
    /// Names of those who may connect.
    pub peers: Vec<String>,
    /// Time from frame to frame, ms, 1 to 1,000; the other end needs the same.
    #[serde(default = "pace")]
    pub pace_ms: u64,
}

fn ledger() -> String {
    "ledger".into()
}

fn pace() -> u64 {
    PACE.as_millis() as u64
}

impl Default for VmspConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            directory: None,
            owner: "main".into(),
            asset: "USDT".into(),
            decimals: 6,
            balance_protection: true,
            timing_drift: true,
            virtual_market_enabled: true,
            alpha_encryption_sync: true,
            drift_protection_window: 30.0,
            shift_delay_range: [0.1, 2.0],
            protection_buffer_ratio: 0.05,
            virtual_balance_multiplier: 1.5,
            timing_sequence_length: tidegate_guard::ledger::STEPS,
            max_locked_positions: 10,
            key: None,
            risk_limits: None,
            channel: None,
        }
    }
}

type Wrong<'a> = &'a dyn Fn(&str, String) -> ConfigError;

/// A fraction as a whole number of parts, exactly.
fn parts(value: f64, of: f64, most: f64) -> Option<u32> {
    let parts = value * of;
    let exact = (parts - parts.round()).abs() < 1e-6;
    (value.is_finite() && exact && (0.0..=most).contains(&value)).then_some(parts.round() as u32)
}

fn seconds(value: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(value).ok().filter(|time| *time <= Duration::from_secs(3_600))
}

impl VmspConfig {
    /// The ledger that this describes, whether or not it is enabled.
    ///
    /// # Errors
    /// The first value that makes no sense.
    pub(super) fn plan(&self, output: &Path, registry: &Registry, wrong: Wrong<'_>) -> Result<VmspPlan, ConfigError> {
        let wrong = |key: &str, reason: String| wrong(&format!("vmsp.{key}"), reason);
        let name = |key: &str, text: &str| {
            let reason = || format!("{text:?}, expected 1 to 32 printable ASCII characters without blanks");
            Name::new(text).ok_or_else(|| wrong(key, reason()))
        };
        let account = Account { owner: name("owner", &self.owner)?, asset: name("asset", &self.asset)? };
        let scale = Scale::new(self.decimals)
            .ok_or_else(|| wrong("decimals", format!("{}, expected 0 to 18", self.decimals)))?;
        let ratio = self.protection_buffer_ratio;
        let buffer_ppm = parts(ratio, 1e6, 1.0);
        let reason = || format!("{ratio}, expected 0 to 1 with at most six decimals");
        let buffer_ppm = buffer_ppm.ok_or_else(|| wrong("protection_buffer_ratio", reason()))?;
        let max_locked = self.max_locked_positions;
        if !(1..=65_536).contains(&max_locked) {
            return Err(wrong("max_locked_positions", format!("{max_locked}, expected 1 to 65,536")));
        }
        let window = seconds(self.drift_protection_window).filter(|window| !window.is_zero());
        let reason = || format!("{}, expected above 0 and at most 3,600 s", self.drift_protection_window);
        let window = window.ok_or_else(|| wrong("drift_protection_window", reason()))?;
        let [from, to] = self.shift_delay_range;
        let shift = seconds(from).zip(seconds(to)).filter(|(from, to)| from <= to);
        let reason = || format!("[{from}, {to}], expected two times in s, the shorter first, at most 3,600");
        let shift = shift.ok_or_else(|| wrong("shift_delay_range", reason()))?;
        let steps = self.timing_sequence_length;
        if !(1..=65_536).contains(&steps) {
            return Err(wrong("timing_sequence_length", format!("{steps}, expected 1 to 65,536")));
        }
        let multiplier = parts(self.virtual_balance_multiplier, 1e3, 1e3);
        let reason = || format!("{}, expected 0 to 1,000 with at most three decimals", self.virtual_balance_multiplier);
        let multiplier = multiplier.ok_or_else(|| wrong("virtual_balance_multiplier", reason()))?;
        let directory = self.directory.clone().unwrap_or_else(|| output.join("vmsp"));
        Ok(VmspPlan {
            key: self.key.clone().unwrap_or_else(|| directory.with_extension("key")),
            directory,
            account,
            scale,
            limits: Limits { buffer_ppm, max_locked },
            protection: self.balance_protection,
            window,
            drift: self.timing_drift,
            shift,
            steps,
            keep_step: self.alpha_encryption_sync,
            multiplier: self.virtual_market_enabled.then_some(multiplier),
            risk: self.risk(registry, &wrong)?,
            channel: self.channel.as_ref().map(|channel| channel.plan(&wrong)).transpose()?,
        })
    }

    fn risk(&self, registry: &Registry, wrong: Wrong<'_>) -> Result<Option<TradePlan>, ConfigError> {
        let Some(path) = &self.risk_limits else { return Ok(None) };
        let wrong = |reason: String| wrong("risk_limits", format!("{}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let limits = RiskLimits::from_toml(&text).map_err(|error| wrong(error.to_string()))?;
        Ok(Some(TradePlan { limits, registry: registry.clone(), halted: Arc::default() }))
    }
}

impl VmspChannelConfig {
    fn plan(&self, wrong: Wrong<'_>) -> Result<ChannelPlan, ConfigError> {
        let reason = || format!("{:?}, expected ADDRESS:PORT such as 127.0.0.1:7443", self.listen);
        let listen: SocketAddr = self.listen.parse().map_err(|_| wrong("channel.listen", reason()))?;
        if self.peers.is_empty() {
            return Err(wrong("channel.peers", "there is none; expected names of those who may connect".into()));
        }
        if !(1..=1_000).contains(&self.pace_ms) {
            return Err(wrong("channel.pace_ms", format!("{}, expected 1 to 1,000", self.pace_ms)));
        }
        let (keys, name, peers) = (self.keys.clone(), self.name.clone(), self.peers.clone());
        Ok(ChannelPlan { listen, keys, name, peers, pace: Duration::from_millis(self.pace_ms) })
    }
}
