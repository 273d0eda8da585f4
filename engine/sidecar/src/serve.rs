//! Running a sidecar: beside a live engine, on its newest vectors; or in lockstep with a replay, on all of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, TryRecvError};
use serde::{Deserialize, Serialize};
use tidegate_market::graph::Schedule;
use tidegate_wire::advice::{ADVICE_WORDS, Advice, AdviceStamps};
use tidegate_wire::cells::Cells;
use tidegate_wire::clock::Clock;
use tidegate_wire::event::{Header, Status};
use tidegate_wire::feature::{FeatureBody, FeatureRecord, FeatureSink, MinuteBody, MinuteRecord};
use tidegate_wire::relay::RecordReader;
use tidegate_wire::ring::{RecordBuf, overwrite};
use tidegate_wire::{RecordKind, Registry};

use crate::core::{Publish, Sidecar};
use crate::loader::{self, LoaderEnds, LoaderSettings, Order};
use crate::messages::{Event, Request, State};
use crate::slot::ShadowSettings;
use crate::vigil::{Vigil, be_prompt};

/// Cells that advice is published in, one an instrument.
pub type AdviceCells = Cells<ADVICE_WORDS>;

/// What a sidecar needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Loading and the gate.
    pub loader: LoaderSettings,
    /// Shadow and promotion.
    pub shadow: ShadowSettings,
    /// Event time between two adjustments, ns, > 0.
    pub every_ns: i64,
    /// Keep `CURRENT` in the repository up to date.
    pub remember: bool,
}

impl Settings {
    /// Settings with defaults for everything but the repository.
    pub fn new(repository: impl Into<PathBuf>) -> Self {
        let loader = LoaderSettings {
            repository: repository.into(),
            library: None,
            gate: Default::default(),
            watch: true,
            tuner: TUNER.into(),
            resume: Default::default(),
        };
        Self { loader, shadow: ShadowSettings::default(), every_ns: 1_000_000_000, remember: false }
    }
}

/// The model that advises on thresholds unless another one is named.
pub const TUNER: &str = "breaker-tuner";

/// Publishes into cells.
#[derive(Debug)]
pub(crate) struct CellPublisher(pub(crate) Arc<AdviceCells>);

impl Publish for CellPublisher {
    fn advice(&mut self, advice: &Advice) {
        if let Some(cell) = self.0.cell(advice.instrument.index()) {
            cell.store(&advice.words());
        }
    }

    fn done(&mut self) {
        self.0.ring();
    }
}

/// A sidecar with its loader and its ends to the engine.
struct Service {
    sidecar: Sidecar,
    loader: Option<LoaderEnds>,
    requests: Receiver<Request>,
    events: Sender<Event>,
    /// Frees models.
    retire: Option<JoinHandle<()>>,
    /// Changes of versions in force that the repository knows of; `None` when it is not told.
    remembered: Option<u64>,
    stopped: bool,
    vigil: Vigil,
}

impl Service {
    fn new(
        settings: &Settings,
        registry: &Registry,
        clock: Clock,
        requests: Receiver<Request>,
        events: Sender<Event>,
    ) -> Self {
        let (retired, retirees) = crossbeam::channel::unbounded();
        let loader = loader::start(settings.loader.clone(), registry, events.clone());
        let sidecar = Sidecar::new(registry, clock, settings.shadow, events.clone(), retired);
        // Without the thread models are freed where they are retired.
        let retire = loader::retire(retirees).ok();
        be_prompt();
        let (remembered, vigil) = (settings.remember.then_some(0), Vigil::new());
        let mut service = Self { sidecar, loader, requests, events, retire, remembered, stopped: false, vigil };
        service.attend();
        service
    }

    /// Between adjustments: models from the loader, requests from the engine.
    fn attend(&mut self) {
        self.take_over();
        self.answer_all();
        self.remember();
    }

