//! Hundreds of swaps in a row leave nothing behind: neither memory nor threads.

mod common;

use std::time::Instant;

use common::service::Engine;
use common::{Forge, environment};
use tidegate_sidecar::messages::{Request, State};
use tidegate_sidecar::serve::Settings;

/// Swaps between two looks at memory. Those before the first look fill caches and pools.
const SPELL: u64 = 100;
/// Looks after the first one.
const SPELLS: usize = 5;
/// What a swap may leave behind, bytes the allocator has handed out and not taken back. A leak grows in every spell, a
/// cache that fills grows in some: so the median spell is judged.
const LEFT_BY_SWAP: i64 = 1024;
/// What the resident pages may grow by over the whole test. They say what the allocator keeps, not what is in use: they
/// wander by megabytes in steps of its own (a new arena, a huge page), and fall again.
const STEPS: i64 = 8 << 20;
const NAME: &str = "breaker-tuner";

/// Loads a version, puts it in force and lets it advise.
fn swap(engine: &mut Engine, version: u32) {
    engine.ask(|id| Request::Load { id, name: NAME.into(), version });
    let models = engine.ask(|id| Request::Promote { id, name: NAME.into(), version: None });
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

/// Bytes that this process, ONNX Runtime included, has allocated and not freed, in all arenas and mappings.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn in_use() -> i64 {
    // SAFETY: a plain call without pointers.
    let info = unsafe { libc::mallinfo2() };
    i64::try_from(info.uordblks + info.hblkhd).expect("less than 8 EiB")
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
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
    let mut looks = Vec::with_capacity(SPELLS + 1);
    for swap in 1..=SPELL * (SPELLS as u64 + 1) {
        // The newest is in force at the start.
        self::swap(&mut engine, 2 - (swap % 2) as u32);
        if swap % SPELL == 0 {
            looks.push((in_use(), resident(), threads()));
        }
    }
    let swaps = SPELL * SPELLS as u64;
    println!(
        "{swaps} swaps in {:.1} s after {SPELL}, (in use, resident, threads) {looks:?}",
        start.elapsed().as_secs_f64()
    );
    let adjustments = engine.stop();
    assert!(adjustments >= swaps, "{adjustments}");
    assert!(looks.iter().all(|look| look.2 == looks[0].2), "threads: {looks:?}");
    let mut grown: Vec<i64> = looks.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    grown.sort_unstable();
    let median = grown[SPELLS / 2];
    assert!(
        median < LEFT_BY_SWAP * SPELL as i64,
        "{median} bytes more in use in the median of {SPELLS} spells: {looks:?}"
    );
    let whole = looks[SPELLS].1 - looks[0].1;
    assert!(whole < STEPS, "{whole} resident bytes more after {swaps} swaps: {looks:?}");
}
