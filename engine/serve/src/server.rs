//! The server: one thread, one event loop, bounded in everything.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::access::Access;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::patient::Patient;
use crate::routes;
use crate::tls::Certified;

/// Bounds of what clients may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Connections at once.
    pub clients: usize,
    /// Of these, from one address; from one /64 network of IPv6. Loopback has no such bound: whoever is on this host
    /// has other ways to take what it has.
    pub per_address: usize,
    /// Messages a second that a client may send for long.
    pub messages_per_s: f64,
    /// Messages it may send at once.
    pub burst: f64,
    /// How long a client may take to say what it wants: TLS, request head, first word where tokens are asked for.
    pub handshake: Duration,
    /// How long a client may take to take what it is sent.
    pub patience: Duration,
    /// A client is pinged when it was silent for so long, and dropped when it stays silent for twice as long again.
    pub ping: Duration,
    /// Requests to the engine at once.
    pub requests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 1_024,
            // A room full of people behind one address, and a sixteenth of the places.
            per_address: 64,
            messages_per_s: 50.0,
            burst: 200.0,
            handshake: Duration::from_secs(5),
            patience: Duration::from_secs(5),
            ping: Duration::from_secs(15),
            requests: 8,
        }
    }
}

/// Whoever carries out what clients ask the engine for. It may take its time: it is called on a thread of its own.
pub trait Steering: Send + Sync + 'static {
    /// Carries a request out for somebody and gives the answer, whose `ok` says whether it was done.
    fn carry_out(&self, request: Value, who: &str) -> Value;
    /// Whether a request can only stop trading: it must not wait behind others.
    fn stops(&self, request: &Value) -> bool;
    /// Whether feeds, models and audit log are as they should be, and what is not.
    fn ready(&self) -> Result<(), Vec<String>>;
}

/// A server to be started.
#[derive(Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes any.
    pub address: SocketAddr,
    /// Who may do what; its `address` is set by the server.
    pub access: Access,
    /// TLS; plain without.
    pub tls: Option<Certified>,
    /// Bounds.
    pub limits: Limits,
    /// Where reports of incidents are, a folder a number.
    pub reports: Option<PathBuf>,
    /// Cores that belong to hot loops: the server stays away from them where there are others.
    pub cores_taken: Vec<usize>,
}

/// A server that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address.
    #[error("{address}: cannot listen: {source} (serve.listen)")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file that says where it is.
    #[error("{path}: {source}")]
    Place {
        /// Which.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// No thread or no event loop.
    #[error("the stream server: {0}")]
    Thread(std::io::Error),
    /// A token.
    #[error(transparent)]
    Token(#[from] crate::access::TokenError),
    /// A certificate.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
}

/// What happened to clients.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections now.
    pub connections: AtomicUsize,
    /// Of these, streams.
    pub streams: AtomicUsize,
    /// Connections that were made.
    pub accepted: AtomicU64,
    /// Connections that were turned away because there were too many.
    pub turned_away: AtomicU64,
    /// TLS handshakes that failed or took too long.
    pub handshakes_failed: AtomicU64,
    /// Streams that were dropped because they did not take what they were sent.
    pub dropped_slow: AtomicU64,
    /// Streams that were dropped because they sent too much, or nonsense for too long.
    pub dropped_abusive: AtomicU64,
    /// Streams that were dropped because they had fallen silent.
    pub dropped_silent: AtomicU64,
    /// Messages that clients sent.
    pub received: AtomicU64,
    /// Of these, wrong ones.
    pub wrong: AtomicU64,
    /// Messages that clients were sent.
    pub sent: AtomicU64,
    /// Requests that were refused for want of a token, a name or an origin.
    pub refused: AtomicU64,
    /// Requests to the engine.
    pub requests: AtomicU64,
}

