//! Time: a raw counter for the hot path, nanoseconds for everybody else, and event time for replay.
//!
//! * [`Clock::ticks`] is a bare counter read (about 11 ns where the counter is the TSC). Records carry ticks; whoever
//!   keeps a histogram converts differences with [`Clock::ns`].
//! * [`RealtimeAnchor`] ties ticks to `CLOCK_REALTIME`. It is three words, made for a [`crate::cell::SeqCell`]:
//!   whoever runs live renews it from a cold thread (the host's clock is disciplined, the counter is not), so that
//!   nobody on the hot path makes a call. A replay takes its times from the data and needs none.
//! * [`EventClock`] is the time of the data: the largest receive stamp seen. In replay every timer runs on it.
//!
//! The TSC is used only where the CPU says that it is constant and never stops, and the kernel trusts it as its own
//! clock source; elsewhere ticks are `CLOCK_MONOTONIC` nanoseconds. The TSC read does not wait for earlier
//! instructions, so differences below about 20 ns mean little.

use std::time::{Duration, Instant};

use bytemuck::{Pod, Zeroable};

/// Where ticks come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TickSource {
    /// The CPU's time stamp counter.
    Tsc,
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    Monotonic,
}

/// A counter and its rate. Copy it to whoever reads time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    source: TickSource,
    /// Nanoseconds a tick, times 2^32; > 0.
    ns_per_tick_q32: u64,
}

/// Longest a calibration takes.
const CALIBRATION: Duration = Duration::from_millis(40);

impl Clock {
    /// The best counter of this host, calibrated against `CLOCK_MONOTONIC` (takes about 40 ms).
    pub fn calibrate() -> Self {
        if tsc_is_reliable() {
            let (t0, i0) = joint_read();
            std::thread::sleep(CALIBRATION);
            let (t1, i1) = joint_read();
            let (ticks, ns) = (t1.wrapping_sub(t0), i1.duration_since(i0).as_nanos());
            if ticks > 0 && ns > 0 {
                let ns_per_tick_q32 = u64::try_from((ns << 32) / u128::from(ticks)).unwrap_or(0);
                if ns_per_tick_q32 > 0 {
                    return Self { source: TickSource::Tsc, ns_per_tick_q32 };
                }
            }
        }
        Self::monotonic()
    }

    /// `CLOCK_MONOTONIC` as the counter: one tick is one nanosecond.
    pub const fn monotonic() -> Self {
        Self { source: TickSource::Monotonic, ns_per_tick_q32: 1 << 32 }
    }

    /// Where ticks come from.
    pub const fn source(&self) -> TickSource {
        self.source
    }

    /// Ticks a second.
    pub fn ticks_per_second(&self) -> f64 {
        1e9 / (self.ns_per_tick_q32 as f64 / 2f64.powi(32))
    }

    /// The counter now.
    #[inline(always)]
    pub fn ticks(&self) -> u64 {
        match self.source {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: RDTSC is part of every x86-64 CPU; `calibrate` chose it only where the kernel uses it too.
            TickSource::Tsc => unsafe { core::arch::x86_64::_rdtsc() },
            #[cfg(not(target_arch = "x86_64"))]
            TickSource::Tsc => monotonic_ns(),
            TickSource::Monotonic => monotonic_ns(),
        }
    }

    /// A difference of ticks in nanoseconds.
    #[inline(always)]
    pub fn ns(&self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.ns_per_tick_q32)) >> 32) as u64
    }

    /// Nanoseconds from `earlier` to `later`; 0 when a counter of another core lags.
    #[inline(always)]
    pub fn between(&self, earlier: u64, later: u64) -> u64 {
        self.ns(later.saturating_sub(earlier))
    }

    /// Nanoseconds as ticks.
    pub fn ticks_of(&self, ns: u64) -> u64 {
        ((u128::from(ns) << 32) / u128::from(self.ns_per_tick_q32)) as u64
    }

    /// Ties the counter to `CLOCK_REALTIME` now.
    pub fn anchor(&self) -> RealtimeAnchor {
        // The tightest of a few bracketed reads: an interrupt inside one makes its bracket wide.
        let mut best = RealtimeAnchor { ticks: 0, unix_ns: 0, width_ticks: u64::MAX };
        for _ in 0..8 {
            let (before, unix_ns) = (self.ticks(), realtime_ns());
            let width_ticks = self.ticks().saturating_sub(before);
            if width_ticks < best.width_ticks {
                best = RealtimeAnchor { ticks: before + width_ticks / 2, unix_ns, width_ticks };
            }
        }
        best
    }

    /// `CLOCK_REALTIME` of a counter reading, by an anchor not older than some seconds.
    #[inline(always)]
    pub fn unix_ns(&self, ticks: u64, anchor: &RealtimeAnchor) -> i64 {
        if ticks >= anchor.ticks {
            anchor.unix_ns + self.ns(ticks - anchor.ticks) as i64
        } else {
            anchor.unix_ns - self.ns(anchor.ticks - ticks) as i64
        }
    }
}

