//! The clerk: the cold thread that takes signals off the ring and has everything done with them.
//!
//! In a replay the ring holds the pipeline back, so that nothing is missed and the same input gives the same fills,
//! ratings and models. In a live run it holds nobody back: what finds it full is lost and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_trade::report::Tally;
use tidegate_trade::signals::SignalConfig;
use tidegate_trade::signals::rating::Rating;
use tidegate_wire::event::{Header, Trade};
use tidegate_wire::relay::{RecordReader, RecordWriter};
use tidegate_wire::ring::{Region, RegionKind, lossless};
use tidegate_wire::signal::{OutcomeBody, SignalBody, SignalSink, TradingSink};
use tidegate_wire::top::TopBody;
use tidegate_wire::{InstrumentId, Registry};

use super::SignalsError;
use super::book::SignalBook;
use super::outcomes::OutcomeTable;
use super::pulse::{DeskState, Pulse, Watch};
use super::rater::{LearningReport, Rater};
use super::trainer::Trainer;
use crate::audit::Trail;
use crate::journal;
use crate::models::{Desk, label_of};
use crate::replay::ReplayPlan;
use crate::screens::Teller;
use crate::scribe::OutputError;
use crate::trading::{PaperDesk, TradingReport};
use crate::wait::core_ids;

/// Lines of the ring: about 2,500 tops, some seconds of a busy market.
const RING: u64 = 1 << 15;
/// How long the thread sleeps when there is nothing.
const IDLE: Duration = Duration::from_micros(500);

/// What the clerk knows at the end.
pub(crate) struct Kept {
    pub(super) tally: Tally,
    pub(super) learning: Option<LearningReport>,
    pub(super) trading: Option<TradingReport>,
    pub(super) error: Option<OutputError>,
}

/// The clerk of a run.
pub(crate) struct Clerk {
    /// None once it was joined.
    thread: Option<JoinHandle<Kept>>,
    done: Arc<AtomicBool>,
    /// Whose best levels and trades it wants.
    pub(crate) tops: Vec<InstrumentId>,
}

impl Clerk {
    /// Opens files, desk and trainer, and starts the thread; gives the ring that the pipeline writes to.
    pub(super) fn start(
        plan: &ReplayPlan,
        config: &SignalConfig,
        registry: &Registry,
        (coins, pulse): (Vec<InstrumentId>, Arc<Pulse>),
        models: Option<Desk>,
        (trail, teller, stop): (Option<Trail>, Option<Teller>, Arc<AtomicBool>),
    ) -> Result<(Self, RecordWriter), SignalsError> {
        let (directory, live) = (plan.outputs.signals.as_deref(), plan.live.is_some());
        let open =
            |trading| PaperDesk::open(trading, registry, (&config.ml.trading_coins, &coins), trail.clone(), directory);
        let paper = plan.trading.as_ref().map(open).transpose()?;
        let tops = if paper.is_some() { coins.clone() } else { Vec::new() };
        let mut work = Work {
            book: SignalBook::open(config, registry, directory)?,
            rater: Rater::new(config, registry, models, live),
            outcomes: None,
            trainer: None,
            paper,
            trail,
            teller,
            live,
            watch: live.then(|| Watch::new(pulse)),
            now_ns: 0,
            found: live && plan.models.settings().is_some_and(|models| models.loader.watch),
            error: None,
        };
        work.prepare(plan, config, stop)?;
        let region = Arc::new(Region::anonymous(RegionKind::Lossless, RING)?);
        let ring = lossless::Writer::resume(region.clone());
        let writer = if live { RecordWriter::hasty(ring) } else { RecordWriter::new(ring) };
        let mut reader = RecordReader::new(lossless::Reader::resume(region));
        let done = Arc::new(AtomicBool::new(false));
        let over = done.clone();
        let thread = std::thread::Builder::new().name("tide-signals".into()).spawn(move || {
            loop {
                // Read before polling: what was written before it was set is found by the poll after.
                let last = over.load(Ordering::Acquire);
                if reader.poll_trading(&mut work) {
                    continue;
                }
                if last {
                    break;
                }
                work.idle();
                std::thread::sleep(IDLE);
            }
            work.finish()
        });
        Ok((Self { thread: Some(thread.map_err(SignalsError::Thread)?), done, tops }, writer))
    }

