//! Incremental microstructure features of one instrument.
//!
//! [`FeatureEngine`] keeps everything a vector needs and updates only what an event touches; [`schema`] defines each
//! feature. Nothing here allocates after construction. All arithmetic is plain IEEE double precision in a fixed order
//! and
//! `ln` comes from `libm`, so the same events give the same bits on every machine.

mod levels;
pub mod schema;
mod second;
mod tape;
mod touch;
mod window;

use levels::{MULTI, Multi, div_ceil, div_floor, multi, slope};
use schema as f;
use second::{Sample, Seconds};
use tape::{Roll, Vpin};
use tidegate_wire::decimal::POW10;
use tidegate_wire::event::{MARK_DECIMALS, Mark, Quote, RATE_DECIMALS, Trade};
use tidegate_wire::feature::FeatureBody;
use tidegate_wire::{Instrument, Level, Qty};
use touch::{MicroPrice, Touch, micro_state, net};
use window::{Extremes, Window, channel};

use crate::book::{Book, TOP};

/// Reach of the depth bands from mid, bp; their features lie side by side, bids before asks.
const BANDS_BP: [i64; 4] = [5, 10, 25, 50];
/// The band whose depth is watched over time.
const BAND_10BP: usize = 1;
/// Nanoseconds of a second.
const SECOND_NS: i64 = 1_000_000_000;
/// Weight of a new message in the latency mean: about 32 messages.
const LATENCY_WEIGHT: f64 = 1.0 / 32.0;

/// Everything the feature vector of one instrument needs.
#[derive(Debug)]
pub struct FeatureEngine {
    /// One price mantissa in quote units.
    price_unit: f64,
    /// One quantity mantissa in quantity units.
    qty_unit: f64,
    /// Price mantissa of a tick.
    tick: i64,
    touch: Touch,
    /// Mid in half mantissas (bid + ask), exact; 0 while one side is empty.
    mid_halves: i64,
    micro: MicroPrice,
    bids: Multi,
    asks: Multi,
    windows: [Window; 4],
    mids: [Extremes; 2],
    latencies: Extremes,
    latency_mean: Option<f64>,
    vpin: Vpin,
    roll: Roll,
    seconds: Seconds,
    /// The running second of event time; 0 before the first event.
    second: i64,
    /// Mid and second that the returns in `body` were computed for: four logarithms are a tenth of a vector's cost.
    returns_of: (i64, i64),
    /// Signed quantity traded in the running second.
    signed_qty: f64,
    /// Quantity within 10 bp, both sides.
    band_depth: f64,
    last_depth_ns: i64,
    body: FeatureBody,
}

/// Windows by index.
const W1: usize = 0;
const W10: usize = 1;

impl FeatureEngine {
    /// An engine that has seen nothing.
    pub fn new(instrument: &Instrument) -> Self {
        let ms = |ms: i64| ms * 1_000_000;
        Self {
            price_unit: 1.0 / instrument.price_scale.units() as f64,
            qty_unit: 1.0 / instrument.qty_scale.units() as f64,
            tick: instrument.tick.raw(),
            touch: Touch::default(),
            mid_halves: 0,
            micro: MicroPrice::default(),
            bids: Multi::default(),
            asks: Multi::default(),
            windows: [100, 1_000, 6_000, 30_000].map(|width| Window::new(ms(width))),
            mids: [1_000, 6_000].map(|width| Extremes::new(ms(width))),
            latencies: Extremes::new(ms(6_000)),
            latency_mean: None,
            vpin: Vpin::default(),
            roll: Roll::default(),
            seconds: Seconds::default(),
            second: 0,
            returns_of: (0, 0),
            signed_qty: 0.0,
            band_depth: 0.0,
            last_depth_ns: 0,
            body: FeatureBody::EMPTY,
        }
    }

    /// Forgets everything, in place: a new session of the stream begins.
    #[cold]
    pub fn restart(&mut self) {
        self.touch = Touch::default();
        self.mid_halves = 0;
        self.micro = MicroPrice::default();
        (self.bids, self.asks) = (Multi::default(), Multi::default());
        self.windows.iter_mut().for_each(Window::clear);
        self.mids.iter_mut().chain([&mut self.latencies]).for_each(Extremes::clear);
        self.latency_mean = None;
        (self.vpin, self.roll) = (Vpin::default(), Roll::default());
        self.seconds.clear();
        (self.second, self.signed_qty, self.band_depth, self.last_depth_ns) = (0, 0.0, 0.0, 0);
        self.returns_of = (0, 0);
        self.body = FeatureBody::EMPTY;
    }

