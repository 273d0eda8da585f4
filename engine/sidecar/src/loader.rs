//! The loader's thread: watches the repository, passes new versions through the gate, notes which one is in force.
//!
//! Loading, checking and writing take milliseconds and more; the sidecar's own thread must do none of it. A
//! version is looked at when its folder has not changed between two looks, so that one that is being copied by hand is
//! not refused for being half there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use notify::Watcher;
use ort::environment::Environment;
use tidegate_market::graph::MarketGraph;
use tidegate_wire::Registry;

use crate::contract::{Contract, Kind};
use crate::core::Handover;
use crate::gate::{Admitted, GateSettings, admit};
use crate::messages::Event;
use crate::model::Model;
use crate::native;
use crate::refusal::Refusal;
use crate::repository::{Repository, VersionFiles, is_name};

/// What the loader is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// Load a version and put it in shadow.
    Load(String, u32, u64),
    /// A version is in force: the repository points to it from now on.
    Remember(String, u32),
    /// Something in the repository changed.
    Look,
    /// End.
    Stop,
}

/// What the loader needs to know.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct LoaderSettings {
    /// The repository.
    pub repository: PathBuf,
    /// ONNX Runtime's library, if it is not to be looked for.
    pub library: Option<PathBuf>,
    /// The gate.
    pub gate: GateSettings,
    /// Look for new versions while running.
    pub watch: bool,
    /// The one model that may advise on thresholds.
    pub tuner: String,
    /// Where a sidecar before this one left off, by model; empty at an engine's start.
    pub resume: BTreeMap<String, Resume>,
}

/// Where a sidecar left off with a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Resume {
    /// The version in force.
    pub in_force: Option<u32>,
    /// The highest version that was ever taken.
    pub known: u32,
    /// Versions that are not to be looked at again: they were being judged when the sidecar died.
    pub deadly: Vec<u32>,
}

/// How often the repository is looked at where the file system tells nothing.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A folder that changed is looked at again after this long.
const SETTLE: Duration = Duration::from_millis(100);

/// What a folder looked like: names, sizes and times of its files.
type Appearance = Vec<(String, u64, u128)>;

pub(crate) struct Loader {
    settings: LoaderSettings,
    repository: Repository,
    graph: MarketGraph,
    environment: Environment,
    orders: Receiver<Order>,
    handovers: Sender<Handover>,
    events: Sender<Event>,
    /// Versions that were judged, by how they looked then.
    judged: BTreeMap<(String, u32), Appearance>,
    /// Versions that have been seen once, and how.
    unsettled: BTreeMap<(String, u32), (Appearance, Instant)>,
    /// Highest version that was taken, by model: older ones are not taken by themselves.
    known: BTreeMap<String, u32>,
}

/// How long a folder without all its files may stay as it is before it is judged all the same: whoever copies by hand
/// may pause.
const INCOMPLETE: Duration = Duration::from_secs(2);

/// The loader's ends: orders to it, models from it.
pub(crate) struct LoaderEnds {
    pub(crate) orders: Sender<Order>,
    pub(crate) handovers: Receiver<Handover>,
    pub(crate) thread: std::thread::JoinHandle<()>,
}

/// Opens ONNX Runtime, loads the version in force of every model and starts the thread. Without a library there is no
/// thread, and an event says why.
pub(crate) fn start(settings: LoaderSettings, registry: &Registry, events: Sender<Event>) -> Option<LoaderEnds> {
    let environment =
        native::find(settings.library.as_deref()).and_then(|path| native::environment(&path)).map_err(|error| {
            let _ = events.send(Event::Unavailable { reason: error.to_string() });
        });
    let environment = environment.ok()?;
    let kernel = crate::gat::Gat::kernel().to_owned();
    let _ = events.send(Event::Ready { kernel, runtime: ort::info().to_owned() });
    let ((orders, order_end), (handover_end, handovers)) = (unbounded(), unbounded());
    let repository = Repository::new(&settings.repository);
    let mut loader = Loader {
        settings,
        repository,
        graph: MarketGraph::new(registry),
        environment,
        orders: order_end,
        handovers: handover_end,
        events,
        judged: BTreeMap::new(),
        unsettled: BTreeMap::new(),
        known: BTreeMap::new(),
    };
    // Before anything runs: the first adjustment has its models.
    loader.load_current();
    let look = orders.clone();
    let spawned = std::thread::Builder::new().name("tide-loader".into()).spawn(move || loader.run(look));
    spawned.ok().map(|thread| LoaderEnds { orders, handovers, thread })
}

