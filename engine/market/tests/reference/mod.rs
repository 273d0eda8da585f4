//! The slow way to every feature.

use std::collections::BTreeMap;

use tidegate_market::features::schema as f;
use tidegate_wire::Level;

/// Features that one instrument without marks cannot show; they have tests of their own.
pub(crate) const NOT_COVERED: [&str; 4] = ["correlation", "mark_basis_bp", "funding_rate", "index_basis_bp"];

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Snapshot { id: u64, bids: Vec<Level>, asks: Vec<Level> },
    Delta { id: u64, bids: Vec<Level>, asks: Vec<Level> },
    Quote { id: u64, bid: Level, ask: Level },
    Trade { price: i64, qty: i64, sell: bool },
}

type Side = BTreeMap<i64, i64>;
/// Prices and quantities, best first.
type Levels = Vec<(i64, i64)>;
/// Bid, bid quantity, ask, ask quantity.
type Touch = (i64, i64, i64, i64);

#[derive(Clone, Copy)]
struct TradeRow {
    at: i64,
    price: i64,
    qty: f64,
    sell: bool,
    mid: f64,
}

#[derive(Clone, Copy)]
struct SecondRow {
    at_s: i64,
    mid: f64,
    depth5: f64,
    signed: f64,
}

/// The whole history.
#[derive(Default)]
pub(crate) struct Reference {
    bids: Side,
    asks: Side,
    touch: Option<(u64, Touch)>,
    first: Option<i64>,
    messages: Vec<i64>,
    latencies: Vec<(i64, f64)>,
    mids: Vec<(i64, f64)>,
    trades: Vec<TradeRow>,
    /// Time and the eight-fold flow: e_n, bid added, bid removed, ask added, ask removed.
    flows: Vec<(i64, [f64; 5])>,
    multi: Vec<(i64, f64)>,
    removed: Vec<(i64, f64)>,
    seconds: Vec<SecondRow>,
    slow: Option<(f64, f64, u32)>,
    second: i64,
    last_depth: i64,
    /// Micro-price states: visits since the last move, and what followed visits before.
    pending: Vec<usize>,
    outcomes: BTreeMap<usize, (f64, f64)>,
    state: usize,
}

const S: i64 = 1_000_000_000;

fn queue(price: i64, qty: i64, next_price: i64, next_qty: i64) -> (i64, i64) {
    if next_price > price {
        (next_qty, 0)
    } else if next_price < price {
        (0, qty)
    } else if next_qty > qty {
        (next_qty - qty, 0)
    } else {
        (0, qty - next_qty)
    }
}

fn best(side: &Side, bids: bool, n: usize) -> Vec<(i64, i64)> {
    let levels: Vec<(i64, i64)> = side.iter().map(|(p, q)| (*p, *q)).collect();
    if bids { levels.into_iter().rev().take(n).collect() } else { levels.into_iter().take(n).collect() }
}

/// Sum over the events of a window of ten buckets of `width`.
fn windowed<T: Copy>(rows: &[(i64, T)], now: i64, width: i64, value: impl Fn(T) -> f64) -> f64 {
    let oldest = now.div_euclid(width) - 9;
    rows.iter().filter(|(at, _)| at.div_euclid(width) >= oldest).map(|(_, row)| value(*row)).sum()
}

fn slope(pairs: &[(f64, f64)]) -> Option<f64> {
    let n = pairs.len() as f64;
    let (mx, my) = (pairs.iter().map(|p| p.0).sum::<f64>() / n, pairs.iter().map(|p| p.1).sum::<f64>() / n);
    let xx: f64 = pairs.iter().map(|p| (p.0 - mx) * (p.0 - mx)).sum();
    (xx > 0.0).then(|| pairs.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum::<f64>() / xx)
}

