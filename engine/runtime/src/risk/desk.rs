//! The thread that owns the gate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde_json::{Value, json};
use tidegate_guard::emergency::{Emergency, Observed};
use tidegate_guard::risk::{Credit, Keys, KillSwitch, MarketView, Override, PersonId, RiskCounters, RiskGate, rules};
use tidegate_guard::{Command, Strategy};
use tidegate_record::saved::Saved;
use tidegate_wire::clock::realtime_ns;
use tidegate_wire::order::{KillCause, LimitScope};
use tidegate_wire::ring::Region;
use tidegate_wire::{InstrumentId, Registry};

use super::ask::{Agreed, Book, RiskAsk};
use super::board::Board;
use super::consequences::view;
use super::drawdowns::{Drawdowns, Tell};
use super::exposed::Exposed;
use super::kept::{Kept, Reply};
use super::luld::Bands;
use super::market::Market;
use super::told::{Lines, Names, Teller};
use super::{RiskDeskError, RiskPlan, file_error, holding};
use crate::audit::Trail;
use crate::audit::orders::OrderNames;
use crate::models::Inbox;

/// How often the desk looks at the market and its clocks when nobody asks.
const TURN: Duration = Duration::from_millis(20);
/// How long somebody waits for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Questions that may wait.
const QUEUE: usize = 256;
/// The strategy of a run that has none configured: the gate wants one to book orders on.
const ONLY_STRATEGY: &str = "manual";

/// What the desk needs of the run around it.
pub(crate) struct Surroundings {
    pub(crate) observers: Arc<Region>,
    pub(crate) board: Arc<Board>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) trail: Option<Trail>,
    /// Who shows alerts.
    pub(crate) screens: Option<crate::screens::Teller>,
    /// Events bear the host's time.
    pub(crate) live: bool,
}

/// A question with the way back.
struct Asked {
    ask: RiskAsk,
    /// Who asks, as the kernel says.
    who: String,
    at: Instant,
    reply: Reply,
}

/// A handle on the desk; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct RiskDesk(Sender<Asked>);

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.ask.fmt(f)
    }
}

impl RiskDesk {
    /// Asks and waits for the answer. A kill that is answered is in force and saved.
    pub(crate) fn ask(&self, ask: RiskAsk, who: &str) -> Result<Value, String> {
        let (reply, answer) = bounded(1);
        let busy = || "the risk desk does not answer".to_owned();
        let (who, at) = (who.to_owned(), Instant::now());
        self.0.send_timeout(Asked { ask, who, at, reply }, ANSWER).map_err(|_| busy())?;
        answer.recv_timeout(ANSWER).map_err(|_| busy())?
    }

    /// Whether a scope, such as `strategy:carry`, stands still because of a kill switch.
    pub(crate) fn is_thrown(&self, scope: &str) -> Result<bool, String> {
        let status = self.ask(RiskAsk::Status, "")?;
        Ok(status["thrown"].as_array().is_some_and(|all| all.iter().any(|latch| latch["scope"] == scope)))
    }
}

/// What a desk did.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RiskReport {
    /// What the gate counted.
    pub counters: RiskCounters,
    /// Scopes that stand still.
    pub thrown: Vec<String>,
    /// Alerts: how many, how late.
    pub alerts: Value,
}

/// The thread.
#[derive(Debug)]
pub(crate) struct Risk {
    desk: RiskDesk,
    over: Arc<AtomicBool>,
    thread: JoinHandle<RiskReport>,
}

impl Risk {
    /// Starts the desk that is asked for, with the switches as they were left.
    pub(crate) fn of(
        plan: Option<&RiskPlan>,
        (registry, strategies): (&Registry, &[Strategy]),
        around: Surroundings,
    ) -> Result<Option<Self>, RiskDeskError> {
        let Some(plan) = plan else { return Ok(None) };
        let over = Arc::new(AtomicBool::new(false));
        let (sender, asks) = bounded(QUEUE);
        let owner = Owner::new(plan, registry, strategies, around)?;
        let ended = over.clone();
        let run = move || owner.run(&asks, &ended);
        let thread = std::thread::Builder::new().name("tide-risk".into()).spawn(run).map_err(RiskDeskError::Thread)?;
        Ok(Some(Self { desk: RiskDesk(sender), over, thread }))
    }

    pub(crate) fn desk(&self) -> RiskDesk {
        self.desk.clone()
    }