/// Puts the calling thread behind others on its core: judging a model may take its time, an adjustment may not.
fn give_way() {
    // Elsewhere the same call is about the whole process.
    #[cfg(target_os = "linux")]
    // SAFETY: a plain call about the calling thread. A system that refuses leaves it where it is.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 10);
    }
}

impl Loader {
    /// Loads what was in force before: as the sidecar before this one left it, else as the repository points. Where
    /// nothing points, the newest version that passes; a model of signals only in shadow, for it comes into force by
    /// its trial. Versions above the one in force are not taken up by a start: an operator may have chosen that one.
    fn load_current(&mut self) {
        let names = self.repository.names();
        if names.iter().all(|name| self.repository.versions(name).is_empty()) {
            let directory = self.repository.root().display().to_string();
            let _ = self.events.send(Event::Empty { directory });
        }
        for name in names {
            let resume = self.settings.resume.get(&name).cloned().unwrap_or_default();
            let mut versions = self.repository.versions(&name);
            if self.settings.watch {
                // One that is being copied right now is looked at when that is over.
                versions.retain(|version| is_complete(&self.repository.folder(&name, *version)));
            }
            let pointed = resume.in_force.or_else(|| self.repository.pointer(&name));
            self.known.insert(name.clone(), resume.known.max(versions.last().copied().unwrap_or(0)));
            if let Some(version) = pointed {
                // What is newer was not in force: it has to show what it can, unless an operator chose the older one
                // before this engine started.
                let newest = versions.last().copied().unwrap_or(0);
                versions = vec![version];
                if resume.in_force.is_some() {
                    self.known.insert(name.clone(), resume.known.max(version));
                } else if newest > version {
                    let newer = Event::Newer { name: name.clone(), version: newest, pointed: version };
                    let _ = self.events.send(newer);
                }
            }
            for version in versions.into_iter().rev().filter(|version| !resume.deadly.contains(version)) {
                if let Ok(model) = self.load(&name, version) {
                    // A model of signals comes into force by what it showed, and a pointer says that it did.
                    let tried = pointed.is_some() || !model.looks_at_signals();
                    let over = if tried { Handover::InForce } else { Handover::Shadow };
                    // What was refused in shadow before the sidecar was lost has had its time.
                    if tried || version > resume.known {
                        let _ = self.handovers.send(over(Box::new(model)));
                    }
                    break;
                }
            }
        }
    }

    fn run(mut self, look: Sender<Order>) {
        give_way();
        // Kept alive with the thread. Without it the look every half second is enough.
        let _watcher = self.settings.watch.then(|| watch(self.repository.root(), look)).flatten();
        let mut next = Instant::now() + LOOK_EVERY;
        loop {
            let order = self.orders.recv_timeout(next.saturating_duration_since(Instant::now()));
            match order {
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Order::Remember(name, version)) => self.remember(&name, version),
                Ok(Order::Load(name, version, id)) => self.load_for(id, &name, version),
                // Several changes come at once; one look after they have settled is enough.
                Ok(Order::Look) => next = next.min(Instant::now() + SETTLE),
                Err(RecvTimeoutError::Timeout) => {
                    let settled = !self.settings.watch || self.look();
                    next = Instant::now() + if settled { LOOK_EVERY } else { SETTLE };
                }
            }
        }
    }

    /// Looks for versions that are newer than those known; whether nothing is still changing.
    fn look(&mut self) -> bool {
        let mut settled = true;
        for name in self.repository.names() {
            let known = self.known.get(&name).copied().unwrap_or(0);
            for version in self.repository.versions(&name).into_iter().filter(|version| *version > known) {
                let folder = self.repository.folder(&name, version);
                let (key, now) = ((name.clone(), version), appearance(&folder));
                let deadly = self.settings.resume.get(&name).is_some_and(|resume| resume.deadly.contains(&version));
                if deadly || self.judged.get(&key) == Some(&now) {
                    continue;
                }
                let since = match self.unsettled.get(&key) {
                    Some((before, since)) if *before == now => *since,
                    _ => {
                        self.unsettled.insert(key, (now, Instant::now()));
                        settled = false;
                        continue;
                    }
                };
                if !is_complete(&folder) && since.elapsed() < INCOMPLETE {
                    settled = false;
                    continue;
                }
                self.unsettled.remove(&key);
                self.judged.insert(key, now);
                if let Ok(model) = self.load(&name, version) {
                    self.known.insert(name.clone(), version);
                    let _ = self.handovers.send(Handover::Shadow(Box::new(model)));
                }
            }
        }
        settled
    }

    /// Points the repository to a version, so that the next start has it.
    fn remember(&self, name: &str, version: u32) {
        if self.repository.pointer(name) == Some(version) {
            return;
        }
        // A repository that cannot be written to is no reason to stop advising.
        if let Err(error) = self.repository.set_current(name, version) {
            let text = format!("CURRENT cannot be written: {error}");
            let _ = self.events.send(Event::Fault { name: name.to_owned(), version, text });
        }
    }

    fn load_for(&mut self, id: u64, name: &str, version: u32) {
        let there = is_name(name) && self.repository.versions(name).contains(&version);
        let loaded = if there {
            self.load(name, version).map_err(|refusal| format!("{name} {version} is refused: {refusal}"))
        } else {
            Err(format!("the repository has no {name} {version}"))
        };
        if loaded.is_ok() {
            // It need not be found a second time.
            let known = self.known.entry(name.to_owned()).or_default();
            *known = version.max(*known);
        }
        let error = loaded.map(|model| self.handovers.send(Handover::Shadow(Box::new(model)))).err();
        let _ = self.events.send(Event::Answer { id, error, models: Vec::new() });
    }

    /// Passes a version through the gate; tells what came of it.
    fn load(&self, name: &str, version: u32) -> Result<Model, Refusal> {
        let _ = self.events.send(Event::Judging { name: name.to_owned(), version });
        let files = VersionFiles::read(&self.repository.folder(name, version));
        let model = files
            .and_then(|files| admit(&files, &self.settings.gate, &self.environment))
            .and_then(|admitted| self.only_tuner(admitted))
            .and_then(|admitted| Model::new(admitted, &self.graph));
        let name = name.to_owned();
        let _ = self.events.send(match &model {
            Ok(model) => Event::Admitted { name, version, hash: model.hash_hex(), report: model.report.clone() },
            Err(refusal) => refused(name, version, refusal),
        });
        model
    }
}

