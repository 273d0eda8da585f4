//! What a live engine holds and has earned, kept on the disk: it outlives the process.
//!
//! A journal beside the saved switches has a frame for every execution, as it was reported, and now and then a
//! **snapshot**: what everybody held, at which prices, what was earned and lost until then, and which losses were
//! forgiven. A start takes the newest snapshot and books what executed after it, everything by name, so that an
//! edited configuration does not give a position to somebody else. An execution is answered when it is durable; only
//! whoever reported it waits for that, not the desk.
//!
//! A recording is another market each time: a run of one begins flat and keeps nothing.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_record::exclusive;
use tidegate_record::journal::{Committer, Frames, Journal, Settings, push_frame};
use xxhash_rust::xxh3::xxh3_64;

use super::ask::ReportAsk;
use super::{RiskDeskError, file_error};

/// Bytes of a journal's segment.
const SEGMENT: u64 = 8 << 20;
/// Trades that are remembered while the desk runs.
const REMEMBERED: usize = 1 << 16;
/// Frames before a snapshot that are not removed: their trades are remembered by a later start.
const RETAINED: u64 = 1 << 16;
/// How often a snapshot is made while something is held: as far back an unrealised peak may be forgotten by a crash.
const SNAPSHOT: Duration = Duration::from_secs(60);
/// Bytes that may wait for the disk, when an execution is handed over and when a snapshot is: beyond them it counts as
/// failed, because nobody waits for it here.
const BACKLOG: [usize; 2] = [12 << 20, 1 << 20];
/// How soon a snapshot is tried again when something was not kept.
const AGAIN: Duration = Duration::from_secs(1);

/// How a question is answered.
pub(super) type Reply = Sender<Result<Value, String>>;

/// A frame of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "frame")]
pub(super) enum Frame {
    /// An order executed.
    Executed {
        /// Event time, ns since the Unix epoch.
        event_ns: i64,
        report: ReportAsk,
        /// Price that the position was valued at then, raw; none where it never was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mark: Option<i64>,
    },
    /// So many of the next frames are all that there was then.
    Snapshot { event_ns: i64, rows: u32 },
    /// What a strategy held on an account.
    Held(Held),
    /// What a scope's losses are counted from.
    Allowance(Allowance),
}

/// What a strategy held on an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) account: String,
    pub(super) strategy: String,
    pub(super) instrument: String,
    /// Decimals of prices and quantities.
    pub(super) decimals: (u8, u8),
    /// Signed quantity, raw.
    pub(super) position: i64,
    /// Received less paid, millionths of the reporting currency.
    pub(super) cash: i64,
    /// Inverse contracts: coins that the executions stand for, times 10^9.
    pub(super) coins: i64,
    /// Price that it was valued at, raw.
    pub(super) mark: i64,
}

/// What a scope's losses are counted from, millionths of profit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Allowance {
    /// Such as `strategy:carry`.
    pub(super) scope: String,
    /// Profit then.
    pub(super) profit: i64,
    /// Profit when the day began.
    pub(super) day_start: i64,
    /// Highest profit.
    pub(super) peak: i64,
}

/// Account, instrument, side and the venue's id: both sides of a trade with oneself bear the same one.
pub(super) type Trade = (u16, u16, u8, u64);

/// What a journal held, oldest first.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Time of the newest snapshot, ns since the Unix epoch; 0 without one.
    pub(super) event_ns: i64,
    /// The snapshot.
    pub(super) rows: Vec<Frame>,
    /// Executions after it.
    pub(super) after: Vec<Frame>,
    /// Executions before it whose trades are remembered.
    pub(super) earlier: Vec<ReportAsk>,
}

/// An answer that waits for the disk.
struct Ack {
    /// Frames below this must be durable first.
    frame: u64,
    answer: Result<Value, String>,
    reply: Reply,
}

