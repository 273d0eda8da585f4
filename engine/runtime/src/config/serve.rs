//! `[serve]`: who may see the engine, and ask it for something, over the network.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_serve::Limits;
use tidegate_serve::webhooks::Webhook;

use super::ConfigError;
use crate::replay::ReplayPlan;
use crate::screens::{ALERT_KINDS, AlarmsPlan, PriceAlert, ScreensPlan};

/// The stream server with its dashboard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServeConfig {
    /// Whether there is one.
    pub enabled: bool,
    /// Address and port. Anything but a loopback address takes TLS, and a token for seeing.
    pub listen: SocketAddr,
    /// File of the token that lets its bearer ask for changes; `control.token` in the output directory without. Made
    /// when missing; nobody but its owner may read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_token: Option<PathBuf>,
    /// File of the token that lets its bearer see; made when missing. With one, seeing takes a token on loopback too;
    /// without, only the control token sees where seeing takes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view_token: Option<PathBuf>,
    /// Certificate chain, PEM. `serve.crt` in the output directory, made when missing, where TLS is needed and none is
    /// named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// The certificate's key, PEM; `serve.key` beside it without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Further names by which browsers may call the server, such as `gate.example.org`.
    pub hosts: Vec<String>,
    /// Pages of others that may use it, as browsers write an origin, such as `https://desk.example.org`.
    pub origins: Vec<String>,
    /// Connections at once.
    pub clients: usize,
    /// Of these, from one address (in IPv6 one /64 network), so that nobody takes them all; not bounded on loopback.
    pub per_address: usize,
    /// Messages a second that a client of the stream may send for long.
    pub messages_per_s: f64,
    /// How long a client may take to take what it is sent, ms, before it is dropped.
    pub patience_ms: u64,
}

/// Who is alerted to what. The server must run (`serve.enabled`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// Receivers of alerts.
    pub webhooks: Vec<WebhookConfig>,
    /// Prices that somebody waits for.
    pub prices: Vec<PriceConfig>,
}

/// A receiver of alerts: a POST with JSON each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// What it is called in logs.
    pub name: String,
    /// File that holds the URL, where it is a secret by itself; nobody but its owner may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
    /// The URL, where it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// File of the key with which bodies are signed; nobody but its owner may read it. Unsigned without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// Kinds of alerts that it gets; all without. `trip`, `price`, `model`, `feed`, `trap`, and of the risk desk
    /// `refusal`, `kill`, `reset`, `cancel-rate`, `override`, `unknown-execution`, `emergency`, `changed`, `luld`,
    /// `held-by-nobody`, `unreadable`.
    #[serde(default)]
    pub kinds: Vec<String>,
}

/// A price that somebody waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceConfig {
    /// Instrument, such as `BTCUSDT.binance-usdm`.
    pub instrument: String,
    /// Alert when mid is at or above it, quote units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// Alert when mid is at or below it, quote units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// How far the price must come back before the same alert is given again, basis points of the level.
    #[serde(default = "ten")]
    pub rearm_bp: f64,
}

const fn ten() -> f64 {
    10.0
}

impl AlertsConfig {
    pub(super) fn plan(
        &self,
        enabled: bool,
        wrong: &impl Fn(&str, String) -> ConfigError,
    ) -> Result<AlarmsPlan, ConfigError> {
        if !enabled && *self != Self::default() {
            return Err(wrong("alerts", "there is no server to give them, expected serve.enabled = true".into()));
        }
        let webhook = |(index, hook): (usize, &WebhookConfig)| {
            let key = |name: &str| format!("alerts.webhooks.{index}.{name}");
            let private = |name: &str, path: &Path| {
                crate::audit::key::read_private(path).map_err(|error| wrong(&key(name), error.to_string()))
            };
            let url = match (&hook.url, &hook.url_file) {
                (Some(url), None) => url.clone().into(),
                (None, Some(path)) => zeroize::Zeroizing::new(private("url_file", path)?.trim().to_owned()),
                _ => return Err(wrong(&key("url"), "expected either url or url_file".into())),
            };
            if !(url.starts_with("https://") || url.starts_with("http://")) {
                return Err(wrong(&key("url"), "expected a URL that begins with https:// or http://".into()));
            }
            // What is misspelt would be waited for in vain, when it matters.
            if let Some(kind) = hook.kinds.iter().find(|kind| !ALERT_KINDS.contains(&kind.as_str())) {
                let reason = format!("{kind:?}, expected one of {}", ALERT_KINDS.join(", "));
                return Err(wrong(&key("kinds"), reason));
            }
            let secret = hook.secret_file.as_deref().map(|path| private("secret_file", path)).transpose()?;
            let secret = secret.map(|text| zeroize::Zeroizing::new(text.trim().as_bytes().to_vec()));
            Ok(Webhook { url, name: hook.name.clone(), secret, kinds: hook.kinds.clone() })
        };
        let price = |(index, price): (usize, &PriceConfig)| {
            let levels = [price.above, price.below];
            let good = levels.iter().flatten().all(|level| level.is_finite() && *level > 0.0);
            if levels == [None, None] || !good || !(0.0..1e4).contains(&price.rearm_bp) {
                let reason = "expected above or below, numbers above 0, and rearm_bp from 0 to 10000".into();
                return Err(wrong(&format!("alerts.prices.{index}"), reason));
            }
            let PriceConfig { instrument, above, below, rearm_bp } = price.clone();
            Ok(PriceAlert { instrument, above, below, rearm: rearm_bp * 1e-4 })
        };
        Ok(AlarmsPlan {
            webhooks: self.webhooks.iter().enumerate().map(webhook).collect::<Result<_, _>>()?,
            prices: self.prices.iter().enumerate().map(price).collect::<Result<_, _>>()?,
        })
    }
}

