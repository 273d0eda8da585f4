//! The way from those who tell to those who show: a queue that never holds anybody back.
//!
//! Whoever tells (the scribe, between the hot loop's ring and the audit log, the risk desk, the models' desk, sessions)
//! puts a record into a bounded queue: no lock of hub or metrics, no formatting, no wait. Where the queue is full, only
//! the newest of each state is kept (of a breaker, of an instrument's thresholds, of a book, of a latency), in places
//! whose number the run's breakers and instruments bound, and is told once there is room: what is shown may skip
//! steps then, but never stands at an old one. Everything that is skipped is counted, and is in the audit log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde_json::Value;
use tidegate_feed::session::status::SessionEvent;
use tidegate_serve::metrics::Buckets;
use tidegate_sidecar::messages::Event;
use tidegate_trade::report::SignalReport;
use tidegate_wire::InstrumentId;
use tidegate_wire::advice::{Adjustment, Operated};
use tidegate_wire::decision::Decision;
use tidegate_wire::event::{Header, Status};

use crate::signals::{DeskState, LearningReport};

/// News that may wait: as many as a log of the hub keeps. What is beyond them could not be looked up anyway.
const QUEUE: usize = tidegate_serve::hub::LOG_KEPT;
/// How soon what found no place is looked for where nothing else comes.
const POLL: Duration = Duration::from_millis(50);

/// Something that happened, as it was told.
#[derive(Debug)]
pub(super) enum News {
    /// A breaker changed its state.
    Decision(Decision),
    /// Thresholds changed.
    Adjustment(Box<Adjustment>),
    /// An operator's command reached the engine.
    Operated(Operated),
    /// A book changed its quality.
    Quality(Box<(Header, Status)>),
    /// Something happened to a connection, a book or a clock.
    Session(Box<SessionEvent>),
    /// A model did something.
    Model(Box<Event>),
    /// The risk desk alerts: event time, kind, the alert.
    Alert(Box<(i64, String, Value)>),
    /// The signal desk saw something: event time, coin, action, the signal.
    Signal(Box<(i64, String, &'static str, Value)>),
    /// How the signal desk stands.
    SignalDesk(DeskState),
    /// Something about signals that somebody may wait for: in words, and what it was.
    SignalAlert(Box<(String, Value)>),
    /// How good signals have been: event time, report, and what came of models beside the formula.
    Calibration(Box<(i64, SignalReport, Option<LearningReport>)>),
    /// The paper account: event time and what is shown of it.
    Paper(Box<(i64, Value)>),
    /// An interval of histograms has ended: each stage's whole histogram, and what screens show.
    Latency(Box<(Vec<(String, Buckets)>, Value)>),
    /// Nobody tells any more.
    End,
}

/// Whose state it is that news tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// Scope, which one, rule.
    Breaker(u8, u16, u8),
    Thresholds(InstrumentId),
    Book(InstrumentId),
    Latency,
    Calibration,
    SignalDesk,
    Paper,
}

impl News {
    fn state(&self) -> Option<State> {
        match self {
            Self::Decision(decision) => Some(State::Breaker(decision.scope, decision.scope_id, decision.rule)),
            Self::Adjustment(adjustment) => Some(State::Thresholds(adjustment.instrument)),
            Self::Quality(told) => Some(State::Book(told.0.instrument)),
            Self::Latency(_) => Some(State::Latency),
            Self::Calibration(_) => Some(State::Calibration),
            Self::SignalDesk(_) => Some(State::SignalDesk),
            Self::Paper(_) => Some(State::Paper),
            _ => None,
        }
    }
}

/// The newest of each state with its place among them, and how many places were given.
type Newest = (u64, BTreeMap<State, (u64, News)>);

/// What found no place in the queue.
#[derive(Debug, Default)]
struct Spilled {
    /// Whether there is anything.
    any: AtomicBool,
    /// The newest of each state, with its place among them.
    states: Mutex<Newest>,
    /// What nobody will be told one by one.
    lost: AtomicU64,
}

impl Spilled {
    fn keep(&self, news: News) {
        let Some(state) = news.state() else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        // Held by either side for as long as it takes to put one record in, or to take the map.
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        self.any.store(true, Ordering::Release);
        states.0 += 1;
        let number = states.0;
        if states.1.insert(state, (number, news)).is_some() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes all of it, in the order in which it was told.
    fn take(&self) -> Vec<News> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let taken = {
            let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
            self.any.store(false, Ordering::Release);
            std::mem::take(&mut states.1)
        };
        let mut taken: Vec<(u64, News)> = taken.into_values().collect();
        taken.sort_unstable_by_key(|(number, _)| *number);
        taken.into_iter().map(|(_, news)| news).collect()
    }
}

/// The end of those who tell; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Told {
    queue: Sender<News>,
    spilled: Arc<Spilled>,
}