    /// The vector as of the last [`Self::finish`]; the quality and the stamps are for the caller to fill.
    #[inline(always)]
    pub const fn body(&self) -> &FeatureBody {
        &self.body
    }

    /// Moves event time to `now`. Call it before anything else of an event. `book_is_good` is the state up to now.
    #[inline(always)]
    pub fn advance(&mut self, now: i64, book_is_good: bool) {
        for window in &mut self.windows {
            window.advance(now);
        }
        if now >= (self.second + 1) * SECOND_NS {
            self.end_seconds(now, book_is_good);
        }
    }

    #[cold]
    #[inline(never)]
    fn end_seconds(&mut self, now: i64, book_is_good: bool) {
        let second = now.div_euclid(SECOND_NS);
        let begun = core::mem::replace(&mut self.second, second);
        if begun == 0 {
            return;
        }
        // After a long silence only the last minutes can matter.
        let first = begun.max(second - second::SECONDS as i64);
        for ended in first..second {
            let mid = self.mid().filter(|_| book_is_good);
            let sample = mid.map(|mid| Sample {
                mid,
                spread: self.spread(),
                top_depth: self.top_depth(),
                band_depth: self.band_depth,
                signed_qty: core::mem::take(&mut self.signed_qty),
            });
            self.seconds.end_second(ended, sample);
        }
        self.signed_qty = 0.0;
    }

    #[inline(always)]
    fn mid(&self) -> Option<f64> {
        (self.mid_halves != 0).then_some(self.mid_halves as f64 * 0.5 * self.price_unit)
    }

    fn spread(&self) -> f64 {
        (self.touch.ask.price.raw() - self.touch.bid.price.raw()) as f64 * self.price_unit
    }

    fn top_depth(&self) -> f64 {
        let sum: i64 = self.bids.iter().chain(&self.asks).map(|(_, qty)| qty).sum();
        sum as f64 * self.qty_unit
    }

    #[inline(always)]
    fn add(&mut self, channel: usize, value: f64) {
        for window in &mut self.windows {
            window.add(channel, value);
        }
    }

    /// A message of the instrument came; `latency_ns` is receive time less venue time where there is one.
    #[inline(always)]
    pub fn message(&mut self, now: i64, latency_ns: Option<i64>) {
        self.add(channel::MESSAGES, 1.0);
        if let Some(latency) = latency_ns {
            let latency = latency as f64 * 1e-3;
            let mean = self.latency_mean.map_or(latency, |mean| mean + LATENCY_WEIGHT * (latency - mean));
            self.latency_mean = Some(mean);
            self.latencies.see(now, latency);
            self.body.set(f::FEED_LATENCY, Some(latency));
            self.body.set(f::FEED_LATENCY_EWMA, Some(mean));
            self.body.set(f::FEED_LATENCY_EXCESS, Some(mean - self.latencies.get().0));
        }
    }

    /// A depth frame came, used or not.
    #[inline(always)]
    pub fn depth_came(&mut self, now: i64) {
        self.last_depth_ns = now;
    }

    /// The book changed; `removed` was taken away near the touch.
    #[inline]
    pub fn book(&mut self, now: i64, book: &Book, removed: Qty) {
        self.depth_came(now);
        self.add(channel::REMOVED, removed.raw() as f64 * self.qty_unit);
        if let (Some(bid), Some(ask)) = (book.best_bid(), book.best_ask()) {
            if book.last_id() >= self.touch.update_id {
                self.set_touch(now, Touch { update_id: book.last_id(), bid, ask });
            }
        } else {
            // A quote from before this must not bring the touch back.
            let newest = self.touch.update_id.max(book.last_id());
            self.clear_touch();
            self.touch.update_id = newest;
        }
        self.multi_level(book);
        self.imbalances(book);
        self.bands(book);
    }

    /// A snapshot replaced the book: nothing flowed, the touch is what it is.
    pub fn snapshot(&mut self, now: i64, book: &Book) {
        self.clear_touch();
        (self.bids, self.asks) = (multi(book, true), multi(book, false));
        self.book(now, book, Qty::ZERO);
    }

    /// The best bid and ask by the quote stream.
    #[inline]
    pub fn quote(&mut self, now: i64, quote: &Quote) {
        if quote.update_id > self.touch.update_id && quote.bid.price < quote.ask.price {
            self.set_touch(now, Touch { update_id: quote.update_id, bid: quote.bid, ask: quote.ask });
        }
    }

