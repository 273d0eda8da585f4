//! What a computation takes of the CPU, whoever else wants it: how a model is timed.
//!
//! On a busy host a thread is put aside for milliseconds, and wall time would refuse good models. How late answers come
//! is measured elsewhere, in the histograms of adjustments.

use std::time::Duration;

/// A stopwatch on the calling thread's CPU time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuTime(Duration);

impl CpuTime {
    /// Starts now.
    pub(crate) fn start() -> Self {
        Self(now())
    }

    /// CPU time since the start; to be asked on the same thread.
    pub(crate) fn elapsed(&self) -> Duration {
        now().saturating_sub(self.0)
    }
}

fn now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a value of our own; the clock exists on every Unix that the engine runs on.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.clamp(0, 999_999_999) as u32)
}
