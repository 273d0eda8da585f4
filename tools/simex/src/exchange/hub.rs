//! What everything else meets at: markets, clients, faults, records and limits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use strum::VariantArray;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::ExchangeError;
use super::account::Account;
use super::clock::Clock;
use super::config::ExchangeConfig;
use super::fault::{Board, Fault, FaultKind, Passing, Planned, Reach};
use super::market::{Core, Frame};
use super::net::{Command, Out, Outbox};
use super::rate::{Verdict, Weight, Window};
use super::record::{FaultRecord, Records, Violation};
use super::venue::{Limits, Venue};

/// The markets move this often.
const BEAT: Duration = Duration::from_millis(5);
/// A fault of connections waits this long for one, ns.
const PATIENCE_NS: i64 = 10_000_000_000;
/// A REST ban of Binance, s.
const BAN: f64 = 120.0;

/// Locks; a panic elsewhere does not stop the others.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection as the exchange sees it.
pub(crate) struct Client {
    venue: Venue,
    path: String,
    since_ns: i64,
    logged_in: bool,
    streams: BTreeMap<String, String>,
    outbox: Outbox,
    commands: mpsc::UnboundedSender<Command>,
}

impl Client {
    pub(crate) fn new(
        venue: Venue,
        path: String,
        outbox: Outbox,
        commands: mpsc::UnboundedSender<Command>,
        since_ns: i64,
    ) -> Self {
        Self { venue, path, since_ns, logged_in: false, streams: BTreeMap::new(), outbox, commands }
    }
}

/// A connection in `/clients`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClientView {
    /// Number, as in faults and violations.
    pub connection: u64,
    /// Venue.
    pub venue: Venue,
    /// Path of the handshake.
    pub path: String,
    /// Wall time of the handshake, ns since the epoch.
    pub since_ns: i64,
    /// Whether it has logged in.
    pub logged_in: bool,
    /// Names of its subscriptions.
    pub streams: Vec<String>,
    /// Messages of channels sent to it.
    pub sent: u64,
}

/// Numbers in `/stats`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Connections since the start.
    pub connections: u64,
    /// Connections now.
    pub open: usize,
    /// Messages of channels sent on connections that are open.
    pub sent: u64,
    /// REST requests since the start.
    pub requests: u64,
    /// Faults that have happened.
    pub faults: usize,
    /// Violations.
    pub violations: usize,
    /// Whether the order flow stands still.
    pub frozen: bool,
}

#[derive(Default)]
struct Gate {
    connects: Window,
    weight: Weight,
}

/// The exchange's shared state.
pub(crate) struct Hub {
    pub(crate) config: ExchangeConfig,
    pub(crate) clock: Arc<Clock>,
    pub(crate) core: Mutex<Core>,
    pub(crate) account: Mutex<Account>,
    board: Mutex<Board>,
    /// Faults that wait for frames: spares the writers a lock.
    armed: AtomicUsize,
    records: Mutex<Records>,
    clients: Mutex<BTreeMap<u64, Client>>,
    last_connection: AtomicU64,
    requests: AtomicU64,
    limits: Vec<Limits>,
    gates: Vec<Mutex<Gate>>,
    frozen: std::sync::atomic::AtomicBool,
}

impl Hub {
    pub(crate) fn new(config: ExchangeConfig) -> Result<Self, ExchangeError> {
        config.validate()?;
        let clock = Arc::new(Clock::new(config.clock_offset_ms, config.time_scale));
        let core = Core::new(&config, Arc::clone(&clock))?;
        let limits = Venue::VARIANTS.iter().map(|venue| {
            config.venue.get(venue).map_or(Limits::of(*venue), |settings| settings.limits.resolve(*venue))
        });
        let limits = limits.collect();
        let mut board = Board::default();
        let now_ns = clock.now_ns();
        for fault in &config.fault {
            board.plan(now_ns + fault.at.as_nanos() as i64, fault.clone());
        }
        if let Some(chaos) = config.chaos.clone() {
            board.start_chaos(chaos, now_ns);
        }
        Ok(Self {
            clock,
            core: Mutex::new(core),
            account: Mutex::default(),
            board: Mutex::new(board),
            armed: AtomicUsize::new(0),
            records: Mutex::default(),
            clients: Mutex::default(),
            last_connection: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            limits,
            gates: Venue::VARIANTS.iter().map(|_| Mutex::default()).collect(),
            frozen: false.into(),
            config,
        })
    }

    pub(crate) fn limits(&self, venue: Venue) -> Limits {
        self.limits[venue.index()]
    }

