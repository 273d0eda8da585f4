//! An exchange over sockets: five venues' protocols over TLS WebSocket and REST, with faults.
//!
//! It exists to prove a live feed handler against: it keeps the full book of every instrument, so that what a client
//! has rebuilt can be compared with what it should have; it checks what clients send as the venue would, and it breaks
//! on request in every way a venue and a network are known to break.
//!
//! # Parts
//! * [`Exchange`] starts and stops everything; [`ExchangeConfig`] says what. The admin interface offers the same over
//!   plain HTTP.
//! * `market` moves books, from the simulated order flow or from captures, and pushes channels.
//! * `encode`, `session` and `rest` are the protocols: what is pushed, what is said, what is answered.
//! * `net` is the wire; `fault` is what goes wrong on it; [`FaultRecord`] and [`Violation`] say what did.
//!
//! # Order entry
//! There is none. A venue's order methods would be further arms in `session` and `rest`, next to the login they need;
//! resting orders would be a source of events beside the three in `market`, and `account` the place of their fills.
//!
//! # What is simplified
//! Raw channels and trades are pushed once every 5 ms. Statistics of a day are those since the start. Every client
//! comes from one address. Only Bitget's private channels push anything; elsewhere private subscriptions are
//! acknowledged and stay empty. Rates a second and windows of REST weights are not scaled with the time limits.

mod account;
mod admin;
mod clock;
mod config;
mod encode;
mod fault;
mod hub;
mod market;
mod net;
mod rate;
mod record;
mod rest;
mod session;
mod sign;
mod tls;
mod venue;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};

pub use config::{ExchangeConfig, InstrumentConfig, Keys, VenueConfig};
pub use fault::{BadCertificate, Chaos, Fault, FaultKind};
pub use hub::{ClientView, Stats};
pub use record::{FaultRecord, Violation};
pub use venue::{Category, Limits, Venue};

use hub::{Hub, lock};
use market::Instrument;
use tls::Certificates;

/// Name of the authority's certificate in the configured directory.
pub const CA_FILE: &str = "ca.pem";

/// What can go wrong at start, or with a fault that is asked for.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// A setting is impossible.
    #[error("{0}")]
    Config(String),
    /// A file cannot be read or written.
    #[error("{action} {path}: {source}")]
    File {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The server cannot start.
    #[error("{what}: {source}")]
    Start {
        /// What was attempted.
        what: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// Certificates cannot be made.
    #[error("certificates: {0}")]
    Tls(String),
}

/// Where a venue is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VenueAddress {
    /// Beginning of its WebSocket URLs: `wss://127.0.0.1:4431`.
    pub wss: String,
    /// Beginning of its REST URLs: `https://127.0.0.1:4431`.
    pub https: String,
    /// Its WebSocket paths.
    pub paths: Vec<String>,
}

/// Where everything is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The admin interface, plain HTTP.
    pub admin: String,
    /// The authority's certificate, if a directory was configured.
    pub ca_file: Option<PathBuf>,
    /// The venues.
    pub venues: BTreeMap<Venue, VenueAddress>,
}

/// A book at one moment, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookState {
    /// Venue.
    pub venue: Venue,
    /// Symbol.
    pub symbol: String,
    /// Category, where symbols repeat.
    pub category: Category,
    /// Id of the last change.
    pub id: i64,
    /// Last id pushed on each channel somebody listens to.
    pub channels: BTreeMap<String, i64>,
    /// Bids: price and quantity, best first.
    pub bids: Vec<[String; 2]>,
    /// Asks: price and quantity, best first.
    pub asks: Vec<[String; 2]>,
}

impl BookState {
    fn of(instrument: &Instrument) -> Self {
        let view = instrument.view();
        let text = |levels: &[crate::market::book::Level]| {
            levels.iter().map(|level| [instrument.price(level.tick), instrument.quantity(level.lots)]).collect()
        };
        Self {
            venue: instrument.venue(),
            symbol: instrument.symbol.to_string(),
            category: instrument.listing.config.category,
            id: view.id,
            channels: instrument.pushed().map(|(name, id)| (name.to_owned(), id)).collect(),
            bids: text(&view.bids),
            asks: text(&view.asks),
        }
    }
}

/// A running exchange. It stops when it is dropped.
///
/// ```
/// use tidegate_simex::exchange::{Exchange, ExchangeConfig, Venue};
///
/// let exchange = Exchange::start(ExchangeConfig::default())?;
/// let okx = &exchange.addresses().venues[&Venue::Okx];
/// assert!(okx.wss.starts_with("wss://127.0.0.1:"));
/// assert!(exchange.ca_pem().starts_with("-----BEGIN CERTIFICATE-----"));
/// let book = exchange.book(Venue::Okx, "BTC-USDT-SWAP", None).expect("a built-in instrument");
/// assert!(book.bids.len() > 100);
/// exchange.stop();
/// # Ok::<(), tidegate_simex::exchange::ExchangeError>(())
/// ```
pub struct Exchange {
    hub: Arc<Hub>,
    ca_pem: String,
    addresses: Addresses,
    runtime: Option<Runtime>,
}