/// What was reported and what is held.
#[derive(Debug, Default)]
pub(super) struct Kept {
    known: HashSet<Trade>,
    order: VecDeque<Trade>,
    journal: Option<Recording>,
    /// What belongs to nobody in this run: every snapshot keeps it.
    pub(super) orphans: Vec<Frame>,
}

/// The journal and whoever answers when it is durable.
#[derive(Debug)]
struct Recording {
    committer: Arc<Committer>,
    acks: Option<Sender<Ack>>,
    acknowledger: Option<JoinHandle<()>>,
    /// When the next snapshot is made; it is there since `snapshot`.
    due: Instant,
    snapshot: u64,
    /// Something was executed since.
    executed: bool,
    /// Something could not be handed over: only a snapshot mends that.
    lost: bool,
    _lock: File,
}

impl Kept {
    /// Opens the journal in a folder, and gives what it holds.
    pub(super) fn open(folder: &Path) -> Result<(Self, Found), RiskDeskError> {
        let lock = locked(folder)?;
        let (mut frames, mut wrong) = (Vec::new(), None);
        let id = xxh3_64(b"tidegate.kept/1");
        let opened = Journal::open(folder, id, 0, SEGMENT, &mut |first, body| {
            for (number, frame) in (first..).zip(Frames::new(body)) {
                match serde_json::from_slice::<Frame>(frame) {
                    Ok(frame) => frames.push(frame),
                    Err(error) => wrong = wrong.take().or(Some((number, error))),
                }
            }
            Ok(())
        });
        let path = || folder.display().to_string();
        if let Some((number, error)) = wrong {
            return Err(RiskDeskError::Frame { path: path(), number, reason: error.to_string() });
        }
        let (journal, recovered) = opened.map_err(|source| RiskDeskError::Kept { path: path(), source })?;
        if recovered.torn_bytes > 0 {
            tracing::warn!(torn_bytes = recovered.torn_bytes, "risk: recovered what is held after a crash");
        }
        let committer = Arc::new(Committer::start(journal, Settings::default()).map_err(RiskDeskError::Thread)?);
        let (acks, waiting) = unbounded();
        let theirs = committer.clone();
        let answer = move || acknowledge(&waiting, &theirs);
        let thread = std::thread::Builder::new().name("tide-fills".into());
        let acknowledger = Some(thread.spawn(answer).map_err(RiskDeskError::Thread)?);
        let (due, snapshot) = (Instant::now(), committer.next());
        let (acks, executed) = (Some(acks), true);
        let recording = Recording { committer, acks, acknowledger, due, snapshot, executed, lost: false, _lock: lock };
        Ok((Self { journal: Some(recording), ..Self::default() }, found(frames)))
    }

