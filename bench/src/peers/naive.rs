//! The path as it is usually written: owned strings, floats, ordered maps, everything anew for every frame.
//!
//! What a default WebSocket client does is part of it: the payload is copied into a vector of its own and checked to be
//! UTF-8 before the program sees it.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crossbeam::channel::Sender;
use serde::Deserialize;

/// Features computed for every frame.
pub const FEATURES: usize = 24;
/// Levels a side they are computed from.
const TOP: usize = 20;

/// A price as most programs order it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Float(f64);

impl Eq for Float {}

impl PartialOrd for Float {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Float {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[derive(Deserialize)]
struct Wrapped {
    #[expect(dead_code, reason = "the naive program keeps the name like every other field")]
    stream: String,
    data: Depth,
}

#[derive(Deserialize)]
struct Depth {
    #[serde(rename = "E")]
    stamp: i64,
    #[serde(rename = "u")]
    last: u64,
    pu: u64,
    b: Vec<(String, String)>,
    a: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Snapshot {
    #[serde(rename = "lastUpdateId")]
    last: u64,
    bids: Vec<(String, String)>,
    asks: Vec<(String, String)>,
}

/// What it publishes.
#[derive(Debug)]
pub struct Vector {
    /// Best bid and ask.
    pub best: (f64, f64),
    /// The features.
    pub values: [f64; FEATURES],
}

/// The whole path.
#[derive(Debug)]
pub struct Naive {
    bids: BTreeMap<Float, f64>,
    asks: BTreeMap<Float, f64>,
    snapshot: u64,
    last: u64,
    mid: f64,
    /// Frames that did not continue the one before.
    pub gaps: u64,
    out: Sender<Box<Vector>>,
}

impl Naive {
    /// A book from its snapshot.
    ///
    /// # Errors
    /// The snapshot is none.
    pub fn new(snapshot: &[u8], out: Sender<Box<Vector>>) -> Result<Self, serde_json::Error> {
        let text: Snapshot = serde_json::from_slice(snapshot)?;
        let (bids, asks) = (BTreeMap::new(), BTreeMap::new());
        let mut naive = Self { bids, asks, snapshot: text.last, last: 0, mid: 0.0, gaps: 0, out };
        naive.apply(&text.bids, &text.asks);
        Ok(naive)
    }

    fn apply(&mut self, bids: &[(String, String)], asks: &[(String, String)]) {
        for (side, levels) in [(&mut self.bids, bids), (&mut self.asks, asks)] {
            for (price, qty) in levels {
                let (Ok(price), Ok(qty)) = (price.parse(), qty.parse::<f64>()) else { continue };
                if qty == 0.0 {
                    side.remove(&Float(price));
                } else {
                    side.insert(Float(price), qty);
                }
            }
        }
    }

    /// One payload, as it lies in the receive buffer.
    #[inline]
    pub fn payload(&mut self, payload: &[u8], recv_ns: i64) {
        let Ok(text) = String::from_utf8(payload.to_vec()) else { return };
        let Some((stamp, changes)) = self.update(&text) else { return };
        if let Some(vector) = self.features(recv_ns as f64 / 1e6 - stamp as f64, changes as f64) {
            let _ = self.out.send(vector);
        }
    }

    /// One depth frame into the book; gives the venue's stamp and the number of changes, `None` if it is older than the
    /// snapshot or no depth frame.
    #[inline]
    pub fn update(&mut self, text: &str) -> Option<(i64, usize)> {
        let Wrapped { data, .. } = serde_json::from_str(text).ok()?;
        if data.last < self.snapshot {
            return None;
        }
        self.gaps += u64::from(self.last != 0 && data.pu != self.last);
        self.last = data.last;
        self.apply(&data.b, &data.a);
        Some((data.stamp, data.b.len() + data.a.len()))
    }

    /// Everything from scratch out of the best twenty levels of both sides.
    fn features(&mut self, latency_ms: f64, changes: f64) -> Option<Box<Vector>> {
        let (bid, bid_qty) = self.bids.last_key_value().map(|(p, q)| (p.0, *q))?;
        let (ask, ask_qty) = self.asks.first_key_value().map(|(p, q)| (p.0, *q))?;
        let mid = (bid + ask) / 2.0;
        let micro = (bid * ask_qty + ask * bid_qty) / (bid_qty + ask_qty);
        let step = if self.mid > 0.0 { (mid / self.mid).ln() } else { 0.0 };
        self.mid = mid;
        let bids: Vec<(f64, f64)> = self.bids.iter().rev().take(TOP).map(|(p, q)| (p.0, *q)).collect();
        let asks: Vec<(f64, f64)> = self.asks.iter().take(TOP).map(|(p, q)| (p.0, *q)).collect();
        let depth = |side: &[(f64, f64)], levels: usize| side.iter().take(levels).map(|(_, q)| q).sum::<f64>();
        let imbalance = |levels| {
            let (b, a) = (depth(&bids, levels), depth(&asks, levels));
            (b - a) / (b + a)
        };
        let average = |side: &[(f64, f64)]| {
            let value: f64 = side.iter().map(|(p, q)| p * q).sum();
            value / side.iter().map(|(_, q)| q).sum::<f64>()
        };
        let reach = |side: &[(f64, f64)]| side.last().map_or(0.0, |(p, _)| (p - mid).abs() / mid);
        let (bid_average, ask_average) = (average(&bids), average(&asks));
        let values = [
            mid,
            ask - bid,
            (ask - bid) / mid * 1e4,
            micro,
            (micro - mid) / mid * 1e4,
            bid_qty,
            ask_qty,
            imbalance(1),
            imbalance(5),
            imbalance(10),
            imbalance(TOP),
            depth(&bids, 5),
            depth(&asks, 5),
            depth(&bids, 10),
            depth(&asks, 10),
            depth(&bids, TOP),
            depth(&asks, TOP),
            (mid - bid_average) / mid * 1e4,
            (ask_average - mid) / mid * 1e4,
            reach(&bids),
            reach(&asks),
            step,
            latency_ms,
            changes,
        ];
        Some(Box::new(Vector { best: (bid, ask), values }))
    }
}