impl Default for ServeConfig {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            enabled: false,
            listen: SocketAddr::from(([127, 0, 0, 1], 8765)),
            control_token: None,
            view_token: None,
            certificate: None,
            key: None,
            hosts: Vec::new(),
            origins: Vec::new(),
            clients: limits.clients,
            per_address: limits.per_address,
            messages_per_s: limits.messages_per_s,
            patience_ms: limits.patience.as_millis() as u64,
        }
    }
}

/// Connections that a server may be configured for.
const CLIENTS_MAX: usize = 16_384;

impl ServeConfig {
    /// The server that this describes, for a plan that is no configuration's.
    ///
    /// # Errors
    /// The first value that makes no sense.
    pub fn screens(&self, output: &Path, plan: &ReplayPlan) -> Result<ScreensPlan, ConfigError> {
        let wrong = |key: &str, reason: String| ConfigError { origin: "--serve".into(), key: key.into(), reason };
        Ok(ScreensPlan { cores_taken: plan.hot_cores(), ..self.plan(output, &wrong)? })
    }

    /// The server that this describes, enabled or not.
    pub(super) fn plan(
        &self,
        output: &Path,
        wrong: &impl Fn(&str, String) -> ConfigError,
    ) -> Result<ScreensPlan, ConfigError> {
        if !(self.messages_per_s.is_finite() && self.messages_per_s > 0.0) {
            return Err(wrong("serve.messages_per_s", format!("{}, expected a number above 0", self.messages_per_s)));
        }
        for (key, value) in [("serve.clients", self.clients), ("serve.per_address", self.per_address)] {
            if !(1..=CLIENTS_MAX).contains(&value) {
                return Err(wrong(key, format!("{value}, expected 1 to {CLIENTS_MAX}")));
            }
        }
        if self.patience_ms == 0 {
            return Err(wrong("serve.patience_ms", "0, expected at least 1".into()));
        }
        if let Some(origin) = self.origins.iter().find(|origin| !origin.contains("://") || origin.ends_with('/')) {
            let reason = format!("{origin:?}, expected scheme://host[:port] such as https://desk.example.org");
            return Err(wrong("serve.origins", reason));
        }
        if self.key.is_some() && self.certificate.is_none() {
            return Err(wrong("serve.key", "without serve.certificate, expected both".into()));
        }
        let certificate = match &self.certificate {
            Some(path) => Some(path.clone()),
            None => (!self.listen.ip().is_loopback()).then(|| output.join("serve.crt")),
        };
        let tls = certificate.map(|chain| {
            let key = self.key.clone().unwrap_or_else(|| chain.with_extension("key"));
            (chain, key)
        });
        let limits = Limits {
            clients: self.clients,
            per_address: self.per_address,
            messages_per_s: self.messages_per_s,
            burst: self.messages_per_s * 4.0,
            patience: Duration::from_millis(self.patience_ms),
            ..Limits::default()
        };
        Ok(ScreensPlan {
            address: self.listen,
            control_token: self.control_token.clone().unwrap_or_else(|| output.join("control.token")),
            view_token: self.view_token.clone(),
            tls,
            make_certificate: self.certificate.is_none(),
            hosts: self.hosts.clone(),
            origins: self.origins.clone(),
            limits,
            explainer: None,
            alarms: AlarmsPlan::default(),
            cores_taken: Vec::new(),
        })
    }
}