    fn answer_all(&mut self) {
        loop {
            match self.requests.try_recv() {
                Ok(request) => {
                    // Whoever asks may have heard of a model that was handed over since the look above.
                    self.take_over();
                    self.answer(request);
                }
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.stopped = true;
                    return;
                }
            }
        }
    }

    fn take_over(&mut self) {
        while let Some(handover) = self.loader.as_ref().and_then(|ends| ends.handovers.try_recv().ok()) {
            self.sidecar.take_over(handover);
        }
    }

    fn answer(&mut self, request: Request) {
        let (id, result) = match request {
            Request::List { id } => (id, Ok(())),
            Request::Promote { id, name, version } => (id, self.sidecar.promote(&name, version)),
            Request::Rollback { id, name } => (id, self.sidecar.roll_back(&name)),
            Request::Dismiss { id, name, version, text } => (id, self.sidecar.dismiss(&name, version, text)),
            Request::Rate { id, name, event_ns, row } => {
                let (in_force, shadow) = self.sidecar.rate(&name, event_ns, &row);
                let _ = self.events.send(Event::Rated { id, in_force, shadow });
                return;
            }
            Request::Load { id, name, version } if self.sidecar.is_in_force(&name, version) => {
                // In shadow beside itself it would only push out the version before.
                (id, Err(format!("{name} {version} is in force already")))
            }
            Request::Load { id, name, version } => {
                // The loader answers when it has judged.
                let sent = self.loader.as_ref().map(|ends| ends.orders.send(Order::Load(name, version, id)));
                match sent {
                    Some(Ok(())) => return,
                    _ => (id, Err("nothing can be loaded: there is no ONNX Runtime".to_owned())),
                }
            }
            Request::Stop => {
                self.stopped = true;
                return;
            }
        };
        let models = self.sidecar.list();
        let _ = self.events.send(Event::Answer { id, error: result.err(), models });
    }

    /// Has the repository point to the versions in force, when they have changed.
    fn remember(&mut self) {
        let (changes, Some(ends)) = (self.sidecar.changes(), &self.loader) else { return };
        if self.remembered.is_none_or(|remembered| remembered == changes) {
            return;
        }
        self.remembered = Some(changes);
        for model in self.sidecar.list().into_iter().filter(|model| model.state == State::Active) {
            let _ = ends.orders.send(Order::Remember(model.name, model.version));
        }
    }

    fn adjust(&mut self, moment: i64, stamps: AdviceStamps, publisher: &mut impl Publish) {
        self.vigil.moment(Instant::now());
        self.sidecar.adjust(moment, stamps, publisher);
        self.attend();
    }

    /// There is nothing to read: looks at everything else, then rests until there may be something.
    fn idle(&mut self) {
        self.attend();
        let now = Instant::now();
        if self.vigil.rest(now) {
            self.sidecar.rehearse();
            self.vigil.rehearsed(now, Instant::now());
        }
    }

    fn end(self) {
        let Self { sidecar, loader, retire, events, .. } = self;
        drop(sidecar);
        let threads = loader.map(|LoaderEnds { orders, thread, .. }| {
            let _ = orders.send(Order::Stop);
            thread
        });
        // The loader may be in the gate with a model that takes its time: nobody has to wait for that.
        let threads: Vec<_> = threads.into_iter().chain(retire).collect();
        let until = Instant::now() + FAREWELL;
        while threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Whoever listens need not wait for it either.
        let _ = events.send(Event::Ended);
    }
}

/// How long the end waits for threads of its own.
const FAREWELL: Duration = Duration::from_secs(1);
/// Records read between two looks at requests and time.
const BATCH: usize = 1_024;

/// Runs a sidecar beside a live engine until it is told to stop: reads vectors from an overwrite ring, always the
/// newest, and publishes into cells. Gives the number of adjustments and how
/// often the writer lapped it.
pub fn run_free(
    settings: &Settings,
    registry: &Registry,
    features: &mut overwrite::Reader,
    cells: Arc<AdviceCells>,
    requests: Receiver<Request>,
    events: Sender<Event>,
) -> (u64, u64) {
    let clock = Clock::calibrate();
    let mut service = Service::new(settings, registry, clock, requests, events);
    let mut publisher = CellPublisher(cells);
    let (mut schedule, mut buf) = (Schedule::new(settings.every_ns), RecordBuf::default());
    let (mut due, mut caught_up): (Option<(i64, AdviceStamps)>, _) = (None, false);
    while !service.stopped {
        let mut read = 0;
        while read < BATCH
            && let Some(words) = features.pop(&mut buf)
        {
            read += 1;
            if let Some(minute) = minute(words) {
                service.sidecar.minute(&minute.header, &minute.body);
            }
            let Some(record) = FeatureRecord::of_words(words) else { continue };
            if let Some(moment) = schedule.due(record.header.event_ns) {
                due = Some((moment, stamps(&record.header, &record.body)));
            }
            service.sidecar.see(&record.header, &record.body);
        }
        // Only when nothing newer is waiting: an answer to yesterday's market helps nobody.
        if read < BATCH {
            match due.take() {
                Some((moment, stamps)) if caught_up => service.adjust(moment, stamps, &mut publisher),
                // What came while the models were loading is known from here on, but too old to answer.
                _ => caught_up = true,
            }
        }
        if read == 0 {
            service.idle();
        } else {
            service.vigil.busy();
        }
    }
    let adjustments = service.sidecar.adjustments();
    service.end();
    (adjustments, features.laps())
}

