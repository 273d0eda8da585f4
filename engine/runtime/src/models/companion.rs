//! Who runs the sidecar: a thread, or a process that is started, watched and started again.

use std::io::{BufRead, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use serde::{Deserialize, Serialize};
use tidegate_guard::Strategy;
use tidegate_sidecar::messages::{Event, Request};
use tidegate_sidecar::serve::{AdviceCells, Pace, Settings, run_free, run_lockstep};
use tidegate_wire::relay::{RecordReader, RecordWriter};
use tidegate_wire::ring::{Region, RegionError, RegionKind, lossless, overwrite};
use tidegate_wire::{Instrument, Registry, Venue};

use super::known::{Known, LONG_LIFE};
use super::record::{RecordError, read_record};
use super::{Advisor, Lockstep, Mailbox, ModelsPlan};
use crate::children::{end, farewell, hear};

/// Lines of the observers' ring: about 6,000 vectors.
const OBSERVER_LINES: u64 = 1 << 16;
/// Lines of the ring of a lockstep.
const LOCKSTEP_LINES: u64 = 1 << 14;
/// Pauses before a sidecar is started again: the first, and the longest.
const RESTART: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How often a sidecar is asked whether it lives, and how long it may stay silent: one that hangs is worse than a dead
/// one, because nobody would start another.
const PING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// Number of a request that only asks for a sign of life.
const PING_ID: u64 = 0;

/// Why a sidecar cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum CompanionError {
    /// No memory for its rings.
    #[error(transparent)]
    Memory(#[from] RegionError),
    /// The folder of its shared memory cannot be made.
    #[error("{path}: {source}")]
    Folder {
        /// Which folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// No thread.
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
    /// A record cannot be re-enacted.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A latency that is no shorter than the time between adjustments.
    #[error("models.latency is {latency:?}, expected less than the {every:?} between adjustments")]
    Latency {
        /// What was asked for.
        latency: Duration,
        /// Time between adjustments.
        every: Duration,
    },
    /// The program that sent the first line does not speak our language.
    #[error("the first line on standard input is none of an engine: {0}")]
    Greeting(String),
}

/// What the hot loop gets.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) advisor: Advisor,
    /// Where every vector is published for whoever watches.
    pub(crate) observers: Arc<Region>,
}

/// A running sidecar.
#[derive(Debug)]
pub(crate) struct Companion {
    pub(crate) requests: Sender<Request>,
    pub(crate) events: Receiver<Event>,
    thread: Option<JoinHandle<()>>,
    memory: Option<PathBuf>,
}

/// The first line an engine writes to its sidecar.
#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    settings: Settings,
    /// Venue and symbol of every instrument, in order.
    instruments: Vec<(Venue, String)>,
    /// Ring of vectors.
    features: PathBuf,
    /// Cells for advice.
    cells: PathBuf,
}

impl Companion {
    /// Starts what a plan asks for.
    pub(crate) fn start(
        plan: &ModelsPlan,
        registry: &Registry,
        strategies: &[Strategy],
        stop: &AtomicBool,
    ) -> Result<(Option<Self>, Outlet), CompanionError> {
        let observers = || Region::anonymous(RegionKind::Overwrite, OBSERVER_LINES).map(Arc::new);
        match plan {
            ModelsPlan::Off => Ok((None, Outlet { advisor: Advisor::None, observers: observers()? })),
            ModelsPlan::Reenact(path) => {
                let recorded = read_record(path, registry, strategies)?;
                Ok((None, Outlet { advisor: Advisor::Reenact(recorded.into()), observers: observers()? }))
            }
            ModelsPlan::Inline(settings) => {
                let (observers, cells) = (observers()?, Arc::new(AdviceCells::anonymous(registry.len())?));
                let advisor = Advisor::Live(Mailbox::new(cells.clone(), settings.every_ns));
                let mut reader = overwrite::Reader::newest(observers.clone());
                let (settings, registry) = (settings.clone(), registry.clone());
                let companion = Self::thread(move |requests, events| {
                    run_free(&settings, &registry, &mut reader, cells, requests, events);
                })?;
                Ok((Some(companion), Outlet { advisor, observers }))
            }
            ModelsPlan::Lockstep { settings, latency } => {
                let (companion, advisor) = lockstep(settings, *latency, registry, stop)?;
                Ok((Some(companion), Outlet { advisor, observers: observers()? }))
            }
            ModelsPlan::Process { settings, program, memory } => process(settings, program, memory, registry),
        }
    }

    fn thread(run: impl FnOnce(Receiver<Request>, Sender<Event>) + Send + 'static) -> Result<Self, CompanionError> {
        let ((requests, requested), (told, events)) = (unbounded(), unbounded());
        let thread = std::thread::Builder::new().name("tide-sidecar".into());
        let thread = thread.spawn(move || run(requested, told)).map_err(CompanionError::Thread)?;
        Ok(Self { requests, events, thread: Some(thread), memory: None })
    }