    /// Moves the markets and lets faults happen, until the runtime ends.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let venues = self.config.venues();
        loop {
            beats.tick().await;
            lock(&self.core).advance();
            let now_ns = self.clock.now_ns();
            let due = lock(&self.board).due(now_ns, &venues);
            for planned in due {
                self.begin(planned, now_ns);
            }
        }
    }

    /// Plans a fault, its time counted from now.
    pub(crate) fn inject(&self, fault: Fault) -> Result<u64, ExchangeError> {
        fault.validate()?;
        let now_ns = self.clock.now_ns();
        if !fault.at.is_zero() {
            return Ok(lock(&self.board).plan(now_ns + fault.at.as_nanos() as i64, fault));
        }
        let (id, due) = {
            let mut board = lock(&self.board);
            let id = board.plan(now_ns, fault);
            (id, board.due(now_ns, &self.config.venues()))
        };
        for planned in due {
            self.begin(planned, now_ns);
        }
        Ok(id)
    }

    fn begin(&self, planned: Planned, now_ns: i64) {
        match planned.fault.kind.reach() {
            Reach::Frame => {
                let mut board = lock(&self.board);
                board.arm(planned);
                self.armed.store(board.armed(), Ordering::Relaxed);
            }
            Reach::Connection => {
                if !self.hit_connections(&planned) && now_ns - planned.due_ns < PATIENCE_NS {
                    lock(&self.board).wait(planned);
                }
            }
            Reach::Venue => self.begin_reign(planned, now_ns),
        }
    }

    fn begin_reign(&self, planned: Planned, now_ns: i64) {
        let fault = &planned.fault;
        let until_ns = now_ns + fault.lasting.as_nanos() as i64;
        let served = self.config.venues();
        let venues: Vec<Venue> =
            served.into_iter().filter(|venue| fault.venue.is_none_or(|one| one == *venue)).collect();
        for venue in venues {
            match fault.kind {
                FaultKind::ClockJump => {
                    self.clock.jump(venue, fault.by);
                    self.happened(&planned, venue, None, None, &format!("{} ms", fault.by));
                }
                FaultKind::Flood => {
                    lock(&self.core).start_flood(venue, fault.factor, until_ns);
                    self.happened(&planned, venue, None, None, &format!("{} times the rate", fault.factor));
                }
                FaultKind::StaleSnapshot => {
                    for instrument in &mut lock(&self.core).instruments {
                        let ours = fault.symbol.as_ref().is_none_or(|symbol| **symbol == *instrument.symbol);
                        if instrument.venue() == venue && ours {
                            instrument.make_stale(until_ns);
                        }
                    }
                }
                _ => {}
            }
        }
        lock(&self.board).reign(planned, until_ns);
    }

    fn hit_connections(&self, planned: &Planned) -> bool {
        let fault = &planned.fault;
        let mut hit = false;
        for (connection, client) in lock(&self.clients).iter() {
            let matches = fault.venue.is_none_or(|venue| venue == client.venue)
                && fault.connection.is_none_or(|wanted| wanted == *connection)
                && fault.symbol.as_ref().is_none_or(|symbol| client.streams.values().any(|ours| ours == symbol));
            if !matches || (fault.kind == FaultKind::ExpiredLogin && !client.logged_in) {
                continue;
            }
            hit = true;
            match fault.kind {
                // A connection that ends at this moment needs no fault any more.
                FaultKind::ExpiredLogin => drop(client.commands.send(Command::ExpireLogin(planned.clone()))),
                FaultKind::Cut24h => drop(client.commands.send(Command::Cut(planned.clone()))),
                _ => client.outbox.send(Out::Fault(planned.clone())),
            }
        }
        hit
    }

    /// The fault that a frame falls to.
    pub(crate) fn strike(&self, frame: &Frame, connection: u64) -> Option<Planned> {
        if self.armed.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut board = lock(&self.board);
        let passing = Passing {
            venue: frame.venue,
            symbol: &frame.symbol,
            channel: frame.channel,
            name: &frame.name,
            connection,
        };
        let planned = board.strike(&passing);
        self.armed.store(board.armed(), Ordering::Relaxed);
        planned
    }

    /// The fault of a kind that reigns over a venue now.
    pub(crate) fn reigning(&self, kind: FaultKind, venue: Venue) -> Option<Planned> {
        lock(&self.board).reigning(kind, venue, self.clock.now_ns())
    }

    /// Records a fault as it happens.
    pub(crate) fn happened(
        &self,
        planned: &Planned,
        venue: Venue,
        symbol: Option<&str>,
        connection: Option<u64>,
        detail: &str,
    ) {
        lock(&self.records).fault(FaultRecord {
            id: planned.id,
            at_ns: self.clock.now_ns(),
            venue,
            symbol: symbol.map(str::to_owned),
            connection,
            kind: planned.fault.kind,
            detail: detail.to_owned(),
        });
    }

    /// Records what a client did wrong.
    pub(crate) fn violation(&self, venue: Venue, connection: u64, rule: &str, detail: &str) {
        let mut detail = detail.to_owned();
        // What clients send may be long.
        if let Some((end, _)) = detail.char_indices().nth(300) {
            detail.truncate(end);
        }
        let at_ns = self.clock.now_ns();
        lock(&self.records).violation(Violation { at_ns, venue, connection, rule: rule.to_owned(), detail });
    }

    pub(crate) fn faults(&self) -> Vec<FaultRecord> {
        lock(&self.records).faults.clone()
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        lock(&self.records).violations.clone()
    }

    /// Whether one more connection is within the venue's limits.
    pub(crate) fn admit(&self, venue: Venue) -> Result<(), &'static str> {
        let limits = self.limits(venue);
        let open = lock(&self.clients).values().filter(|client| client.venue == venue).count();
        if open >= limits.connections as usize {
            return Err("too_many_connections");
        }
        let span_ns = i64::from(limits.connect_window) * 1_000_000_000;
        let fine = lock(&self.gates[venue.index()]).connects.hit(self.clock.now_ns(), span_ns, limits.connects);
        if fine { Ok(()) } else { Err("connection_rate") }
    }

    /// Counts a REST request.
    pub(crate) fn weigh(&self, venue: Venue, weight: u32) -> Verdict {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let limits = self.limits(venue);
        let span_ns = i64::from(limits.rest_window) * 1_000_000_000;
        let ban_ns = if venue.is_binance() { self.clock.limit_ns(BAN) } else { 0 };
        let mut gate = lock(&self.gates[venue.index()]);
        gate.weight.request(self.clock.now_ns(), span_ns, limits.rest_weight, weight, ban_ns)
    }

    /// A new connection; the number is its own for good.
    pub(crate) fn enter(&self, client: Client) -> u64 {
        let connection = self.last_connection.fetch_add(1, Ordering::Relaxed) + 1;
        lock(&self.clients).insert(connection, client);
        connection
    }

    /// A connection is gone.
    pub(crate) fn exit(&self, connection: u64) {
        lock(&self.core).leave(connection);
        lock(&self.clients).remove(&connection);
    }

    /// A connection has logged in or out.
    pub(crate) fn set_login(&self, connection: u64, logged_in: bool) {
        if let Some(client) = lock(&self.clients).get_mut(&connection) {
            client.logged_in = logged_in;
        }
    }

    /// Notes a subscription by its name and symbol, or its end.
    pub(crate) fn note_stream(&self, connection: u64, name: &str, symbol: Option<&str>) {
        if let Some(client) = lock(&self.clients).get_mut(&connection) {
            match symbol {
                Some(symbol) => drop(client.streams.insert(name.to_owned(), symbol.to_owned())),
                None => drop(client.streams.remove(name)),
            }
        }
    }

    /// Stops the order flow; everybody gets what is pending.
    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::Relaxed);
        lock(&self.core).freeze();
        for client in lock(&self.clients).values() {
            client.outbox.send(Out::Flush);
        }
    }

    pub(crate) fn thaw(&self) {
        lock(&self.core).thaw();
        self.frozen.store(false, Ordering::Relaxed);
    }

    pub(crate) fn clients(&self) -> Vec<ClientView> {
        let view = |(connection, client): (&u64, &Client)| ClientView {
            connection: *connection,
            venue: client.venue,
            path: client.path.clone(),
            since_ns: client.since_ns,
            logged_in: client.logged_in,
            streams: client.streams.keys().cloned().collect::<BTreeSet<_>>().into_iter().collect(),
            sent: client.outbox.shared().sent.load(Ordering::Relaxed),
        };
        lock(&self.clients).iter().map(view).collect()
    }

    pub(crate) fn stats(&self) -> Stats {
        let clients = self.clients();
        let records = lock(&self.records);
        Stats {
            connections: self.last_connection.load(Ordering::Relaxed),
            open: clients.len(),
            sent: clients.iter().map(|client| client.sent).sum(),
            requests: self.requests.load(Ordering::Relaxed),
            faults: records.faults.len(),
            violations: records.violations.len(),
            frozen: self.frozen.load(Ordering::Relaxed),
        }
    }
}