    /// Ends it once its ring is empty; the pipeline must have ended.
    pub(crate) fn finish(mut self) -> Option<Kept> {
        self.done.store(true, Ordering::Release);
        Some(self.thread.take()?.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }
}

impl Drop for Clerk {
    /// A run that did not begin, or failed, leaves no thread behind.
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Work {
    book: SignalBook,
    rater: Option<Rater>,
    outcomes: Option<OutcomeTable>,
    trainer: Option<Trainer>,
    paper: Option<PaperDesk>,
    trail: Option<Trail>,
    teller: Option<Teller>,
    live: bool,
    /// Looks at the hot stage's counts, in a live run.
    watch: Option<Watch>,
    /// Event time of the newest signal or outcome.
    now_ns: i64,
    /// The sidecar finds new versions by itself.
    found: bool,
    error: Option<OutputError>,
}

/// Outcomes that are written at once where no trainer looks for them.
const ROWS_A_FILE: u64 = 1_000;
/// What lines are called in errors.
const ROWS: &str = "outcomes";

impl Work {
    /// Makes ready for outcomes and training, where the plan asks for them.
    fn prepare(&mut self, plan: &ReplayPlan, config: &SignalConfig, stop: Arc<AtomicBool>) -> Result<(), SignalsError> {
        let Some(directory) = &plan.outputs.outcomes else { return Ok(()) };
        let failed = |source| OutputError::lines(directory, source, 0, ROWS);
        let table = OutcomeTable::open(directory, label_of(config)).map_err(failed)?;
        let learning = &config.ml.learning;
        if learning.training
            && let Some(models) = plan.models.settings()
        {
            let hot = plan.hot_cores();
            let free = core_ids().into_iter().filter(|core| !hot.contains(core)).max();
            if learning.core.or(free).is_none() {
                tracing::warn!("signals: every core belongs to a hot loop, so the trainer is only put behind others");
            }
            let output = plan.outputs.signals.as_deref().unwrap_or(directory);
            let paths = (table.directory(), models.loader.repository.as_path());
            let of = (learning, label_of(config));
            let trainer = Trainer::new(of, paths, output, free, (self.live, stop)).map_err(failed)?;
            if let Some(program) = trainer.missing() {
                let reason = "install it, or name it in ml_microstructure.learning.program";
                tracing::warn!(program, reason, "signals: the trainer is not there, so nothing will be trained");
            }
            self.trainer = Some(trainer);
        }
        self.outcomes = Some(table);
        Ok(())
    }

    /// There is nothing on the ring.
    fn idle(&mut self) {
        self.book.flush();
        if let Some(paper) = &mut self.paper {
            paper.flush();
            if let Some(teller) = &self.teller
                && let Some((event_ns, account)) = paper.shown()
            {
                teller.paper(event_ns, account);
            }
        }
        if let Some((before, state)) = self.watch.as_mut().and_then(|watch| watch.look(Instant::now())) {
            self.changed(before, state);
        }
        if self.live {
            let told = self.trainer.as_mut().map(Trainer::poll).unwrap_or_default();
            let now = tidegate_wire::clock::realtime_ns();
            told.into_iter().for_each(|event| self.trained(now, event));
        }
    }

    /// Tells whoever waits for alerts of signals.
    fn alert(&self, words: &str, detail: &Value) {
        if let Some(teller) = &self.teller {
            teller.signal_alert(words, detail);
        }
    }

