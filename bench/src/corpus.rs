//! Frames to measure with: generated from a seed, in the shape of recorded Binance USD-M traffic.
//!
//! Shape, key order and digits follow recorded frames: prices with two decimals although the tick has one (the venue
//! pads), quantities with three, levels ordered along the side, a fifth of the quantities zero.

use rand::{Rng, RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_feed::frame::{FrameMut, PADDING};
use tidegate_wire::{Instrument, InstrumentId, Level, Price, Qty, Registry, Venue};

/// Seed of every generated corpus.
pub const SEED: u64 = 0x7469_6465_6761_7465;

/// Frames one behind the other, each followed by the padding that in-place readers need.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Start and length of each frame.
    spans: Vec<(usize, usize)>,
}

impl Frames {
    /// Appends a frame.
    pub fn push(&mut self, frame: &[u8]) {
        self.spans.push((self.bytes.len(), frame.len()));
        self.bytes.extend_from_slice(frame);
        self.bytes.resize(self.bytes.len() + PADDING, 0);
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Mean length, bytes.
    pub fn mean_bytes(&self) -> f64 {
        self.spans.iter().map(|(_, length)| *length as f64).sum::<f64>() / self.len().max(1) as f64
    }

    /// One frame's bytes.
    #[inline(always)]
    pub fn get(&self, index: usize) -> &[u8] {
        let (start, length) = self.spans[index];
        &self.bytes[start..start + length]
    }

    /// One frame's bytes, writable, without padding.
    #[inline(always)]
    pub fn get_mut(&mut self, index: usize) -> &mut [u8] {
        let (start, length) = self.spans[index];
        &mut self.bytes[start..start + length]
    }

    /// One frame's bytes with their padding, and its length.
    #[inline(always)]
    pub fn padded(&mut self, index: usize) -> (&mut [u8], usize) {
        let (start, length) = self.spans[index];
        (&mut self.bytes[start..start + length + PADDING], length)
    }

    /// One frame as the decoder takes it.
    #[inline(always)]
    pub fn frame(&mut self, index: usize) -> FrameMut<'_> {
        let (buffer, length) = self.padded(index);
        FrameMut::new(buffer, length).expect("frames are stored with their padding")
    }
}

/// BTCUSDT on USD-M as recorded: a tick of 0.1, a lot of 0.001.
pub fn instrument() -> Instrument {
    Instrument::linear(Venue::BinanceUsdm, "BTCUSDT", 1, 3)
}

/// A registry with [`instrument`] in it.
pub fn registry() -> (Registry, InstrumentId) {
    let mut registry = Registry::new();
    let id = registry.add(instrument()).expect("a good instrument");
    (registry, id)
}

/// Middle of generated books, ticks.
pub const MID: i64 = 618_000;

/// Depth frames that chain to one another.
#[derive(Debug)]
pub struct DepthMaker {
    rng: ChaCha8Rng,
    last: u64,
    stamp: u64,
}

impl DepthMaker {
    /// A maker with its own stream of random numbers.
    pub fn new(stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        rng.set_stream(stream);
        Self { rng, last: 5_123_107_832_006, stamp: 1_723_161_256_299 }
    }

    /// Levels of one side: gaps grow with the distance from the touch.
    pub fn side(&mut self, count: usize, up: bool, zeros: u32) -> Vec<Level> {
        let mut tick = MID;
        let mut levels = Vec::with_capacity(count);
        for _ in 0..count {
            let gap = 1 + (self.rng.random::<f64>().powi(3) * 40.0) as i64;
            tick += if up { gap } else { -gap };
            let qty = match self.rng.random_range(0..10) {
                n if n < zeros => 0,
                n if n < 8 => self.rng.random_range(1..5_000),
                _ => self.rng.random_range(1..3_000_000),
            };
            levels.push(Level { price: Price::from_raw(tick), qty: Qty::from_raw(qty) });
        }
        // The venue writes every side by rising price.
        if !up {
            levels.reverse();
        }
        levels
    }

    /// A depth frame with that many levels, a fifth of them deletions.
    pub fn depth(&mut self, bids: usize, asks: usize) -> String {
        let (bids, asks) = (self.side(bids, false, 2), self.side(asks, true, 2));
        let first = self.last + 1;
        let last = first + self.rng.random_range(1..6_000);
        let prev = std::mem::replace(&mut self.last, last);
        self.stamp += self.rng.random_range(1..90);
        let (e, t) = (self.stamp, self.stamp - 1);
        format!(
            "{{\"stream\":\"btcusdt@depth@0ms\",\"data\":{{\"e\":\"depthUpdate\",\"E\":{e},\"T\":{t},\"s\":\"BTCUSDT\",\
             \"U\":{first},\"u\":{last},\"pu\":{prev},\"b\":[{}],\"a\":[{}]}}}}",
            text(&bids),
            text(&asks)
        )
    }

