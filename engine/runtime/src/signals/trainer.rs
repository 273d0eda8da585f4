//! The trainer: a Python process that trains models on outcomes, started and watched by the engine.
//!
//! They speak JSON lines over pipes. The engine says when there may be new outcomes; the trainer says what it made of
//! them, and ends what it says with `looked`. A replay waits for that, so that the same input gives the same models; a
//! live engine never does. A trainer that is missing, dies or hangs costs nothing but new models, and is said; a live
//! engine starts it again at its next look, a replay does not.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, unbounded};
use serde_json::{Map, Value, json};
use tidegate_sidecar::contract::Label;
use tidegate_trade::signals::Learning;

use crate::children;

/// The log of trainings, below the output directory.
pub const TRAINING_LOG: &str = "logs/microstructure_training.log";

/// How long a trainer may take to say that it runs: Python reads a lot of files at first.
const START: Duration = Duration::from_secs(120);
/// How often a replay that waits looks whether it is to stop.
const LISTEN: Duration = Duration::from_millis(100);
const MINUTE_NS: i64 = 60_000_000_000;

struct Running {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<Value>,
    /// Until when it must say that it has looked, or that it runs.
    until: Option<Instant>,
    ready: bool,
    /// How long a look may take.
    patience: Duration,
}

/// Starts, asks and watches the trainer.
pub(super) struct Trainer {
    settings: Learning,
    /// What outcomes are about.
    label: Label,
    outcomes: PathBuf,
    repository: PathBuf,
    log: PathBuf,
    core: Option<usize>,
    live: bool,
    /// The run is to end before its time.
    stop: Arc<AtomicBool>,
    running: Option<Running>,
    /// It was missing, or was lost once.
    failed: bool,
    next_look_ns: i64,
}

/// What a look, or nothing, came to.
pub(super) type Told = Vec<Value>;

impl Trainer {
    /// A trainer that is not started yet. `core` is the one that it is kept to.
    pub(super) fn new(
        (settings, label): (&Learning, Label),
        (outcomes, repository): (&Path, &Path),
        output: &Path,
        core: Option<usize>,
        (live, stop): (bool, Arc<AtomicBool>),
    ) -> std::io::Result<Self> {
        let log = output.join(TRAINING_LOG);
        log.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        // Absolute: the trainer need not run where the engine does.
        let (outcomes, repository) = (std::path::absolute(outcomes)?, std::path::absolute(repository)?);
        Ok(Self {
            settings: settings.clone(),
            label,
            outcomes,
            repository,
            log: std::path::absolute(log)?,
            core: settings.core.or(core),
            live,
            stop,
            running: None,
            failed: false,
            next_look_ns: i64::MIN,
        })
    }