fn stamps(header: &Header, body: &FeatureBody) -> AdviceStamps {
    AdviceStamps { arrived: header.arrive_ticks, features: body.features_ticks, ..AdviceStamps::default() }
}

fn minute(words: &[u64]) -> Option<&MinuteRecord> {
    let bytes: &[u8] = bytemuck::cast_slice(words.get(..size_of::<MinuteRecord>() / 8)?);
    let record: &MinuteRecord = bytemuck::try_from_bytes(bytes).ok()?;
    (record.header.kind == RecordKind::Minute as u8).then_some(record)
}

/// What a replay and its sidecar share beside the cells.
#[derive(Debug, Default)]
pub struct Pace {
    /// Moments answered so far.
    pub answered: AtomicU64,
    /// When the newest moment was asked for, ticks. There is one question at a time.
    pub asked: AtomicU64,
    /// The replay will send no more.
    pub done: AtomicBool,
    /// The sidecar has ended, as it should or not.
    pub ended: AtomicBool,
}

/// Sets the flag when a sidecar's thread ends, however it ends: nobody must wait for it any more.
struct Ending<'a>(&'a Pace);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
    }
}

/// Runs a sidecar in lockstep with a replay: every vector comes through a lossless ring, every heartbeat in it is a
/// moment to adjust at, and `pace.answered` counts them once their advice is in its cells. Gives the number of
/// adjustments.
pub fn run_lockstep(
    settings: &Settings,
    registry: &Registry,
    mut features: RecordReader,
    cells: Arc<AdviceCells>,
    pace: &Pace,
    ready: &AtomicBool,
    (requests, events): (Receiver<Request>, Sender<Event>),
) -> u64 {
    let _ending = Ending(pace);
    let service = Service::new(settings, registry, Clock::calibrate(), requests, events);
    ready.store(true, Ordering::Release);
    let publisher = Answers { cells: CellPublisher(cells), pace };
    let mut stepper = Stepper { service, publisher };
    loop {
        let last = pace.done.load(Ordering::Acquire);
        if features.poll_features(&mut stepper) {
            stepper.service.vigil.busy();
        } else if last && stepper.service.stopped {
            break;
        } else {
            // Whoever asks about signals may do so after the last vector: it is told when to end.
            // The replay may be paced: its next vector can be long in coming.
            stepper.service.idle();
        }
    }
    let adjustments = stepper.service.sidecar.adjustments();
    stepper.service.end();
    adjustments
}

/// Publishes into cells and lets the replay go on: what follows an adjustment takes its time beside the replay.
struct Answers<'a> {
    cells: CellPublisher,
    pace: &'a Pace,
}

impl Publish for Answers<'_> {
    fn advice(&mut self, advice: &Advice) {
        self.cells.advice(advice);
    }

    fn done(&mut self) {
        self.cells.done();
        self.pace.answered.fetch_add(1, Ordering::Release);
    }
}

struct Stepper<'a> {
    service: Service,
    publisher: Answers<'a>,
}

impl FeatureSink for Stepper<'_> {
    fn features(&mut self, header: &Header, body: &FeatureBody) {
        self.service.sidecar.see(header, body);
    }

    fn minute(&mut self, header: &Header, body: &MinuteBody) {
        self.service.sidecar.minute(header, body);
    }

    fn heartbeat(&mut self, header: &Header) {
        // The event that makes a moment due has no vector yet: the wait begins with the question.
        let features = self.publisher.pace.asked.load(Ordering::Acquire);
        let stamps = AdviceStamps { arrived: header.arrive_ticks, features, ..AdviceStamps::default() };
        self.service.adjust(header.event_ns, stamps, &mut self.publisher);
    }

    fn status(&mut self, _: &Header, _: &Status) {}
}