impl Reference {
    /// One more event.
    pub(crate) fn push(&mut self, now: i64, event: &Event) {
        self.end_seconds(now);
        self.first.get_or_insert(now);
        self.messages.push(now);
        if !matches!(event, Event::Snapshot { .. }) {
            self.latencies.push((now, (2_000_000 + now % 777_777) as f64 / 1e3));
        }
        match event {
            Event::Snapshot { id, bids, asks } => {
                (self.bids, self.asks) = (side(bids), side(asks));
                self.removed.push((now, 0.0));
                self.depth_frame(now, *id, None);
            }
            Event::Delta { id, bids, asks } => {
                let before = (best(&self.bids, true, 5), best(&self.asks, false, 5));
                let gone = apply(&mut self.bids, bids, true) + apply(&mut self.asks, asks, false);
                self.removed.push((now, gone as f64 / 1e3));
                self.depth_frame(now, *id, Some(before));
            }
            Event::Quote { id, bid, ask } => {
                if self.touch.is_none_or(|(known, _)| *id > known) {
                    self.set_touch(now, *id, (bid.price.raw(), bid.qty.raw(), ask.price.raw(), ask.qty.raw()));
                }
            }
            Event::Trade { price, qty, sell } => {
                let mid = self.mid().unwrap_or(f64::NAN);
                self.trades.push(TradeRow { at: now, price: *price, qty: *qty as f64 / 1e3, sell: *sell, mid });
            }
        }
        if let Some(mid) = self.mid() {
            self.mids.push((now, mid));
        }
    }

    fn mid(&self) -> Option<f64> {
        self.touch.map(|(_, (bid, _, ask, _))| (bid + ask) as f64 * 0.5 / 10.0)
    }

    fn depth_frame(&mut self, now: i64, id: u64, before: Option<(Levels, Levels)>) {
        self.last_depth = now;
        let (bids, asks) = (best(&self.bids, true, 5), best(&self.asks, false, 5));
        if let Some((old_bids, old_asks)) = before {
            let at = |levels: &[(i64, i64)], i: usize, none: i64| levels.get(i).copied().unwrap_or((none, 0));
            let mut flow = 0;
            for i in 0..5 {
                let ((p, q), (np, nq)) = (at(&old_bids, i, i64::MIN), at(&bids, i, i64::MIN));
                let (added, removed) = queue(p, q, np, nq);
                let ((p, q), (np, nq)) = (at(&old_asks, i, i64::MAX), at(&asks, i, i64::MAX));
                let (ask_added, ask_removed) = queue(p.wrapping_neg(), q, np.wrapping_neg(), nq);
                flow += added - removed - ask_added + ask_removed;
            }
            self.multi.push((now, flow as f64 / 1e3 / 5.0));
        }
        if before_is_older(self.touch, id) {
            self.set_touch(now, id, (bids[0].0, bids[0].1, asks[0].0, asks[0].1));
        }
    }

    fn set_touch(&mut self, now: i64, id: u64, next: Touch) {
        let known = self.touch.replace((id, next));
        if let Some((_, old)) = known {
            if old == next {
                return;
            }
            let (bid_added, bid_removed) = queue(old.0, old.1, next.0, next.1);
            let (ask_added, ask_removed) = queue(-old.2, old.3, -next.2, next.3);
            let e = bid_added - bid_removed - ask_added + ask_removed;
            let row = [e, bid_added, bid_removed, ask_added, ask_removed].map(|v| v as f64 / 1e3);
            self.flows.push((now, row));
            let moved = (next.0 + next.2 - old.0 - old.2) as f64;
            if moved != 0.0 {
                for state in std::mem::take(&mut self.pending) {
                    let mirror = state - state % 10 + 9 - state % 10;
                    for (state, sign) in [(state, 1.0), (mirror, -1.0)] {
                        let outcome = self.outcomes.entry(state).or_default();
                        outcome.0 += 1.0;
                        outcome.1 += sign * moved;
                    }
                }
            }
        }
        let share = next.1 as f64 / (next.1 + next.3) as f64;
        let spread = ((next.2 - next.0).clamp(1, 3) - 1) as usize;
        self.state = spread * 10 + ((share * 10.0) as usize).min(9);
        self.pending.push(self.state);
    }

