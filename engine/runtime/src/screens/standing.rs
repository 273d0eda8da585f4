//! Where desks stand: asked for at a calm pace, because they have better things to do.
//!
//! What is at hand (counters, statuses behind a lock) is read on one thread. Desks that answer on threads of their own
//! and may be stuck are asked by an [`Inquiry`] each.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_serve::Topic;
use tidegate_serve::metrics::family;
use tidegate_wire::clock::realtime_ns;
use tidegate_wire::order::Side;
use tidegate_wire::ring::{Region, overwrite};
use tidegate_wire::{InstrumentId, Registry};

use super::inquiry::{Inquiry, asking};
use super::repository::Shelf;
use super::{Attached, Facts, Screens, positions};
use crate::audit::Trail;
use crate::control::{Ask, Operator};
use crate::risk::RiskAsk;
use crate::stream::StreamDesk;

/// How often desks are asked.
const EVERY: Duration = Duration::from_millis(500);
/// How often what seldom changes is asked for.
const SELDOM: Duration = Duration::from_secs(2);
/// How soon the thread notices that it is over.
const POLL: Duration = Duration::from_millis(20);

/// Asks desks where they stand.
pub(super) struct Asker {
    screens: Arc<Screens>,
    operator: Operator,
    trail: Option<Trail>,
    stream: StreamDesk,
    audit: Option<PathBuf>,
    shelf: Option<Shelf>,
    desks: Desks,
    instruments: Vec<String>,
    strategies: Vec<String>,
    facts: Facts,
    started: Instant,
    registry: Registry,
    positions: overwrite::Writer,
    /// Open positions that venues told, and those that only the risk desk knows.
    held: Vec<(InstrumentId, Side)>,
    booked: Vec<(InstrumentId, Side)>,
    /// What Redis was told of positions last.
    mirrored: String,
}

/// Desks that may be stuck.
struct Desks {
    risk: Inquiry,
    models: Inquiry,
    ledger: Inquiry,
}

impl Desks {
    fn ask(operator: &Operator) -> std::io::Result<Self> {
        let begin = |who, every, ask, member| Inquiry::start(who, every, asking(operator, ask, member));
        let ledger = Ask::Vmsp { request: crate::vmsp::Request::Status };
        Ok(Self {
            risk: begin("the risk desk", EVERY, Ask::Risk { ask: RiskAsk::Status }, "risk")?,
            models: begin("the models' sidecar", SELDOM, Ask::ModelList, "models")?,
            ledger: begin("the balance ledger", SELDOM, ledger, "vmsp")?,
        })
    }

    fn all(&self) -> [&Inquiry; 3] {
        [&self.risk, &self.models, &self.ledger]
    }
}

impl Asker {
    /// # Errors
    /// The system gives no thread.
    pub(super) fn new(screens: &Arc<Screens>, run: Attached<'_>, positions: Arc<Region>) -> std::io::Result<Self> {
        Ok(Self {
            screens: screens.clone(),
            desks: Desks::ask(&run.operator)?,
            operator: run.operator,
            trail: run.trail,
            stream: run.stream,
            audit: run.audit,
            shelf: run.models.map(Shelf::new),
            instruments: run.registry.iter().map(|(_, instrument)| instrument.name()).collect(),
            strategies: run.strategies,
            facts: run.facts,
            started: Instant::now(),
            registry: run.registry.clone(),
            positions: overwrite::Writer::resume(positions),
            held: Vec::new(),
            booked: Vec::new(),
            mirrored: String::new(),
        })
    }

