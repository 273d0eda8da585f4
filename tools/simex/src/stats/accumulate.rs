//! One instrument's statistics, frame by frame.

use std::collections::BTreeMap;
use strum::VariantArray as _;

use serde_json::Value;

use super::book::{DepthUpdate, SyncedBook, Touch};
use super::series;
use crate::SimError;
use crate::frame::FrameKind;

const SECOND_NS: i64 = 1_000_000_000;
/// Units of prices and quantities.
const SCALE: f64 = 1e8;
/// How many ids of bookTickers and of depth frames are remembered for comparison.
const REMEMBERED: usize = 4_096;

pub(super) struct Accumulator {
    label: String,
    book: SyncedBook,
    first_recv_ns: Option<i64>,
    last_recv_ns: i64,
    frames: [u64; FrameKind::VARIANTS.len()],
    levels: Vec<f64>,
    level_quantities: Vec<f64>,
    /// Spreads of bookTicker frames, units of 1e-8.
    spreads: Vec<f64>,
    touch_quantities: Vec<f64>,
    depth_quantities: Vec<f64>,
    depth_levels: Vec<f64>,
    trade_times_ms: Vec<i64>,
    trade_quantities: Vec<f64>,
    /// Mid of the last bookTicker in each whole second of receive time.
    mids: BTreeMap<i64, f64>,
    touch: Option<Touch>,
    same_price: u64,
    /// Greatest common divisor of all prices: the tick.
    tick: i64,
    tickers: BTreeMap<i64, Touch>,
    books: BTreeMap<i64, Touch>,
    compared: u64,
    mismatched: u64,
}