    /// Samples every second that ended before `now`.
    fn end_seconds(&mut self, now: i64) {
        let second = now.div_euclid(S);
        let begun = std::mem::replace(&mut self.second, second);
        for ended in if begun == 0 { second } else { begun }..second {
            let (Some(mid), Some((_, touch))) = (self.mid(), self.touch) else { continue };
            let in_it = |t: &&TradeRow| t.at.div_euclid(S) == ended;
            let signed = self.trades.iter().filter(in_it).map(|t| if t.sell { -t.qty } else { t.qty }).sum();
            let five = |side: &Side, bids| best(side, bids, 5).iter().map(|(_, q)| q).sum::<i64>();
            let depth5 = (five(&self.bids, true) + five(&self.asks, false)) as f64 / 1e3;
            let (spread, band) = ((touch.2 - touch.0) as f64 / 10.0, self.band(10).0 + self.band(10).1);
            self.seconds.push(SecondRow { at_s: ended, mid, depth5, signed });
            let (depth, slow_spread, count) = self.slow.unwrap_or((0.0, 0.0, 0));
            let weight = if count == 0 { 1.0 } else { (1.0 / f64::from(count + 1)).max(1.0 / 60.0) };
            let usual = |v: f64, mean: f64| if mean == 0.0 { v } else { v.max(mean / 3.0).min(mean * 3.0) };
            let blend = |v: f64, mean: f64| mean + weight * (usual(v, mean) - mean);
            self.slow = Some((blend(band, depth), blend(spread, slow_spread), count + 1));
        }
    }

    /// Quantity within `bp` of the book's own mid: bids, asks.
    fn band(&self, bp: i64) -> (f64, f64) {
        let (Some((bid, _)), Some((ask, _))) = (self.bids.last_key_value(), self.asks.first_key_value()) else {
            return (0.0, 0.0);
        };
        let mid2 = i128::from(bid + ask);
        let bids = self.bids.iter().filter(|(p, _)| i128::from(**p) * 20_000 >= mid2 * i128::from(10_000 - bp));
        let asks = self.asks.iter().filter(|(p, _)| i128::from(**p) * 20_000 <= mid2 * i128::from(10_000 + bp));
        (bids.map(|(_, q)| q).sum::<i64>() as f64 / 1e3, asks.map(|(_, q)| q).sum::<i64>() as f64 / 1e3)
    }

    /// Features that one instrument without marks can show.
    pub(crate) fn features(&self, now: i64) -> Vec<(usize, Option<f64>)> {
        let mut out = self.touch_features();
        out.extend(self.book_features());
        out.extend(self.window_features(now));
        out.extend(self.second_features(now));
        out.extend(self.tape_features(now));
        out
    }

    fn touch_features(&self) -> Vec<(usize, Option<f64>)> {
        let Some((_, (bid, bid_qty, ask, ask_qty))) = self.touch else { return Vec::new() };
        let (b, a, bq, aq) = (bid as f64 / 10.0, ask as f64 / 10.0, bid_qty as f64, ask_qty as f64);
        let mid = (a + b) / 2.0;
        let expected = self.outcomes.get(&self.state).filter(|(visits, _)| *visits >= 50.0);
        vec![
            (f::MID, Some(mid)),
            (f::SPREAD, Some((ask - bid) as f64 / 10.0)),
            (f::SPREAD_BP, Some((ask - bid) as f64 / 10.0 / mid * 1e4)),
            (f::MICRO_PRICE, expected.map(|(visits, moves)| mid + moves / visits / 2.0 / 10.0)),
            (f::WEIGHTED_MID, Some((b * aq + a * bq) / (aq + bq))),
            (f::IMBALANCE_1, Some((bq - aq) / (bq + aq))),
        ]
    }