    /// A REST snapshot with that many levels a side.
    pub fn snapshot(&mut self, levels: usize) -> String {
        let (mut bids, asks) = (self.side(levels, false, 0), self.side(levels, true, 0));
        bids.reverse();
        let (e, id) = (self.stamp, self.last);
        format!("{{\"lastUpdateId\":{id},\"E\":{e},\"T\":{e},\"bids\":[{}],\"asks\":[{}]}}", text(&bids), text(&asks))
    }

    /// A trade; `aggregate` for the stream of aggregates, which has other keys.
    pub fn trade(&mut self, aggregate: bool) -> String {
        let (price, qty) = (self.price(), self.rng.random_range(1..3_000));
        self.stamp += 1;
        let (e, t, id) = (self.stamp, self.stamp - 1, 5_266_583_935 + self.stamp % 1_000_000);
        let price = format!("{}.{}0", price / 10, price % 10);
        let (qty, maker) = (format!("{}.{:03}", qty / 1000, qty % 1000), self.rng.next_u32().is_multiple_of(2));
        if aggregate {
            format!(
                "{{\"stream\":\"btcusdt@aggTrade\",\"data\":{{\"e\":\"aggTrade\",\"E\":{e},\"a\":{id},\
                 \"s\":\"BTCUSDT\",\"p\":\"{price}\",\"q\":\"{qty}\",\"f\":{id},\"l\":{id},\"T\":{t},\"m\":{maker}}}}}"
            )
        } else {
            format!(
                "{{\"stream\":\"btcusdt@trade\",\"data\":{{\"e\":\"trade\",\"E\":{e},\"T\":{t},\"s\":\"BTCUSDT\",\
                 \"t\":{id},\"p\":\"{price}\",\"q\":\"{qty}\",\"X\":\"MARKET\",\"m\":{maker}}}}}"
            )
        }
    }

    /// A best bid and ask.
    pub fn quote(&mut self) -> String {
        let (bid, qty) = (self.price(), self.rng.random_range(1..30_000));
        self.stamp += 1;
        let (e, u) = (self.stamp, 5_123_107_832_006 + self.stamp % 1_000_000);
        format!(
            "{{\"stream\":\"btcusdt@bookTicker\",\"data\":{{\"e\":\"bookTicker\",\"u\":{u},\"s\":\"BTCUSDT\",\
             \"b\":\"{}.{}0\",\"B\":\"{}.{:03}\",\"a\":\"{}.{}0\",\"A\":\"2.507\",\"T\":{e},\"E\":{e}}}}}",
            bid / 10,
            bid % 10,
            qty / 1000,
            qty % 1000,
            (bid + 1) / 10,
            (bid + 1) % 10
        )
    }

    fn price(&mut self) -> i64 {
        MID + self.rng.random_range(-2_000..2_000)
    }
}

fn text(levels: &[Level]) -> String {
    let level = |level: &Level| {
        let (price, qty) = (level.price.raw(), level.qty.raw());
        format!("[\"{}.{}0\",\"{}.{:03}\"]", price / 10, price % 10, qty / 1000, qty % 1000)
    };
    levels.iter().map(level).collect::<Vec<_>>().join(",")
}

/// `count` depth frames with exactly `levels` levels each, bids and asks varying.
pub fn depth(count: usize, levels: usize) -> Frames {
    let mut maker = DepthMaker::new(levels as u64);
    let mut frames = Frames::default();
    for i in 0..count {
        let bids = levels / 4 + i * 7 % (levels / 2 + 1);
        frames.push(maker.depth(bids, levels - bids).as_bytes());
    }
    frames
}

/// `count` frames of another kind.
pub fn small(count: usize, make: impl Fn(&mut DepthMaker) -> String) -> Frames {
    let mut maker = DepthMaker::new(0);
    let mut frames = Frames::default();
    for _ in 0..count {
        frames.push(make(&mut maker).as_bytes());
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_feed::venues::binance::Decoder;
    use tidegate_feed::venues::{Body, Decode};

    #[test]
    fn every_generated_frame_is_read() {
        let (registry, id) = registry();
        let mut decoder = Decoder::new(&registry, Venue::BinanceUsdm);
        let mut depth = depth(20, 79);
        assert!((1_700.0..2_000.0).contains(&depth.mean_bytes()), "{}", depth.mean_bytes());
        for i in 0..depth.len() {
            assert!(matches!(decoder.scan(&depth.frame(i), true).map(|m| m.body), Some(Body::Delta(_))), "{i}");
            assert_eq!(decoder.levels().bids().len() + decoder.levels().asks().len(), 79);
        }
        let mut other = small(5, |maker| maker.trade(false));
        assert!(matches!(decoder.scan(&other.frame(0), true).map(|m| m.body), Some(Body::Trade { .. })));
        other = small(5, |maker| maker.trade(true));
        assert!(matches!(decoder.scan(&other.frame(0), true).map(|m| m.body), Some(Body::Trade { .. })));
        other = small(5, DepthMaker::quote);
        assert!(matches!(decoder.scan(&other.frame(0), true).map(|m| m.body), Some(Body::Quote { .. })));
        other = small(1, |maker| maker.snapshot(1_000));
        assert!(matches!(decoder.decode(&mut other.frame(0), id).map(|m| m.body), Ok(Body::Snapshot(_))));
    }
}