    /// Tells the sidecar to end and waits for it.
    pub(crate) fn stop(&mut self) {
        // One that has ended already needs no telling.
        let _ = self.requests.send(Request::Stop);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        if let Some(memory) = self.memory.take() {
            // What a crash leaves is for the flight recorder; a clean end leaves nothing.
            let _ = std::fs::remove_dir_all(memory);
        }
    }
}

fn lockstep(
    settings: &Settings,
    latency: Duration,
    registry: &Registry,
    stop: &AtomicBool,
) -> Result<(Companion, Advisor), CompanionError> {
    let latency_ns = i64::try_from(latency.as_nanos()).unwrap_or(i64::MAX);
    if latency_ns >= settings.every_ns {
        let every = Duration::from_nanos(settings.every_ns.max(0) as u64);
        return Err(CompanionError::Latency { latency, every });
    }
    let cells = Arc::new(AdviceCells::anonymous(registry.len())?);
    let ring = Arc::new(Region::anonymous(RegionKind::Lossless, LOCKSTEP_LINES)?);
    let vectors = RecordWriter::new(lossless::Writer::resume(ring.clone()));
    let (pace, ready) = (Arc::new(Pace::default()), Arc::new(AtomicBool::new(false)));
    let advisor = Lockstep::new(cells.clone(), vectors, pace.clone(), settings.every_ns, latency_ns);
    // Models of a replay are those at its start: what comes meanwhile would come at another event every time.
    let mut settings = settings.clone();
    settings.loader.watch = false;
    settings.loader.gate.enforce_latency = false;
    let (registry, there) = (registry.clone(), ready.clone());
    let companion = Companion::thread(move |requests, events| {
        let reader = RecordReader::new(lossless::Reader::resume(ring));
        run_lockstep(&settings, &registry, reader, cells, &pace, &there, (requests, events));
    })?;
    let running = |companion: &Companion| companion.thread.as_ref().is_some_and(|thread| !thread.is_finished());
    while !ready.load(Ordering::Acquire) && running(&companion) && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok((companion, Advisor::Lockstep(Box::new(advisor))))
}