impl Accumulator {
    pub(super) fn new(label: String) -> Self {
        Self {
            label,
            book: SyncedBook::default(),
            first_recv_ns: None,
            last_recv_ns: 0,
            frames: Default::default(),
            levels: Vec::new(),
            level_quantities: Vec::new(),
            spreads: Vec::new(),
            touch_quantities: Vec::new(),
            depth_quantities: Vec::new(),
            depth_levels: Vec::new(),
            trade_times_ms: Vec::new(),
            trade_quantities: Vec::new(),
            mids: BTreeMap::new(),
            touch: None,
            same_price: 0,
            tick: 0,
            tickers: BTreeMap::new(),
            books: BTreeMap::new(),
            compared: 0,
            mismatched: 0,
        }
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    pub(super) fn book(&self) -> &SyncedBook {
        &self.book
    }

    pub(super) fn record(&mut self, recv_ns: i64, bytes: &[u8]) -> Result<(), SimError> {
        let label = self.label.clone();
        let wrong = |reason: String| SimError::Format { place: label.clone(), reason };
        let frame: Value = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        let second = recv_ns.div_euclid(SECOND_NS);
        if self.last_recv_ns.div_euclid(SECOND_NS) != second && self.first_recv_ns.is_some() {
            self.sample_depth();
        }
        self.first_recv_ns.get_or_insert(recv_ns);
        self.last_recv_ns = recv_ns;
        let (kind, data) = match frame["stream"].as_str() {
            None => (FrameKind::Snapshot, &frame),
            Some(stream) => match stream.split('@').nth(1) {
                Some("depth") => (FrameKind::Depth, &frame["data"]),
                Some("bookTicker") => (FrameKind::BookTicker, &frame["data"]),
                Some("trade") => (FrameKind::Trade, &frame["data"]),
                Some("aggTrade") => (FrameKind::AggTrade, &frame["data"]),
                Some("markPrice") => (FrameKind::MarkPrice, &frame["data"]),
                _ => return Err(wrong(format!("unknown stream {stream}"))),
            },
        };
        self.frames[kind as usize] += 1;
        let read = match kind {
            FrameKind::Depth => self.depth(data),
            FrameKind::BookTicker => self.book_ticker(second, data),
            FrameKind::Trade => self.trade(data),
            FrameKind::Snapshot => self.snapshot(data),
            FrameKind::AggTrade | FrameKind::MarkPrice => Some(()),
        };
        read.ok_or_else(|| wrong(format!("{} without a field it needs", kind.name())))
    }

    fn depth(&mut self, data: &Value) -> Option<()> {
        let update = DepthUpdate {
            first: data["U"].as_i64()?,
            last: data["u"].as_i64()?,
            previous: data["pu"].as_i64(),
            bids: levels(&data["b"])?,
            asks: levels(&data["a"])?,
        };
        self.levels.push((update.bids.len() + update.asks.len()) as f64);
        for &(price, quantity) in update.bids.iter().chain(&update.asks) {
            self.tick = gcd(self.tick, price);
            if quantity > 0 {
                self.level_quantities.push(quantity as f64 / SCALE);
            }
        }
        let id = update.last;
        if self.book.update(update)
            && let Some(touch) = self.book.touch()
        {
            self.compare(self.tickers.get(&id).copied(), touch);
            remember(&mut self.books, id, touch);
        }
        Some(())
    }

    fn book_ticker(&mut self, second: i64, data: &Value) -> Option<()> {
        let side = |price: &str, quantity: &str| Some((units(&data[price])?, units(&data[quantity])?));
        let touch = Touch { bid: side("b", "B")?, ask: side("a", "A")? };
        let id = data["u"].as_i64()?;
        self.tick = gcd(gcd(self.tick, touch.bid.0), touch.ask.0);
        self.spreads.push((touch.ask.0 - touch.bid.0) as f64);
        self.touch_quantities.extend([touch.bid.1 as f64 / SCALE, touch.ask.1 as f64 / SCALE]);
        self.mids.insert(second, 0.5 * (touch.bid.0 + touch.ask.0) as f64);
        let same = |before: Touch| before.bid.0 == touch.bid.0 && before.ask.0 == touch.ask.0;
        self.same_price += u64::from(self.touch.is_some_and(same));
        self.touch = Some(touch);
        if let Some(book) = self.books.get(&id).copied() {
            self.compare(Some(touch), book);
        }
        remember(&mut self.tickers, id, touch);
        Some(())
    }

    fn compare(&mut self, ticker: Option<Touch>, book: Touch) {
        if let Some(ticker) = ticker {
            self.compared += 1;
            self.mismatched += u64::from(ticker != book);
        }
    }

    fn trade(&mut self, data: &Value) -> Option<()> {
        self.trade_times_ms.push(data["T"].as_i64()?);
        self.trade_quantities.push(units(&data["q"])? as f64 / SCALE);
        Some(())
    }

    fn snapshot(&mut self, data: &Value) -> Option<()> {
        let id = data["lastUpdateId"].as_i64()?;
        self.book.snapshot(id, levels(&data["bids"])?, levels(&data["asks"])?);
        Some(())
    }

    fn sample_depth(&mut self) {
        for (quantity, levels) in self.book.depth_within(1e-3).into_iter().flatten() {
            self.depth_quantities.push(quantity as f64 / SCALE);
            self.depth_levels.push(levels as f64);
        }
    }

    /// Logarithmic returns of the mid over whole seconds; a second without a frame keeps the mid before it.
    fn returns(&self) -> Vec<f64> {
        let (Some((&first, &mid)), Some((&last, _))) = (self.mids.first_key_value(), self.mids.last_key_value()) else {
            return Vec::new();
        };
        let mut before = mid;
        (first + 1..=last)
            .map(|second| {
                let now = self.mids.get(&second).copied().unwrap_or(before);
                let change = libm::log(now / before);
                before = now;
                change
            })
            .collect()
    }

    pub(super) fn figures(&self) -> BTreeMap<String, f64> {
        let mut figures = BTreeMap::new();
        let mut put = |name: &str, value: Option<f64>| {
            if let Some(value) = value.filter(|value| value.is_finite()) {
                // Six significant digits are more than the sampling error leaves.
                let digits = if value == 0.0 { 0 } else { 5 - libm::floor(libm::log10(value.abs())) as i32 };
                let scale = libm::pow(10.0, f64::from(digits));
                figures.insert(name.to_owned(), libm::round(value * scale) / scale);
            }
        };
        self.rates(&mut put);
        self.book_figures(&mut put);
        self.trade_figures(&mut put);
        self.return_figures(&mut put);
        figures
    }

    fn rates(&self, put: &mut impl FnMut(&str, Option<f64>)) {
        let seconds = (self.last_recv_ns - self.first_recv_ns.unwrap_or(self.last_recv_ns)) as f64 * 1e-9;
        put("seconds", Some(seconds));
        for &kind in FrameKind::VARIANTS {
            let count = self.frames[kind as usize] as f64;
            match kind {
                FrameKind::Snapshot => put("snapshot_count", Some(count)),
                _ => put(&format!("{}_per_s", kind.name()), Some(count / seconds)),
            }
        }
        put("frames_per_s", Some(self.frames.iter().sum::<u64>() as f64 / seconds));
    }

    fn book_figures(&self, put: &mut impl FnMut(&str, Option<f64>)) {
        put("depth_levels_mean", series::mean(&self.levels));
        put("depth_levels_p50", series::quantile(&mut self.levels.clone(), 0.5));
        put("depth_levels_p99", series::quantile(&mut self.levels.clone(), 0.99));
        let mut ticks: Vec<_> = self.spreads.iter().map(|spread| spread / self.tick.max(1) as f64).collect();
        put("spread_ticks_mean", series::mean(&ticks));
        for (name, part) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
            put(&format!("spread_ticks_{name}"), series::quantile(&mut ticks, part));
        }
        put("touch_qty_p50", series::quantile(&mut self.touch_quantities.clone(), 0.5));
        put("depth_10bp_qty_p50", series::quantile(&mut self.depth_quantities.clone(), 0.5));
        put("depth_10bp_levels_p50", series::quantile(&mut self.depth_levels.clone(), 0.5));
        put("level_qty_p50", series::quantile(&mut self.level_quantities.clone(), 0.5));
        put("same_touch_price_share", Some(self.same_price as f64 / self.spreads.len() as f64));
        let counts = &self.book.counts;
        put("delete_share", Some(counts.deletes as f64 / counts.levels as f64));
        put("absent_delete_share", Some(counts.absent_deletes as f64 / counts.deletes as f64));
        put("change_share", Some(counts.changes as f64 / counts.levels as f64));
        put("touch_comparisons_share", Some(self.compared as f64 / counts.applied as f64));
        put("touch_mismatches", Some(self.mismatched as f64));
        put("sequence_gaps", Some(counts.gaps as f64));
        put("crossed_books", Some(counts.crossed as f64));
        put("unsynced_frames", Some(counts.unsynced as f64));
    }