/// One joint reading of the counter and `CLOCK_REALTIME`; three words, so it fits a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct RealtimeAnchor {
    /// Counter reading.
    pub ticks: u64,
    /// Nanoseconds since the Unix epoch at that reading.
    pub unix_ns: i64,
    /// How far apart the bracketing counter reads were: twice the error bound.
    pub width_ticks: u64,
}

/// The time of the data: never goes back.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventClock {
    now_ns: i64,
}

impl EventClock {
    /// Moves to `event_ns` unless that is in the past; gives the time that now holds.
    #[inline(always)]
    pub fn advance(&mut self, event_ns: i64) -> i64 {
        self.now_ns = self.now_ns.max(event_ns);
        self.now_ns
    }

    /// Event time, ns since the Unix epoch; 0 before the first event.
    pub const fn now_ns(&self) -> i64 {
        self.now_ns
    }
}

/// `CLOCK_REALTIME`, ns since the Unix epoch.
pub fn realtime_ns() -> i64 {
    match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_nanos()).unwrap_or(i64::MAX),
    }
}

fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to; CLOCK_MONOTONIC always exists on Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Counter and monotonic clock read as close together as eight tries allow.
fn joint_read() -> (u64, Instant) {
    let tsc = Clock { source: TickSource::Tsc, ns_per_tick_q32: 1 };
    let mut best = (u64::MAX, 0, Instant::now());
    for _ in 0..8 {
        let before = tsc.ticks();
        let instant = Instant::now();
        let width = tsc.ticks().saturating_sub(before);
        if width < best.0 {
            best = (width, before + width / 2, instant);
        }
    }
    (best.1, best.2)
}

/// Whether the CPU promises a constant, never-stopping TSC and the kernel keeps its own time by it.
fn tsc_is_reliable() -> bool {
    if !cfg!(target_arch = "x86_64") {
        return false;
    }
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|f| f == flag);
    let source = read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    // kvm-clock is itself derived from the TSC and, with these flags, runs at a constant rate.
    has("constant_tsc") && has("nonstop_tsc") && matches!(source.trim(), "tsc" | "kvm-clock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_measure_a_sleep() {
        let clock = Clock::calibrate();
        let (start, wall) = (clock.ticks(), Instant::now());
        std::thread::sleep(Duration::from_millis(30));
        let (ns, wall) = (clock.between(start, clock.ticks()), wall.elapsed().as_nanos() as u64);
        assert!(ns.abs_diff(wall) < wall / 20, "counter says {ns} ns, the system {wall} ns");
        assert!(clock.ticks_of(clock.ns(1_000_000_000)).abs_diff(1_000_000_000) < 1_000);
    }

    #[test]
    fn anchor_maps_to_unix_time_both_ways() {
        let clock = Clock::calibrate();
        let anchor = clock.anchor();
        std::thread::sleep(Duration::from_millis(5));
        let (mapped, real) = (clock.unix_ns(clock.ticks(), &anchor), realtime_ns());
        assert!(mapped.abs_diff(real) < 2_000_000, "{mapped} against {real}");
        assert!(clock.unix_ns(anchor.ticks - clock.ticks_of(1_000), &anchor) < anchor.unix_ns);
    }

    #[test]
    fn event_time_never_goes_back() {
        let mut clock = EventClock::default();
        assert_eq!([5, 3, 9].map(|t| clock.advance(t)), [5, 5, 9]);
    }
}