    /// Ends the desk and gives what it did.
    pub(crate) fn finish(self) -> RiskReport {
        self.over.store(true, Ordering::Release);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Everything the thread owns.
pub(super) struct Owner {
    pub(super) gate: RiskGate,
    pub(super) emergency: Emergency,
    pub(super) bands: Bands,
    pub(super) market: Market,
    pub(super) registry: Registry,
    pub(super) names: Names,
    /// The same with decimals, for orders.
    pub(super) orders_named: OrderNames,
    pub(super) saved: Saved,
    /// Switches as they are saved and as breakers know them.
    pub(super) known: KillSwitch,
    /// They are not on the disk yet.
    pub(super) unsaved: bool,
    /// Commands that the hot loop has not taken.
    pub(super) commands: Vec<Command>,
    /// Drawdowns as the breakers know them.
    pub(super) drawdowns: Drawdowns,
    /// Strategies that breakers watch.
    pub(super) watched: u16,
    pub(super) teller: Teller,
    pub(super) orders: Lines,
    signalled: Arc<AtomicBool>,
    pub(super) halted: Arc<AtomicBool>,
    pub(super) around: Surroundings,
    pub(super) numbered: u64,
    /// What executed: a report that is told again changes nothing.
    pub(super) kept: Kept,
    pub(super) exposed: Exposed,
    /// When the switches are tried to be saved again.
    pub(super) save_at: Instant,
    /// The host's clock at the start and since when: heartbeats do not follow a clock that is set.
    begun: (i64, Instant),
    /// When this turn began.
    pub(super) turned: Instant,
}

impl Owner {
    fn new(
        plan: &RiskPlan,
        registry: &Registry,
        strategies: &[Strategy],
        around: Surroundings,
    ) -> Result<Self, RiskDeskError> {
        let mut named: Vec<&str> = strategies.iter().map(|strategy| strategy.name.as_str()).collect();
        if named.is_empty() {
            named.push(ONLY_STRATEGY);
        }
        let mut gate = RiskGate::new(registry, &named, &plan.limits)?;
        let emergency = Emergency::new(registry, &gate, &plan.emergency)?;
        // As if nothing had been thrown: what was is told to the breakers now.
        let known = gate.kill_switch().clone();
        // What is held first: its losses belong to their days.
        let kept = if around.live { holding::restore(&plan.switches, &mut gate, registry)? } else { Kept::default() };
        let (saved, exposed) = restored(plan, &mut gate, around.live)?;
        holding::stop_for_orphans(&kept, &mut gate);
        let protocols = plan.emergency.protocols.keys().cloned().collect();
        let names = Names { protocols, ..Names::of(registry, &named, &plan.limits) };
        let decimals = registry.iter().map(|(_, i)| (i.price_scale.decimals(), i.qty_scale.decimals()));
        let orders_named = OrderNames {
            accounts: names.accounts.clone(),
            strategies: names.strategies.clone(),
            instruments: names.instruments.clone(),
            decimals: decimals.collect(),
        };
        let mut owner = Self {
            orders_named,
            bands: Bands::new(plan, registry)?,
            market: Market::new(registry, around.observers.clone(), around.live),
            registry: registry.clone(),
            teller: Teller::new(&plan.alerts, around.trail.clone(), around.screens.clone())?,
            orders: Lines::create(&plan.orders)?,
            known,
            unsaved: false,
            commands: Vec::new(),
            drawdowns: Drawdowns::of(strategies.len()),
            watched: strategies.len() as u16,
            signalled: plan.signalled.clone(),
            halted: plan.halted.clone(),
            numbered: 0,
            kept,
            exposed,
            save_at: Instant::now(),
            begun: (realtime_ns(), Instant::now()),
            turned: Instant::now(),
            gate,
            emergency,
            names,
            saved,
            around,
        };
        if let Some(trail) = &owner.around.trail {
            trail.owners(&owner.names.accounts, &owner.names.strategies);
        }
        owner.tell_holdings();
        owner.settle();
        Ok(owner)
    }

    fn run(mut self, asks: &Receiver<Asked>, over: &AtomicBool) -> RiskReport {
        while !over.load(Ordering::Acquire) {
            match asks.recv_timeout(TURN) {
                Ok(asked) => self.hear(&asked),
                Err(RecvTimeoutError::Timeout) => {
                    self.turn(Instant::now());
                    self.settle();
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // What was asked and signalled until now counts for the next run too.
        asks.try_iter().for_each(|asked| self.hear(&asked));
        self.turn(Instant::now());
        self.settle();
        self.snapshot();
        let thrown = self.gate.kill_switch().iter().map(|(scope, id, _)| self.names.scope(scope as u8, id)).collect();
        RiskReport { counters: self.gate.counters(), thrown, alerts: self.teller.figures() }
    }

    fn hear(&mut self, asked: &Asked) {
        self.turn(asked.at);
        // Nobody waits any more: an order that was let through now would count for ever.
        if asked.at.elapsed() >= ANSWER && !asked.ask.stops() {
            return;
        }
        let answer = self.carry_out(&asked.ask, &asked.who);
        self.settle();
        let answer = answer.and_then(|answer| self.vouched(&asked.ask, answer));
        if matches!(asked.ask, RiskAsk::Report { .. }) {
            return self.kept.answer(answer, &asked.reply);
        }
        // Whoever asked may have given up.
        let _ = asked.reply.try_send(answer);
    }

    /// What a kill is answered with when it could not be saved: it holds, but not through a restart.
    fn vouched(&self, ask: &RiskAsk, answer: Value) -> Result<Value, String> {
        let switch = matches!(ask, RiskAsk::Kill { .. } | RiskAsk::Reset { .. });
        if self.unsaved && switch {
            let path = self.saved.path().display();
            return Err(format!("done, but {path} cannot be written: it does not hold through a restart"));
        }
        if self.orders.pending() > 0 && switch {
            let count = self.orders.pending();
            return Err(format!("done, but {count} orders that must be sent cannot be written to the file of orders"));
        }
        Ok(answer)
    }

    /// The host's time as heartbeats see it.
    pub(super) fn desk_ns(&self) -> i64 {
        self.begun.0.saturating_add(i64::try_from(self.begun.1.elapsed().as_nanos()).unwrap_or(i64::MAX))
    }

    /// Looks at the signal, the market and the clocks. What stops the trading comes before anything that a disk could
    /// hold up.
    fn turn(&mut self, since: Instant) {
        self.turned = since;
        self.market.look();
        let now = self.market.now_ns();
        self.gate.advance(now);
        if self.signalled.swap(false, Ordering::AcqRel) {
            let _ = self.gate.kill(LimitScope::Firm, 0, KillCause::Signal, PersonId::NONE, now);
        }
        self.gate.tick(self.desk_ns());
        self.stop();
        let moved: Vec<_> = self.market.moved().collect();
        let mut told = Vec::new();
        for (instrument, price, at) in moved {
            self.gate.on_mark(instrument, price, at);
            self.bands.price(instrument, price, at, |line| told.push(line));
        }
        self.drawdowns.tell(&self.gate, &mut self.commands, Tell::Due);
        self.bands.time(now, |line| told.push(line));
        for line in told {
            let at = line["event_ns"].as_i64().unwrap_or(now);
            self.teller.tell(line, at, now.saturating_sub(at));
        }
        let observed = Observed { stopped_instruments: self.around.board.stopped_instruments() };
        self.emergency.evaluate(&mut self.gate, &observed, now, |_| {});
        // What a latched level has stopped is cancelled before its plan is made, or the plan would be cancelled too.
        self.stop();
        self.act(now);
    }

    pub(super) fn view(&self, instrument: InstrumentId, whose: Option<(u16, u16)>) -> MarketView {
        let (kill, strategy) = (self.gate.kill_switch(), whose.map(|(_, strategy)| strategy));
        let mut view = view(&self.market, &self.around, &self.bands, kill, (instrument, strategy));
        if let Some((account, strategy)) = whose {
            view.permits.strategy &= self.emergency.permits(account, strategy);
        }
        view
    }

    pub(super) fn book(&self) -> Book<'_> {
        Book { gate: &self.gate, registry: &self.registry }
    }

    fn person(&self, name: &str) -> Result<PersonId, String> {
        self.gate.person(name).ok_or_else(|| {
            let known = self.names.people.join(", ");
            format!("no person {name:?} in the limits' people ({known})")
        })
    }

    fn keys(&self, agreed: &Agreed) -> Result<Keys, String> {
        let risk = agreed.risk.as_deref().map(|name| self.person(name)).transpose()?;
        Ok(Keys { designated: self.person(&agreed.designated)?, risk })
    }

    pub(super) fn protocol(&self, name: &str) -> Result<u8, String> {
        let known = || format!("no protocol {name:?}; there are: {}", self.names.protocols.join(", "));
        self.emergency.protocol(name).ok_or_else(known)
    }

    fn carry_out(&mut self, ask: &RiskAsk, who: &str) -> Result<Value, String> {
        let now = self.market.now_ns();
        let done = || Ok(json!({ "done": true }));
        let said = |error: &dyn std::fmt::Display| error.to_string();
        match ask {
            RiskAsk::Status => Ok(self.status()),
            RiskAsk::Check { order } => self.check(order, who, now),
            RiskAsk::Try { order } => self.rehearse_order(order, now),
            RiskAsk::Report { report } => self.report(report, who, now),
            RiskAsk::Funds { account, amount } => {
                let account = self.book().account(account)?;
                let amount = amount.money().map_err(|reason| format!("amount {reason}"))?;
                let funds = Credit::new(amount).ok_or("amount is below 0: a debt backs nothing")?;
                self.gate.on_funds(account, funds).map_err(|error| said(&error)).and_then(|()| done())
            }
            RiskAsk::Kill { scope, person } => {
                let (scope, id) = self.book().scope(scope)?;
                // Whoever stops the trading is not asked for a role: an unknown name is nobody's.
                let known = person.as_deref().and_then(|name| self.gate.person(name));
                let unknown = person.as_ref().filter(|_| known.is_none());
                let person = known.unwrap_or(PersonId::NONE);
                let new = self.gate.kill(scope, id, KillCause::Operator, person, now).map_err(|error| said(&error))?;
                Ok(json!({ "done": true, "was_thrown": !new, "unknown_person": unknown }))
            }
            RiskAsk::Reset { scope, agreed } => {
                let ((scope, id), keys) = (self.book().scope(scope)?, self.keys(agreed)?);
                let was = self.gate.reset(scope, id, keys, &agreed.reason).map_err(|error| said(&error))?;
                // What it has lost counts anew, and its breaker knows that before it is reset.
                self.drawdowns.tell(&self.gate, &mut self.commands, Tell::All);
                if was.is_none() {
                    self.commands.extend(self.breaker(scope, id).map(|(scope, id)| Command::Reset(scope, id)));
                }
                self.kept.hurry();
                Ok(json!({ "done": true, "was_thrown": was.is_some() }))
            }
            RiskAsk::Disown { agreed } => {
                let keys = self.keys(agreed)?;
                self.gate.agree(keys, &agreed.reason).map_err(|error| said(&error))?;
                let held: Vec<_> = self.kept.orphans.drain(..).collect();
                self.kept.hurry();
                Ok(json!({ "done": true, "held": held }))
            }
            RiskAsk::Heartbeat { person } => {
                let (person, desk) = (self.person(person)?, self.desk_ns());
                self.gate.heartbeat(person, desk).map_err(|error| said(&error)).and_then(|()| done())
            }
            RiskAsk::Override { account, client_id, rule, for_ms, agreed } => {
                let (account, keys) = (self.book().account(account)?, self.keys(agreed)?);
                let rule = rules::rule_index(rule).ok_or_else(|| format!("no rule {rule:?}"))?;
                let expires_ns =
                    now.saturating_add(i64::try_from(*for_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000));
                let granted = Override { account, client_id: *client_id, rule, expires_ns };
                self.gate.grant(granted, keys, &agreed.reason, now).map_err(|error| said(&error)).and_then(|()| done())
            }
            RiskAsk::Restrict { list, person } => {
                let person = self.person(person)?;
                let list = self.gate.restricted_list(list).map_err(|error| said(&error))?;
                let old = self.gate.replace_restricted(list, person).map_err(|error| said(&error))?;
                Ok(json!({ "done": true, "version_before": old.version() }))
            }
            RiskAsk::Rehearse { protocol, level } => self.rehearse(protocol, *level, now),
            RiskAsk::Calm { protocol, agreed } => {
                let (protocol, keys) = (self.protocol(protocol)?, self.keys(agreed)?);
                let was = self.emergency.reset(protocol, &mut self.gate, keys, &agreed.reason, now);
                Ok(json!({ "done": true, "was_on_a_level": was.map_err(|error| said(&error))? }))
            }
        }
    }
}

/// Gives a gate the switches as they were left; and what was left open stops everything until somebody has looked.
fn restored(plan: &RiskPlan, gate: &mut RiskGate, live: bool) -> Result<(Saved, Exposed), RiskDeskError> {
    let saved = Saved::at(&plan.switches);
    // The time of a recording is not known before its first event.
    let now = if live { realtime_ns() } else { 0 };
    match saved.read() {
        Ok(None) => {}
        Ok(Some(bytes)) => {
            if let Err(error) = gate.restore_kill_switch(&bytes, now) {
                tracing::error!(%error, path = %saved.path().display(), "risk: everything is stopped");
            }
        }
        // A file that is there and cannot be read: nobody knows what was stopped, so nothing may begin.
        Err(source) => return Err(file_error(saved.path(), source)),
    }
    let exposed = Exposed::beside(saved.path());
    if exposed.was_left() {
        let _ = gate.kill(LimitScope::Firm, 0, KillCause::LeftOpen, PersonId::NONE, now);
        tracing::error!("risk: the last run ended with open orders or positions: everything is stopped");
    }
    Ok((saved, exposed))
}
