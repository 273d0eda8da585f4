//! When a sidecar dozes and when it is awake.
//!
//! A sidecar that sleeps answers late: its naps end late, and a first run with cold caches takes ten times as long as a
//! warm one. Spinning would cost a core, which hosts with two do not have; there, whoever spins also waits a whole time
//! slice of whoever else has work, while whoever wakes comes first. But moments come at a steady pace, so a sidecar can
//! doze between them and keep watch around the next one, in the shortest of naps and with its model rehearsed.

use std::time::{Duration, Instant};

use crossbeam::utils::Backoff;

/// Sleep of a dozing sidecar: whatever comes unexpectedly is answered within a fraction of a millisecond.
const DOZE: Duration = Duration::from_micros(100);
/// Sleep of one that keeps watch.
const NAP: Duration = Duration::from_micros(10);
/// Longest watch before and after the expected moment.
const WATCH_MAX: Duration = Duration::from_millis(5);
/// The part of the time between two moments that is watched before the next one, and after it when it does not come.
const WATCH_PART: u32 = 8;
/// Pause after a rehearsal: caches that others use meanwhile do not stay warm for long.
const PAUSE: Duration = Duration::from_micros(500);
/// The pause lasts at least so many rehearsals: a moment that comes during one waits for its end.
const PAUSE_RUNS: u32 = 10;

/// Time slice that the calling thread asks for. Who asks for less than others comes before them when it wakes: by
/// default it could wait 3 ms for one that computes.
#[cfg(target_os = "linux")]
const SLICE: Duration = Duration::from_micros(100);

/// Has the system treat the calling thread as one that answers: its naps end on time (by default 50 us later), and it
/// does not wait for whole time slices of others (from Linux 6.12 on). A system that refuses leaves it late.
#[cfg(target_os = "linux")]
pub(crate) fn be_prompt() {
    // SAFETY: zeros are a value of the plain structure, whose size both calls are told; all of them are about the
    // calling thread only.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1_000);
        let mut attributes: libc::sched_attr = core::mem::zeroed();
        let size = size_of::<libc::sched_attr>();
        let known = libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) == 0;
        // A thread that was given real-time priority has what it needs.
        if known && attributes.sched_policy == libc::SCHED_OTHER as u32 {
            attributes.sched_runtime = SLICE.as_nanos() as u64;
            libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0);
        }
    }
}

/// Other systems have no such wishes.
#[cfg(not(target_os = "linux"))]
pub(crate) const fn be_prompt() {}

/// The pace of moments and what there is to do between them.
#[derive(Debug)]
pub(crate) struct Vigil {
    last: Option<Instant>,
    /// Times between the last three moments; the shorter one counts, because a moment may have been left out.
    intervals: [Duration; 2],
    /// When the next rehearsal may begin.
    rehearse_from: Option<Instant>,
    backoff: Backoff,
}

impl Vigil {
    pub(crate) fn new() -> Self {
        Self { last: None, intervals: [Duration::MAX; 2], rehearse_from: None, backoff: Backoff::new() }
    }

    /// There was something to read.
    pub(crate) fn busy(&self) {
        self.backoff.reset();
    }

    /// A moment has come.
    pub(crate) fn moment(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            self.intervals = [self.intervals[1], now - last];
        }
    }

    /// Time until the watch for the next moment begins, zero during it, `None` when no moment is expected.
    fn until_watch(&self, now: Instant) -> Option<Duration> {
        let interval = self.intervals[0].min(self.intervals[1]);
        let expected = self.last?.checked_add(interval)?;
        let watch = (interval / WATCH_PART).min(WATCH_MAX);
        (now <= expected + watch).then(|| (expected - watch).saturating_duration_since(now))
    }

    /// The model was rehearsed.
    pub(crate) fn rehearsed(&mut self, began: Instant, ended: Instant) {
        self.rehearse_from = Some(ended + PAUSE.max((ended - began) * PAUSE_RUNS));
    }

    /// There is nothing to do: rests for a while. Whether the model should be rehearsed now instead.
    pub(crate) fn rest(&mut self, now: Instant) -> bool {
        let until = self.until_watch(now);
        if until == Some(Duration::ZERO) {
            let due = self.rehearse_from.is_none_or(|from| now >= from);
            if !due {
                std::thread::sleep(NAP);
            }
            return due;
        }
        if self.backoff.is_completed() {
            std::thread::sleep(until.map_or(DOZE, |until| until.min(DOZE)));
        } else {
            self.backoff.snooze();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_watch_begins_before_the_next_moment_and_ends_after_it() {
        let (mut vigil, start) = (Vigil::new(), Instant::now());
        vigil.moment(start);
        assert_eq!(vigil.until_watch(start), None, "one moment is no pace");
        vigil.moment(start + 100 * MS);
        // 5 ms around 200 ms.
        assert_eq!(vigil.until_watch(start + 150 * MS), Some(45 * MS));
        for awake in [195, 200, 205] {
            assert_eq!(vigil.until_watch(start + awake * MS), Some(Duration::ZERO), "{awake} ms");
        }
        assert_eq!(vigil.until_watch(start + 206 * MS), None);
        // One was left out: still the pace of before. Twice in a row, and the pace is a slower one.
        vigil.moment(start + 300 * MS);
        assert_eq!(vigil.until_watch(start + 390 * MS), Some(5 * MS));
        vigil.moment(start + 500 * MS);
        assert_eq!(vigil.until_watch(start + 600 * MS), Some(95 * MS));
    }

    #[test]
    fn it_rehearses_during_a_watch_only_and_not_all_the_time() {
        let (mut vigil, start) = (Vigil::new(), Instant::now());
        (0..3).for_each(|moment| vigil.moment(start + moment * 100 * MS));
        assert!(!vigil.rest(start + 250 * MS));
        assert!(vigil.rest(start + 296 * MS));
        vigil.rehearsed(start + 296 * MS, start + 296 * MS + PAUSE / 100);
        assert!(!vigil.rest(start + 296 * MS + PAUSE / 2));
        assert!(vigil.rest(start + 297 * MS));
        // A slow one is rehearsed less often.
        vigil.rehearsed(start + 297 * MS, start + 297 * MS + PAUSE);
        assert!(!vigil.rest(start + 301 * MS));
        assert!(vigil.rest(start + 304 * MS));
        assert!(!vigil.rest(start + 320 * MS));
    }
}