    /// The program, where there is none of that name: better said at the start than at the first look.
    pub(super) fn missing(&self) -> Option<&str> {
        let program = self.settings.program.first()?;
        let path = Path::new(program);
        let found = if path.components().count() > 1 {
            path.is_file()
        } else {
            let folders = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&folders).any(|folder| folder.join(path).is_file())
        };
        (!found).then_some(program.as_str())
    }

    /// Whether it is time to look, at this event time.
    pub(super) fn is_due(&mut self, now_ns: i64) -> bool {
        let every = i64::from(self.settings.look_minutes) * MINUTE_NS;
        let due = self.next_look_ns != i64::MIN && now_ns >= self.next_look_ns;
        if due || self.next_look_ns == i64::MIN {
            self.next_look_ns = now_ns.div_euclid(every).saturating_add(1).saturating_mul(every);
        }
        due
    }

    /// Tells the trainer that there may be new outcomes as of an event time. `champion` is the version in force, `busy`
    /// says that a challenger is on trial. In a replay this waits for all that it says to it.
    pub(super) fn look(&mut self, event_ns: i64, champion: Option<u32>, busy: bool) -> Told {
        let mut told = self.poll();
        if !self.live && self.failed {
            // It failed once. A replay that tried again would stand still at every look.
            return told;
        }
        if let Err(text) = self.ensure() {
            told.push(json!({ "event": "unavailable", "text": text }));
            return told;
        }
        let Some(running) = &mut self.running else { return told };
        if running.until.is_some() {
            // It still looks, or does not run yet: what is new now is seen the next time, and a pipe that nobody reads
            // is not filled.
            return told;
        }
        let line = json!({ "look": { "event_ns": event_ns, "champion": champion, "busy": busy } });
        let sent = writeln!(running.stdin, "{line}").and_then(|()| running.stdin.flush());
        if let Err(error) = sent {
            told.push(self.lost(&format!("it takes no more: {error}")));
            return told;
        }
        // One that does not run yet has its patience from its first word on.
        running.until = Some(Instant::now() + if running.ready { running.patience } else { START });
        if !self.live {
            self.wait(&mut told);
        }
        told
    }

    /// Hears it out: until it has looked, or will not.
    fn wait(&mut self, told: &mut Told) {
        while let Some(running) = &mut self.running {
            let Some(until) = running.until else { return };
            match running.lines.recv_deadline(until.min(Instant::now() + LISTEN)) {
                Ok(event) => hear(running, event, told),
                // Whoever stops the replay does not wait for a training.
                Err(RecvTimeoutError::Timeout) if self.stop.load(Ordering::Relaxed) => return,
                Err(RecvTimeoutError::Timeout) if Instant::now() < until => {}
                Err(RecvTimeoutError::Timeout) => told.push(self.lost("it did not answer in time")),
                Err(RecvTimeoutError::Disconnected) => told.push(self.lost("it ended")),
            }
        }
    }

    /// What it has said meanwhile; whether it still lives.
    pub(super) fn poll(&mut self) -> Told {
        let mut told = Told::new();
        while let Some(running) = &mut self.running {
            match running.lines.try_recv() {
                Ok(event) => hear(running, event, &mut told),
                Err(crossbeam::channel::TryRecvError::Empty) => break,
                Err(crossbeam::channel::TryRecvError::Disconnected) => told.push(self.lost("it ended")),
            }
        }
        let late = |running: &Running| running.until.is_some_and(|until| Instant::now() > until);
        if self.running.as_ref().is_some_and(late) {
            told.push(self.lost("it did not answer in time"));
        }
        told
    }

    /// Starts it where it does not run.
    fn ensure(&mut self) -> Result<(), String> {
        if self.running.is_some() {
            return Ok(());
        }
        match self.start() {
            Ok(running) => {
                self.running = Some(running);
                Ok(())
            }
            Err(error) => {
                self.failed = true;
                Err(format!("{error}; the engine goes on with the models that it has"))
            }
        }
    }

    fn start(&self) -> Result<Running, String> {
        // What it says beside the protocol, such as why it died, is kept where its log is.
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.map_err(|error| format!("{}: {error}", self.log.display()))?;
        self.spawn(log).map_err(|error| format!("{}: {error}", self.settings.program.join(" ")))
    }

    fn spawn(&self, stderr: File) -> std::io::Result<Running> {
        let (program, before) = self.settings.program.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
        let mut child = Command::new(program)
            .args(before)
            .arg("watch")
            .arg("--outcomes")
            .arg(&self.outcomes)
            .arg("--out")
            .arg(&self.repository)
            .arg("--log")
            .arg(&self.log)
            .args(["--name", &self.settings.model])
            .args(self.settings.key.iter().flat_map(|key| [OsStr::new("--key"), key.as_os_str()]))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        };
        let (told, lines) = unbounded();
        let listen = move || children::hear(stdout, |event: Map<String, Value>| told.send(event.into()).is_ok());
        let begun = std::thread::Builder::new().name("tide-trainer".into()).spawn(listen);
        let greeted = begun.and_then(|_| writeln!(stdin, "{}", self.greeting()).and_then(|()| stdin.flush()));
        if let Err(error) = greeted {
            children::end(&mut child);
            return Err(error);
        }
        let patience = Duration::from_secs(self.settings.training_patience_s);
        Ok(Running { child, stdin, lines, until: None, ready: false, patience })
    }

    /// Its first line.
    fn greeting(&self) -> Value {
        let s = &self.settings;
        json!({
            "every_ns": i64::from(s.every_hours) * 60 * MINUTE_NS,
            // A timer lies between what is trained on and what decides, or labels would overlap.
            "embargo_ns": i64::from(self.label.timer_minutes) * MINUTE_NS,
            "window_ns": i64::from(s.window_days) * 1_440 * MINUTE_NS,
            "least_rows": s.least_outcomes,
            "margin": s.margin,
            "population_limit": s.population_limit,
            "calibration_limit": s.calibration_limit,
            "drift_rows": s.drift_outcomes,
            "core": self.core,
            "test_share": s.test_share,
            "target_bp": self.label.target_bp,
            "fee_bp": self.label.fee_bp,
            "timer_minutes": self.label.timer_minutes,
        })
    }

    /// It is gone, or as good as gone.
    fn lost(&mut self, why: &str) -> Value {
        let mut how = why.to_owned();
        if let Some(mut running) = self.running.take() {
            drop(running.stdin);
            if let Ok(Some(status)) = running.child.try_wait() {
                how = format!("{why}: {status}");
            }
            children::end(&mut running.child);
        }
        self.failed = true;
        let text = format!("the trainer is lost, {how}; the engine goes on with the models that it has");
        json!({ "event": "lost", "text": text })
    }

    /// Ends it: the end of its input tells it to. Gives what it still had to say, such as a version that was published
    /// meanwhile.
    pub(super) fn end(&mut self) -> Told {
        let mut told = Told::new();
        let Some(Running { mut child, stdin, lines, .. }) = self.running.take() else { return told };
        drop(stdin);
        children::farewell(&mut child);
        // The thread that listens ends with the output, unless somebody else has inherited that.
        while let Ok(event) = lines.recv_timeout(LISTEN) {
            if !matches!(event["event"].as_str(), Some("ready" | "looked")) {
                told.push(event);
            }
        }
        told
    }

    /// A line of the engine's own in the trainings' log.
    pub(super) fn note(&self, event_ns: i64, event: &Value) {
        // As the trainer writes its own: when, what, and all that is known of it.
        let now = humantime::format_rfc3339_millis(std::time::SystemTime::now());
        let words = |(key, value): (&String, &Value)| match value {
            Value::String(text) => format!(", {key} {text}"),
            Value::Null => format!(", {key} none"),
            other => format!(", {key} {other}"),
        };
        let told: String =
            event.as_object().into_iter().flatten().filter(|(key, _)| *key != "event").map(words).collect();
        let line = format!("{now} {}: event_ns {event_ns}{told}\n", event["event"].as_str().unwrap_or("engine"));
        let file: std::io::Result<File> = OpenOptions::new().create(true).append(true).open(&self.log);
        // The audit log has it too; a log that cannot be written is no reason to stop.
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

fn hear(running: &mut Running, event: Value, told: &mut Told) {
    match event["event"].as_str() {
        Some("ready") => {
            running.ready = true;
            running.until = running.until.map(|_| Instant::now() + running.patience);
        }
        Some("looked") => {
            running.until = None;
            return;
        }
        _ => {}
    }
    told.push(event);
}

impl Drop for Trainer {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_NS: i64 = 3_600_000_000_000;

    /// A trainer that is a shell script; `live` as in a live engine.
    fn trainer(directory: &Path, script: &str, live: bool) -> (Trainer, Arc<AtomicBool>) {
        let file = directory.join("trainer.sh");
        std::fs::write(&file, script).expect("written");
        let settings = Learning {
            program: vec!["/bin/sh".into(), file.display().to_string()],
            training_patience_s: 20,
            ..Learning::default()
        };
        let stop = Arc::new(AtomicBool::new(false));
        let label = Label { target_bp: 10.0, fee_bp: 5.0, timer_minutes: 10 };
        let paths = (directory, directory);
        let made = Trainer::new((&settings, label), paths, directory, None, (live, stop.clone())).expect("a folder");
        (made, stop)
    }

    fn kinds(told: &[Value]) -> Vec<&str> {
        told.iter().filter_map(|event| event["event"].as_str()).collect()
    }

    /// Reads its settings, then answers each look with a refusal.
    const WILLING: &str = r#"
read settings
case "$settings" in *'"embargo_ns":600000000000'*) ;; *) exit 4 ;; esac
echo '{"event":"ready"}'
while read look; do
    echo 'what is no event'
    echo '{"event":"refused","text":"no better"}'
    echo '{"event":"looked","event_ns":1}'
