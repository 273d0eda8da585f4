//! Where a run is shown.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Result;
use tidegate_runtime::config::ServeConfig;
use tidegate_runtime::replay::ReplayPlan;
use tidegate_runtime::screens::{Explainer, Screens, ScreensPlan};
use tidegate_serve::ServeError;

use crate::exit::{Exit, failed};

/// The address of `--serve`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serving {
    /// The usual one, or any port where that is taken.
    Default,
    /// This one.
    At(SocketAddr),
}

impl FromStr for Serving {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "default" {
            return Ok(Self::Default);
        }
        text.parse().map(Self::At).map_err(|_| format!("{text:?}, expected ADDRESS:PORT such as 127.0.0.1:8765"))
    }
}

impl Serving {
    /// Where to listen.
    pub(crate) fn address(self) -> SocketAddr {
        let usual = ServeConfig::default().listen;
        match self {
            Self::At(address) => address,
            // Asked before the server does: should somebody take it in between, the server says so.
            Self::Default if std::net::TcpListener::bind(usual).is_ok() => usual,
            Self::Default => SocketAddr::new(usual.ip(), 0),
        }
    }

    /// Shows a replay, whose token and reports lie beside its audit log; in the working directory without one.
    pub(crate) fn open(self, plan: &ReplayPlan) -> Result<Arc<Screens>> {
        let audit = plan.audit.as_ref().and_then(|audit| audit.directory.parent().map(Path::to_owned));
        let directory = audit.unwrap_or_default();
        let config = ServeConfig { listen: self.address(), ..ServeConfig::default() };
        let screens = config.screens(&directory, plan).map_err(|error| failed(Exit::Config, error.to_string()))?;
        open(&ScreensPlan { explainer: Some(explainer(plan, &directory, None)?), ..screens })
    }
}

/// What explains incidents of a plan: this program.
pub(crate) fn explainer(plan: &ReplayPlan, directory: &Path, calendar: Option<&PathBuf>) -> Result<Explainer> {
    let program = std::env::current_exe().map_err(|error| failed(Exit::Failure, error.to_string()))?;
    let named = |source: &tidegate_feed::replay::SourceSpec| match source.venue {
        Some(venue) => format!("{venue}={}", source.path.display()),
        None => source.path.display().to_string(),
    };
    let captures = plan.live.as_ref().and_then(|live| live.capture.as_ref()).map(|capture| capture.directory.clone());
    let inputs = plan.sources.iter().map(named).collect();
    let (since, reports) = (std::time::SystemTime::now(), directory.join("reports"));
    Ok(Explainer { program, inputs, captures, since, calendar: calendar.cloned(), reports })
}

/// Opens the screens of a run and says where they are.
pub(crate) fn open(plan: &ScreensPlan) -> Result<Arc<Screens>> {
    let screens = Screens::open(plan).map_err(|error| {
        let exit = match &error {
            ServeError::Listen { .. } | ServeError::Place { .. } => Exit::Io,
            ServeError::Thread(_) => Exit::Failure,
            ServeError::Token(_) | ServeError::Tls(_) => Exit::Config,
        };
        failed(exit, error.to_string())
    })?;
    anstream::eprintln!("dashboard: {}  (controls take the token in {})", screens.url(), screens.token().display());
    if let Some(fingerprint) = &screens.fingerprint {
        anstream::eprintln!("certificate: SHA-256 {fingerprint}");
    }
    Ok(screens)
}