impl Exchange {
    /// Makes certificates, opens the listeners and lets the markets go.
    ///
    /// # Errors
    /// The configuration is impossible, a port is taken, or a file cannot be written or read.
    pub fn start(config: ExchangeConfig) -> Result<Self, ExchangeError> {
        let hub = Arc::new(Hub::new(config)?);
        let certificates = Arc::new(Certificates::make()?);
        let ca_file = write_ca(hub.config.directory.as_ref(), &certificates.ca_pem)?;
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(hub.config.workers).thread_name("simex").enable_all().build();
        let runtime = runtime.map_err(|source| ExchangeError::Start { what: "threads", source })?;
        let addresses = Addresses { admin: String::new(), ca_file, venues: BTreeMap::new() };
        // From here on a failure drops the exchange, which ends the runtime without waiting for it.
        let mut exchange = Self { hub, ca_pem: certificates.ca_pem.clone(), addresses, runtime: Some(runtime) };
        exchange.open(&certificates)?;
        Ok(exchange)
    }

    /// Opens the listeners and lets the markets go. Nothing waits for the runtime: the caller may be inside another.
    fn open(&mut self, certificates: &Arc<Certificates>) -> Result<(), ExchangeError> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let _inside = runtime.enter();
        for venue in self.hub.config.venues() {
            let port = self.hub.config.venue.get(&venue).map_or(0, |settings| settings.port);
            let (listener, at) = bind(port)?;
            let acceptor = certificates.acceptor(&self.hub, venue)?;
            runtime.spawn(net::listen(Arc::clone(&self.hub), venue, listener, acceptor));
            let paths = paths(venue).iter().map(|path| (*path).to_owned()).collect();
            let address = VenueAddress { wss: format!("wss://{at}"), https: format!("https://{at}"), paths };
            self.addresses.venues.insert(venue, address);
        }
        let (listener, at) = bind(self.hub.config.admin_port)?;
        self.addresses.admin = format!("http://{at}");
        runtime.spawn(admin::serve(Arc::clone(&self.hub), self.addresses.clone(), listener));
        runtime.spawn(Arc::clone(&self.hub).run());
        Ok(())
    }

    /// Where everything is.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Certificate of the authority that signed the listeners' ones, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Plans a fault, its time counted from now; the number is that of its records.
    ///
    /// # Errors
    /// The fault is impossible.
    pub fn inject(&self, fault: Fault) -> Result<u64, ExchangeError> {
        self.hub.inject(fault)
    }

    /// Faults that have happened, in order.
    pub fn faults(&self) -> Vec<FaultRecord> {
        self.hub.faults()
    }

    /// What clients did wrong, in order.
    pub fn violations(&self) -> Vec<Violation> {
        self.hub.violations()
    }

    /// Every book.
    pub fn books(&self) -> Vec<BookState> {
        lock(&self.hub.core).instruments.iter().map(BookState::of).collect()
    }

    /// One book; the category tells symbols apart that a venue uses twice.
    pub fn book(&self, venue: Venue, symbol: &str, category: Option<Category>) -> Option<BookState> {
        let core = lock(&self.hub.core);
        core.find(venue, symbol, category).and_then(|index| core.instruments.get(index)).map(BookState::of)
    }

    /// Stops the order flow and pushes everything pending to everybody: books can be compared at rest.
    pub fn freeze(&self) {
        self.hub.freeze();
    }

    /// Lets the order flow go on.
    pub fn thaw(&self) {
        self.hub.thaw();
    }

    /// Connections that are open.
    pub fn clients(&self) -> Vec<ClientView> {
        self.hub.clients()
    }

    /// Numbers of the whole exchange.
    pub fn stats(&self) -> Stats {
        self.hub.stats()
    }

    /// Ends every connection and thread.
    pub fn stop(mut self) {
        // Inside another runtime nothing may wait, and threads end in their own time.
        if Handle::try_current().is_err()
            && let Some(runtime) = self.runtime.take()
        {
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Listens on the loopback; the runtime must have been entered.
fn bind(port: u16) -> Result<(TcpListener, SocketAddr), ExchangeError> {
    let failed = |source| ExchangeError::Start { what: "listener", source };
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let listener = TcpListener::from_std(listener).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn write_ca(directory: Option<&PathBuf>, pem: &str) -> Result<Option<PathBuf>, ExchangeError> {
    let Some(directory) = directory else { return Ok(None) };
    let path = directory.join(CA_FILE);
    let written = std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&path, pem));
    written.map_err(|source| ExchangeError::File { action: "write", path: path.clone(), source })?;
    Ok(Some(path))
}

/// The WebSocket paths of a venue.
fn paths(venue: Venue) -> &'static [&'static str] {
    match venue {
        Venue::BinanceSpot => &["/ws", "/stream"],
        Venue::BinanceUsdm | Venue::BinanceCoinm => {
            &["/public/ws", "/public/stream", "/market/ws", "/market/stream", "/private", "/ws", "/stream"]
        }
        Venue::Bybit => &["/v5/public/spot", "/v5/public/linear", "/v5/public/inverse", "/v5/private"],
        Venue::Okx => &["/ws/v5/public", "/ws/v5/private", "/ws/v5/business"],
        Venue::Bitget => &["/v2/ws/public", "/v2/ws/private"],
        Venue::Deribit => &["/ws/api/v2"],
    }
}
