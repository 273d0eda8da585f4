//! What operators write: one TOML file with a published schema.
//!
//! Order of precedence, weakest first: defaults, `/etc/tidegate/tidegate.toml`, `./tidegate.toml`, each `--config
//! FILE`, environment (`TIDEGATE__REPLAY__SPEED=10`), each `--set replay.speed=10`. Tables are merged key by key,
//! arrays are replaced. Every value remembers where it came from ([`layers::Layers::origin`]), unknown keys are errors,
//! and an error names the key, the value and what was expected.

pub mod layers;
mod live;
mod models;
mod risk;
mod serve;
mod signals;
mod store;
mod vmsp;

pub use live::{CaptureConfig, CredentialsConfig, LimitsConfig, SecretConfig, SessionConfig, VenueConfig};
pub use models::{ModelsConfig, ModelsMode, public_key};
pub use risk::RiskConfig;
pub use serve::{AlertsConfig, PriceConfig, ServeConfig, WebhookConfig};
pub use store::{RedisConfig, StoreConfig};
pub use vmsp::{VmspChannelConfig, VmspConfig};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidegate_feed::replay::SourceSpec;
use tidegate_feed::session::definitions::step;
use tidegate_guard::Profile;
use tidegate_guard::conditions::{Calendar, Conditions};
use tidegate_guard::profile::{Escalation, ProfileFile, RuleOverride, Settings};
use tidegate_guard::rules::DRAWDOWN_RULE;
use tidegate_guard::tuning::Tuning;
use tidegate_trade::desk::Trading;
use tidegate_trade::signals::{MlMicrostructure, PscIntegration, Superp};
use tidegate_wire::instrument::Contract;
use tidegate_wire::{Instrument, Price, Qty, Registry, Venue};

use crate::audit::AuditPlan;
use crate::pipeline::Topology;
use crate::replay::{Outputs, ReplayPlan, Speed};
use crate::screens::ScreensPlan;
use crate::signals::OUTCOMES;
use crate::vmsp::VmspPlan;
use crate::wait::WaitStrategy;

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where loops run and how they wait.
    pub engine: EngineConfig,
    /// Markets to be read live.
    pub venues: Vec<VenueConfig>,
    /// How live connections are kept.
    pub session: SessionConfig,
    /// Where live frames are kept.
    pub capture: CaptureConfig,
    /// Captures to replay, where no market is read live.
    pub sources: Vec<SourceConfig>,
    /// How captures are replayed.
    pub replay: ReplayConfig,
    /// Instruments whose definition shall not be taken from the data.
    pub instruments: Vec<InstrumentConfig>,
    /// Instruments whose returns are correlated with a named one's, such as `"ETHUSDT.binance-usdm" =
    /// "BTCUSDT.binance-usdm"`; others with another market of their own asset.
    pub correlations: BTreeMap<String, String>,
    /// When the engine and the strategies stop because of their members.
    pub escalation: Escalation,
    /// When the engine and the strategies stop because of what they have lost, as the risk desk tells it: what differs
    /// from the shipped settings of the rule `drawdown`.
    pub drawdown: RuleOverride,
    /// Breaker profiles by venue name, over the shipped ones.
    pub profiles: BTreeMap<String, ProfileConfig>,
    /// Sets of instruments that stop as one.
    pub strategies: Vec<StrategyConfig>,
    /// Scheduled events (`[[event]]` tables with `name`, `at`, `before`, `after`); none without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calendar: Option<PathBuf>,
    /// Models beside the engine.
    pub models: ModelsConfig,
    /// Where records go.
    pub output: OutputConfig,
    /// What proves them.
    pub audit: AuditConfig,
    /// Microstructure signals: which coins are looked at, and what counts as a signal.
    pub ml_microstructure: MlMicrostructure,
    /// The bounded-loss paper product.
    pub superp: Superp,
    /// The ratio of a coin's price to the reference's.
    pub psc_integration: PscIntegration,
    /// What is done with signals: trading on paper.
    pub trading: Trading,
    /// What orders may do, and who stops them.
    pub risk: RiskConfig,
    /// The balance ledger.
    pub vmsp: VmspConfig,
    /// The audit log as tables.
    pub store: StoreConfig,
    /// The newest of it in Redis.
    pub redis: RedisConfig,
    /// The stream server with its dashboard.
    pub serve: ServeConfig,
    /// Who is alerted to what.
    pub alerts: AlertsConfig,
}