    fn book_features(&self) -> Vec<(usize, Option<f64>)> {
        let mut out = Vec::new();
        for (feature, n) in [(f::IMBALANCE_5, 5), (f::IMBALANCE_10, 10), (f::IMBALANCE_20, 20)] {
            let sum = |side: &Side, bids| best(side, bids, n).iter().map(|(_, q)| q).sum::<i64>() as f64;
            let (bid, ask) = (sum(&self.bids, true), sum(&self.asks, false));
            out.push((feature, Some((bid - ask) / (bid + ask))));
        }
        for (bp, feature) in
            [(5, f::DEPTH_BID_5BP), (10, f::DEPTH_BID_10BP), (25, f::DEPTH_BID_25BP), (50, f::DEPTH_BID_50BP)]
        {
            let (bid, ask) = self.band(bp);
            out.extend([(feature, Some(bid)), (feature + 1, Some(ask))]);
        }
        let (bids, asks) = (best(&self.bids, true, 20), best(&self.asks, false, 20));
        let mid = (bids[0].0 + asks[0].0) as f64 / 2.0;
        for (feature, levels) in [(f::SLOPE_BID, &bids), (f::SLOPE_ASK, &asks)] {
            let (mut sum, mut xy, mut xx) = (0.0, 0.0, 0.0);
            for (price, qty) in levels {
                sum += *qty as f64 / 1e3;
                let distance = (*price as f64 - mid).abs() / mid * 1e4;
                xy += distance * sum;
                xx += distance * distance;
            }
            out.push((feature, Some(xy / xx)));
        }
        out
    }

    fn observed(&self, now: i64, width: i64) -> Option<f64> {
        let oldest = (now.div_euclid(width) - 9) * width;
        let observed = now - self.first?.max(oldest);
        (observed >= width).then_some(observed as f64 / 1e9)
    }

    fn window_features(&self, now: i64) -> Vec<(usize, Option<f64>)> {
        let (w1, w10, w60, w300) = (S / 10, S, 6 * S, 30 * S);
        let trades: Vec<(i64, TradeRow)> = self.trades.iter().map(|t| (t.at, *t)).collect();
        let bought = |w: i64| windowed(&trades, now, w, |t| if t.sell { 0.0 } else { t.qty });
        let sold = |w: i64| windowed(&trades, now, w, |t| if t.sell { t.qty } else { 0.0 });
        let flow = |w: i64| Some(bought(w) + sold(w)).filter(|v| *v > 0.0).map(|v| (bought(w) - sold(w)) / v);
        let messages: Vec<(i64, ())> = self.messages.iter().map(|at| (*at, ())).collect();
        let rate = |sum: f64, w: i64| self.observed(now, w).map(|s| sum / s);
        let flows = |k: usize, w: i64| windowed(&self.flows, now, w, |row| row[k]);
        let volume = bought(w10) + sold(w10);
        let removed = windowed(&self.removed, now, w10, |v| v);
        let long = bought(w300) + sold(w300);
        let quoted: Vec<(i64, TradeRow)> = trades.iter().copied().filter(|(_, t)| t.mid.is_finite()).collect();
        let cost = |t: TradeRow| 2.0 * if t.sell { -1.0 } else { 1.0 } * (t.price as f64 / 10.0 - t.mid) / t.mid * 1e4;
        let count = windowed(&quoted, now, w10, |_| 1.0);
        let ratio = self.observed(now, w10).zip(self.observed(now, w300)).filter(|_| long > 0.0);
        vec![
            (f::OFI_1S, Some(flows(0, w1))),
            (f::OFI_10S, Some(flows(0, w10))),
            (f::MLOFI_1S, Some(windowed(&self.multi, now, w1, |v| v))),
            (f::MLOFI_10S, Some(windowed(&self.multi, now, w10, |v| v))),
            (f::TRADE_FLOW_1S, flow(w1)),
            (f::TRADE_FLOW_10S, flow(w10)),
            (f::TRADE_FLOW_60S, flow(w60)),
            (f::TRADE_RATE_1S, rate(windowed(&trades, now, w1, |_| 1.0), w1)),
            (f::TRADE_RATE_10S, rate(windowed(&trades, now, w10, |_| 1.0), w10)),
            (f::MESSAGE_RATE_1S, rate(windowed(&messages, now, w1, |()| 1.0), w1)),
            (f::MESSAGE_RATE_10S, rate(windowed(&messages, now, w10, |()| 1.0), w10)),
            (f::BID_ADD_RATE, rate(flows(1, w10), w10)),
            (f::BID_REMOVE_RATE, rate(flows(2, w10), w10)),
            (f::ASK_ADD_RATE, rate(flows(3, w10), w10)),
            (f::ASK_REMOVE_RATE, rate(flows(4, w10), w10)),
            (f::VOLUME_10S, Some(volume)),
            (f::CANCEL_RATIO, (removed > 0.0).then(|| ((removed - volume) / removed).max(0.0))),
            (f::VOLUME_RATIO, ratio.map(|(short, long_s)| (volume / short) / (long / long_s))),
            (f::EFFECTIVE_SPREAD_BP, (count > 0.0).then(|| windowed(&quoted, now, w10, cost) / count)),
            (f::DEPTH_AGE_MS, Some((now - self.last_depth) as f64 / 1e6)),
        ]
    }

