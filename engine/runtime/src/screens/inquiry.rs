//! Questions to desks that may take their time: each on a thread of its own, so that one that is stuck holds up the
//! answers of no other.
//!
//! Every answer has its own deadline at the desk (10 s at the risk desk and the ledger, 30 s at the sidecar). Meanwhile
//! the last answer stays as it is, grows old, and [`Inquiry::silent`] says since when there is none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::control::{Ask, Operator};

/// How soon a thread notices that it is over.
const POLL: Duration = Duration::from_millis(20);
/// How long a desk may take before it is said that it does not answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How long the end waits for a desk that is being asked; then its answer is nobody's.
const FAREWELL: Duration = Duration::from_millis(200);

/// What came of a question.
#[derive(Debug, Default)]
struct Latest {
    /// The newest answer that nobody has taken; none where the desk refused.
    fresh: Option<Value>,
    /// Since when the desk has been asked without an answer.
    waiting: Option<Instant>,
    /// When it answered last, be it with a refusal.
    answered: Option<Instant>,
}

/// A question that is asked again and again.
#[derive(Debug)]
pub(super) struct Inquiry {
    /// Who is asked, in words.
    pub(super) who: &'static str,
    latest: Arc<Mutex<Latest>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Inquiry {
    /// Begins to ask; `pause` lies between two answers and questions. `ask` makes the question's answer, `None` where
    /// there is no such desk or it refuses.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(
        who: &'static str,
        pause: Duration,
        mut ask: impl FnMut() -> Option<Value> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (latest, over) = (Arc::<Mutex<Latest>>::default(), Arc::new(AtomicBool::new(false)));
        let (theirs, ended) = (latest.clone(), over.clone());
        let run = move || {
            while !ended.load(Ordering::Acquire) {
                locked(&theirs).waiting = Some(Instant::now());
                let answer = ask();
                let mut latest = locked(&theirs);
                (latest.waiting, latest.answered) = (None, Some(Instant::now()));
                if answer.is_some() {
                    latest.fresh = answer;
                }
                drop(latest);
                let until = Instant::now() + pause;
                while Instant::now() < until && !ended.load(Ordering::Acquire) {
                    std::thread::sleep(POLL);
                }
            }
        };
        let thread = std::thread::Builder::new().name("tide-ask".into()).spawn(run)?;
        Ok(Self { who, latest, over, thread: Some(thread) })
    }

    /// The newest answer, once.
    pub(super) fn take(&self) -> Option<Value> {
        locked(&self.latest).fresh.take()
    }

    /// For how long the desk has owed an answer; `None` while it is not late.
    pub(super) fn silent(&self) -> Option<Duration> {
        let latest = locked(&self.latest);
        let waited = latest.waiting.map(|since| since.elapsed()).filter(|waited| *waited > PATIENCE)?;
        Some(latest.answered.map_or(waited, |answered| answered.elapsed()))
    }
}

impl Drop for Inquiry {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return };
        let begun = Instant::now();
        while !thread.is_finished() && begun.elapsed() < FAREWELL {
            std::thread::sleep(Duration::from_millis(2));
        }
        // One that is stuck ends by its desk's deadline; it has nothing that anybody would miss.
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

/// Asks through an operator's mouth; nothing where it is refused.
pub(super) fn asking(operator: &Operator, ask: Ask, member: &'static str) -> impl FnMut() -> Option<Value> + use<> {
    let operator = operator.clone();
    move || {
        let reply = operator.answer(ask.clone(), "screens");
        let value = reply.ok.then(|| serde_json::to_value(reply).ok()).flatten()?;
        // What is empty is left out of replies, and says so here.
        Some(value.get(member).cloned().unwrap_or(Value::Null))
    }
}

fn locked(latest: &Mutex<Latest>) -> std::sync::MutexGuard<'_, Latest> {
    // Nobody panics while holding it.
    latest.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use crossbeam::channel::bounded;
    use serde_json::json;

    use super::*;

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_stuck_desk_is_said_to_be_silent_and_holds_up_neither_others_nor_the_end() {
        let (free, held) = bounded::<()>(0);
        let mut asked = 0;
        let stuck = Inquiry::start("the stuck desk", Duration::from_millis(1), move || {
            asked += 1;
            if asked > 1 {
                // Until the test is over.
                let _ = held.recv();
            }
            Some(json!(asked))
        });
        let stuck = stuck.expect("a thread");
        let mut count = 0;
        let other = Inquiry::start("another", Duration::from_millis(1), move || {
            count += 1;
            Some(json!(count))
        });
        let other = other.expect("a thread");
        until("the first answer", || stuck.take() == Some(json!(1)));
        until("it is silent", || stuck.silent().is_some_and(|silent| silent >= PATIENCE));
        assert_eq!(stuck.take(), None, "what was taken is not told again");
        let before = other.take().and_then(|n| n.as_u64()).expect("the other goes on");
        until("and on", || other.take().and_then(|n| n.as_u64()).is_some_and(|n| n > before));
        assert_eq!(other.silent(), None);
        let begun = Instant::now();
        drop(stuck);
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
        drop(free);
    }

    #[test]
    fn a_desk_that_refuses_has_answered() {
        let none = Inquiry::start("nobody", Duration::from_millis(1), || None).expect("a thread");
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!((none.take(), none.silent()), (None, None));
    }
}
