//! The cold side: a thread that makes connections, runs their state machines and answers what books need.

mod books;
mod told;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use tidegate_wire::clock::{Clock, realtime_ns};
use tidegate_wire::{InstrumentId, Registry, Venue};
use zeroize::Zeroize;

use super::board::{Board, SLOTS};
use super::budget::Budget;
use super::clock::SkewMeter;
use super::dialect::{AccountChannel, Channel};
use super::hub::{Adopted, HubEnds, Order, Report, SLIP};
use super::link::{Act, Link};
use super::plan::{LinkPlan, MarketPlan, SessionSettings, links};
use super::rest_desk::{Done, Job, RestDesk};
use super::status::{AccountStatus, SessionEvent, SessionStatus};
use crate::transport::tls::client_config;
use crate::transport::{Address, Connection, DialError, DialOptions, Limits, dial};
use told::words;

/// What comes to the desk from its own threads and from operators.
enum Cold {
    Dialled(u64, Result<Box<Connection>, DialError>),
    Answered(usize, Done),
    /// Clear the error state of a market's connections, or of all.
    Clear(Option<Venue>),
    /// A book is corrupt although its sequence is whole.
    Corrupt(InstrumentId),
}

/// Sends commands to the desk.
#[derive(Clone, Debug)]
pub struct DeskCommands(Sender<Cold>);

impl DeskCommands {
    /// Lets connections in the error state try again: those of one market, or all.
    pub fn clear(&self, venue: Option<Venue>) {
        // A desk that has ended has nothing to clear.
        let _ = self.0.send(Cold::Clear(venue));
    }

    /// Starts a book anew that was seen to be corrupt although its sequence is whole: it waits for a snapshot, and one
    /// is asked for.
    pub fn realign(&self, instrument: InstrumentId) {
        let _ = self.0.send(Cold::Corrupt(instrument));
    }
}

/// A market at work.
struct Market {
    plan: MarketPlan,
    dial: DialOptions,
    rest: RestDesk,
    skew: SkewMeter,
    clock_at: Duration,
    /// How often its clock was asked.
    asked: u32,
    clock_told: bool,
    /// The offset that was told last, ns.
    told_ns: i64,
    /// Whether a book's stream has begun without a snapshot.
    bare: bool,
}

/// A connection at work.
struct Entry {
    id: u64,
    plan: LinkPlan,
    link: Link,
    /// Slot and source while there is a connection.
    slot: Option<(usize, u16)>,
    dialling: bool,
    /// Why we closed it.
    closing: Option<&'static str>,
    connections: u32,
    /// The connection that this one shall replace.
    replaces: Option<u64>,
    /// Topics whose subscription of this time began without a snapshot.
    bare: BTreeMap<usize, Duration>,
}

/// A snapshot's standing.
#[derive(Clone, Copy, Default)]
struct Asked {
    under_way: bool,
    not_before: Duration,
    pause: Duration,
}

/// The session thread's state.
pub struct Desk {
    markets: Vec<Market>,
    entries: Vec<Entry>,
    settings: SessionSettings,
    orders: Sender<Order>,
    reports: Receiver<Report>,
    slips: Sender<Vec<u8>>,
    inbox: Receiver<Cold>,
    outbox: Sender<Cold>,
    board: Arc<Board>,
    clock: Clock,
    start: Instant,
    free: Vec<usize>,
    next_source: u16,
    next_id: u64,
    snapshots: BTreeMap<InstrumentId, Asked>,
    /// Names of instruments by their numbers.
    symbols: Vec<String>,
    /// What may be dialled, by base URL.
    connects: BTreeMap<String, Budget>,
    /// When books that bring nothing may be subscribed anew, and the pause before the time after.
    idle: BTreeMap<InstrumentId, (Duration, Duration)>,
    accounts: BTreeMap<(Venue, AccountChannel), (AccountStatus, Duration, Duration)>,
    status: Arc<Mutex<SessionStatus>>,
    events: BTreeMap<&'static str, u64>,
    tell: Box<dyn FnMut(SessionEvent) + Send>,
    status_at: Duration,
}

/// A running desk.
#[derive(Debug)]
pub struct DeskHandle {
    thread: std::thread::JoinHandle<()>,
    stop: Arc<AtomicBool>,
    /// Where everything stands; renewed ten times a second.
    pub status: Arc<Mutex<SessionStatus>>,
    /// For operators.
    pub commands: DeskCommands,
}

impl DeskHandle {
    /// Ends the thread and gives the last status.
    pub fn finish(self) -> SessionStatus {
        self.stop.store(true, Ordering::Release);
        // A panic there is a bug; the hot side has gone on without it.
        if self.thread.join().is_err() {
            return SessionStatus::default();
        }
        self.status.lock().map(|status| status.clone()).unwrap_or_default()
    }
}

