//! Running a sidecar: beside a live engine, on its newest vectors; or in lockstep with a replay, on all of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
use crate::messages::{Event, Request};
use crate::repository::Repository;
use crate::slot::ShadowSettings;
use crate::vigil::{Vigil, nap_on_time};

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
    repository: Repository,
    remember: bool,
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
        if let Some(ends) = &loader {
            let orders = ends.orders.clone();
            // A thread of its own, so that the sidecar's hand-over never waits for the gate.
            let forward = move || retirees.into_iter().all(|model| orders.send(Order::Free(model)).is_ok());
            let _ = std::thread::Builder::new().name("tide-retire".into()).spawn(forward);
        }
        let repository = Repository::new(&settings.loader.repository);
        nap_on_time();
        let (remember, vigil) = (settings.remember, Vigil::new());
        let mut service = Self { sidecar, loader, requests, events, repository, remember, stopped: false, vigil };
        service.take_over();
        if service.remember {
            service.remember();
        }
        service
    }

    /// Between adjustments: models from the loader, requests from the engine.
    fn attend(&mut self) {
        self.take_over();
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
        let before = self.sidecar.in_force();
        let (id, result) = match request {
            Request::List { id } => (id, Ok(())),
            Request::Promote { id, name } => (id, self.sidecar.promote(&name)),
            Request::Rollback { id, name } => (id, self.sidecar.roll_back(&name)),
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
        if self.remember && self.sidecar.in_force() != before {
            self.remember();
        }
        let _ = self.events.send(Event::Answer { id, error: result.err(), models });
    }

    /// Points the repository to the versions in force, so that the next start has them.
    fn remember(&self) {
        for model in self.sidecar.list() {
            let in_force = model.state == crate::messages::State::Active;
            if in_force && self.repository.pointer(&model.name) != Some(model.version) {
                // A repository that cannot be written to is no reason to stop advising.
                if let Err(error) = self.repository.set_current(&model.name, model.version) {
                    let text = format!("CURRENT cannot be written: {error}");
                    let _ = self.events.send(Event::Fault { name: model.name, version: model.version, text });
                }
            }
        }
    }

    fn adjust(&mut self, moment: i64, stamps: AdviceStamps, publisher: &mut impl Publish) {
        let before = self.sidecar.in_force();
        self.vigil.moment(Instant::now());
        self.sidecar.adjust(moment, stamps, publisher);
        if self.remember && self.sidecar.in_force() != before {
            self.remember();
        }
    }

    /// There is nothing to read: looks at everything else, then rests until there may be something.
    fn idle(&mut self) {
        self.attend();
        if self.vigil.rest(Instant::now()) {
            self.sidecar.rehearse();
        }
    }

    fn end(self) {
        if let Some(ends) = self.loader {
            let _ = ends.orders.send(Order::Stop);
            // It may be in the gate with a model that takes for ever; it holds nothing that the end has to wait for.
            let until = Instant::now() + FAREWELL;
            while !ends.thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// How long the end waits for the loader.
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
            let Some(record) = record(words) else { continue };
            if schedule.due(record.header.event_ns).is_some() {
                let stamps = stamps(&record.header, &record.body);
                due = Some((record.header.event_ns, stamps));
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

fn record(words: &[u64]) -> Option<&FeatureRecord> {
    let bytes: &[u8] = bytemuck::cast_slice(words.get(..size_of::<FeatureRecord>() / 8)?);
    let record: &FeatureRecord = bytemuck::try_from_bytes(bytes).ok()?;
    (record.header.kind == RecordKind::Features as u8).then_some(record)
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
    let mut stepper = Stepper { service, publisher, stamps: AdviceStamps::default() };
    loop {
        let last = pace.done.load(Ordering::Acquire);
        if features.poll_features(&mut stepper) {
            stepper.service.vigil.busy();
        } else if last {
            break;
        } else {
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
    stamps: AdviceStamps,
}

impl FeatureSink for Stepper<'_> {
    fn features(&mut self, header: &Header, body: &FeatureBody) {
        self.stamps.features = body.features_ticks;
        self.service.sidecar.see(header, body);
    }

    fn minute(&mut self, header: &Header, body: &MinuteBody) {
        self.service.sidecar.minute(header, body);
    }

    fn heartbeat(&mut self, header: &Header) {
        // The event that makes a moment due waits until this is answered: nothing is older than it.
        let (arrived, features) = (header.arrive_ticks, self.stamps.features.max(header.arrive_ticks));
        let stamps = AdviceStamps { arrived, features, ..self.stamps };
        self.service.adjust(header.event_ns, stamps, &mut self.publisher);
        self.service.attend();
    }

    fn status(&mut self, _: &Header, _: &Status) {}
}