/// The end of whoever shows.
#[derive(Debug)]
pub(super) struct Inbox {
    queue: Receiver<News>,
    spilled: Arc<Spilled>,
    /// What was spilled, and is told next.
    next: std::vec::IntoIter<News>,
}

/// Both ends.
pub(super) fn channel() -> (Told, Inbox) {
    let (sender, queue) = bounded(QUEUE);
    let spilled = Arc::new(Spilled::default());
    (Told { queue: sender, spilled: spilled.clone() }, Inbox { queue, spilled, next: Vec::new().into_iter() })
}

impl Told {
    /// Tells, without waiting for anybody.
    pub(super) fn tell(&self, news: News) {
        // A newer state must not overtake an older one that waits beside the queue.
        let behind = self.spilled.any.load(Ordering::Acquire) && news.state().is_some();
        if behind {
            self.spilled.keep(news);
        } else if let Err(refused) = self.queue.try_send(news) {
            self.spilled.keep(refused.into_inner());
        }
    }

    /// Says that nobody tells any more, which waits for its turn.
    pub(super) fn end(&self) {
        // Whoever shows may have gone already.
        let _ = self.queue.send(News::End);
    }
}

impl Inbox {
    /// The next news; `None` where there are none at the moment.
    pub(super) fn take(&mut self) -> Option<News> {
        if let Some(news) = self.next.next() {
            return Some(news);
        }
        let mut next = match self.queue.try_recv() {
            Ok(News::End) => self.last(),
            Ok(news) => return Some(news),
            Err(_) => self.spilled.take(),
        }
        .into_iter();
        let first = next.next();
        self.next = next;
        first
    }

    /// The end, behind what was told before it.
    fn last(&self) -> Vec<News> {
        let mut rest = self.spilled.take();
        rest.push(News::End);
        rest
    }

    /// Waits until there may be news.
    pub(super) fn wait(&mut self) {
        self.next = match self.queue.recv_timeout(POLL) {
            Ok(News::End) | Err(RecvTimeoutError::Disconnected) => self.last(),
            Ok(news) => vec![news],
            Err(RecvTimeoutError::Timeout) => return,
        }
        .into_iter();
    }

    /// News that nobody is told one by one, so far.
    pub(super) fn lost(&self) -> u64 {
        self.spilled.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    fn decision(sequence: u64, scope_id: u16) -> News {
        News::Decision(Decision { sequence, scope_id, ..Decision::zeroed() })
    }

    /// Everything up to the end: sequences of decisions by whose they are.
    fn drain(inbox: &mut Inbox) -> BTreeMap<u16, Vec<u64>> {
        let mut found = BTreeMap::<u16, Vec<u64>>::new();
        loop {
            match inbox.take() {
                Some(News::Decision(told)) => found.entry(told.scope_id).or_default().push(told.sequence),
                Some(News::End) => return found,
                Some(news) => panic!("{news:?}"),
                None => inbox.wait(),
            }
        }
    }

    #[test]
    fn nobody_waits_for_whoever_shows_and_the_newest_state_is_told_in_the_end() {
        let (told, mut inbox) = channel();
        let total = 20 * QUEUE as u64;
        // Nobody takes anything: this would never end if anybody waited.
        (1..=total).for_each(|n| told.tell(decision(n, (n % 3) as u16)));
        told.tell(News::Operated(Operated::zeroed()));
        assert_eq!(inbox.spilled.states.lock().expect("not poisoned").1.len(), 3, "a place a breaker");
        let ending = std::thread::spawn(move || told.end());
        let found = drain(&mut inbox);
        ending.join().expect("no panic");
        let shown: u64 = found.values().map(|all| all.len() as u64).sum();
        assert_eq!(shown, QUEUE as u64 + 3);
        assert_eq!(inbox.lost(), total - shown + 1, "and the operator's command, which is no state");
        for (whose, all) in found {
            assert!(all.is_sorted());
            assert_eq!(all.last().map(|last| (last % 3, total - last < 3)), Some((u64::from(whose), true)));
        }
    }

    #[test]
    fn news_stay_in_order_while_they_are_taken() {
        let (told, mut inbox) = channel();
        let telling = std::thread::spawn(move || {
            (1..=100_000).for_each(|n| told.tell(decision(n, 7)));
            told.end();
        });
        let found = drain(&mut inbox).remove(&7).expect("some");
        telling.join().expect("no panic");
        assert!(found.is_sorted_by(|one, next| one < next));
        assert_eq!((found.last(), found.len() as u64 + inbox.lost()), (Some(&100_000), 100_000));
    }
}