    fn second_features(&self, now: i64) -> Vec<(usize, Option<f64>)> {
        let mid = self.mid();
        let mids: Vec<f64> = self.seconds.iter().rev().take(300).rev().map(|s| s.mid).collect();
        let returns: Vec<f64> = mids.windows(2).map(|pair| (pair[1] / pair[0]).ln()).collect();
        let year = 365.0 * 86_400.0;
        let last = |n: usize| (returns.len() >= n).then(|| &returns[returns.len() - n..]);
        let squares = |n: usize| last(n).map(|r| r.iter().map(|r| r * r).sum::<f64>());
        let bipower = |n: usize| {
            let products = |r: &[f64]| r.windows(2).map(|p| (p[0] * p[1]).abs()).sum::<f64>();
            last(n).map(|r| std::f64::consts::FRAC_PI_2 * n as f64 / (n - 1) as f64 * products(r))
        };
        let annual = |v: Option<f64>, n: usize| v.map(|v| (v / n as f64 * year).sqrt());
        let rows: Vec<&SecondRow> = self.seconds.iter().rev().take(61).rev().collect();
        let enough = rows.len() > 20;
        let impact: Vec<(f64, f64)> = rows.windows(2).map(|p| (p[1].signed, p[1].mid - p[0].mid)).collect();
        let refill: Vec<(f64, f64)> = rows.windows(2).map(|p| (p[0].depth5, p[1].depth5 - p[0].depth5)).collect();
        let second = now.div_euclid(S);
        let back = |n: i64| {
            let before = self.seconds.iter().rev().take(300).find(|row| second - row.at_s >= n)?;
            mid.map(|mid| (mid / before.mid).ln())
        };
        let range = |width: i64| {
            let inside = self.mids.iter().filter(|(at, _)| at.div_euclid(width) >= now.div_euclid(width) - 9);
            let (low, high) = inside.fold((f64::MAX, f64::MIN), |(l, h), (_, m)| (l.min(*m), h.max(*m)));
            mid.map(|_| high / low - 1.0)
        };
        let slow = self.slow.filter(|(_, _, count)| *count >= 10);
        let (band, spread) = (self.band(10).0 + self.band(10).1, self.touch.map(|(_, t)| (t.2 - t.0) as f64 / 10.0));
        let share = squares(299).zip(bipower(299)).filter(|(v, _)| *v > 0.0).map(|(v, b)| (1.0 - b / v).max(0.0));
        vec![
            (f::REALISED_VOL_10S, annual(squares(10), 10)),
            (f::REALISED_VOL_60S, annual(squares(60), 60)),
            (f::REALISED_VOL_300S, annual(squares(299), 299)),
            (f::BIPOWER_VOL_60S, annual(bipower(60), 60)),
            (f::BIPOWER_VOL_300S, annual(bipower(299), 299)),
            (f::JUMP_SHARE_300S, share),
            (f::KYLE_LAMBDA, if enough { slope(&impact) } else { None }),
            (f::RESILIENCY, if enough { slope(&refill).map(|s| -s) } else { None }),
            (f::RETURN_1S, back(1)),
            (f::RETURN_10S, back(10)),
            (f::RETURN_60S, back(60)),
            (f::RETURN_300S, back(300)),
            (f::RANGE_10S, range(S)),
            (f::RANGE_60S, range(6 * S)),
            (f::DEPTH_RATIO, slow.map(|(depth, _, _)| band / depth)),
            (f::SPREAD_RATIO, slow.zip(spread).map(|((_, slow, _), spread)| spread / slow)),
        ]
    }

