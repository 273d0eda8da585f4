//! Hundreds of swaps in a row leave nothing behind: neither memory nor threads.

mod common;

use std::time::Instant;

use common::service::Engine;
use common::{Forge, environment};
use tidegate_sidecar::messages::{Request, State};
use tidegate_sidecar::serve::Settings;

/// Swaps in all, and after how many memory is looked at first: until then caches and pools fill.
const SWAPS: (u64, u64) = (500, 100);
/// What memory may grow by between the two looks, bytes.
const GROWTH: i64 = 2 << 20;
const NAME: &str = "breaker-tuner";

/// Loads a version, puts it in force and lets it advise.
fn swap(engine: &mut Engine, version: u32) {
    engine.ask(|id| Request::Load { id, name: NAME.into(), version });
    let models = engine.ask(|id| Request::Promote { id, name: NAME.into() });
    let active = models.iter().find(|model| model.state == State::Active).map(|model| model.version);
    assert_eq!((active, models.len()), (Some(version), 2), "in force, with the one before it");
    engine.adjust();
}

/// Resident memory of this process, bytes.
fn resident() -> i64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: i64 = text.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    // SAFETY: a plain call without pointers.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) }
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

#[test]
#[cfg(target_os = "linux")]
fn five_hundred_swaps_leave_nothing_behind() {
    if environment().is_none() {
        return;
    }
    let forge = Forge::new();
    let second = Forge::version(2);
    let place = forge.root.path().join(NAME).join("2");
    std::fs::rename(&second.folder, &place).expect("one file system");
    let mut settings = Settings::new(forge.root.path());
    // Promoted when the test says so. The gate times nothing: that is not what is tested here, a debug build is slow,
    // and tests run on busy machines.
    (settings.shadow.runs, settings.loader.gate.runs, settings.loader.watch) = (u64::MAX, 0, false);
    let mut engine = Engine::start(settings);
    let start = Instant::now();
    engine.ask(|id| Request::List { id });
    let reason = engine.ask_in_vain(|id| Request::Load { id, name: NAME.into(), version: 2 });
    assert!(reason.contains("in force already"), "beside itself it would push out the one before: {reason}");
    let mut before = (0, 0);
    for swap in 1..=SWAPS.0 {
        // The newest is in force at the start.
        self::swap(&mut engine, 2 - (swap % 2) as u32);
        if swap == SWAPS.1 {
            before = (resident(), threads());
        }
    }
    let after = (resident(), threads());
    println!("{} swaps in {:.1} s, memory {before:?} to {after:?}", SWAPS.0, start.elapsed().as_secs_f64());
    let adjustments = engine.stop();
    assert!(adjustments >= SWAPS.0, "{adjustments}");
    assert_eq!(before.1, after.1, "threads");
    assert!(after.0 - before.0 < GROWTH, "{} bytes more after {} swaps", after.0 - before.0, SWAPS.0);
}