    /// The hot stage stands otherwise than before.
    fn changed(&self, before: DeskState, state: DeskState) {
        if state.blind && !before.blind {
            let reason = "it is absent, or older than psc_integration.reference_stale_ms";
            tracing::warn!(reason, "signals: none without the reference price");
            self.alert("no reference price", &json!({ "reason": reason }));
        }
        if before.blind && !state.blind {
            tracing::info!("signals: the reference price is there again");
        }
        if state.lost > before.lost {
            tracing::warn!(lost = state.lost, "signals: the clerk did not keep up, records are lost");
        }
        if let Some(teller) = &self.teller {
            teller.signal_desk(state);
        }
    }

    /// Whether there may be something for the trainer to look at, at this event time.
    fn look(&mut self, now_ns: i64) {
        self.now_ns = self.now_ns.max(now_ns);
        let Some(trainer) = &mut self.trainer else {
            if self.outcomes.as_ref().is_some_and(|table| table.waiting() >= ROWS_A_FILE) {
                self.write_outcomes();
            }
            return;
        };
        if !trainer.is_due(now_ns) {
            return;
        }
        self.write_outcomes();
        let (busy, champion) = match &self.rater {
            Some(rater) => (rater.is_busy(), rater.report.in_force),
            None => (false, None),
        };
        let told = self.trainer.as_mut().map(|trainer| trainer.look(now_ns, champion, busy)).unwrap_or_default();
        told.into_iter().for_each(|event| self.trained(now_ns, event));
    }

    fn write_outcomes(&mut self) {
        if let Some(table) = &mut self.outcomes
            && let Err(error) = table.write()
        {
            tracing::warn!(directory = %table.directory().display(), %error, "outcomes cannot be written; they wait");
        }
    }

    /// The trainer said something.
    fn trained(&mut self, event_ns: i64, mut event: Value) {
        let kind = event["event"].as_str().unwrap_or_default().to_owned();
        let words = event["text"].as_str().map_or_else(|| kind.clone(), |text| format!("{kind}: {text}"));
        match kind.as_str() {
            "ready" => tracing::info!("signals: the trainer runs"),
            "challenger" | "refused" | "skipped" => tracing::info!(%event, "signals: training"),
            _ => {
                tracing::warn!(reason = words, "signals: training");
                self.alert(&words, &event);
            }
        }
        let offered = (kind == "challenger").then(|| event["version"].as_u64()).flatten();
        if let Some(rater) = &mut self.rater {
            rater.report.trainer = Some(words);
            match kind.as_str() {
                "challenger" => rater.report.offered += 1,
                "refused" => rater.report.declined += 1,
                "failed" | "lost" | "unavailable" => rater.report.failures += 1,
                _ => {}
            }
            // Where the sidecar watches its repository it finds the version by itself, and nobody waits for the gate.
            if !self.found
                && let Some(version) = offered.and_then(|version| u32::try_from(version).ok())
                && let Err(error) = rater.load(version)
            {
                tracing::warn!(version, error, "signals: a version that was trained is not on trial");
                event["not_loaded"] = error.into();
            }
        }
        // How long it took differs every time, and a replay must not.
        if !self.live
            && let Some(event) = event.as_object_mut()
        {
            event.remove("took_s");
        }
        if let Some(trail) = &self.trail {
            trail.training(event_ns, &event);
        }
        // What the trainer does not write into its log itself.
        if (matches!(kind.as_str(), "lost" | "unavailable") || event.get("not_loaded").is_some())
            && let Some(trainer) = &self.trainer
        {
            trainer.note(event_ns, &event);
        }
    }

    /// What became of a signal decides trials and is trained on.
    fn learn(&mut self, signal: &SignalBody, rating: Option<&Rating>, outcome: &OutcomeBody) {
        if let Some(table) = &mut self.outcomes {
            table.add(signal, rating, self.book.names(signal), outcome);
        }
        let decided =
            self.rater.as_mut().zip(rating).and_then(|(rater, rating)| rater.outcome(rating, signal, outcome));
        if let Some(decided) = decided {
            self.decided(outcome.event_ns, &decided);
        }
    }