    /// There is no touch any more. Where the mid has been stays known: a book that was swept empty, or rebuilt after a
    /// gap, comes back at a price whose distance matters most of all.
    fn clear_touch(&mut self) {
        self.touch = Touch::default();
        (self.mid_halves, self.returns_of) = (0, (0, 0));
        self.body.mask_out(f::NEEDS_BOOK);
    }

    #[inline(always)]
    fn set_touch(&mut self, now: i64, next: Touch) {
        let known = self.touch.is_two_sided();
        if !next.is_two_sided() || (known && next.bid == self.touch.bid && next.ask == self.touch.ask) {
            self.touch.update_id = next.update_id;
            return;
        }
        let mid_halves = next.bid.price.raw() + next.ask.price.raw();
        if known {
            let flow = self.touch.flow_to(&next);
            let unit = self.qty_unit;
            self.add(channel::OFI, flow.imbalance() as f64 * unit);
            // Only the 10 s window of these is read.
            let window = &mut self.windows[W10];
            window.add(channel::BID_ADDED, flow.bid_added as f64 * unit);
            window.add(channel::BID_REMOVED, flow.bid_removed as f64 * unit);
            window.add(channel::ASK_ADDED, flow.ask_added as f64 * unit);
            window.add(channel::ASK_REMOVED, flow.ask_removed as f64 * unit);
        }
        let moved = if known { mid_halves - self.mid_halves } else { 0 };
        self.touch = next;
        self.mid_halves = mid_halves;
        let state = micro_state(&next, self.tick);
        self.micro.see(state, moved);
        self.touch_features(now, state);
    }

    #[inline(always)]
    fn touch_features(&mut self, now: i64, state: usize) {
        let Level { price: bid, qty: bid_qty } = self.touch.bid;
        let Level { price: ask, qty: ask_qty } = self.touch.ask;
        let (bid, ask) = (bid.raw() as f64 * self.price_unit, ask.raw() as f64 * self.price_unit);
        let (bid_qty, ask_qty) = (bid_qty.raw() as f64, ask_qty.raw() as f64);
        let mid = self.mid_halves as f64 * 0.5 * self.price_unit;
        for mids in &mut self.mids {
            mids.see(now, mid);
        }
        let inverse_sum = 1.0 / (bid_qty + ask_qty);
        let body = &mut self.body;
        body.set(f::MID, Some(mid));
        body.set(f::SPREAD, Some(ask - bid));
        body.set(f::SPREAD_BP, Some((ask - bid) / mid * 1e4));
        body.set(f::WEIGHTED_MID, Some((bid_qty * ask + ask_qty * bid) * inverse_sum));
        body.set(f::IMBALANCE_1, Some((bid_qty - ask_qty) * inverse_sum));
        let expected = self.micro.expected(state);
        body.set(f::MICRO_PRICE, expected.map(|halves| mid + halves * 0.5 * self.price_unit));
    }

    /// Order flow of the best five levels since the last book change.
    #[inline(always)]
    fn multi_level(&mut self, book: &Book) {
        let (bids, asks) = (multi(book, true), multi(book, false));
        let mut flow = 0;
        for level in 0..MULTI {
            let ((bid, bid_qty), (next_bid, next_bid_qty)) = (self.bids[level], bids[level]);
            let ((ask, ask_qty), (next_ask, next_ask_qty)) = (self.asks[level], asks[level]);
            flow += net(bid, bid_qty, next_bid, next_bid_qty) - net(ask, ask_qty, next_ask, next_ask_qty);
        }
        (self.bids, self.asks) = (bids, asks);
        let value = flow as f64 * self.qty_unit / MULTI as f64;
        self.windows[W1].add(channel::MLOFI, value);
        self.windows[W10].add(channel::MLOFI, value);
    }

    #[inline(always)]
    fn imbalances(&mut self, book: &Book) {
        let (bids, asks) = (book.top_bids(), book.top_asks());
        for (index, levels) in [(f::IMBALANCE_5, 5), (f::IMBALANCE_10, 10), (f::IMBALANCE_20, TOP)] {
            let (bid, ask) = (bids.sum(levels) as f64, asks.sum(levels) as f64);
            self.body.set(index, Some((bid - ask) / (bid + ask)));
        }
    }