    /// Remembers a trade; `false` when it was booked before. One without an id, 0, is always new.
    pub(super) fn is_new(&mut self, trade: Trade) -> bool {
        if trade.3 == 0 {
            return true;
        }
        if !self.known.insert(trade) {
            return false;
        }
        self.order.push_back(trade);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    /// Hands an execution to the journal, with the price that its owner's position was valued at. One that cannot be
    /// kept is booked all the same, because the money has moved; the next snapshot keeps what it led to.
    ///
    /// # Errors
    /// It was not handed over.
    pub(super) fn executed(&mut self, event_ns: i64, report: &ReportAsk, mark: Option<i64>) -> Result<(), String> {
        let Some(recording) = &mut self.journal else { return Ok(()) };
        recording.executed = true;
        let kept = recording.hand_over(&[Frame::Executed { event_ns, report: report.clone(), mark }], BACKLOG[0]);
        let unkept = || {
            recording.due = Instant::now();
            "booked, but it cannot be kept now: until the next snapshot it does not hold through a restart".to_owned()
        };
        kept.map(drop).ok_or_else(unkept)
    }

    /// Why nothing can be kept, if so.
    pub(super) fn error(&self) -> Option<String> {
        let recording = self.journal.as_ref()?;
        let slow = || recording.lost.then(|| "the disk does not keep up".to_owned());
        recording.committer.error().map(|error| error.to_string()).or_else(slow)
    }

    /// Whether a snapshot is to be made now. `held`: somebody holds something.
    pub(super) fn is_due(&self, held: bool) -> bool {
        let due = |recording: &Recording| (held || recording.executed) && Instant::now() >= recording.due;
        self.journal.as_ref().is_some_and(due)
    }

    /// The next snapshot is made at once: an allowance was given anew.
    pub(super) fn hurry(&mut self) {
        if let Some(recording) = &mut self.journal {
            (recording.due, recording.executed) = (Instant::now(), true);
        }
    }

    /// Makes a snapshot of these rows and what belongs to nobody. What came before it is not needed any more, but for
    /// trades that may be reported again.
    pub(super) fn snapshot(&mut self, event_ns: i64, rows: impl Iterator<Item = Frame>) {
        let Some(recording) = &mut self.journal else { return };
        let mut frames: Vec<Frame> = rows.chain(self.orphans.iter().cloned()).collect();
        frames.insert(0, Frame::Snapshot { event_ns, rows: frames.len() as u32 });
        recording.due = Instant::now() + if recording.lost { AGAIN } else { SNAPSHOT };
        if let Some(first) = recording.hand_over(&frames, BACKLOG[1]) {
            // The one before it is durable for sure, or nothing is.
            recording.committer.retire(recording.snapshot.saturating_sub(RETAINED));
            (recording.snapshot, recording.executed, recording.lost) = (first, false, false);
            recording.due = Instant::now() + SNAPSHOT;
        }
    }

    /// Answers when everything that was handed over is durable.
    pub(super) fn answer(&self, answer: Result<Value, String>, reply: &Reply) {
        let ack = |frame| Ack { frame, answer, reply: reply.clone() };
        match &self.journal {
            // The acknowledger lives as long as this does.
            Some(Recording { committer, acks: Some(acks), .. }) => drop(acks.send(ack(committer.next()))),
            _ => drop(reply.try_send(ack(0).answer)),
        }
    }
}

impl Recording {
    /// Appends frames as one batch: all of them are there after a crash, or none. Gives the first one's number.
    fn hand_over(&mut self, frames: &[Frame], backlog: usize) -> Option<u64> {
        let mut body = Vec::new();
        let pushed = frames.iter().try_for_each(|frame| {
            let text = serde_json::to_vec(frame).unwrap_or_else(|error| unreachable!("plain data: {error}"));
            push_frame(&mut body, &text)
        });
        // Appending would wait for a disk that hangs.
        let slow = self.committer.backlog() > backlog;
        let handed = match pushed {
            Ok(()) if slow => Err("the disk does not keep up".to_owned()),
            Ok(()) => self.committer.append_all(frames.len() as u32, &body).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(reason) = &handed {
            tracing::error!(reason, "risk: what executed cannot be kept");
            self.lost = true;
        }
        handed.ok()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.acks = None;
        if let Some(thread) = self.acknowledger.take() {
            let _ = thread.join();
        }
    }
}

/// The folder is one engine's alone, wherever its configuration puts it.
fn locked(folder: &Path) -> Result<File, RiskDeskError> {
    std::fs::create_dir_all(folder).map_err(|source| file_error(folder, source))?;
    let path = folder.join("lock");
    let lock = exclusive(&path).map_err(|source| file_error(&path, source))?;
    lock.ok_or_else(|| file_error(&path, std::io::Error::other("another engine has it")))
}

/// Everything from the newest snapshot on.
fn found(mut frames: Vec<Frame>) -> Found {
    let newest = frames.iter().enumerate().rev().find_map(|(at, frame)| match frame {
        Frame::Snapshot { event_ns, rows } => Some((at, *event_ns, *rows as usize)),
        _ => None,
    });
    let (at, event_ns, count) = newest.map_or((0, 0, 0), |(at, event_ns, rows)| (at, event_ns, 1 + rows));
    let mut rows = frames.split_off(at);
    // A snapshot is one batch: its rows are all there.
    let after = rows.split_off(count.min(rows.len()));
    let earlier = frames.into_iter().filter_map(|frame| match frame {
        Frame::Executed { report, .. } => Some(report),
        _ => None,
    });
    Found { event_ns, earlier: earlier.collect(), rows, after }
}

fn acknowledge(acks: &Receiver<Ack>, committer: &Committer) {
    for Ack { frame, answer, reply } in acks {
        let kept = committer.wait(frame);
        let unkept = |error| format!("booked, but it cannot be kept: {error}; it does not hold through a restart");
        // Whoever asked may have given up.
        let _ = reply.try_send(kept.map_err(unkept).and(answer));
    }
}

#[cfg(test)]
mod tests {
    use crossbeam::channel::bounded;
    use serde_json::json;

