//! What people and programs see of a running engine, and what they may ask of it.
//!
//! [`Screens`] outlives rounds of a repeated replay: it owns the server and its hub. Each run attaches itself
//! (`Screens::attach`): a thread reads the rings that every observer gets (vectors and looks at books), another asks
//! desks where they stand, and the scribe, the models' desk, the sessions and the risk desk tell what happens
//! (`Teller`) through a queue that holds nobody back. None of them is on the hot path's way; a hub that nobody looks at
//! costs a few pointer copies.

mod alarms;
mod breakers;
mod explain;
mod inquiry;
mod market;
mod news;
mod positions;
mod repository;
mod standing;
mod steer;
mod told;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde_json::json;
use tidegate_guard::Profile;
use tidegate_serve::access::{Access, Token};
use tidegate_serve::hub::wall_ns;
use tidegate_serve::metrics::{Metrics, family};
use tidegate_serve::tls::Certified;
use tidegate_serve::{Hub, Limits, ServeError, Server, Settings, Topic};
use tidegate_wire::ring::{Region, RegionKind};
use tidegate_wire::{Registry, Venue};

use crate::audit::Trail;
use crate::control::Operator;
use crate::lines::Names;
use crate::stream::StreamDesk;

pub use alarms::{ALERT_KINDS, AlarmsPlan, PriceAlert};
use alarms::{Alarms, PriceWatch};
pub(crate) use breakers::Breakers;
use steer::Steer;
pub(crate) use told::{Reporter, Teller};

/// Where and to whom an engine shows itself.
#[derive(Clone, Debug)]
pub struct ScreensPlan {
    /// Where to listen.
    pub address: SocketAddr,
    /// File of the token that lets its bearer ask for changes; made when missing.
    pub control_token: PathBuf,
    /// File of the token that lets its bearer see; made when missing. None without.
    pub view_token: Option<PathBuf>,
    /// Certificate chain and key, PEM; none for plain HTTP, which is for loopback only.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whether both are made when missing: where nobody has named them.
    pub make_certificate: bool,
    /// Further names by which browsers may call the server.
    pub hosts: Vec<String>,
    /// Pages of others that may use it.
    pub origins: Vec<String>,
    /// Bounds of what clients may take.
    pub limits: Limits,
    /// What explains incidents; nothing without.
    pub explainer: Option<Explainer>,
    /// Who is alerted.
    pub alarms: AlarmsPlan,
    /// Cores of the hot loops: the server stays away from them.
    pub cores_taken: Vec<usize>,
}

/// How an incident is explained while the engine runs: by a process of its own, at the lowest priority.
#[derive(Clone, Debug)]
pub struct Explainer {
    /// The program that has `postmortem` as its command: the engine's own.
    pub program: PathBuf,
    /// What the engine is given: captures, as `--input` names them.
    pub inputs: Vec<String>,
    /// Where it keeps what it is given, in a live run.
    pub captures: Option<PathBuf>,
    /// Files of captures that are older than this are of other runs.
    pub since: std::time::SystemTime,
    /// The calendar that the engine was configured with.
    pub calendar: Option<PathBuf>,
    /// Where reports go, a folder a decision.
    pub reports: PathBuf,
}

/// Lines of the ring of positions: two a record.
const POSITION_RING: u64 = 1 << 10;

/// The server, its hub, and whoever is attached to it.
#[derive(Debug)]
pub struct Screens {
    hub: Hub,
    metrics: Metrics,
    steer: Arc<Steer>,
    breakers: Mutex<Breakers>,
    server: Server,
    alarms: Alarms,
    prices: Vec<PriceAlert>,
    /// SHA-256 of the certificate, where there is one.
    pub fingerprint: Option<String>,
    token: PathBuf,
    url: String,
    /// Where programs on this host find it.
    place: PathBuf,
    /// News that came too fast to be shown one by one.
    lost: AtomicU64,
}

impl Drop for Screens {
    fn drop(&mut self) {
        // Another engine's that has taken the place is left alone; gone already is as good.
        let own = format!("\"pid\":{}", std::process::id());
        if std::fs::read_to_string(&self.place).is_ok_and(|text| text.contains(&own)) {
            let _ = std::fs::remove_file(&self.place);
        }
    }
}

/// What a run shows.
pub(crate) struct Attached<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) strategies: Vec<String>,
    pub(crate) vectors: Arc<Region>,
    pub(crate) looks: Option<Arc<Region>>,
    pub(crate) operator: Operator,
    pub(crate) trail: Option<Trail>,
    pub(crate) stream: StreamDesk,
    pub(crate) audit: Option<PathBuf>,
    pub(crate) models: Option<PathBuf>,
    pub(crate) facts: Facts,
}

/// What does not change during a run.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Facts {
    /// `live` or `replay`.
    pub(crate) mode: &'static str,
    /// How fast a replay goes.
    pub(crate) speed: String,
    /// Topology.
    pub(crate) topology: &'static str,
    /// Who runs models.
    pub(crate) models: &'static str,
}