    /// Depth within bands around the book's own mid, and the slopes.
    #[inline(always)]
    fn bands(&mut self, book: &Book) {
        let (bids, asks) = (book.bids(), book.asks());
        let (bid, ask) = (-bids.best(), asks.best());
        if bids.is_empty() || asks.is_empty() {
            // No mid, no bands; what was there before was masked with the touch.
            self.band_depth = 0.0;
            return;
        }
        // Twice the mid in ticks; a band of b bp reaches mid * (1 -+ b / 10,000).
        let mid2 = bid + ask;
        let bid_depths = bids.depth(BANDS_BP.map(|bp| -div_ceil(mid2, 10_000 - bp)));
        let ask_depths = asks.depth(BANDS_BP.map(|bp| div_floor(mid2, 10_000 + bp)));
        for (band, (bid, ask)) in bid_depths.into_iter().zip(ask_depths).enumerate() {
            let index = f::DEPTH_BID_5BP + 2 * band;
            self.body.set(index, Some(bid as f64 * self.qty_unit));
            self.body.set(index + 1, Some(ask as f64 * self.qty_unit));
        }
        self.band_depth = (bid_depths[BAND_10BP] + ask_depths[BAND_10BP]) as f64 * self.qty_unit;
        // Distances are counted in half ticks, which are whole numbers; this many to a basis point.
        let per_bp = mid2 as f64 * 1e-4;
        let bid_slope = slope(book.top_bids(), -mid2) * per_bp * self.qty_unit;
        let ask_slope = slope(book.top_asks(), mid2) * per_bp * self.qty_unit;
        self.body.set(f::SLOPE_BID, Some(bid_slope));
        self.body.set(f::SLOPE_ASK, Some(ask_slope));
    }

    /// A trade.
    #[inline]
    pub fn trade(&mut self, now: i64, trade: &Trade, sell: bool) {
        let qty = trade.qty.raw() as f64 * self.qty_unit;
        self.add(if sell { channel::SOLD } else { channel::BOUGHT }, qty);
        self.add(channel::TRADES, 1.0);
        self.signed_qty += if sell { -qty } else { qty };
        if let Some(mid) = self.mid() {
            let side = if sell { -1.0 } else { 1.0 };
            let price = trade.price.raw() as f64 * self.price_unit;
            let window = &mut self.windows[W10];
            window.add(channel::SPREAD_SUM, 2.0 * side * (price - mid) / mid * 1e4);
            window.add(channel::SPREAD_COUNT, 1.0);
        }
        self.vpin.trade(now, qty, sell);
        self.roll.trade(trade.price.raw());
        self.body.set(f::VPIN, self.vpin.get());
        let price = trade.price.raw() as f64;
        self.body.set(f::ROLL_SPREAD_BP, self.roll.spread().map(|spread| spread / price * 1e4));
    }

    /// Mark price, index price, funding.
    pub fn mark(&mut self, mark: &Mark) {
        let unit = 1.0 / POW10[MARK_DECIMALS as usize] as f64;
        let basis = |reference: i64| {
            let mid = self.mid().filter(|_| reference > 0)?;
            Some((mid / (reference as f64 * unit) - 1.0) * 1e4)
        };
        let (mark_basis, index_basis) = (basis(mark.mark), basis(mark.index));
        self.body.set(f::MARK_BASIS_BP, mark_basis);
        self.body.set(f::INDEX_BASIS_BP, index_basis);
        let rate = mark.funding as f64 / POW10[RATE_DECIMALS as usize] as f64;
        self.body.set(f::FUNDING_RATE, (mark.next_funding_ns != 0).then_some(rate));
    }

    /// Correlation of one-second returns with a reference instrument.
    pub fn correlate(&mut self, reference: &Self) {
        let correlation = self.seconds.correlation(&reference.seconds);
        self.body.set(f::CORRELATION, correlation);
    }

    /// The second of event time that is running.
    #[inline(always)]
    pub const fn second(&self) -> i64 {
        self.second
    }