    use super::*;

    fn report(trade: u64) -> ReportAsk {
        let report = json!({
            "became": "executed", "client_id": 1, "account": "main", "strategy": "carry", "instrument": "A.okx",
            "side": "buy", "trade_id": trade, "price": "1.5", "qty": "2",
        });
        serde_json::from_value(report).expect("a report")
    }

    fn durable(kept: &Kept) {
        let (reply, answered) = bounded(1);
        kept.answer(Ok(json!(7)), &reply);
        assert_eq!(answered.recv(), Ok(Ok(json!(7))));
    }

    #[test]
    fn a_trade_is_booked_once() {
        let mut kept = Kept::default();
        assert!(kept.is_new((0, 0, 0, 7)) && !kept.is_new((0, 0, 0, 7)) && kept.is_new((1, 0, 0, 7)));
        assert!(kept.is_new((0, 0, 1, 7)), "the other side of it");
        assert!(kept.is_new((0, 0, 0, 0)) && kept.is_new((0, 0, 0, 0)));
        assert!((1..=REMEMBERED as u64 + 1).all(|trade| kept.is_new((9, 9, 0, trade))));
        assert!(kept.is_new((0, 0, 0, 7)), "so long ago that it is forgotten");
    }

    #[test]
    fn a_start_finds_the_newest_snapshot_and_what_executed_after_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let allowance = |peak| Frame::Allowance(Allowance { scope: "engine".into(), profit: -5, day_start: -3, peak });
        let executed = |trade: i64| {
            let mark = (trade > 50).then_some(trade);
            Frame::Executed { event_ns: trade, report: report(trade as u64), mark }
        };
        for round in 0..4i64 {
            let (mut kept, found) = Kept::open(folder.path()).expect("opened");
            assert!(Kept::open(folder.path()).is_err(), "it is one engine's alone");
            if round > 0 {
                let snapshot = Frame::Snapshot { event_ns: 10 + round - 1, rows: 2 };
                assert_eq!(found.rows, [snapshot, allowance(round - 1), executed(100)]);
                assert_eq!((found.after, found.event_ns), (vec![executed(round - 1)], 10 + round - 1));
            }
            assert_eq!(found.earlier.len() as i64, (3 * round - 2).max(0), "trades are remembered");
            // What belongs to nobody stays, and is in the snapshot.
            kept.orphans = vec![executed(100)];
            assert_eq!(kept.executed(50, &report(50), None), Ok(()));
            assert!(kept.is_due(false));
            kept.snapshot(10 + round, std::iter::once(allowance(round)));
            assert!(!kept.is_due(true), "not so soon again");
            assert_eq!(kept.executed(round, &report(round as u64), None), Ok(()));
            durable(&kept);
            assert_eq!(kept.error(), None);
        }
    }

    #[test]
    fn a_frame_of_somebody_else_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (kept, _) = Kept::open(folder.path()).expect("opened");
        kept.journal.as_ref().expect("there").committer.append(b"{}").expect("appended");
        drop(kept);
        let error = Kept::open(folder.path()).expect_err("no frame").to_string();
        assert!(error.contains("frame 0") && error.contains("missing field"), "{error}");
    }
}