    fn tape_features(&self, now: i64) -> Vec<(usize, Option<f64>)> {
        let latency = self.latencies.last().map(|(_, l)| *l);
        let mut mean = None;
        for (_, l) in &self.latencies {
            mean = Some(mean.map_or(*l, |m: f64| m + (l - m) / 32.0));
        }
        let newest = self.latencies.last().map_or(now, |(at, _)| *at);
        let inside = self.latencies.iter().filter(|(at, _)| at.div_euclid(6 * S) >= newest.div_euclid(6 * S) - 9);
        let least = inside.map(|(_, l)| *l).fold(f64::MAX, f64::min);
        let changes: Vec<f64> = self.trades.windows(2).map(|p| (p[1].price - p[0].price) as f64).collect();
        let pairs: Vec<&[f64]> = changes.windows(2).rev().take(128).collect();
        let n = pairs.len() as f64;
        let (mean_change, product) =
            (pairs.iter().map(|p| p[1]).sum::<f64>() / n, pairs.iter().map(|p| p[0] * p[1]).sum::<f64>() / n);
        let covariance = product - mean_change * mean_change;
        let price = self.trades.last().map_or(f64::NAN, |t| t.price as f64);
        let roll = (pairs.len() >= 64 && covariance < 0.0).then(|| 2.0 * (-covariance).sqrt() / price * 1e4);
        vec![
            (f::FEED_LATENCY, latency),
            (f::FEED_LATENCY_EWMA, mean),
            (f::FEED_LATENCY_EXCESS, mean.map(|m| m - least)),
            (f::ROLL_SPREAD_BP, roll),
            (f::VPIN, self.vpin()),
        ]
    }

    /// Volume buckets by cutting the tape into pieces of equal quantity.
    fn vpin(&self) -> Option<f64> {
        let first = self.trades.first()?.at;
        let watched: f64 = self.trades.iter().filter(|t| t.at < first + 30 * S).map(|t| t.qty).sum();
        let size = watched / 15.0;
        let (mut buckets, mut bought, mut sold) = (Vec::new(), 0.0, 0.0);
        for trade in self.trades.iter().filter(|t| t.at >= first + 30 * S) {
            let mut rest = trade.qty;
            while rest > 0.0 {
                let room = size - bought - sold;
                let taken = f64::min(rest, room);
                *(if trade.sell { &mut sold } else { &mut bought }) += taken;
                rest -= taken;
                if taken >= room {
                    buckets.push((bought - sold).abs());
                    (bought, sold) = (0.0, 0.0);
                }
            }
        }
        let used = &buckets[buckets.len().saturating_sub(50)..];
        (used.len() >= 10).then(|| used.iter().sum::<f64>() / (size * used.len() as f64))
    }
}

fn before_is_older(touch: Option<(u64, Touch)>, id: u64) -> bool {
    touch.is_none_or(|(known, _)| id >= known)
}

fn side(levels: &[Level]) -> Side {
    levels.iter().map(|level| (level.price.raw(), level.qty.raw())).collect()
}

/// Applies levels; gives what was taken away within the twenty best levels as they were before the frame.
fn apply(side: &mut Side, levels: &[Level], bids: bool) -> i64 {
    let reach = best(side, bids, 20).get(19).map(|(price, _)| *price);
    let mut gone = 0;
    for level in levels {
        let (price, qty) = (level.price.raw(), level.qty.raw());
        let old = side.get(&price).copied().unwrap_or(0);
        let within = reach.is_none_or(|reach| if bids { price >= reach } else { price <= reach });
        if within {
            gone += (old - qty).max(0);
        }
        if qty == 0 {
            side.remove(&price);
        } else {
            side.insert(price, qty);
        }
    }
    gone
}