done
"#;

    #[test]
    fn looks_lie_on_a_grid_of_event_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut trainer, _) = trainer(directory.path(), WILLING, false);
        assert!(!trainer.is_due(HOUR_NS + 5), "the first moment begins the grid");
        assert!(!trainer.is_due(2 * HOUR_NS - 1));
        assert!(trainer.is_due(2 * HOUR_NS));
        assert!(!trainer.is_due(2 * HOUR_NS + 1));
        assert!(trainer.is_due(7 * HOUR_NS), "hours without a signal are one look");
    }

    #[test]
    fn a_replay_hears_each_look_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut trainer, _) = trainer(directory.path(), WILLING, false);
        assert_eq!(kinds(&trainer.look(1, None, false)), ["ready", "refused"]);
        assert_eq!(kinds(&trainer.look(2, Some(1), false)), ["refused"]);
    }

    #[test]
    fn a_live_engine_waits_for_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let slow = WILLING.replace("while read", "sleep 1\nwhile read");
        let (mut trainer, _) = trainer(directory.path(), &slow, true);
        let start = Instant::now();
        trainer.look(1, None, false);
        assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
        let mut told = Told::new();
        while !kinds(&told).contains(&"refused") {
            assert!(start.elapsed() < Duration::from_secs(20), "{told:?}");
            told.extend(trainer.poll());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn one_that_is_missing_or_dies_is_said_once_in_a_replay() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut dying, _) = trainer(directory.path(), "exit 3", false);
        let told = dying.look(1, None, false);
        assert_eq!(kinds(&told), ["lost"]);
        assert!(told[0]["text"].as_str().expect("words").contains("the engine goes on"), "{told:?}");
        assert!(dying.look(2, None, false).is_empty(), "it is not tried again");
        let (mut missing, _) = trainer(directory.path(), "", false);
        assert_eq!(missing.missing(), None);
        missing.settings.program = vec!["/no/such/program".into()];
        assert_eq!(missing.missing(), Some("/no/such/program"));
        assert_eq!(kinds(&missing.look(1, None, false)), ["unavailable"]);
        missing.settings.program = vec!["no-such-program".into()];
        assert_eq!(missing.missing(), Some("no-such-program"));
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut trainer, _) = trainer(directory.path(), WILLING, false);
        std::fs::create_dir_all(directory.path().join(TRAINING_LOG)).expect("a folder in its place");
        let told = trainer.look(1, None, false);
        assert!(told[0]["text"].as_str().expect("words").contains(TRAINING_LOG), "{told:?}");
    }

    #[test]
    fn one_that_hangs_keeps_nobody_who_stops() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut trainer, stop) = trainer(directory.path(), "exec sleep 600", false);
        let start = Instant::now();
        let stopper = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            stop.store(true, Ordering::Relaxed);
        });
        assert!(trainer.look(1, None, false).is_empty());
        stopper.join().expect("no panic");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        // It does not end when its input does: it is ended.
        drop(trainer);
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    }
}