/// Where loops run and how they wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EngineConfig {
    /// `fused`: everything on one core; `staged`: a core a stage.
    pub topology: Topology,
    /// `auto`, `spin`, `yield` or `park`.
    pub wait: WaitStrategy,
    /// Cores for the hot loops, in pipeline order; empty: the last ones if there are enough.
    pub cores: Vec<usize>,
    /// Lock the process's memory.
    pub lock_memory: bool,
    /// Compare every book with the venue's own best bid and ask.
    pub check_bbo: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        let (topology, wait) = (Topology::Fused, WaitStrategy::Auto);
        Self { topology, wait, cores: Vec::new(), lock_memory: false, check_bbo: true }
    }
}

/// A capture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// The file; relative to the working directory.
    pub path: PathBuf,
    /// Its venue, where its frames do not tell: `binance-spot`, `binance-usdm` or `binance-coinm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub venue: Option<String>,
}

/// How captures are replayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReplayConfig {
    /// `max`, or a multiple of the recorded pace such as `1` or `10`.
    pub speed: String,
    /// Begin again when the captures end; each round is a new session.
    pub repeat: bool,
    /// Frames read ahead at most, MiB.
    pub read_ahead_mib: usize,
    /// What an operator does meanwhile, by event time after the first frame, such as `60s:trip:engine` or
    /// `90s:reset:instrument:BTCUSDT.binance-usdm`.
    pub operator: Vec<String>,
}

impl Default for ReplayConfig {
    fn default() -> Self {
        Self { speed: "1".into(), repeat: false, read_ahead_mib: 256, operator: Vec::new() }
    }
}

/// An instrument's definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstrumentConfig {
    /// `binance-spot`, `binance-usdm` or `binance-coinm`.
    pub venue: String,
    /// The venue's symbol, upper case.
    pub symbol: String,
    /// Price step as decimal text, such as `"0.10"`.
    pub tick: String,
    /// Quantity step as decimal text, such as `"0.001"`.
    pub lot: String,
    /// Quote value of one contract, for coin-margined contracts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote_per_contract: Option<f64>,
}

/// A breaker profile: a file, and what differs from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileConfig {
    /// A profile file instead of the shipped one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// When the venue stops because of its instruments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escalation: Option<Escalation>,
    /// What models may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuning: Option<Tuning>,
    /// What changes thresholds besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Conditions>,
    /// Rules that differ, by name.
    pub rules: BTreeMap<String, RuleOverride>,
}

/// A set of instruments that stops as one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StrategyConfig {
    /// Its name.
    pub name: String,
    /// Its instruments, such as `BTCUSDT.binance-usdm`.
    pub instruments: Vec<String>,
}

/// Where records go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutputConfig {
    /// Directory for `latency.hlog`, `decisions.jsonl` and `engine.json`; created when missing.
    pub directory: PathBuf,
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self { directory: "run".into() }
    }
}

/// The audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Whether there is one.
    pub enabled: bool,
    /// Its folder; `audit` in the output directory without. Made when missing, continued when there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// File of the key that signs it, which only its owner may read; the folder's name with `.key` without. Made when
    /// missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Name of the log, for a new key: who keeps it and what of, as a URL without a scheme.
    pub origin: String,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { enabled: true, directory: None, key: None, origin: crate::audit::ORIGIN.into() }
    }
}

impl AuditConfig {
    fn plan(&self, output: &Path) -> Option<AuditPlan> {
        let plan = AuditPlan::new(&self.directory.clone().unwrap_or_else(|| output.join("audit")));
        let key = self.key.clone().unwrap_or_else(|| plan.key.clone());
        self.enabled.then(|| AuditPlan { key, origin: self.origin.clone(), ..plan })
    }
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {key}: {reason}")]
pub struct ConfigError {
    /// File, environment variable or flag.
    pub origin: String,
    /// Dotted key.
    pub key: String,
    /// The value and what was expected.
    pub reason: String,
}

/// The JSON schema of a configuration file (2020-12).
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Config).to_value()
}