    /// A trial has ended.
    fn decided(&self, event_ns: i64, decided: &Value) {
        tracing::info!(%decided, "signals: a trial has ended");
        self.alert(&format!("trial {}", decided["event"].as_str().unwrap_or_default()), decided);
        if let Some(trail) = &self.trail {
            trail.training(event_ns, decided);
        }
        if let Some(trainer) = &self.trainer {
            trainer.note(event_ns, decided);
        }
    }

    /// Ends the trainer and the trial, with what is still to be said of them.
    fn part(&mut self) {
        let event_ns = if self.live { tidegate_wire::clock::realtime_ns() } else { self.now_ns };
        let last = self.trainer.as_mut().map(Trainer::end).unwrap_or_default();
        // What comes now is tried by nobody: not by this run, and not by the next unless somebody loads it.
        self.found = true;
        for mut event in last {
            if event["event"] == "challenger" {
                event["not_loaded"] = "the run has ended".into();
            }
            self.trained(event_ns, event);
        }
        if let Some(ended) = self.rater.as_mut().and_then(Rater::end) {
            self.decided(event_ns, &ended);
        }
    }

    fn finish(mut self) -> Kept {
        let lost = self.outcomes.as_ref().map_or(0, OutcomeTable::lost);
        if let Some(table) = &mut self.outcomes {
            let written = table.write();
            if lost > 0 || written.is_err() {
                let source = written.map_or_else(std::io::Error::other, |()| std::io::ErrorKind::StorageFull.into());
                self.error = Some(OutputError::lines(table.directory(), source, lost + table.waiting(), ROWS));
            }
        }
        self.part();
        let (tally, error) = self.book.finish();
        let (trading, unwritten) = self.paper.map(PaperDesk::finish).unzip();
        let error = OutputError::join(OutputError::join(error, unwritten.flatten()), self.error);
        Kept { tally, learning: self.rater.map(Rater::finish), trading, error }
    }
}

impl SignalSink for Work {
    fn signal(&mut self, signal: &SignalBody) {
        self.look(signal.event_ns);
        let (acting, rating) = match &mut self.rater {
            Some(rater) => {
                let (acting, rating) = rater.rate(signal);
                (acting, Some(rating))
            }
            None => (*signal, None),
        };
        if let (Some(trail), Some(rating)) = (&self.trail, &rating) {
            trail.rating(signal.event_ns, &json!(rating));
        }
        if let Some(ended) = self.rater.as_mut().and_then(Rater::broken_off) {
            self.decided(signal.event_ns, &ended);
        }
        let line = self.book.line(&acting).rated(rating.as_ref());
        journal::signal(&line);
        if let Some(teller) = &self.teller {
            teller.signal(signal.event_ns, &line);
        }
        self.book.signal(&acting, rating.as_ref());
        if let Some(paper) = &mut self.paper {
            paper.signal(&acting);
        }
    }

    fn outcome(&mut self, outcome: &OutcomeBody) {
        let known = self.book.outcome(outcome);
        if let Some((signal, rating)) = &known {
            self.learn(signal, rating.as_ref(), outcome);
        }
        if let Some(teller) = &self.teller {
            let learning = self.rater.as_ref().map(|rater| &rater.report);
            teller.outcome(outcome, self.book.tally(), learning);
        }
        self.look(outcome.event_ns);
    }
}

impl TradingSink for Work {
    fn top(&mut self, header: &Header, top: &TopBody) {
        if let Some(paper) = &mut self.paper {
            paper.top(header, top);
        }
    }

    fn traded(&mut self, header: &Header, trade: &Trade) {
        if let Some(paper) = &mut self.paper {
            paper.traded(header, trade);
        }
    }

    fn heartbeat(&mut self, header: &Header) {
        if let Some(paper) = &mut self.paper {
            paper.advance(header.event_ns);
        }
    }
}
