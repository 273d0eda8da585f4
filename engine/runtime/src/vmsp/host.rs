//! The writer and the acknowledger.

use std::fs::File;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded, unbounded};
use serde_json::{Value, json};
use tidegate_guard::ledger::{Command, Drift, Ledger, Outcome, State};
use tidegate_record::journal::{Committer, JournalError, Recovered, Settings};
use tidegate_wire::clock::realtime_ns;

use super::clock::LedgerClock;
use super::desk::Desk;
use super::request::{self, Declined, Request};
use super::store::{Store, StoreError};
use super::times::{Measured, Times};
use super::trades::Trades;
use super::{VmspError, VmspPlan};
use crate::audit::Trail;
use crate::audit::key;

/// Requests that may wait; more are told so.
const QUEUE: usize = 4096;
/// Requests taken before timers are looked at again.
const TURN: usize = 256;
/// How often the monitor looks.
const MONITOR: Duration = Duration::from_secs(1);
/// Reservations given back in one record.
const SWEEP: u32 = 1024;
/// How long somebody waits for an answer: a disk that hangs is not waited for for ever.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) type Answer = Result<Value, Declined>;

struct Job {
    request: Request,
    answer: Sender<Answer>,
    asked: Instant,
}

/// An answer that waits for the disk.
struct Ack {
    /// Frames below this must be durable first.
    frame: u64,
    result: Answer,
    answer: Option<Sender<Answer>>,
    /// What the log is told.
    told: Vec<Value>,
    measured: Option<(Measured, Instant)>,
}

/// A way to ask a hosted ledger; clones ask the same one.
#[derive(Clone, Debug)]
pub struct Client {
    jobs: Sender<Job>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.request.fmt(f)
    }
}

impl Client {
    /// Asks, and waits until the answer is durable.
    ///
    /// # Errors
    /// [`Declined`]: nothing has changed, unless the reason says that nobody knows.
    pub fn ask(&self, request: Request) -> Answer {
        let (answer, answered) = bounded(1);
        let job = Job { request, answer, asked: Instant::now() };
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Declined::new("busy", format!("{QUEUE} requests wait already; try again")),
            TrySendError::Disconnected(_) => Declined::new("ended", "the ledger's host has ended"),
        })?;
        let lost = || {
            Declined::new(
                "no-answer",
                "the ledger gives no answer: nobody knows whether it was done; ask again with the same key",
            )
        };
        answered.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(lost()))
    }
}

/// A ledger that is being hosted.
#[derive(Debug)]
pub struct Host {
    client: Option<Client>,
    threads: Vec<JoinHandle<()>>,
    stop: Sender<()>,
}

impl Host {
    /// Opens the ledger and starts its threads.
    ///
    /// # Errors
    /// [`VmspError`].
    pub fn start(plan: &VmspPlan) -> Result<Self, VmspError> {
        Self::start_told(plan, None)
    }

    /// The same, telling an audit log what the ledger does.
    pub(crate) fn start_told(plan: &VmspPlan, trail: Option<Trail>) -> Result<Self, VmspError> {
        let (jobs, requests) = bounded(QUEUE);
        let (stop, stopped) = bounded(1);
        let (acks, waiting) = unbounded();
        let mut writer = Writer::open(plan, acks)?;
        let (committer, times) = (writer.committer.clone(), writer.times.clone());
        writer.begin()?;
        let acknowledge = move || acknowledge(&waiting, &committer, &times, trail.as_ref());
        let spawn = |name: &str| std::thread::Builder::new().name(name.into());
        let acknowledger = spawn("tide-ack").spawn(acknowledge).map_err(VmspError::Thread)?;
        let writing = spawn("tide-ledger").spawn(move || writer.run(&requests, &stopped)).map_err(VmspError::Thread)?;
        Ok(Self { client: Some(Client { jobs }), threads: vec![writing, acknowledger], stop })
    }

    /// A way to ask.
    ///
    /// # Panics
    /// Never: it is there until the host is dropped.
    pub fn client(&self) -> Client {
        match &self.client {
            Some(client) => client.clone(),
            None => unreachable!("taken when dropped"),
        }
    }
}