/// Orders and reports that may wait.
const MAIL: usize = 4096;
/// Buffers for texts.
const SLIPS: usize = 512;
/// A venue's clock is asked so often soon after the beginning.
const CLOCK_BEGINS: u32 = 3;
const CLOCK_SOON: Duration = Duration::from_secs(1);
/// How often everything is looked at.
const TICK: Duration = Duration::from_millis(5);

/// Starts the session thread for these markets. `tell` gets every event. The hub's ends go to the loop.
///
/// # Errors
/// What is wrong with a market: a URL, a certificate file.
pub fn start(
    plans: Vec<MarketPlan>,
    settings: SessionSettings,
    registry: &Registry,
    clock: Clock,
    tell: impl FnMut(SessionEvent) + Send + 'static,
) -> Result<(DeskHandle, HubEnds, Arc<Board>), String> {
    let (orders, hub_orders) = bounded(MAIL);
    let (hub_reports, reports) = bounded(MAIL);
    let (slips, hub_slips) = bounded(SLIPS);
    for _ in 0..SLIPS {
        let _ = slips.try_send(Vec::with_capacity(SLIP));
    }
    let (outbox, inbox) = unbounded();
    let board = Arc::new(Board::new(registry.len(), clock.ticks()));
    let link_plans = links(&plans, registry);
    let markets = plans.into_iter().enumerate();
    let markets = markets.map(|(index, plan)| market(index, plan, &settings, &outbox)).collect::<Result<_, _>>()?;
    let status = Arc::new(Mutex::new(SessionStatus::default()));
    let commands = DeskCommands(outbox.clone());
    let mut desk = Desk {
        markets,
        entries: Vec::new(),
        settings,
        orders,
        reports,
        slips,
        inbox,
        outbox,
        board: board.clone(),
        clock,
        start: Instant::now(),
        free: (0..SLOTS).rev().collect(),
        next_source: 0,
        next_id: 0,
        snapshots: BTreeMap::new(),
        symbols: registry.iter().map(|(_, instrument)| instrument.symbol.to_string()).collect(),
        connects: BTreeMap::new(),
        idle: BTreeMap::new(),
        accounts: BTreeMap::new(),
        status: status.clone(),
        events: BTreeMap::new(),
        tell: Box::new(tell),
        status_at: Duration::ZERO,
    };
    for plan in link_plans {
        desk.add(plan, None);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let thread = std::thread::Builder::new()
        .name("tide-session".into())
        .spawn(move || desk.run(&stopped))
        .map_err(|error| format!("a thread cannot be started: {error}"))?;
    let ends = HubEnds { orders: hub_orders, reports: hub_reports, slips: hub_slips };
    Ok((DeskHandle { thread, stop, status, commands }, ends, board))
}

fn market(index: usize, plan: MarketPlan, settings: &SessionSettings, outbox: &Sender<Cold>) -> Result<Market, String> {
    let wrong = |reason: String| format!("{}: {reason}", plan.venue);
    let _: Address = plan.stream.parse().map_err(wrong)?;
    let dial = DialOptions {
        tls: client_config(plan.authorities.as_deref()).map_err(wrong)?,
        timeout: settings.patience,
        limits: Limits { message: settings.message, ..Limits::default() },
        busy_poll_us: settings.busy_poll_us,
    };
    let outbox = outbox.clone();
    let rest = RestDesk::start(&plan, settings.patience, move |done| outbox.send(Cold::Answered(index, done)).is_ok());
    let rest = rest.map_err(wrong)?;
    let (skew, clock_at) = (SkewMeter::default(), Duration::ZERO);
    Ok(Market { plan, dial, rest, skew, clock_at, asked: 0, clock_told: false, told_ns: 0, bare: false })
}

impl Desk {
    fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            match self.inbox.recv_timeout(TICK) {
                Ok(cold) => self.cold(cold),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Ok(report) = self.reports.try_recv() {
                self.report(report);
            }
            self.tick();
        }
        self.renew_status();
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// A tick count as time since the start.
    fn time_of(&self, ticks: u64) -> Duration {
        let ago = Duration::from_nanos(self.clock.between(ticks, self.clock.ticks()));
        self.now().saturating_sub(ago)
    }

    fn add(&mut self, plan: LinkPlan, replaces: Option<u64>) {
        self.next_id += 1;
        let market = &self.markets[plan.market].plan;
        let settings = self.settings.link(market.heartbeat, market.limits);
        let seed = self.next_id.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(std::process::id());
        let link = Link::new(market.dialect, settings, plan.topics.clone(), seed);
        let (id, closing) = (self.next_id, None);
        let (slot, bare) = (None, BTreeMap::new());
        self.entries.push(Entry { id, plan, link, slot, dialling: false, closing, connections: 0, replaces, bare });
    }

    fn event(&mut self, index: usize, kind: &'static str, detail: String) {
        let entry = &self.entries[index];
        let venue = self.markets[entry.plan.market].plan.venue;
        let source = entry.slot.map_or(String::new(), |(_, source)| format!("#{source}"));
        let connection = format!("{}{source}", name(&entry.plan));
        self.emit(SessionEvent { at_ns: realtime_ns(), venue, connection, kind, detail });
    }

    fn emit(&mut self, event: SessionEvent) {
        *self.events.entry(event.kind).or_default() += 1;
        (self.tell)(event);
    }

    fn market_event(&mut self, market: usize, kind: &'static str, detail: String) {
        let venue = self.markets[market].plan.venue;
        self.emit(SessionEvent { at_ns: realtime_ns(), venue, connection: String::new(), kind, detail });
    }

    fn cold(&mut self, cold: Cold) {
        match cold {
            Cold::Dialled(id, result) => self.dialled(id, result),
            Cold::Answered(market, done) => self.answered(market, done),
            Cold::Corrupt(instrument) => _ = self.orders.send(Order::Resync(instrument)),
            Cold::Clear(venue) => {
                let now = self.now();
                for entry in &mut self.entries {
                    if venue.is_none_or(|venue| self.markets[entry.plan.market].plan.venue == venue) {
                        entry.link.clear(now);
                    }
                }
            }
        }
    }

    /// Buffers for texts go round; the others are freed here, where it costs nobody anything.
    fn give_back(&self, mut buffer: Vec<u8>) {
        // It may be a login that was sent.
        if buffer.capacity() != SLIP {
            buffer.zeroize();
        } else {
            let _ = self.slips.try_send(buffer);
        }
    }

    fn find(&self, slot: usize, source: u16) -> Option<usize> {
        self.entries.iter().position(|entry| entry.slot == Some((slot, source)))
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Spent(buffer) => self.give_back(buffer),
            Report::Text(slot, source, text) => {
                if let Some(index) = self.find(slot, source) {
                    let (now, entry) = (self.now(), &mut self.entries[index]);
                    let market = &self.markets[entry.plan.market];
                    let login = || login(market);
                    entry.link.text(now, &text, login);
                    self.act(index);
                }
                self.give_back(text);
            }
            Report::Ended(slot, source, ended, connection) => {
                drop(connection);
                self.free.push(slot);
                let Some(index) = self.find(slot, source) else { return };
                let now = self.now();
                let reason = self.entries[index].closing.take().map_or_else(|| ended.to_string(), str::to_owned);
                self.entries[index].slot = None;
                self.entries[index].link.lost(now, reason, None);
                self.act(index);
            }
        }
    }

    fn dialled(&mut self, id: u64, result: Result<Box<Connection>, DialError>) {
        let Some(index) = self.entries.iter().position(|entry| entry.id == id) else { return };
        let now = self.now();
        self.entries[index].dialling = false;
        match result {
            Err(error) => {
                let market = &self.markets[self.entries[index].plan.market].plan;
                let penalty = match &error {
                    DialError::Refused { status, retry_after } => {
                        retry_after.map(Duration::from_secs).or(market.dialect.penalty(*status))
                    }
                    _ => None,
                };
                self.entries[index].link.lost(now, error.to_string(), penalty);
            }
            Ok(connection) => self.adopt(index, connection),
        }
        self.act(index);
    }

    fn adopt(&mut self, index: usize, connection: Box<Connection>) {
        let now = self.now();
        let Some(slot) = self.free.pop() else {
            self.entries[index].link.lost(now, "too many connections".into(), None);
            return;
        };
        // The last number is that of REST frames.
        let source = self.next_source;
        self.next_source = (self.next_source + 1) % super::hub::REST_SOURCE;
        let entry = &mut self.entries[index];
        let market = &self.markets[entry.plan.market];
        let plan = &market.plan;
        entry.slot = Some((slot, source));
        entry.connections += 1;
        let private = entry.link.is_private();
        let books = entry.plan.topics.iter().filter(|topic| topic.channel == Some(Channel::Book));
        let books = books.map(|topic| topic.instrument).collect();
        let adopted = Adopted { connection, venue: plan.venue, source, private, books };
        let login = if private { login(market) } else { None };
        // Before the loop knows of it: what the slot's last connection left would look like silence of this one.
        self.board.begin(slot, self.clock.ticks());
        // A loop that has ended reads nothing any more; the stop flag follows.
        let _ = self.orders.send(Order::Adopt(slot, Box::new(adopted)));
        entry.link.opened(now, login);
    }

    /// Carries out what a link wants.
    fn act(&mut self, index: usize) {
        while let Some(act) = self.entries[index].link.next_act() {
            let slot = self.entries[index].slot.map(|(slot, _)| slot);
            match (act, slot) {
                (Act::Dial, _) => self.dial(index),
                (Act::Send(text), Some(slot)) => _ = self.orders.send(Order::Send(slot, text.into_bytes())),
                (Act::Ping, Some(slot)) => _ = self.orders.send(Order::Ping(slot)),
                (Act::Close(code, reason), Some(slot)) => {
                    self.entries[index].closing = Some(reason);
                    let _ = self.orders.send(Order::Close(slot, code, reason));
                }
                (Act::Send(_) | Act::Ping | Act::Close(..), None) => {}
                (Act::State(state), _) => {
                    let name: &'static str = state.into();
                    self.event(index, "state", name.into());
                }
                (Act::Rotate, _) => {
                    self.event(
                        index,
                        "rotating",
                        "another connection takes over before the venue cuts this one".into(),
                    );
                    let (plan, id) = (self.entries[index].plan.clone(), self.entries[index].id);
                    self.add(plan, Some(id));
                }
                (Act::Account(data), _) => self.account(index, data),
                (Act::Tell(note), _) => {
                    let (kind, detail) = words(note);
                    self.event(index, kind, detail);
                }
            }
        }
    }

    fn dial(&mut self, index: usize) {
        let now = self.now();
        let entry = &mut self.entries[index];
        let market = &mut self.markets[entry.plan.market];
        // Limits are those of an address: markets of one host share them.
        let connects = self.connects.entry(market.plan.stream.clone());
        let wait = connects.or_insert_with(|| Budget::new(market.plan.limits.connects)).reserve(now);
        let base = market.plan.stream.trim_end_matches('/');
        let address = format!("{base}{}", market.plan.dialect.path(entry.plan.route));
        let (options, id, outbox) = (market.dial.clone(), entry.id, self.outbox.clone());
        entry.dialling = true;
        let connect = move || {
            std::thread::sleep(wait);
            let result = address.parse().map_err(|_| DialError::Handshake("the URL")).and_then(|a| dial(&a, &options));
            let _ = outbox.send(Cold::Dialled(id, result.map(Box::new)));
        };
        if let Err(error) = std::thread::Builder::new().name("tide-dial".into()).spawn(connect) {
            entry.dialling = false;
            entry.link.lost(now, format!("a thread cannot be started: {error}"), None);
        }
    }

    fn tick(&mut self) {
        let now = self.now();
        for index in 0..self.entries.len() {
            let heard = self.entries[index].slot.map(|(slot, _)| self.time_of(self.board.heard(slot)));
            let good = self.books_good(index);
            let entry = &mut self.entries[index];
            entry.link.set_books(good);
            entry.link.tick(now, heard);
            self.act(index);
            self.realign(index, now);
        }
        self.replace(now);
        if self.slips.len() < SLIPS / 4 {
            // Those that were lost on the way are made good.
            self.give_back(Vec::with_capacity(SLIP));
        }
        for market in 0..self.markets.len() {
            let Market { clock_at, asked, rest, .. } = &mut self.markets[market];
            if now >= *clock_at {
                // The first answer waits for a connection to be made: the next ones tell better.
                let every = if *asked < CLOCK_BEGINS { CLOCK_SOON } else { self.settings.clock_every };
                (*clock_at, *asked) = (now + every.min(self.settings.clock_every), *asked + 1);
                rest.ask(Job::Time);
            }
        }
        self.report_accounts(now);
        if now >= self.status_at {
            self.status_at = now + Duration::from_millis(100);
            self.renew_status();
        }
    }
}

fn name(plan: &LinkPlan) -> String {
    let route: &'static str = plan.route.into();
    if plan.copy == 0 { route.to_owned() } else { format!("{route}-{}", plan.copy + 1) }
}

/// A login, stamped by the venue's clock as far as it is known: stamps that are half a minute off are refused,
/// whoever's clock is wrong.
fn login(market: &Market) -> Option<String> {
    let ahead_ns = market.skew.skew().map_or(0, |skew| skew.offset_ns);
    let now_ms = realtime_ns().saturating_add(ahead_ns) / 1_000_000;
    market.plan.dialect.login(market.plan.credentials.as_ref()?, now_ms)
}