impl Config {
    /// The replay that this configuration describes.
    ///
    /// # Errors
    /// The first value that makes no sense. `origin` finds out where a key came from.
    pub fn plan(&self, origin: impl Fn(&str) -> String) -> Result<ReplayPlan, ConfigError> {
        let wrong = |key: &str, reason: String| ConfigError { origin: origin(key), key: key.into(), reason };
        let live = live::plan(&self.venues, (&self.session, &self.capture), &self.output.directory, &wrong)?;
        if self.sources.is_empty() == live.is_none() {
            let reason = match live {
                None => "there is neither; expected [[venues]] to be read live, or [[sources]] with a path",
                Some(_) => "beside [[venues]]; expected either live venues or captures",
            };
            return Err(wrong("sources", reason.into()));
        }
        let sources = self.sources.iter().enumerate().map(|(index, source)| {
            let venue = source.venue.as_deref().map(venue).transpose();
            let venue = venue.map_err(|reason| wrong(&format!("sources.{index}.venue"), reason))?;
            Ok(SourceSpec { path: source.path.clone(), venue })
        });
        let speed: Speed = self.replay.speed.parse().map_err(|reason| wrong("replay.speed", reason))?;
        let orders = self.replay.operator.iter().enumerate();
        let orders = orders
            .map(|(i, order)| order.parse().map_err(|reason| wrong(&format!("replay.operator.{i}"), reason)))
            .collect::<Result<_, _>>()?;
        let strategies = self.strategies.iter().map(|s| (s.name.clone(), s.instruments.clone())).collect();
        let outputs = Outputs {
            decisions: Some(self.output.directory.join("decisions.jsonl")),
            adjustments: Some(self.output.directory.join("adjustments.jsonl")),
            models: Some(self.output.directory.join("models.jsonl")),
            books: Some(self.output.directory.join("books.jsonl")),
            hlog: Some(self.output.directory.join("latency.hlog")),
            signals: Some(self.output.directory.clone()),
            outcomes: (self.ml_microstructure.enabled && self.ml_microstructure.learning.training)
                .then(|| self.output.directory.join(OUTCOMES)),
        };
        let registry = self.registry(&wrong)?;
        let risk = self.risk.plan(&self.output.directory, &wrong)?;
        let mut vmsp = self.vmsp.plan(&self.output.directory, &registry, &wrong)?;
        if let Some(trades) = &mut vmsp.risk {
            trades.halted = risk.halted.clone();
        }
        self.escalation.check().map_err(|reason| wrong("escalation", reason))?;
        let drawdown =
            self.drawdown().map_err(|reason| wrong("drawdown", reason.replace("rules.drawdown", "drawdown")))?;
        Ok(ReplayPlan {
            escalation: self.escalation,
            drawdown,
            correlations: self.correlations.clone().into_iter().collect(),
            registry,
            speed,
            topology: self.engine.topology,
            wait: self.engine.wait,
            cores: self.engine.cores.clone(),
            lock_memory: self.engine.lock_memory,
            check_bbo: self.engine.check_bbo,
            profiles: self.profiles(&wrong)?,
            calendar: self.calendar(&wrong)?,
            models: self.models.plan(&self.output.directory, &wrong)?,
            live,
            strategies,
            orders,
            outputs,
            audit: self.audit.plan(&self.output.directory),
            risk: Some(risk),
            vmsp: self.vmsp.enabled.then_some(vmsp),
            store: self.store.plan(&self.output.directory, self.audit.enabled, &wrong)?,
            redis: self.redis.plan(&wrong)?,
            signals: self.signals(&wrong)?,
            trading: self.trading(&wrong)?,
            read_ahead: self.replay.read_ahead_mib.saturating_mul(1 << 20),
            ..ReplayPlan::new(sources.collect::<Result<_, _>>()?)
        })
    }

    /// The balance ledger that this configuration describes, enabled or not, and its audit log.
    ///
    /// # Errors
    /// The first value that makes no sense. `origin` finds out where a key came from.
    pub fn ledger(&self, origin: impl Fn(&str) -> String) -> Result<(VmspPlan, Option<AuditPlan>), ConfigError> {
        let wrong = |key: &str, reason: String| ConfigError { origin: origin(key), key: key.into(), reason };
        let plan = self.vmsp.plan(&self.output.directory, &self.registry(&wrong)?, &wrong)?;
        Ok((plan, self.audit.plan(&self.output.directory)))
    }

    /// The stream server that this configuration describes, enabled or not; away from the hot loops of a plan.
    ///
    /// # Errors
    /// The first value that makes no sense. `origin` finds out where a key came from.
    pub fn screens(&self, origin: impl Fn(&str) -> String, plan: &ReplayPlan) -> Result<ScreensPlan, ConfigError> {
        let wrong = |key: &str, reason: String| ConfigError { origin: origin(key), key: key.into(), reason };
        let screens = self.serve.plan(&self.output.directory, &wrong)?;
        let alarms = self.alerts.plan(self.serve.enabled, &wrong)?;
        Ok(ScreensPlan { alarms, cores_taken: plan.hot_cores(), ..screens })
    }

