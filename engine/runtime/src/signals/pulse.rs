//! What the hot stage shows of the signal desk beside the ring, and what the clerk makes of it: a desk that says
//! nothing because its reference is gone looks like one that has nothing to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidegate_trade::signals::SignalCounters;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Counts of the hot stage, as of its last beat.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    looked_at: AtomicU64,
    no_reference: AtomicU64,
    lost: AtomicU64,
}

impl Pulse {
    /// From the hot stage: its counters, and the records that found the ring full. Plain stores.
    #[inline]
    pub(super) fn beat(&self, counters: &SignalCounters, lost: u64) {
        self.looked_at.store(counters.looked_at, Ordering::Relaxed);
        self.no_reference.store(counters.no_reference, Ordering::Relaxed);
        self.lost.store(lost, Ordering::Relaxed);
    }
}

/// How the desk stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeskState {
    /// Vectors of coins come, and the reference price does not.
    pub(crate) blind: bool,
    /// Records that the clerk did not see.
    pub(crate) lost: u64,
}

/// Looks at a pulse now and then.
#[derive(Debug)]
pub(super) struct Watch {
    pulse: Arc<Pulse>,
    next: Instant,
    /// Vectors that were looked at, and those without a reference, at the last look.
    before: (u64, u64),
    state: DeskState,
}

impl Watch {
    pub(super) fn new(pulse: Arc<Pulse>) -> Self {
        Self { pulse, next: Instant::now() + EVERY, before: (0, 0), state: DeskState::default() }
    }

    /// How the desk stood and stands, where that has changed since it was looked at last.
    pub(super) fn look(&mut self, now: Instant) -> Option<(DeskState, DeskState)> {
        if now < self.next {
            return None;
        }
        self.next = now + EVERY;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = (count(&self.pulse.looked_at), count(&self.pulse.no_reference));
        let blind = match (counts.0 > self.before.0, counts.1 > self.before.1) {
            (true, _) => false,
            (false, true) => true,
            // No coin has moved: nothing is known.
            (false, false) => self.state.blind,
        };
        self.before = counts;
        let state = DeskState { blind, lost: count(&self.pulse.lost) };
        let before = std::mem::replace(&mut self.state, state);
        (state != before).then_some((before, state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_that_is_gone_is_told_once_and_so_is_its_return() {
        let pulse = Arc::new(Pulse::default());
        let mut watch = Watch::new(pulse.clone());
        let start = Instant::now();
        let mut at = |second: u64, looked_at: u64, no_reference: u64, lost: u64| {
            pulse.beat(&SignalCounters { looked_at, no_reference, ..SignalCounters::default() }, lost);
            watch.look(start + Duration::from_millis(second * 1_000 + 100)).map(|(_, state)| state)
        };
        assert_eq!(at(0, 0, 9, 0), None, "it is not time yet");
        assert_eq!(at(1, 0, 10, 0), Some(DeskState { blind: true, lost: 0 }));
        assert_eq!(at(2, 0, 20, 0), None, "nothing new");
        assert_eq!(at(4, 0, 20, 0), None, "a still market tells nothing");
        assert_eq!(at(6, 5, 21, 0), Some(DeskState { blind: false, lost: 0 }));
        assert_eq!(at(8, 6, 21, 3), Some(DeskState { blind: false, lost: 3 }));
    }
}
