//! Whose clock says what: the venues' against ours, and ours against UTC.

use std::collections::VecDeque;

/// An estimate of how far a venue's clock is ahead of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Skew {
    /// Venue's time less ours, ns.
    pub offset_ns: i64,
    /// The true value lies within so much of it: half the round trip, ns.
    pub bound_ns: i64,
}

/// Estimates by Cristian's method: the question with the shortest round trip among the last ones tells best.
#[derive(Clone, Debug, Default)]
pub struct SkewMeter {
    last: VecDeque<Skew>,
}

/// Venues tell their time in milliseconds: estimates may differ by so much, ns.
const JUMP_NS: i64 = 2_000_000;
/// Questions that count.
const WINDOW: usize = 8;

impl SkewMeter {
    /// A question was sent at `sent_ns`, answered at `answered_ns` (our clock), and the venue said `venue_ns`.
    pub fn add(&mut self, sent_ns: i64, answered_ns: i64, venue_ns: i64) {
        let bound_ns = ((answered_ns - sent_ns) / 2).max(0);
        let offset_ns = venue_ns - sent_ns - bound_ns;
        // Further apart than both can be wrong: one of the clocks has jumped, and what was known says nothing any more.
        let jumped = |known: Skew| (offset_ns - known.offset_ns).abs() > bound_ns + known.bound_ns + JUMP_NS;
        if self.skew().is_some_and(jumped) {
            self.last.clear();
        }
        if self.last.len() == WINDOW {
            self.last.pop_front();
        }
        self.last.push_back(Skew { offset_ns, bound_ns });
    }

    /// The best estimate; `None` before the first answer.
    pub fn skew(&self) -> Option<Skew> {
        self.last.iter().min_by_key(|skew| skew.bound_ns).copied()
    }
}

/// What the kernel knows of its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct HostClock {
    /// Disciplined by NTP or PTP at all.
    pub synchronised: bool,
    /// Offset that is being corrected, ns.
    pub offset_ns: i64,
    /// Estimated and maximum error, ns.
    pub estimated_error_ns: i64,
    /// See `estimated_error_ns`.
    pub maximum_error_ns: i64,
}

/// Largest divergence from UTC that RTS 25 allows those who trade by algorithm at high frequency, ns.
pub const RTS_25_NS: i64 = 100_000;

impl HostClock {
    /// Asks the kernel; `None` where it does not say.
    pub fn read() -> Option<Self> {
        // SAFETY: all-zero is a valid `timex`; mode 0 only reads.
        let mut time: libc::timex = unsafe { core::mem::zeroed() };
        // SAFETY: the structure lives through the call.
        let state = unsafe { libc::adjtimex(&raw mut time) };
        if state < 0 {
            return None;
        }
        let unit = if time.status & libc::STA_NANO != 0 { 1 } else { 1_000 };
        Some(Self {
            synchronised: state != libc::TIME_ERROR && time.status & libc::STA_UNSYNC == 0,
            offset_ns: time.offset * unit,
            estimated_error_ns: time.esterror * 1_000,
            maximum_error_ns: time.maxerror * 1_000,
        })
    }

    /// Whether its stamps satisfy RTS 25's 100 us.
    pub const fn is_traceable(&self) -> bool {
        self.synchronised && self.maximum_error_ns <= RTS_25_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_round_trip_tells() {
        let mut meter = SkewMeter::default();
        assert_eq!(meter.skew(), None);
        meter.add(1_000, 9_000, 105_000);
        assert_eq!(meter.skew(), Some(Skew { offset_ns: 100_000, bound_ns: 4_000 }));
        meter.add(10_000, 11_000, 110_600);
        assert_eq!(meter.skew(), Some(Skew { offset_ns: 100_100, bound_ns: 500 }));
        for i in 0..8 {
            meter.add(20_000 + i, 24_000 + i, 122_000 + i);
        }
        assert_eq!(meter.skew(), Some(Skew { offset_ns: 100_000, bound_ns: 2_000 }), "old questions do not count");
    }

    #[test]
    fn the_kernel_tells_of_its_clock() {
        if let Some(clock) = HostClock::read() {
            assert!(clock.maximum_error_ns >= 0);
            assert!(!clock.is_traceable() || clock.maximum_error_ns <= RTS_25_NS);
        }
    }
}
