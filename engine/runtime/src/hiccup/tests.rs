//! The arithmetic of waits on made-up gaps, and short runs of the real thing.

use super::*;

fn gaps(list: &[(u64, u64)]) -> Histogram<u64> {
    let mut histogram = empty().unwrap();
    for &(gap_ns, count) in list {
        histogram.record_n(gap_ns, count).unwrap();
    }
    histogram
}

fn near(found: u64, expected: f64) {
    assert!((found as f64 - expected).abs() <= expected * 0.02, "{found} is not about {expected}");
}

#[test]
fn a_random_arrival_waits_by_time_not_by_count() {
    // Ten gaps of 10 ms in 10 s: 1 % of the time is inside gaps, so just that share waits at all ...
    let ten = gaps(&[(10_000_000, 10)]);
    assert!(random_wait_ns(&ten, 10_000_000_000, 0.0101) == 0);
    // ... and a tenth of it waits more than nine tenths of a gap.
    near(random_wait_ns(&ten, 10_000_000_000, 0.001), 9_000_000.0);
    // Short gaps, however many, do not hide a long one.
    let mixed = gaps(&[(2_000, 100_000), (50_000_000, 1)]);
    near(random_wait_ns(&mixed, 10_000_000_000, 0.001), 40_000_000.0);
}

#[test]
fn the_wait_is_exact_over_many_lengths() {
    let list: Vec<(u64, u64)> = (1..=200).map(|k| (k * 7_919, 1 + k % 5)).collect();
    let histogram = gaps(&list);
    let observed_ns = 1_000_000_000;
    for share in [0.5, 0.1, 0.01, 0.001, 0.0001] {
        let wait = random_wait_ns(&histogram, observed_ns, share) as f64;
        let beyond = |x: f64| list.iter().map(|&(gap, n)| n as f64 * (gap as f64 - x).max(0.0)).sum::<f64>();
        let target = share * observed_ns as f64;
        // The histogram's two digits are the only error.
        assert!(beyond(wait * 0.99) >= target || wait == 0.0, "{share}: {wait} is too long");
        assert!(beyond(wait * 1.01) <= target, "{share}: {wait} is too short");
    }
}

#[test]
fn no_gap_is_no_wait() {
    assert_eq!(random_wait_ns(&gaps(&[]), 1_000, 0.01), 0);
    assert_eq!(random_wait_ns(&gaps(&[]), 0, 0.01), 0);
}

#[test]
fn a_short_run_observes_its_time_and_survives_snapshots() {
    for mode in [Mode::Spin, Mode::Sleep] {
        let mut meter = HiccupMeter::start(None, mode).unwrap();
        std::thread::sleep(Duration::from_millis(60));
        let first = meter.snapshot();
        std::thread::sleep(Duration::from_millis(60));
        let last = meter.stop();
        assert!(first.observed_s > 0.0 && last.observed_s > first.observed_s, "{first:?} {last:?}");
        assert!(last.gaps >= first.gaps && last.longest_ns >= first.longest_ns);
        assert!((0.0..=1.0).contains(&last.stolen_ratio), "{last:?}");
        assert!(last.wait_p99_ns <= last.wait_p999_ns && last.wait_p999_ns <= last.wait_p9999_ns);
    }
}

#[test]
fn an_impossible_core_is_refused() {
    for core in [1_000, 70_000] {
        let error = HiccupMeter::start(Some(core), Mode::Spin).unwrap_err();
        assert!(matches!(error, HiccupError::Pin { .. }), "{error}");
        assert!(error.to_string().contains(&core.to_string()));
    }
}

#[test]
fn a_stall_swallows_no_wake_up() {
    let shared = Arc::new(Shared {
        stop: AtomicBool::new(false),
        wanted: AtomicBool::new(false),
        slot: Mutex::new(Slot { gaps: empty().unwrap(), totals: Totals::default() }),
    });
    let mut watcher = Watcher { shared, gaps: empty().unwrap(), totals: Totals::default() };
    watcher.record_wake(3_500_000, 1_000_000);
    // Four arrivals: the one that was late by 3.5 ms and those due 1, 2 and 3 ms after it.
    assert_eq!(watcher.gaps.len(), 4);
    near(watcher.gaps.min(), 500_000.0);
}

#[test]
fn it_spins_only_where_a_core_is_left() {
    assert_eq!(Mode::for_host(4, 2), Mode::Spin);
    assert_eq!(Mode::for_host(2, 1), Mode::Sleep);
    assert_eq!(Mode::for_host(1, 0), Mode::Sleep);
}

#[test]
fn the_line_says_what_was_found() {
    let floor = NoiseFloor {
        mode: Mode::Spin,
        core: Some(1),
        observed_s: 10.0,
        stolen_ratio: 0.0113,
        gaps: 8_850,
        gaps_per_s: 885.0,
        wait_p99_ns: 1_400,
        wait_p999_ns: 34_000,
        wait_p9999_ns: 1_500_000,
        longest_ns: 6_000_000,
    };
    assert_eq!(
        floor.to_string(),
        "noise floor: core 1, spin, 10.0 s: 1.13 % stolen, 885 gaps/s > 1 us, \
         P(wait > x) = 1 % 1.4 us, 0.1 % 34 us, 0.01 % 1.5 ms; longest 6.0 ms"
    );
}