impl Screens {
    /// Starts the server.
    ///
    /// # Errors
    /// [`ServeError`]: the address, a token, a certificate.
    pub fn open(plan: &ScreensPlan) -> Result<Arc<Self>, ServeError> {
        let names = || {
            let mut names = plan.hosts.clone();
            // By address too: a host without a resolver has no `localhost`.
            names.extend(["localhost".to_owned(), "127.0.0.1".to_owned(), plan.address.ip().to_string()]);
            names.sort_unstable();
            names.dedup();
            names
        };
        let certified = |(chain, key): &(PathBuf, PathBuf)| match plan.make_certificate {
            true => Certified::read_or_make(chain, key, &names()),
            false => Certified::read(chain, key),
        };
        let tls = plan.tls.as_ref().map(certified).transpose()?;
        let access = Access {
            control: Token::read_or_make(&plan.control_token)?,
            view: plan.view_token.as_deref().map(Token::read_or_make).transpose()?,
            // Whoever wants a token for seeing has somebody in front who is not on this host.
            open: plan.address.ip().is_loopback() && plan.view_token.is_none(),
            hosts: plan.hosts.clone(),
            origins: plan.origins.clone(),
            address: plan.address,
        };
        let (hub, metrics) = (Hub::new(), Metrics::default());
        let steer = Arc::new(Steer::new(hub.clone(), plan.explainer.clone()));
        let (fingerprint, secure) = (tls.as_ref().map(|tls| tls.fingerprint.clone()), tls.is_some());
        let cores_taken = plan.cores_taken.clone();
        let reports = plan.explainer.as_ref().map(|explainer| explainer.reports.clone());
        let settings = Settings { address: plan.address, access, tls, limits: plan.limits, cores_taken, reports };
        let server = Server::start(settings, hub.clone(), metrics.clone(), steer.clone())?;
        metrics.set(family::BUILD, &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        let alarms = Alarms::start(&plan.alarms, hub.clone(), metrics.clone()).map_err(ServeError::Thread)?;
        let prices = plan.alarms.prices.clone();
        let (breakers, token) = (Mutex::default(), plan.control_token.clone());
        let scheme = if secure { "https" } else { "http" };
        let url = format!("{scheme}://{}/", server.address());
        let place = plan.control_token.with_file_name("serve.json");
        let standing = json!({ "url": url, "pid": std::process::id(), "version": env!("CARGO_PKG_VERSION") });
        std::fs::write(&place, format!("{standing}\n"))
            .map_err(|source| ServeError::Place { path: place.display().to_string(), source })?;
        let lost = AtomicU64::new(0);
        Ok(Arc::new(Self {
            url,
            place,
            hub,
            metrics,
            steer,
            breakers,
            server,
            alarms,
            prices,
            fingerprint,
            token,
            lost,
        }))
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where a browser finds it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// File of the token that controls take.
    pub const fn token(&self) -> &PathBuf {
        &self.token
    }

    /// The hub, for whoever has something to show besides.
    pub const fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The metrics, likewise.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Says what a run is, before anything of it is told.
    pub(crate) fn begin(&self, registry: &Registry, profiles: &[Profile; Venue::ALL.len()], facts: &Facts) {
        let state =
            [Topic::Price, Topic::Book, Topic::Features, Topic::Signal, Topic::Flow, Topic::Trap, Topic::Latency];
        state.into_iter().for_each(|topic| self.hub.forget(topic));
        self.metrics.set(family::STARTED, &[], wall_ns() as f64 * 1e-9);
        let known = |alert: &&PriceAlert| registry.iter().any(|(_, one)| one.name() == alert.instrument);
        for alert in self.prices.iter().filter(|alert| !known(alert)) {
            tracing::error!(instrument = alert.instrument, "alerts.prices: this run has no such instrument");
        }
        let mut breakers = self.breakers();
        let run = breakers.run() + 1;
        *breakers = Breakers::new(registry, profiles, run);
        breakers.show(&self.hub);
        let instruments: Vec<_> = registry.iter().map(|(_, instrument)| instrument.name()).collect();
        self.hub.put(
            Topic::Engine,
            "",
            None,
            &json!({ "state": "starting", "facts": facts, "instruments": instruments, "pid": std::process::id() }),
        );
    }

    fn breakers(&self) -> std::sync::MutexGuard<'_, Breakers> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who shows the news of a run with these names.
    pub(crate) fn reporter(self: &Arc<Self>, names: Names) -> std::io::Result<Reporter> {
        Reporter::start(self.clone(), names)
    }

    /// Shows a run until what it gives is dropped.
    pub(crate) fn attach(self: &Arc<Self>, run: Attached<'_>) -> std::io::Result<Guest> {
        let over = Arc::new(AtomicBool::new(false));
        self.steer.attach(run.operator.clone(), run.trail.clone(), run.audit.clone(), self.breakers().run());
        let positions = Region::anonymous(RegionKind::Overwrite, POSITION_RING).map(Arc::new);
        let positions = positions.map_err(std::io::Error::other)?;
        let market = market::Watcher::new(self, &run, positions.clone());
        let standing = standing::Asker::new(self, run, positions)?;
        let spawn =
            |name: &str, work: Box<dyn FnOnce() + Send>| std::thread::Builder::new().name(name.to_owned()).spawn(work);
        let (one, other) = (over.clone(), over.clone());
        let threads = vec![
            spawn("tide-screens", Box::new(move || market.run(&one)))?,
            spawn("tide-standing", Box::new(move || standing.run(&other)))?,
        ];
        Ok(Guest { screens: self.clone(), over, threads })
    }
}

/// A run that is shown.
pub(crate) struct Guest {
    screens: Arc<Screens>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.screens.steer.detach();
    }
}
