//! A running sidecar without an engine around it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};
use tidegate_market::features::schema as f;
use tidegate_sidecar::messages::{Event, Listed, Rated, Request};
use tidegate_sidecar::serve::{AdviceCells, Settings, run_free};
use tidegate_wire::event::{BookQuality, Header};
use tidegate_wire::feature::{FeatureBody, FeatureRecord};
use tidegate_wire::ring::{Region, RegionKind, overwrite};
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, RecordKind, Registry, Scale, Venue};

/// Event time between two vectors: each makes an adjustment due.
const STEP_NS: i64 = 1_000_000_000;

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
pub(crate) struct Engine {
    requests: Sender<Request>,
    events: Receiver<Event>,
    vectors: overwrite::Writer,
    cells: Arc<AdviceCells>,
    asked: u64,
    moment: i64,
    sidecar: JoinHandle<u64>,
}

impl Engine {
    /// Starts a sidecar on two books, an adjustment a vector.
    pub(crate) fn start(mut settings: Settings) -> Self {
        settings.every_ns = STEP_NS;
        let region = Arc::new(Region::anonymous(RegionKind::Overwrite, 1 << 10).expect("memory"));
        let cells = Arc::new(AdviceCells::anonymous(2).expect("memory"));
        let ((requests, requested), (told, events)) = (unbounded(), unbounded());
        let mut reader = overwrite::Reader::newest(region.clone());
        let out = cells.clone();
        let sidecar = std::thread::spawn(move || run_free(&settings, &registry(), &mut reader, out, requested, told).0);
        let vectors = overwrite::Writer::resume(region);
        let mut engine = Self { requests, events, vectors, cells, asked: 0, moment: 1_000_000 * STEP_NS, sidecar };
        // The first vectors of all make nothing due.
        engine.see();
        engine
    }

    /// Ends it; gives the number of adjustments.
    pub(crate) fn stop(self) -> u64 {
        self.requests.send(Request::Stop).expect("it runs");
        self.sidecar.join().expect("no panic")
    }

    /// Brings vectors until an event comes that `wanted` takes, and gives it.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            self.see();
            match self.events.recv_timeout(Duration::from_millis(5)) {
                Ok(event) if wanted(&event) => return event,
                _ => {}
            }
        }
        panic!("the event did not come");
    }

    /// Brings vectors for a while; gives what was told.
    pub(crate) fn for_a_while(&mut self, time: Duration) -> Vec<Event> {
        let start = Instant::now();
        while start.elapsed() < time {
            self.see();
            std::thread::sleep(Duration::from_millis(5));
        }
        self.events.try_iter().collect()
    }

    /// Asks and waits for the answer; nothing may fail meanwhile.
    pub(crate) fn ask(&mut self, request: impl FnOnce(u64) -> Request) -> Vec<Listed> {
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

    /// Asks and waits for nothing.
    pub(crate) fn send(&mut self, request: impl FnOnce(u64) -> Request) {
        self.asked += 1;
        self.requests.send(request(self.asked)).expect("it runs");
    }

    /// Asks and waits for the reason why not.
    pub(crate) fn ask_in_vain(&mut self, request: impl FnOnce(u64) -> Request) -> String {
        self.asked += 1;
        self.requests.send(request(self.asked)).expect("it runs");
        loop {
            match self.events.recv_timeout(Duration::from_secs(30)).expect("an answer") {
                Event::Answer { id, error, .. } if id == self.asked => return error.expect("a reason"),
                _ => {}
            }
        }
    }

    /// What the versions in force and in shadow say of a row.
    pub(crate) fn rate(&mut self, name: &str, row: &[Option<f64>]) -> (Option<Rated>, Option<Rated>) {
        self.asked += 1;
        let (id, name, row) = (self.asked, name.to_owned(), row.to_vec());
        self.requests.send(Request::Rate { id, name, event_ns: self.moment, row }).expect("it runs");
        loop {
            match self.events.recv_timeout(Duration::from_secs(30)).expect("an answer") {
                Event::Rated { id, in_force, shadow } if id == self.asked => return (in_force, shadow),
                _ => {}
            }
        }
    }

    /// Brings new vectors of both books.
    pub(crate) fn see(&mut self) {
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
    pub(crate) fn adjust(&mut self) {
        let (before, start) = (self.cells.bell(), Instant::now());
        self.see();
        while self.cells.bell() == before {
            assert!(start.elapsed() < Duration::from_secs(30), "no advice came");
            std::thread::yield_now();
        }
    }
}
