//! `[models]`: which models run beside the engine, where, and what they have to show.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use serde::{Deserialize, Serialize};
use tidegate_sidecar::gate::GateSettings;
use tidegate_sidecar::serve::{Settings, TUNER};
use tidegate_sidecar::{LoaderSettings, ShadowSettings};
use xxhash_rust::xxh3::xxh3_64;

use super::ConfigError;
use crate::models::ModelsPlan;

/// Who runs the models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModelsMode {
    /// A process of its own: its end, however it comes, never stops the engine.
    #[default]
    Process,
    /// A thread of the engine, for small hosts.
    Inline,
    /// A thread that a replay waits for, so that its decisions do not depend on speed.
    Lockstep,
    /// Nobody: static profiles.
    Off,
}

/// Models beside the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelsConfig {
    /// Who runs them.
    pub mode: ModelsMode,
    /// The one model that may move thresholds.
    pub tuner: String,
    /// The model repository.
    pub directory: PathBuf,
    /// ONNX Runtime's shared library; else it is looked for beside the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<PathBuf>,
    /// Event time between two adjustments, ms, in [10, 60,000].
    pub every_ms: u64,
    /// In lockstep: event time from a moment to the effect of its answer, ms, below `every_ms`.
    pub latency_ms: u64,
    /// Adjustments that a new version runs in shadow before it is promoted.
    pub shadow_runs: u64,
    /// Largest mean absolute difference of its outputs to those in force.
    pub shadow_divergence: f64,
    /// Take up new versions as they appear in the directory.
    pub watch: bool,
    /// Point the directory to the version in force when it changes.
    pub remember: bool,
    /// Ed25519 public key of contracts, 32 bytes in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Refuse models that are not signed with it.
    pub require_signature: bool,
}

impl Default for ModelsConfig {
    fn default() -> Self {
        Self {
            mode: ModelsMode::default(),
            tuner: TUNER.into(),
            directory: "onnx".into(),
            library: None,
            every_ms: 1_000,
            latency_ms: 5,
            shadow_runs: 20,
            shadow_divergence: 1.0,
            watch: true,
            remember: true,
            public_key: None,
            require_signature: false,
        }
    }
}

/// The public key as it is written.
///
/// # Errors
/// What was expected.
pub fn public_key(text: &str) -> Result<[u8; 32], String> {
    let bytes = base64::prelude::BASE64_STANDARD.decode(text.trim()).ok();
    let key = bytes.and_then(|bytes| bytes.try_into().ok());
    key.ok_or_else(|| format!("{text:?}, expected 32 bytes in base64"))
}

impl ModelsConfig {
    /// The sidecar's settings.
    ///
    /// # Errors
    /// The first value that makes no sense.
    pub fn settings(&self, wrong: &impl Fn(&str, String) -> ConfigError) -> Result<Settings, ConfigError> {
        if !(10..=60_000).contains(&self.every_ms) {
            return Err(wrong("models.every_ms", format!("{}, expected 10 to 60000", self.every_ms)));
        }
        let divergence = self.shadow_divergence;
        if !(divergence > 0.0 && divergence.is_finite()) {
            return Err(wrong("models.shadow_divergence", format!("{divergence}, expected above 0")));
        }
        if self.shadow_runs == 0 {
            return Err(wrong("models.shadow_runs", "0, expected at least 1".into()));
        }
        let key = self.public_key.as_deref().map(public_key).transpose();
        let public_key = key.map_err(|reason| wrong("models.public_key", reason))?;
        if self.require_signature && public_key.is_none() {
            return Err(wrong("models.public_key", "absent, expected a key to check required signatures with".into()));
        }
        let gate = GateSettings { public_key, require_signature: self.require_signature, ..GateSettings::default() };
        Ok(Settings {
            loader: LoaderSettings {
                repository: self.directory.clone(),
                library: self.library.clone(),
                gate,
                watch: self.watch,
                tuner: self.tuner.clone(),
                resume: Default::default(),
            },
            shadow: ShadowSettings { runs: self.shadow_runs, divergence },
            every_ns: self.every_ms as i64 * 1_000_000,
            remember: self.remember,
        })
    }

    pub(super) fn plan(
        &self,
        output: &Path,
        wrong: &impl Fn(&str, String) -> ConfigError,
    ) -> Result<ModelsPlan, ConfigError> {
        let settings = Box::new(self.settings(wrong)?);
        if self.latency_ms >= self.every_ms {
            let text = format!("{}, expected less than models.every_ms, {}", self.latency_ms, self.every_ms);
            return Err(wrong("models.latency_ms", text));
        }
        Ok(match self.mode {
            ModelsMode::Off => ModelsPlan::Off,
            ModelsMode::Inline => ModelsPlan::Inline(settings),
            ModelsMode::Lockstep => {
                let latency = Duration::from_millis(self.latency_ms);
                ModelsPlan::Lockstep { settings: Box::new(Settings { remember: false, ..*settings }), latency }
            }
            ModelsMode::Process => {
                let program = std::env::current_exe()
                    .map_err(|error| wrong("models.mode", format!("process: this program cannot be found: {error}")))?;
                ModelsPlan::Process { settings, program, memory: memory(output) }
            }
        })
    }
}

/// Folder of the memory that an engine shares with its sidecar: one an output directory, so that what crashes leave is
/// replaced and never piles up.
fn memory(output: &Path) -> PathBuf {
    let absolute = std::path::absolute(output).unwrap_or_else(|_| output.to_owned());
    let name = format!("tidegate-{:016x}", xxh3_64(absolute.as_os_str().as_encoded_bytes()));
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { shm.join(name) } else { std::env::temp_dir().join(name) }
}
