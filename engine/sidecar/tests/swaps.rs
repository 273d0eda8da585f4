//! Hundreds of swaps in a row leave nothing behind: neither memory nor threads.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Forge, environment};
use crossbeam::channel::{Receiver, Sender, unbounded};
use tidegate_market::features::schema as f;
use tidegate_sidecar::messages::{Event, Listed, Request, State};
use tidegate_sidecar::serve::{AdviceCells, Settings, run_free};
use tidegate_wire::event::{BookQuality, Header};
use tidegate_wire::feature::{FeatureBody, FeatureRecord};
use tidegate_wire::ring::{Region, RegionKind, overwrite};
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, RecordKind, Registry, Scale, Venue};

/// Swaps in all, and after how many memory is looked at first: until then caches and pools fill.
const SWAPS: (u64, u64) = (500, 100);
/// What memory may grow by between the two looks, bytes.
const GROWTH: i64 = 2 << 20;
/// Event time between two vectors: each makes an adjustment due.
const STEP_NS: i64 = 1_000_000_000;
const NAME: &str = "breaker-tuner";

fn registry() -> Registry {
    let mut registry = Registry::new();
    let scale = Scale::saturating(2);
    for venue in [Venue::BinanceSpot, Venue::BinanceUsdm] {
        let (tick, lot, contract) = (Price::from_raw(1), Qty::from_raw(1), Default::default());
        let symbol = "BTCUSDT".to_owned();
        let instrument = Instrument { venue, symbol, price_scale: scale, qty_scale: scale, tick, lot, contract };
        registry.add(instrument).expect("legal");
    }
    registry
}

/// The test's side of a running sidecar.
struct Engine {
    requests: Sender<Request>,
    events: Receiver<Event>,
    vectors: overwrite::Writer,
    cells: Arc<AdviceCells>,
    asked: u64,
    moment: i64,
}

impl Engine {
    /// Asks and waits for the answer; nothing may fail meanwhile.
    fn ask(&mut self, request: impl FnOnce(u64) -> Request) -> Vec<Listed> {
        self.asked += 1;
        self.requests.send(request(self.asked)).expect("it runs");
        loop {
            match self.events.recv_timeout(Duration::from_secs(30)).expect("an answer") {
                Event::Answer { id, error, models } if id == self.asked => {
                    assert_eq!(error, None);
                    return models;
                }
                Event::Refused { text, .. } | Event::Fault { text, .. } => panic!("{text}"),
                _ => {}
            }
        }
    }

    /// Brings new vectors of both books.
    fn see(&mut self) {
        self.moment += STEP_NS;
        for book in 0..2 {
            let header = Header::new(RecordKind::Features, InstrumentId(book));
            let header = Header { event_ns: self.moment, ..header };
            let mut body = FeatureBody { quality: BookQuality::Good as u64, ..FeatureBody::EMPTY };
            body.set(f::MID, Some(100.0 + (self.moment / STEP_NS % 7) as f64));
            let mut record = FeatureRecord { header, body };
            self.vectors.push(bytemuck::cast_slice_mut(core::slice::from_mut(&mut record)));
        }
    }

    /// Brings new vectors and waits for the advice on them.
    fn adjust(&mut self) {
        let (before, start) = (self.cells.bell(), Instant::now());
        self.see();
        while self.cells.bell() == before {
            assert!(start.elapsed() < Duration::from_secs(30), "no advice came");
            std::thread::yield_now();
        }
    }

    /// Loads a version, puts it in force and lets it advise.
    fn swap(&mut self, version: u32) {
        self.ask(|id| Request::Load { id, name: NAME.into(), version });
        let models = self.ask(|id| Request::Promote { id, name: NAME.into() });
        let active = models.iter().find(|model| model.state == State::Active).map(|model| model.version);
        assert_eq!((active, models.len()), (Some(version), 2), "in force, with the one before it");
        self.adjust();
    }
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
    settings.every_ns = STEP_NS;
    let region = Arc::new(Region::anonymous(RegionKind::Overwrite, 1 << 10).expect("memory"));
    let cells = Arc::new(AdviceCells::anonymous(2).expect("memory"));
    let ((requests, requested), (told, events)) = (unbounded(), unbounded());
    let mut reader = overwrite::Reader::newest(region.clone());
    let out = cells.clone();
    let sidecar = std::thread::spawn(move || run_free(&settings, &registry(), &mut reader, out, requested, told).0);
    let vectors = overwrite::Writer::resume(region);
    let mut engine = Engine { requests, events, vectors, cells, asked: 0, moment: 1_000_000 * STEP_NS };
    let start = Instant::now();
    engine.ask(|id| Request::List { id });
    // The first vectors of all make nothing due.
    engine.see();
    let mut before = (0, 0);
    for swap in 1..=SWAPS.0 {
        engine.swap(1 + (swap % 2) as u32);
        if swap == SWAPS.1 {
            before = (resident(), threads());
        }
    }
    let after = (resident(), threads());
    println!("{} swaps in {:.1} s, memory {before:?} to {after:?}", SWAPS.0, start.elapsed().as_secs_f64());
    engine.requests.send(Request::Stop).expect("it runs");
    let adjustments = sidecar.join().expect("no panic");
    assert!(adjustments >= SWAPS.0, "{adjustments}");
    assert_eq!(before.1, after.1, "threads");
    assert!(after.0 - before.0 < GROWTH, "{} bytes more after {} swaps", after.0 - before.0, SWAPS.0);
}
