//! REST requests of one market, one after the other, on a thread of their own: within the venue's budget, and not while
//! it has told us to stay away.

use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};
use tidegate_wire::InstrumentId;
use tidegate_wire::clock::realtime_ns;

use super::budget::Budget;
use super::plan::MarketPlan;
use crate::transport::rest::{Answer, Client, Request};

/// What to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// The venue's time.
    Time,
    /// A book.
    Snapshot(InstrumentId, Request),
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    /// The venue's clock said `venue_ns` between these two times of ours, ns since the Unix epoch.
    Time { sent_ns: i64, answered_ns: i64, venue_ns: i64 },
    /// A book's snapshot.
    Snapshot(InstrumentId, Vec<u8>),
    /// No use: why.
    Failed(Job, String),
}

/// Sends jobs to the thread; it ends when this is dropped and its last request is answered.
#[derive(Debug)]
pub(super) struct RestDesk(Sender<Job>);

/// Jobs that may wait.
const JOBS: usize = 1024;

impl RestDesk {
    /// Starts the thread. `done` is called with each outcome; it says whether anybody still wants them.
    pub(super) fn start(
        plan: &MarketPlan,
        patience: Duration,
        done: impl Fn(Done) -> bool + Send + 'static,
    ) -> Result<Self, String> {
        let client = Client::new(&plan.rest, plan.authorities.as_deref(), patience)?;
        let (jobs, todo) = bounded(JOBS);
        let plan = plan.clone();
        std::thread::Builder::new()
            .name("tide-rest".into())
            .spawn(move || work(&plan, &client, &todo, done))
            .map_err(|error| format!("a thread cannot be started: {error}"))?;
        Ok(Self(jobs))
    }

    /// Asks for something; false when too much waits already.
    pub(super) fn ask(&self, job: Job) -> bool {
        self.0.try_send(job).is_ok()
    }
}

fn work(plan: &MarketPlan, client: &Client, todo: &Receiver<Job>, done: impl Fn(Done) -> bool) {
    let start = Instant::now();
    let mut budget = Budget::new(plan.limits.requests);
    let mut away_until: Option<Instant> = None;
    while let Ok(job) = todo.recv() {
        let request = match &job {
            Job::Time => plan.dialect.time(),
            Job::Snapshot(_, request) => request.clone(),
        };
        if let Some(until) = away_until.filter(|until| Instant::now() < *until) {
            let left = until.saturating_duration_since(Instant::now());
            if !done(Done::Failed(job, format!("the venue wants no request for another {left:.0?}"))) {
                return;
            }
            continue;
        }
        if let Err(wait) = budget.take(start.elapsed()) {
            std::thread::sleep(wait);
        }
        let outcome = match client.get(&request) {
            Err(error) => Done::Failed(job, error.to_string()),
            Ok(answer) if answer.status != 200 => {
                let penalty = answer.retry_after.map(Duration::from_secs).or(plan.dialect.penalty(answer.status));
                away_until = penalty.map(|penalty| Instant::now() + penalty);
                Done::Failed(job, format!("HTTP status {}", answer.status))
            }
            Ok(answer) => read(plan, job, answer),
        };
        if !done(outcome) {
            return;
        }
    }
}

fn read(plan: &MarketPlan, job: Job, answer: Answer) -> Done {
    match job {
        Job::Snapshot(instrument, _) => Done::Snapshot(instrument, answer.body),
        Job::Time => {
            let now_ns = realtime_ns();
            let ago = |instant: Instant| i64::try_from(instant.elapsed().as_nanos()).unwrap_or(i64::MAX);
            let (sent_ns, answered_ns) = (now_ns - ago(answer.sent), now_ns - ago(answer.answered));
            match plan.dialect.read_time(&answer.body) {
                Some(venue_ns) => Done::Time { sent_ns, answered_ns, venue_ns },
                None => Done::Failed(Job::Time, "the answer has no time in it".into()),
            }
        }
    }
}