    fn trade_figures(&self, put: &mut impl FnMut(&str, Option<f64>)) {
        let mut gaps: Vec<_> = self.trade_times_ms.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = series::mean(&gaps);
        put("trade_gap_ms_mean", mean);
        put("trade_gap_cv", mean.zip(series::variance(&gaps)).map(|(mean, variance)| libm::sqrt(variance) / mean));
        put("trade_gap_ms_p50", series::quantile(&mut gaps, 0.5));
        put("trade_gap_ms_p99", series::quantile(&mut gaps, 0.99));
        let counts = series::counts_per_second(&self.trade_times_ms);
        let fano = series::mean(&counts).zip(series::variance(&counts)).map(|(mean, variance)| variance / mean);
        put("trade_fano_1s", fano);
        put("trade_qty_mean", series::mean(&self.trade_quantities));
        for (name, part) in [("p10", 0.1), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
            put(&format!("trade_qty_{name}"), series::quantile(&mut self.trade_quantities.clone(), part));
        }
    }

    fn return_figures(&self, put: &mut impl FnMut(&str, Option<f64>)) {
        let returns = self.returns();
        let squares: Vec<_> = returns.iter().map(|one| one * one).collect();
        put("volatility_annual", series::mean(&squares).map(|square| libm::sqrt(square * 365.0 * 86_400.0)));
        put("excess_kurtosis_1s", series::excess_kurtosis(&returns));
        put("return_acf_1s", series::autocorrelation(&returns, 1));
        let absolute: Vec<_> = returns.iter().map(|one| one.abs()).collect();
        for lag in [1, 5, 10] {
            put(&format!("abs_return_acf_{lag}s"), series::autocorrelation(&absolute, lag));
        }
    }
}

fn remember(map: &mut BTreeMap<i64, Touch>, id: i64, touch: Touch) {
    map.insert(id, touch);
    if map.len() > REMEMBERED {
        map.pop_first();
    }
}

fn levels(value: &Value) -> Option<Vec<(i64, i64)>> {
    value.as_array()?.iter().map(|level| Some((units(&level[0])?, units(&level[1])?))).collect()
}

/// A decimal string in units of 1e-8, exactly.
fn units(value: &Value) -> Option<i64> {
    let text = value.as_str()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.get(..8).unwrap_or(fraction);
    let scale = 10i64.pow(8 - u32::try_from(fraction.len()).ok()?);
    let fraction: i64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    whole.parse::<i64>().ok()?.checked_mul(100_000_000)?.checked_add(fraction * scale)
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        let read = |text: &str| units(&Value::from(text));
        assert_eq!(read("61837.63000000"), Some(6_183_763_000_000));
        assert_eq!(read("0.014"), Some(1_400_000));
        assert_eq!(read("35"), Some(3_500_000_000));
        assert_eq!(read("x"), None);
    }

    #[test]
    fn broken_frames_are_errors() {
        let mut accumulator = Accumulator::new("spot_btcusdt".to_owned());
        for bytes in [&b"{"[..], b"{\"stream\":\"a@kline\",\"data\":{}}", b"{\"stream\":\"a@trade\",\"data\":{}}"] {
            assert!(accumulator.record(1, bytes).is_err());
        }
    }
}