impl Loader {
    /// One model moves thresholds; a second one would be a second opinion that nobody compares with the first.
    fn only_tuner(&self, admitted: Admitted) -> Result<Admitted, Refusal> {
        let (name, tuner) = (&admitted.contract.name, &self.settings.tuner);
        if admitted.contract.kind == Kind::Tuner && name != tuner {
            return Err(Refusal::Contract(format!("{name} is a tuner, and thresholds follow {tuner} (models.tuner)")));
        }
        Ok(admitted)
    }
}

/// Whether a folder has the files that its contract names, in the sizes that it names.
fn is_complete(folder: &Path) -> bool {
    let Ok(files) = VersionFiles::read(folder) else { return false };
    let Ok(contract) = Contract::parse(&files.contract) else { return false };
    let size = |file: &str| contract.files.get(file).map(|digest| digest.bytes);
    size("model.onnx") == Some(files.model.len() as u64) && size("golden.json") == Some(files.golden.len() as u64)
}

fn refused(name: String, version: u32, refusal: &Refusal) -> Event {
    Event::Refused { name, version, reason: refusal.reason(), text: refusal.to_string() }
}

/// Frees models that have no place any more, on a thread of its own: not the sidecar's, whom it would hold up, and not
/// the loader's, which gives way to others and must not do so with an allocator's lock in its hands.
pub(crate) fn retire(retired: Receiver<Box<Model>>) -> std::io::Result<std::thread::JoinHandle<()>> {
    let free = move || {
        for model in retired {
            drop(model);
            // What a large one leaves would else stay for ever.
            #[cfg(all(target_os = "linux", target_env = "gnu"))]
            // SAFETY: a plain call without pointers.
            unsafe {
                libc::malloc_trim(0);
            }
        }
    };
    std::thread::Builder::new().name("tide-retire".into()).spawn(free)
}

fn watch(root: &Path, look: Sender<Order>) -> Option<notify::RecommendedWatcher> {
    let look = Arc::new(look);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading is an event too.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = look.send(Order::Look);
        }
    });
    let watching = watcher.as_mut().map(|watcher| watcher.watch(root, notify::RecursiveMode::Recursive));
    if matches!(watching, Ok(Ok(()))) { watcher.ok() } else { None }
}

fn appearance(folder: &Path) -> Appearance {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Appearance = entries
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let name = entry.file_name().to_string_lossy().into_owned();
            Some((name, metadata.len(), changed.unwrap_or_default().as_nanos()))
        })
        .collect();
    files.sort();
    files
}