    /// Completes the vector: everything that depends on windows and time.
    #[inline]
    pub fn finish(&mut self, now: i64) {
        let [one, ten, sixty, long] = &self.windows;
        let body = &mut self.body;
        for (index, window) in [(f::TRADE_FLOW_1S, one), (f::TRADE_FLOW_10S, ten), (f::TRADE_FLOW_60S, sixty)] {
            let (bought, sold) = (window.sum(channel::BOUGHT), window.sum(channel::SOLD));
            let total = bought + sold;
            body.set(index, (total > 0.0).then(|| (bought - sold) / total));
        }
        body.set(f::OFI_1S, Some(one.sum(channel::OFI)));
        body.set(f::OFI_10S, Some(ten.sum(channel::OFI)));
        body.set(f::MLOFI_1S, Some(one.sum(channel::MLOFI)));
        body.set(f::MLOFI_10S, Some(ten.sum(channel::MLOFI)));
        let rate = |window: &Window| window.observed_s(now).map(|s| 1.0 / s);
        let (per_s, per_10s, per_300s) = (rate(one), rate(ten), rate(long));
        body.set(f::TRADE_RATE_1S, per_s.map(|r| one.sum(channel::TRADES) * r));
        body.set(f::TRADE_RATE_10S, per_10s.map(|r| ten.sum(channel::TRADES) * r));
        body.set(f::MESSAGE_RATE_1S, per_s.map(|r| one.sum(channel::MESSAGES) * r));
        body.set(f::MESSAGE_RATE_10S, per_10s.map(|r| ten.sum(channel::MESSAGES) * r));
        for (index, channel) in [
            (f::BID_ADD_RATE, channel::BID_ADDED),
            (f::BID_REMOVE_RATE, channel::BID_REMOVED),
            (f::ASK_ADD_RATE, channel::ASK_ADDED),
            (f::ASK_REMOVE_RATE, channel::ASK_REMOVED),
        ] {
            body.set(index, per_10s.map(|r| ten.sum(channel) * r));
        }
        let (volume, removed) = (ten.sum(channel::BOUGHT) + ten.sum(channel::SOLD), ten.sum(channel::REMOVED));
        body.set(f::VOLUME_10S, Some(volume));
        body.set(f::CANCEL_RATIO, (removed > 0.0).then(|| ((removed - volume) / removed).max(0.0)));
        let long_volume = long.sum(channel::BOUGHT) + long.sum(channel::SOLD);
        let ratio = per_10s.zip(per_300s).filter(|_| long_volume > 0.0);
        body.set(f::VOLUME_RATIO, ratio.map(|(short, per_300s)| volume * short / (long_volume * per_300s)));
        let count = ten.sum(channel::SPREAD_COUNT);
        body.set(f::EFFECTIVE_SPREAD_BP, (count > 0.0).then(|| ten.sum(channel::SPREAD_SUM) / count));
        let age = (self.last_depth_ns != 0).then(|| (now - self.last_depth_ns) as f64 * 1e-6);
        body.set(f::DEPTH_AGE_MS, age);
        let slow_depth = self.seconds.slow_depth().filter(|_| self.last_depth_ns != 0);
        body.set(f::DEPTH_RATIO, slow_depth.map(|slow| self.band_depth / slow));
        if self.mid_halves != 0 {
            self.finish_mid(now);
        }
    }

    /// The part of [`Self::finish`] that needs a mid.
    #[inline(always)]
    fn finish_mid(&mut self, now: i64) {
        let mid = self.mid_halves as f64 * 0.5 * self.price_unit;
        let second = self.second;
        if self.returns_of != (self.mid_halves, second) {
            self.returns_of = (self.mid_halves, second);
            for (index, back) in [(f::RETURN_1S, 1), (f::RETURN_10S, 10), (f::RETURN_60S, 60), (f::RETURN_300S, 300)] {
                let before = self.seconds.mid_before(second, back);
                self.body.set(index, before.map(|before| libm::log(mid / before)));
            }
        }
        for (index, mids) in [f::RANGE_10S, f::RANGE_60S].into_iter().zip(&mut self.mids) {
            mids.see(now, mid);
            let (low, high) = mids.get();
            self.body.set(index, Some(high / low - 1.0));
        }
        let sampled = self.seconds.sampled;
        let body = &mut self.body;
        for (index, value) in [
            (f::REALISED_VOL_10S, sampled.vol_10),
            (f::REALISED_VOL_60S, sampled.vol_60),
            (f::REALISED_VOL_300S, sampled.vol_300),
            (f::BIPOWER_VOL_60S, sampled.bipower_60),
            (f::BIPOWER_VOL_300S, sampled.bipower_300),
            (f::JUMP_SHARE_300S, sampled.jump_share),
            (f::KYLE_LAMBDA, sampled.kyle_lambda),
            (f::RESILIENCY, sampled.resiliency),
        ] {
            body.set(index, value);
        }
        let spread = body.values[f::SPREAD];
        body.set(f::SPREAD_RATIO, self.seconds.slow_spread().map(|slow| spread / slow));
    }
}