    fn registry(&self, wrong: &impl Fn(&str, String) -> ConfigError) -> Result<Registry, ConfigError> {
        let mut registry = Registry::new();
        for (index, definition) in self.instruments.iter().enumerate() {
            let key = |name: &str| format!("instruments.{index}.{name}");
            let venue = venue(&definition.venue).map_err(|reason| wrong(&key("venue"), reason))?;
            let (price_scale, tick) = step(&definition.tick).map_err(|reason| wrong(&key("tick"), reason))?;
            let (qty_scale, lot) = step(&definition.lot).map_err(|reason| wrong(&key("lot"), reason))?;
            let contract = match definition.quote_per_contract {
                Some(quote_per_contract) => Contract::Inverse { quote_per_contract },
                None => Contract::Linear,
            };
            let (tick, lot) = (Price::from_raw(tick), Qty::from_raw(lot));
            let symbol = definition.symbol.clone();
            let instrument = Instrument { venue, symbol, price_scale, qty_scale, tick, lot, contract };
            registry.add(instrument).map_err(|error| wrong(&key("symbol"), error.to_string()))?;
        }
        Ok(registry)
    }

    fn calendar(&self, wrong: &impl Fn(&str, String) -> ConfigError) -> Result<Calendar, ConfigError> {
        let Some(path) = &self.calendar else { return Ok(Calendar::default()) };
        let read = |reason: String| wrong("calendar", format!("{}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| read(error.to_string()))?;
        Calendar::from_toml(&text).map_err(read)
    }

    /// Settings of the drawdown rule. A threshold without a release draws the shipped release along.
    fn drawdown(&self) -> Result<Settings, String> {
        let mut settings = self.drawdown.over(DRAWDOWN_RULE.defaults);
        if self.drawdown.release.is_none() {
            settings.release = settings.release.min(settings.threshold);
        }
        settings.check_told().map(|()| settings)
    }

    fn profiles(
        &self,
        wrong: &impl Fn(&str, String) -> ConfigError,
    ) -> Result<[Profile; Venue::ALL.len()], ConfigError> {
        let mut profiles = Venue::ALL.map(Profile::builtin);
        for (name, settings) in &self.profiles {
            let key = format!("profiles.{name}");
            let venue = venue(name).map_err(|reason| wrong(&key, reason))?;
            let profile = &mut profiles[venue as usize];
            if let Some(file) = &settings.file {
                let read = |reason: String| wrong(&format!("{key}.file"), format!("{}: {reason}", file.display()));
                let text = std::fs::read_to_string(file).map_err(|error| read(error.to_string()))?;
                *profile = Profile::from_toml(&text).map_err(|error| read(error.to_string()))?;
            }
            profile.apply(&settings.rules).map_err(|error| wrong(&key, error.to_string()))?;
            profile.escalation = settings.escalation.unwrap_or(profile.escalation);
            profile.tuning = settings.tuning.unwrap_or(profile.tuning);
            profile.conditions = settings.conditions.unwrap_or(profile.conditions);
            profile.check().map_err(|reason| wrong(&key, reason))?;
        }
        Ok(profiles)
    }
}

/// The effective profile of a venue as a file's contents, for `config show`.
pub fn profile_file(profile: &Profile) -> ProfileFile {
    let rules = tidegate_guard::rules::RULES.iter().zip(&profile.rules).map(|(rule, s)| {
        let settings = RuleOverride {
            enabled: Some(s.enabled),
            threshold: Some(s.threshold),
            release: Some(s.release),
            hold_ms: Some(s.hold_ms),
            cooling_ms: Some(s.cooling_ms),
            probation_ms: Some(s.probation_ms),
            warmup_ms: Some(s.warmup_ms),
            policy: Some(s.policy),
        };
        (rule.name.to_owned(), settings)
    });
    let Profile { name, escalation, tuning, conditions, .. } = profile.clone();
    ProfileFile { name, escalation, tuning, conditions, rules: rules.collect() }
}

fn venue(name: &str) -> Result<Venue, String> {
    let known = || Venue::ALL.map(Venue::name).join(", ");
    Venue::from_name(name).ok_or_else(|| format!("{name:?}, expected one of {}", known()))
}

#[cfg(test)]
mod tests;