    pub(super) fn run(mut self, over: &AtomicBool) {
        let (mut next, mut seldom) = (Instant::now(), Instant::now());
        while !over.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= next {
                next = now + EVERY;
                self.often();
            }
            if now >= seldom {
                seldom = now + SELDOM;
                self.seldom();
            }
            self.hear();
            std::thread::sleep(POLL);
        }
        self.engine("ended");
        self.audit();
    }

    fn often(&mut self) {
        self.engine("running");
        self.feeds();
        self.audit();
    }

    /// Takes what desks have answered since.
    fn hear(&mut self) {
        if let Some(models) = self.desks.models.take() {
            self.screens.hub().put(Topic::Models, "", None, &json!({ "loaded": models }));
        }
        if let Some(ledger) = self.desks.ledger.take() {
            self.screens.hub().put(Topic::Ledger, "", None, &ledger);
        }
        if let Some(risk) = self.desks.risk.take() {
            self.risk(&risk);
        }
    }

    fn seldom(&mut self) {
        // Told when it has changed: curves are long.
        if let Some(contracts) = self.shelf.as_mut().and_then(Shelf::changed) {
            self.screens.hub().put(Topic::Models, "repository", None, &json!({ "contracts": contracts }));
        }
        let hub = self.screens.hub();
        let counts = self.screens.server.counts();
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let debug = json!({
            "connections": counts.connections.load(Ordering::Relaxed),
            "streams": counts.streams.load(Ordering::Relaxed),
            "accepted": read(&counts.accepted),
            "turned_away": read(&counts.turned_away),
            "handshakes_failed": read(&counts.handshakes_failed),
            "dropped_slow": read(&counts.dropped_slow),
            "dropped_abusive": read(&counts.dropped_abusive),
            "dropped_silent": read(&counts.dropped_silent),
            "received": read(&counts.received),
            "wrong": read(&counts.wrong),
            "sent": read(&counts.sent),
            "refused": read(&counts.refused),
            "requests": read(&counts.requests),
            "refused_keys": hub.refused_keys(),
            "news_lost": read(&self.screens.lost),
            "queue": self.trail.as_ref().map(|trail| trail.standing().queued),
            "log_lines_dropped": Value::Null,
        });
        hub.put(Topic::Debug, "", None, &debug);
        self.stores();
        let findings = self.findings();
        hub.put(Topic::Findings, "", None, &findings);
    }

    fn engine(&self, state: &str) {
        let data = json!({
            "state": state,
            "facts": self.facts,
            "instruments": self.instruments,
            "strategies": self.strategies,
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": self.started.elapsed().as_secs_f64(),
        });
        self.screens.hub().put(Topic::Engine, "", None, &data);
    }

    fn feeds(&mut self) {
        // Their status lies behind a lock that nobody holds for long.
        let Some(feeds) = asking(&self.operator, Ask::Feeds, "feeds")() else { return };
        let mut records = positions::of_feeds(&feeds, &self.registry, &mut self.held);
        // An account without positions is told too: what Redis says may be a run's that is no more.
        if let Some(mirror) = &self.stream.mirror {
            positions::mirror(mirror, &records, &self.registry, &mut self.mirrored);
        }
        records.iter_mut().for_each(|record| self.positions.push(record.words_mut()));
        let metrics = self.screens.metrics();
        self.screens.hub().put(Topic::Feeds, "", None, &feeds);
        let mut links = std::collections::BTreeMap::<(String, String), f64>::new();
        let mut silent = std::collections::BTreeMap::<String, f64>::new();
        for link in feeds["links"].as_array().into_iter().flatten() {
            let text = |name: &str| link[name].as_str().unwrap_or("unknown").to_owned();
            *links.entry((text("venue"), text("state"))).or_default() += 1.0;
            // Without a connection nothing was heard, for as long as this has looked at least.
            let heard = link["heard_ms"].as_f64().map_or(self.started.elapsed().as_secs_f64(), |ms| ms * 1e-3);
            let longest = silent.entry(text("venue")).or_default();
            *longest = longest.max(heard);
        }
        metrics.replace(
            family::LINKS,
            links.into_iter().map(|((venue, state), count)| (vec![("venue", venue), ("state", state)], count)),
        );
        metrics.replace(family::HEARD, silent.into_iter().map(|(venue, s)| (vec![("venue", venue)], s)));
        let clocks = feeds["clocks"].as_object().into_iter().flatten();
        let clocks = clocks
            .map(|(venue, skew)| (vec![("venue", venue.clone())], skew["offset_ns"].as_f64().unwrap_or(0.0) * 1e-9));
        metrics.replace(family::CLOCK_SKEW, clocks);
    }

    fn risk(&mut self, risk: &Value) {
        let known = (&self.held[..], &mut self.booked);
        // In a replay the market's time is another, and the desk does not say which.
        let now_ns = if self.facts.mode == "live" { realtime_ns() } else { 0 };
        let mut records = positions::of_desk(risk, &self.registry, known, now_ns);
        records.iter_mut().for_each(|record| self.positions.push(record.words_mut()));
        let metrics = self.screens.metrics();
        self.screens.hub().put(Topic::Risk, "", None, risk);
        metrics.set(family::THROWN, &[], risk["thrown"].as_array().map_or(0, Vec::len) as f64);
        metrics.set(family::OPEN_ORDERS, &[], risk["open_orders"].as_f64().unwrap_or(0.0));
        let scopes = || risk["standing"].as_array().into_iter().flatten();
        let of = |field: &'static str| {
            scopes().filter_map(move |scope| {
                let name = scope["scope"].as_str()?.to_owned();
                Some((vec![("scope", name)], scope[field].as_f64()? * 1e-6))
            })
        };
        metrics.replace(family::PROFIT, of("profit_millionths"));
        metrics.replace(family::EXPOSURE, of("exposure_millionths"));
    }

    fn audit(&self) {
        let Some(trail) = &self.trail else { return };
        let (standing, error) = (trail.standing(), trail.error());
        let metrics = self.screens.metrics();
        metrics.set(family::AUDIT_ENTRIES, &[], standing.entries as f64);
        metrics.set(family::AUDIT_FAILED, &[], f64::from(u8::from(error.is_some())));
        let checkpoint = standing.checkpoint.as_ref().map(|checkpoint| {
            json!({ "origin": checkpoint.origin, "size": checkpoint.size, "root": hex::encode(checkpoint.root) })
        });
        let data = json!({
            "directory": self.audit,
            "entries": standing.entries,
            "queued": standing.queued,
            "dropped": standing.dropped,
            "checkpoint": checkpoint,
            "error": error.map(|error| error.to_string()),
        });
        self.screens.hub().put(Topic::Audit, "", None, &data);
    }

    /// The store and Redis.
    fn stores(&self) {
        let status = self.stream.status();
        let metrics = self.screens.metrics();
        let failing = |of: &str, state: &str| f64::from(u8::from(status[of]["state"] == state));
        metrics.set(family::STORE_BEHIND, &[], status["store"]["behind"].as_f64().unwrap_or(0.0));
        metrics.set(family::STORE_STATE, &[], failing("store", "failing"));
        metrics.set(family::REDIS_STATE, &[], failing("redis", "degraded"));
        self.screens.hub().put(Topic::Stores, "", None, &status);
    }

    /// What is wrong, and what to do about it.
    fn findings(&self) -> Vec<Value> {
        let mut found = Vec::new();
        let mut add = |what: &str, why: &str, fix: &str| found.push(json!({ "what": what, "why": why, "fix": fix }));
        if let Some(error) = self.trail.as_ref().and_then(Trail::error) {
            add(&format!("the audit log cannot be written: {error}"), "every breaker is open", "free or mend its disk");
        }
        for (desk, silent) in self.desks.all().into_iter().filter_map(|desk| Some((desk, desk.silent()?))) {
            let what = format!("{} has given no answer for {:.0} s", desk.who, silent.as_secs_f64());
            add(
                &what,
                "what is shown of it is as old as that",
                "look at its log; what it was asked to do may wait too",
            );
        }
        let lost = self.screens.lost.load(Ordering::Relaxed);
        if lost > 0 {
            let what = format!("{lost} news came too fast to be shown one by one");
            add(&what, "lists skip them; states are the newest", "the audit log has all that it records");
        }
        for missing in self.operator.unready() {
            add(&missing, "not everything is as it should be", "tidegate feed list; tidegate model list");
        }
        found
    }
}