fn process(
    settings: &Settings,
    program: &Path,
    memory: &Path,
    registry: &Registry,
) -> Result<(Option<Companion>, Outlet), CompanionError> {
    let folder = |source| CompanionError::Folder { path: memory.display().to_string(), source };
    match std::fs::remove_dir_all(memory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(folder(error)),
        _ => {}
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(memory).map_err(folder)?;
    let (features, cells) = (memory.join("features.ring"), memory.join("advice.cells"));
    let observers = Arc::new(Region::create(&features, RegionKind::Overwrite, OBSERVER_LINES)?);
    let mailbox = Mailbox::new(Arc::new(AdviceCells::create(&cells, registry.len())?), settings.every_ns);
    let instruments = registry.iter().map(|(_, i)| (i.venue, i.symbol.clone())).collect();
    let greeting = Greeting { settings: settings.clone(), instruments, features, cells };
    let program = program.to_owned();
    let mut companion = Companion::thread(move |requests, events| supervise(&program, greeting, &requests, &events))?;
    companion.memory = Some(memory.to_owned());
    Ok((Some(companion), Outlet { advisor: Advisor::Live(mailbox), observers }))
}

/// Keeps a sidecar process running until it is told to stop.
fn supervise(program: &Path, greeting: Greeting, requests: &Receiver<Request>, events: &Sender<Event>) {
    let mut greeting = greeting;
    let known = Arc::new(Mutex::new(Known::new()));
    let mut pause = RESTART.0;
    loop {
        let started = Instant::now();
        greeting.settings.loader.resume = lock(&known).resume.clone();
        let reason = match spawn(program, &greeting, events, &known) {
            Ok((mut child, lines, hearing)) => match accompany(&mut child, &lines, &known, requests) {
                Some(reason) => {
                    // What it told before it ended counts. Its output is closed, and a panic there is no event.
                    let _ = hearing.join();
                    lock(&known).lost(started.elapsed());
                    reason
                }
                None => return,
            },
            Err(error) => format!("{}: {error}", program.display()),
        };
        if events.send(Event::Lost { reason }).is_err() {
            return;
        }
        // One that ran for a while may come back soon; one that dies at once waits longer each time.
        pause = if started.elapsed() > LONG_LIFE { RESTART.0 } else { (pause * 2).min(RESTART.1) };
        let until = Instant::now() + pause;
        loop {
            match requests.recv_deadline(until) {
                Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(request) => refuse(&request, events),
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
    }
}

fn refuse(request: &Request, events: &Sender<Event>) {
    if let Some(id) = request.id() {
        let error = Some("the sidecar is being started again; try in a moment".to_owned());
        let _ = events.send(Event::Answer { id, error, models: Vec::new() });
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    // Nobody panics while holding it; a poisoned one is still whole.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a child, with a thread that hears it and one that writes to it: a child that hangs must hold neither the
/// supervisor nor the end of the engine.
fn spawn(
    program: &Path,
    greeting: &Greeting,
    events: &Sender<Event>,
    known: &Arc<Mutex<Known>>,
) -> std::io::Result<(Child, Sender<String>, JoinHandle<()>)> {
    let (lines, written) = unbounded::<String>();
    let mut child = Command::new(program)
        .arg("sidecar")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(std::io::ErrorKind::BrokenPipe.into());
    };
    let write = move || {
        for line in written {
            // One that has died is found by whoever waits for it. The end of the lines closes its input.
            if stdin.write_all(format!("{line}\n").as_bytes()).is_err() {
                return;
            }
        }
    };
    let (events, known) = (events.clone(), known.clone());
    lock(&known).heard = Instant::now();
    let hear = move || {
        hear(stdout, |event| {
            lock(&known).hear(&event);
            // Whoever listened may have gone; the supervisor looks at what is known all the same.
            let _ = events.send(event);
            true
        });
    };
    let threads = std::thread::Builder::new()
        .name("tide-tells".into())
        .spawn(write)
        .and_then(|_| std::thread::Builder::new().name("tide-hears".into()).spawn(hear));
    let hearing = match threads {
        Ok(hearing) => hearing,
        Err(error) => {
            end(&mut child);
            return Err(error);
        }
    };
    let _ = lines.send(serde_json::to_string(greeting)?);
    Ok((child, lines, hearing))
}

/// Passes requests on until the child ends or hangs (says how) or was told to end (`None`).
fn accompany(
    child: &mut Child,
    lines: &Sender<String>,
    known: &Mutex<Known>,
    requests: &Receiver<Request>,
) -> Option<String> {
    let mut pinged = Instant::now();
    let send = |request: &Request| {
        // Its writer has ended with it; that is found below.
        let _ = lines.send(serde_json::to_string(request).unwrap_or_default());
    };
    loop {
        match requests.recv_timeout(Duration::from_millis(50)) {
            Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => {
                send(&Request::Stop);
                farewell(child);
                return None;
            }
            Ok(request) => send(&request),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if pinged.elapsed() > PING.0 {
            pinged = Instant::now();
            send(&Request::List { id: PING_ID });
        }
        let silent = lock(known).heard.elapsed();
        if silent > PING.1 {
            end(child);
            return Some(format!("the sidecar was silent for {} s and was killed", silent.as_secs()));
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Some(format!("the sidecar ended: {status}"));
        }
    }
}

/// The sidecar's process: greeted on standard input, requests there afterwards, events on standard output.
///
/// # Errors
/// It was not started by an engine, or the shared memory is none.
pub fn serve_child() -> Result<(), CompanionError> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    let greeting: Greeting = read
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_str(&line).map_err(|error| error.to_string()))
        .map_err(CompanionError::Greeting)?;
    // An interrupt from the terminal reaches the engine too, which ends its input when it is time.
    // SAFETY: a plain call; ignoring a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
    limit_memory();
    let registry = registry(&greeting.instruments);
    let region = Arc::new(Region::open(&greeting.features, RegionKind::Overwrite)?);
    let cells = Arc::new(AdviceCells::open(&greeting.cells)?);
    let ((requests, requested), (told, events)) = (unbounded(), unbounded());
    let listen = move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if let Ok(request) = serde_json::from_str(&line) {
                let _ = requests.send(request);
            }
        }
        let _ = requests.send(Request::Stop);
    };
    let tell = move || {
        let mut stdout = std::io::stdout().lock();
        for event in events {
            if event == Event::Ended {
                return;
            }
            let line = serde_json::to_string(&event).unwrap_or_default();
            if stdout.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdout.flush()).is_err() {
                return;
            }
        }
    };
    let spawn = |name: &str| std::thread::Builder::new().name(name.into());
    // Ends with the process: it waits for input that may never come.
    spawn("tide-listens").spawn(listen).map_err(CompanionError::Thread)?;
    let telling = spawn("tide-tells").spawn(tell).map_err(CompanionError::Thread)?;
    let mut reader = overwrite::Reader::newest(region);
    run_free(&greeting.settings, &registry, &mut reader, cells, requested, told);
    let _ = telling.join();
    Ok(())
}

/// Most memory of a sidecar's process, bytes: what a hostile model asks for must not come out of the engine's.
const MEMORY_MAX: u64 = 8 << 30;

/// Keeps a sidecar from taking the host's memory, and offers it first where memory runs out.
fn limit_memory() {
    let limit = libc::rlimit { rlim_cur: MEMORY_MAX, rlim_max: MEMORY_MAX };
    // SAFETY: the pointer is to a value of our own. A host that refuses has its reasons; the engine is no worse off.
    unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
}

/// Instruments by name: all that the market graph needs of them.
fn registry(instruments: &[(Venue, String)]) -> Registry {
    let mut registry = Registry::new();
    for (venue, symbol) in instruments {
        let instrument = Instrument::linear(*venue, symbol, 0, 0);
        // The engine registered them the same way, in the same order.
        let _ = registry.add(instrument);
    }
    registry
}