impl Drop for Host {
    /// Answers what waits and closes the journal.
    fn drop(&mut self) {
        self.client = None;
        let _ = self.stop.try_send(());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Answers when the disk has what the answers tell of.
fn acknowledge(acks: &Receiver<Ack>, committer: &Committer, times: &Times, trail: Option<&Trail>) {
    for Ack { frame, result, answer, told, measured } in acks {
        let result = match committer.wait(frame) {
            Ok(()) => result,
            Err(error) => Err(stopped_by(&error)),
        };
        if let (Ok(_), Some(trail)) = (&result, trail) {
            told.iter().for_each(|told| trail.ledger(told));
        }
        if let (Ok(_), Some((what, asked))) = (&result, measured) {
            times.since(what, asked);
        }
        if let Some(answer) = answer {
            // Whoever asked may have gone.
            let _ = answer.try_send(result);
        }
    }
}

fn stopped_by(error: &JournalError) -> Declined {
    let text = format!(
        "locking has stopped, because the journal cannot be written: {error}; make room and start the host again: \
         what was acknowledged is there"
    );
    Declined::new("journal", text)
}

/// The one thread that changes the ledger.
pub(super) struct Writer {
    pub(super) plan: VmspPlan,
    pub(super) ledger: Ledger,
    pub(super) clock: LedgerClock,
    pub(super) drift: Option<Drift>,
    pub(super) desk: Option<Desk>,
    pub(super) trades: Trades,
    pub(super) times: Times,
    pub(super) running: bool,
    /// Next step of the drift's sequence.
    pub(super) step: u64,
    pub(super) committer: Arc<Committer>,
    pub(super) recovered: Recovered,
    /// What the log is to be told with the next answer.
    told: Vec<Value>,
    acks: Sender<Ack>,
    epoch: Option<super::clock::Epoch>,
    _lock: File,
}

impl Writer {
    fn open(plan: &VmspPlan, acks: Sender<Ack>) -> Result<Self, VmspError> {
        let Store { ledger, journal, recovered, epoch, lock } = Store::open(&plan.directory)?;
        if recovered.torn_bytes > 0 {
            tracing::warn!(torn_bytes = recovered.torn_bytes, "vmsp: recovered after a crash");
        }
        let (clock, epoch) = LedgerClock::resume(epoch, ledger.now_ns());
        let drift = plan.drift.then(|| key::secret(&plan.key)).transpose()?;
        let range = |key: zeroize::Zeroizing<[u8; 32]>| Drift::new(&key, plan.shift, plan.steps);
        let drift = drift.map(range).transpose().map_err(|error| VmspError::Risk(error.to_string()))?;
        let owner = plan.account.owner.as_str();
        let desk = plan.risk.as_ref().map(|risk| Desk::new(risk, owner, plan.scale)).transpose()?;
        let step = if plan.keep_step { ledger.applied() } else { 0 };
        let committer = Committer::start(journal, Settings::default()).map_err(VmspError::Thread)?;
        Ok(Self {
            plan: plan.clone(),
            ledger,
            clock,
            drift,
            desk,
            trades: Trades::default(),
            times: Times::new(),
            running: plan.protection,
            step,
            committer: Arc::new(committer),
            recovered,
            told: Vec::new(),
            acks,
            epoch,
            _lock: lock,
        })
    }

    /// Records what must stand in the journal before anything else: the clock's epoch and the limits.
    fn begin(&mut self) -> Result<(), VmspError> {
        if let Some(epoch) = self.epoch.take() {
            let record = epoch.record(self.ledger.state_hash());
            self.committer.append(bytemuck::bytes_of(&record)).map_err(StoreError::from)?;
        }
        if self.ledger.limits() != self.plan.limits || self.ledger.applied() == 0 {
            let limits = Command::Configure(self.plan.limits);
            self.command(0, &limits).map_err(|declined| VmspError::Risk(declined.reason))?;
        }
        self.committer.wait(self.committer.next()).map_err(StoreError::from)?;
        // What a crash kept from the log is in the journal all the same: this says how far that goes, and the state,
        // which depends on every record before it.
        self.told.push(json!({
            "kind": "opened",
            "records": self.committer.next(),
            "torn_bytes": self.recovered.torn_bytes,
            "state": format!("{:016x}", self.ledger.state_hash()),
        }));
        Ok(())
    }

    fn run(mut self, requests: &Receiver<Job>, stopped: &Receiver<()>) {
        let mut look = Instant::now();
        loop {
            if self.running && Instant::now() >= look {
                look = Instant::now() + MONITOR;
                self.sweep();
            }
            self.trade_timers();
            self.tell();
            match requests.recv_timeout(self.patience(look)) {
                Ok(first) => {
                    let more: Vec<Job> = requests.try_iter().take(TURN).collect();
                    std::iter::once(first).chain(more).for_each(|job| self.answer(job));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if stopped.try_recv().is_ok() {
                requests.try_iter().for_each(|job| self.answer(job));
                return;
            }
        }
    }

    /// How long nothing happens by itself; never so long that the end would be waited for.
    fn patience(&self, look: Instant) -> Duration {
        let trades = self.trades.next_wake().map(|at| Duration::from_nanos(at.saturating_sub(self.clock.now_ns())));
        let monitor = look.saturating_duration_since(Instant::now());
        trades.unwrap_or(MONITOR).min(monitor).min(Duration::from_millis(50))
    }

    fn answer(&mut self, job: Job) {
        let Job { request, answer, asked } = job;
        let measured = match &request {
            Request::Lock { .. } => Some(Measured::Lock),
            Request::Trade { .. } => Some(Measured::Trade),
            Request::Mark { .. } => Some(Measured::Market),
            _ => None,
        };
        let (failed, is_status) = (self.committer.error(), request == Request::Status);
        let result = self.carry_out(request, failed.as_ref());
        let told = core::mem::take(&mut self.told);
        let measured = measured.map(|what| (what, asked));
        // The status of a journal that has failed tells of nothing that waits for the disk.
        let frame = if failed.is_some() && is_status { 0 } else { self.committer.next() };
        let _ = self.acks.send(Ack { frame, result, answer: Some(answer), told, measured });
    }

    /// Tells the log what happened by itself, once it is durable, and what the gate raised alarm about.
    fn tell(&mut self) {
        while let Some(alert) = self.desk.as_mut().and_then(Desk::take_alert) {
            tracing::warn!(%alert, "vmsp: an alert of the pre-trade gate");
            self.told.push(json!({ "kind": "alert", "alert": alert }));
        }
        if !self.told.is_empty() {
            let told = core::mem::take(&mut self.told);
            let frame = self.committer.next();
            let _ = self.acks.send(Ack { frame, result: Ok(Value::Null), answer: None, told, measured: None });
        }
    }

    fn carry_out(&mut self, request: Request, failed: Option<&JournalError>) -> Answer {
        if let Some(error) = failed {
            return if request == Request::Status { Ok(self.status(failed)) } else { Err(stopped_by(error)) };
        }
        if self.running {
            self.sweep();
        }
        let (account, scale) = (self.plan.account, self.plan.scale);
        match request {
            Request::Deposit { amount, key } => {
                let amount = request::amount(&amount, scale)?;
                self.moved(key.as_deref(), &Command::Deposit { account, amount })
            }
            Request::Withdraw { amount, key } => {
                let amount = request::amount(&amount, scale)?;
                self.moved(key.as_deref(), &Command::Withdraw { account, amount })
            }
            Request::Lock { amount, symbol, key } => {
                let (amount, symbol) = (request::amount(&amount, scale)?, request::symbol(&symbol)?);
                let outcome = self.reserve(request::key(key.as_deref()), amount, symbol)?;
                // A lock that is asked for again may have ended since.
                let state = self.ledger.reservation(outcome.id).map(|found| found.state);
                Ok(json!({
                    "id": request::lock_name(outcome.id, symbol),
                    "amount": request::shown(outcome.amount, scale),
                    "state": state.map_or("gone", State::name),
                    "expires_in_s": (state == Some(State::Pending)).then(|| self.seconds_to(outcome.expires_ns)),
                    "exists": outcome.exists,
                }))
            }
            Request::Unlock { id, key } => self.unlock(&id, request::key(key.as_deref())),
            Request::Status => Ok(self.status(None)),
            Request::Trade { symbol, side, amount, price } => self.trade(&symbol, side, &amount, &price),
            Request::Mark { symbol, price } => {
                self.desk()?.mark(&symbol, &price, realtime_ns())?;
                Ok(json!({ "symbol": symbol, "price": price }))
            }
            Request::Start => Ok(self.protect(true)),
            Request::Stop => Ok(self.protect(false)),
        }
    }

    fn protect(&mut self, running: bool) -> Value {
        self.running = running;
        if running {
            self.sweep();
        }
        json!({ "running": running })
    }

    fn moved(&mut self, key: Option<&str>, command: &Command) -> Answer {
        let outcome = self.command(request::key(key), command)?;
        let total = self.ledger.balances(&self.plan.account).unwrap_or_default().total();
        let shown = |amount| request::shown(amount, self.plan.scale);
        Ok(json!({ "amount": shown(outcome.amount), "total": shown(total), "exists": outcome.exists }))
    }

    /// Locks an amount while protection runs.
    pub(super) fn reserve(
        &mut self,
        key: u128,
        amount: u128,
        symbol: tidegate_wire::ledger::Name,
    ) -> Result<Outcome, Declined> {
        if !self.running {
            let text =
                "protection is stopped, so nothing would give a lock back in time; `tidegate vmsp start` starts it";
            return Err(Declined::new("stopped", text));
        }
        let wall_ns = u64::try_from(realtime_ns()).unwrap_or(0);
        let ttl_ns = u64::try_from(self.plan.window.as_nanos()).unwrap_or(u64::MAX);
        let account = self.plan.account;
        self.command(key, &Command::Reserve { account, amount, symbol, ttl_ns, wall_ns })
    }

    fn unlock(&mut self, name: &str, key: u128) -> Answer {
        let (id, symbol) = request::lock_of(name)?;
        let unknown = || Declined::new("unknown-lock", format!("there is no lock {name}, or it was resolved long ago"));
        let found = *self.ledger.reservation(id).filter(|found| found.symbol.as_str() == symbol).ok_or_else(unknown)?;
        if let Some(trade) = self.trades.holder(id) {
            let text = format!("{name} is the position of trade {trade}, which gives it back at its exit");
            return Err(Declined::new("in-trade", text));
        }
        // The command of the first try when it is repeated: a void stays one whatever it made of the lock.
        let closes = matches!(found.state, State::Posted | State::Closed);
        let command = if closes { Command::Close { id, gain: 0 } } else { Command::Void { id } };
        let outcome = self.command(key, &command)?;
        let amount = request::shown(outcome.amount, self.plan.scale);
        Ok(json!({ "id": name, "amount": amount, "exists": outcome.exists }))
    }

    /// Applies a command and hands its record to the journal; the caller answers through [`answer`](Self::answer),
    /// which waits for the disk.
    pub(super) fn command(&mut self, key: u128, command: &Command) -> Result<Outcome, Declined> {
        if let Some(error) = self.committer.error() {
            return Err(stopped_by(&error));
        }
        let (now, begun) = (self.clock.now_ns(), Instant::now());
        let outcome = self.ledger.apply(key, command, now);
        if matches!(command, Command::Reserve { .. }) && outcome.is_ok() {
            self.times.since(Measured::Reserve, begun);
        }
        let outcome = outcome.map_err(|refusal| Declined::of(refusal, self.plan.scale))?;
        if !outcome.exists {
            let record = self.ledger.record(key, command);
            let frame = self.committer.append(bytemuck::bytes_of(&record)).map_err(|error| stopped_by(&error))?;
            self.told.push(json!({
                "record": frame,
                "kind": outcome.kind.name(),
                "lock": outcome.id,
                "amount": outcome.amount.to_string(),
                "gain": record.gain.to_string(),
                "expired": outcome.expired,
                "key": format!("{key:032x}"),
                "state": format!("{:016x}", record.state),
            }));
        }
        Ok(outcome)
    }

    /// Gives back what has expired.
    fn sweep(&mut self) {
        while self.ledger.next_expiry().is_some_and(|expires| expires <= self.clock.now_ns()) {
            if let Err(declined) = self.command(0, &Command::Sweep { most: SWEEP }) {
                tracing::error!(reason = declined.reason, "vmsp: what has expired is not given back");
                return;
            }
        }
    }

    pub(super) fn desk(&mut self) -> Result<&mut Desk, Declined> {
        let none =
            || Declined::new("no-risk-limits", "no trade passes without limits; vmsp.risk_limits names their file");
        self.desk.as_mut().ok_or_else(none)
    }

    /// Seconds until a moment of the ledger's clock.
    pub(super) fn seconds_to(&self, at_ns: u64) -> f64 {
        Duration::from_nanos(at_ns.saturating_sub(self.clock.now_ns())).as_secs_f64()
    }
}