impl Counts {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Requests at once that stop the trading, beside the others.
const STOPS: usize = 16;

/// What every connection shares.
pub(crate) struct Shared {
    pub(crate) hub: Hub,
    pub(crate) access: Access,
    pub(crate) limits: Limits,
    pub(crate) steering: Arc<dyn Steering>,
    pub(crate) metrics: Metrics,
    pub(crate) counts: Arc<Counts>,
    pub(crate) addresses: std::sync::Mutex<std::collections::HashMap<IpAddr, usize>>,
    /// Set when the server ends.
    pub(crate) over: watch::Receiver<bool>,
    pub(crate) requests: Arc<tokio::sync::Semaphore>,
    pub(crate) stops: Arc<tokio::sync::Semaphore>,
    pub(crate) secure: bool,
    pub(crate) reports: Option<PathBuf>,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    counts: Arc<Counts>,
    over: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts it.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn start(
        settings: Settings,
        hub: Hub,
        metrics: Metrics,
        steering: Arc<dyn Steering>,
    ) -> Result<Self, ServeError> {
        raise_files();
        let failed = |source| ServeError::Listen { address: settings.address, source };
        let listener = std::net::TcpListener::bind(settings.address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (over, is_over) = watch::channel(false);
        let counts = Arc::new(Counts::default());
        let shared = Arc::new(Shared {
            hub,
            access: Access { address, ..settings.access },
            limits: settings.limits,
            steering,
            metrics: metrics.counting(counts.clone()),
            counts: counts.clone(),
            addresses: std::sync::Mutex::default(),
            over: is_over,
            requests: Arc::new(tokio::sync::Semaphore::new(settings.limits.requests)),
            stops: Arc::new(tokio::sync::Semaphore::new(STOPS)),
            secure: settings.tls.is_some(),
            reports: settings.reports,
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(settings.limits.requests + STOPS + 2)
            .thread_name("tide-serve-ask")
            .build()
            .map_err(ServeError::Thread)?;
        let (tls, taken) = (settings.tls.map(|tls| TlsAcceptor::from(tls.config)), settings.cores_taken);
        let run = move || {
            stay_away(&taken);
            runtime.block_on(serve(listener, tls, shared));
            // A request to the engine that is still under way ends by its own deadline.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("tide-serve".into()).spawn(run).map_err(ServeError::Thread)?;
        Ok(Self { address, counts, over, thread: Some(thread) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What happened to clients so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Drop for Server {
    /// Takes no more clients, tells those there are that it ends, and waits until they have gone, two seconds at most.
    fn drop(&mut self) {
        let _ = self.over.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Lets the process open as many files as the system allows it: a thousand clients must not take those of the audit
/// log.
fn raise_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a place for the answer, and the answer given back.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max.min(1 << 16);
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Keeps this thread off cores that belong to others, where there are any left.
fn stay_away(taken: &[usize]) {
    // SAFETY: plain calls on a set of this function's own; zeroed is an empty one.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) != 0 {
            return;
        }
        taken.iter().filter(|core| **core < libc::CPU_SETSIZE as usize).for_each(|core| libc::CPU_CLR(*core, &mut set));
        if libc::CPU_COUNT(&set) > 0 {
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
        }
    }
}

/// How long a full house, or a lack of file descriptors, is waited out.
const BREATH: Duration = Duration::from_millis(50);
/// How long clients may take to go when the server ends.
const DRAIN: Duration = Duration::from_secs(2);

async fn serve(listener: std::net::TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the stream server cannot listen"),
    };
    let app = routes::router(shared.clone());
    let mut over = shared.over.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = over.changed() => break,
        };
        match accepted {
            Ok((stream, peer)) => match Place::take(&shared, peer) {
                Some(place) => drop(tokio::spawn(connection(stream, place, tls.clone(), app.clone()))),
                // Nobody waits for it: the socket closes at once.
                None => Counts::add(&shared.counts.turned_away),
            },
            Err(_) => tokio::time::sleep(BREATH).await,
        }
    }
    drop(listener);
    let gone = async {
        while shared.counts.connections.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = tokio::time::timeout(DRAIN, gone).await;
}

/// A connection's place; given back when it is dropped.
pub(crate) struct Place {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: SocketAddr,
}

impl Place {
    fn take(shared: &Arc<Shared>, peer: SocketAddr) -> Option<Self> {
        let mut addresses = shared.addresses.lock().ok()?;
        if shared.counts.connections.load(Ordering::Acquire) >= shared.limits.clients {
            return None;
        }
        if let Some(neighbours) = neighbours(peer.ip()) {
            let here = addresses.entry(neighbours).or_insert(0);
            if *here >= shared.limits.per_address {
                return None;
            }
            *here += 1;
        }
        shared.counts.connections.fetch_add(1, Ordering::AcqRel);
        Counts::add(&shared.counts.accepted);
        Some(Self { shared: shared.clone(), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.counts.connections.fetch_sub(1, Ordering::AcqRel);
        if let Some(neighbours) = neighbours(self.peer.ip())
            && let Ok(mut addresses) = self.shared.addresses.lock()
            && let Some(here) = addresses.get_mut(&neighbours)
        {
            *here -= 1;
            if *here == 0 {
                addresses.remove(&neighbours);
            }
        }
    }
}

/// Whom an address is counted with: itself, in IPv6 its /64 network, which one host may have for itself; nobody on
/// loopback, where connections by address are not bounded.
fn neighbours(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V6(address) => Some(IpAddr::from((address.to_bits() >> 64 << 64).to_be_bytes())),
        address => Some(address),
    }
}

/// The peer of a request, and the place that its connection holds as long as anything of it lives.
#[derive(Clone)]
pub(crate) struct Peer(pub(crate) Arc<Place>);

async fn connection(stream: TcpStream, place: Place, tls: Option<TlsAcceptor>, app: Router) {
    let _ = stream.set_nodelay(true);
    let patience = place.shared.limits.handshake;
    let Some(tls) = tls else { return converse(stream, place, app).await };
    match tokio::time::timeout(patience, tls.accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, place, app).await,
        _ => Counts::add(&place.shared.counts.handshakes_failed),
    }
}

/// Longest request head, bytes.
const HEAD_MAX: usize = 16 << 10;

async fn converse<S>(stream: S, place: Place, app: Router)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (patience, mut over) = (place.shared.limits.handshake, place.shared.over.clone());
    // A stream watches its own clients, and says so when it drops one: this is for those who ask and take nothing.
    let place_patience = place.shared.limits.patience * 2;
    // An upgraded connection outlives this future: the place goes with its requests.
    let app = app.layer(axum::Extension(Peer(Arc::new(place))));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(HEAD_MAX).half_close(false);
    let stream = Patient::new(stream, place_patience);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app)).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    // What a client does wrong is its own misfortune.
    let finished = tokio::select! {
        _ = connection.as_mut() => true,
        _ = over.changed() => false,
    };
    if !finished {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(DRAIN, connection).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_with_those_that_one_host_may_have() {
        let of = |text: &str| neighbours(text.parse().expect("an address")).map(|one| one.to_string());
        for loopback in ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(of(loopback), None, "{loopback}");
        }
        assert_eq!(of("192.0.2.7").as_deref(), Some("192.0.2.7"));
        assert_eq!(of("::ffff:192.0.2.7").as_deref(), Some("192.0.2.7"));
        assert_eq!(of("2001:db8:1:2:3:4:5:6").as_deref(), Some("2001:db8:1:2::"));
        assert_eq!(of("2001:db8:1:2:ffff::9").as_deref(), Some("2001:db8:1:2::"));
        assert!(Limits::default().per_address < Limits::default().clients);
    }
}
