//! REST requests of one market, one after the other, on a thread of their own: within the venue's budget, books before
//! the time, and not while it has told us to stay away.

use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded, select_biased};
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
    /// A book, by one of these requests: the first that the budget has room for at once, else the last.
    Snapshot(InstrumentId, Vec<Request>),
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
pub(super) struct RestDesk {
    /// Books go first.
    books: Sender<Job>,
    /// The time is asked for when some of the budget is left, and once however often that was wanted meanwhile.
    times: Sender<Job>,
}

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
        let ((books, books_due), (times, times_due)) = (bounded(JOBS), bounded(1));
        let worker = Worker {
            client,
            budget: Budget::new(plan.limits.requests),
            start: Instant::now(),
            plan: plan.clone(),
            away_until: None,
        };
        std::thread::Builder::new()
            .name("tide-rest".into())
            .spawn(move || worker.run(&books_due, &times_due, done))
            .map_err(|error| format!("a thread cannot be started: {error}"))?;
        Ok(Self { books, times })
    }

    /// Asks for something; false when too much waits already.
    pub(super) fn ask(&self, job: Job) -> bool {
        match job {
            Job::Time => self.times.try_send(job).is_ok(),
            Job::Snapshot(..) => self.books.try_send(job).is_ok(),
        }
    }
}

struct Worker {
    plan: MarketPlan,
    client: Client,
    budget: Budget,
    start: Instant,
    away_until: Option<Instant>,
}

impl Worker {
    fn run(mut self, books: &Receiver<Job>, times: &Receiver<Job>, done: impl Fn(Done) -> bool) {
        while let Some(job) = self.next(books, times) {
            if !done(self.carry_out(job)) {
                return;
            }
        }
    }

    /// The next job; `None` when nobody will ask any more.
    fn next(&mut self, books: &Receiver<Job>, times: &Receiver<Job>) -> Option<Job> {
        let time = select_biased! {
            recv(books) -> job => return job.ok(),
            recv(times) -> job => job.ok()?,
        };
        loop {
            let Err(wait) = self.budget.take_spare(self.start.elapsed()) else { return Some(time) };
            match books.recv_timeout(wait) {
                // The time is asked for again soon enough.
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    fn carry_out(&mut self, job: Job) -> Done {
        if let Some(until) = self.away_until.filter(|until| Instant::now() < *until) {
            let left = until.saturating_duration_since(Instant::now());
            return Done::Failed(job, format!("the venue wants no request for another {left:.0?}"));
        }
        let request = match &job {
            Job::Time => Some(self.plan.dialect.time()),
            Job::Snapshot(_, requests) => self.affordable(requests).cloned(),
        };
        let Some(request) = request else { return Done::Failed(job, "the venue has no such request".into()) };
        match self.client.get(&request) {
            Err(error) => Done::Failed(job, error.to_string()),
            Ok(answer) if answer.status != 200 => {
                let penalty = answer.retry_after.map(Duration::from_secs).or(self.plan.dialect.penalty(answer.status));
                self.away_until = penalty.map(|penalty| Instant::now() + penalty);
                Done::Failed(job, format!("HTTP status {}", answer.status))
            }
            Ok(answer) => match self.plan.dialect.refused(&answer.body) {
                None => read(&self.plan, job, answer),
                Some((reason, penalty)) => {
                    self.away_until = penalty.map(|penalty| Instant::now() + penalty);
                    Done::Failed(job, reason)
                }
            },
        }
    }

    /// The first request that there is budget for, or the last when there is again.
    fn affordable<'r>(&mut self, requests: &'r [Request]) -> Option<&'r Request> {
        let lightest = requests.last()?;
        let mut now = self.start.elapsed();
        if let Some(request) = requests.iter().find(|request| self.budget.take_heavy(now, request.weight).is_ok()) {
            return Some(request);
        }
        while let Err(wait) = self.budget.take_heavy(now, lightest.weight) {
            std::thread::sleep(wait);
            now = self.start.elapsed();
        }
        Some(lightest)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::dialect::dialect;
    use tidegate_wire::Venue;

    fn worker() -> Worker {
        let dialect = dialect(Venue::BinanceSpot).expect("a dialect");
        let plan = MarketPlan {
            venue: Venue::BinanceSpot,
            dialect,
            stream: String::new(),
            rest: String::new(),
            authorities: None,
            symbols: Vec::new(),
            channels: Vec::new(),
            redundancy: 1,
            credentials: None,
            limits: dialect.limits(),
            heartbeat: dialect.heartbeat(),
        };
        let client = Client::new("https://localhost:1", None, Duration::from_secs(1)).expect("a client");
        Worker { budget: Budget::new(plan.limits.requests), plan, client, start: Instant::now(), away_until: None }
    }

    #[test]
    fn books_go_before_the_time_and_lightly_when_many_are_needed() {
        let mut worker = worker();
        let ((books, books_due), (times, times_due)) = (bounded(JOBS), bounded(1));
        let snapshot = Job::Snapshot(InstrumentId(0), worker.plan.dialect.snapshots("BTCUSDT"));
        let desk = RestDesk { books, times };
        assert!(desk.ask(Job::Time) && !desk.ask(Job::Time), "the time is wanted once");
        assert!(desk.ask(snapshot.clone()));
        assert_eq!(worker.next(&books_due, &times_due), Some(snapshot.clone()));
        assert_eq!(worker.next(&books_due, &times_due), Some(Job::Time));

        let Job::Snapshot(_, requests) = &snapshot else { panic!("a snapshot") };
        let depths: Vec<_> = (0..12).filter_map(|_| worker.affordable(requests)).map(|r| r.weight).collect();
        assert_eq!(depths, [[250; 9].as_slice(), &[50; 3]].concat(), "half of 5,000 a minute, less one for the time");
        // The time waits for the budget; a book that comes meanwhile does not wait for it.
        assert!(desk.ask(Job::Time));
        let late = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            assert!(desk.ask(snapshot));
            desk
        });
        assert!(matches!(worker.next(&books_due, &times_due), Some(Job::Snapshot(..))));
        drop(late.join().expect("no panic"));
        assert_eq!(worker.next(&books_due, &times_due), None, "nobody asks any more");
    }
}
