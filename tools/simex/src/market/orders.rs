//! What the single events of the order flow do to a book.

use super::MarketEvent;
use super::book::{Level, Side};
use super::flow::Flow;

/// A market order leaves this many levels alone: a side is never emptied.
const RESERVED_LEVELS: usize = 16;
/// Most resting orders one market order meets; a cap on the power law's tail.
const MAX_FILLS: f64 = 400.0;
/// How many levels on either side of a place count as its surroundings.
const NEIGHBOURS: usize = 8;
/// Orders further away than this are not placed, bp: prices stay positive.
const FURTHEST_BP: f64 = 9_000.0;
/// A seeded book reaches this far, bp.
const SEED_REACH_BP: f64 = 3_000.0;
/// Closer than this to the touch a seeded book is as thin as after a repricing, bp.
const NEAR_BP: f64 = 1.0;
/// A spread wider than this many thresholds is rebuilt around the efficient price, with levels behind the touch.
const REBUILD_THRESHOLDS: f64 = 8.0;
/// Chance that a cancellation larger than the quantity at the touch takes all of it.
const DEPLETION: f64 = 0.12;

impl Flow {
    /// Builds both sides outward from the efficient price with the stationary density.
    pub(super) fn seed(&mut self) {
        let (bid, ask) = self.quotable();
        for (side, start) in [(Side::Buy, bid), (Side::Sell, ask)] {
            let lots = self.touch_lots();
            self.book.side_mut(side).set(start, lots);
            let mut distance = 0.0;
            loop {
                let bp = distance / self.ticks_per_bp();
                if bp > SEED_REACH_BP {
                    break;
                }
                let density = if bp < NEAR_BP { self.near_density() } else { self.density(bp) };
                // Geometric gaps of the right mean, on the grid of ticks.
                distance += libm::ceil(self.draw.exponential() * (1.0 / density - 0.5).max(0.05));
                let tick = start - side.sign() * distance as i64;
                if tick <= 0 {
                    // A thin book has gaps of its own price.
                    break;
                }
                let lots = self.level_lots();
                self.book.side_mut(side).set(tick, lots);
            }
        }
    }

    /// A market order of the flow: the number of resting orders it meets is drawn, its size follows.
    pub(super) fn market_order(&mut self, taker: Side, events: &mut Vec<MarketEvent>) {
        let fills = 1.0 + self.draw.power_law(self.params.fills_scale, self.params.fills_tail);
        let fills = (fills * self.conditions.sizes).clamp(1.0, MAX_FILLS) as usize;
        let reach = (4.0 * self.threshold()) as i64;
        if let Some(best) = self.book.side(taker.opposite()).best() {
            self.execute(taker, fills, best.tick + taker.sign() * reach, events);
            self.commit(events);
        }
        self.excite(taker);
    }

    /// Fills a market order against the book up to `limit`, order by order.
    fn execute(&mut self, taker: Side, fills: usize, limit: i64, events: &mut Vec<MarketEvent>) {
        let side = taker.opposite();
        let mut open: Option<Level> = None;
        for _ in 0..fills {
            let level = match open {
                Some(level) => level,
                None => match self.book.side(side).best() {
                    Some(best) if (limit - best.tick) * taker.sign() >= 0 => best,
                    _ => break,
                },
            };
            let median = self.params.fill_lots * self.conditions.sizes;
            let order = self.draw.lots(median, self.params.fill_log_sd, self.params.round_share);
            let lots = order.max(self.params.min_fill_lots).min(level.lots);
            events.push(MarketEvent::Trade { tick: level.tick, lots, taker });
            let left = level.lots - lots;
            open = (left > 0).then_some(Level { lots: left, ..level });
            if left == 0 {
                self.change(side, level.tick, 0, events);
                if self.book.side(side).len() <= RESERVED_LEVELS {
                    break;
                }
            }
        }
        if let Some(level) = open {
            self.change(side, level.tick, level.lots, events);
        }
    }

    /// A limit order joins the best level of a side, or part of it is cancelled. The quantity tends to its typical
    /// value, which is smaller on the side the efficient price is about to run over.
    pub(super) fn touch_order(&mut self, events: &mut Vec<MarketEvent>) {
        let side = Side::BOTH[self.draw.below(2)];
        let (Some((bid, ask)), Some(best)) = (self.book.touch(), self.book.side(side).best()) else { return };
        let deviation = (self.efficient - 0.5 * (bid.tick + ask.tick) as f64) / self.threshold();
        let pressed = 1.0 + 0.6 * deviation.clamp(-1.0, 1.0) * side.sign() as f64;
        let typical = self.params.touch_lots * self.conditions.depth * pressed;
        let order = self.draw.lots(self.params.touch_order_lots, 1.4, self.params.round_share);
        let adds = self.draw.chance(typical / (typical + best.lots as f64));
        let lots = if adds {
            best.lots + order
        } else if order < best.lots {
            best.lots - order
        } else if self.draw.chance(DEPLETION) && self.book.side(side).len() > RESERVED_LEVELS {
            0
        } else {
            1 + self.draw.below(best.lots.clamp(1, 1 << 30) as usize) as i64
        };
        self.change(side, best.tick, lots, events);
        self.commit(events);
    }

    /// A limit order or a cancellation behind the touch, at a power-law distance.
    pub(super) fn deep_order(&mut self, events: &mut Vec<MarketEvent>) {
        let side = Side::BOTH[self.draw.below(2)];
        let Some(best) = self.book.side(side).best() else { return };
        let bp = self.draw.power_law(self.params.distance_scale_bp, self.params.distance_tail);
        let tick = best.tick - side.sign() * (1 + (bp.min(FURTHEST_BP) * self.ticks_per_bp()) as i64);
        if bp > FURTHEST_BP || tick <= 0 {
            return;
        }
        let wants_change = self.draw.chance(self.params.change_share);
        match self.nearest_behind_touch(side, tick) {
            Some(level) if wants_change => self.requantify(side, level, events),
            Some(level) => {
                // Placements on a level that exists already and fleeting ones add nothing lasting: with these odds
                // births and deaths are equal just where the density is the typical one.
                let target = self.density(bp);
                let weight = target / ((1.0 - target) * (1.0 - self.params.fleeting_share));
                if self.draw.chance(weight / (weight + self.local_density(side, tick))) {
                    self.place(side, tick, events);
                } else if self.book.side(side).len() > RESERVED_LEVELS {
                    self.change(side, level.tick, 0, events);
                }
            }
            None => self.place(side, tick, events),
        }
        self.commit(events);
    }

    /// Moves an existing level's quantity: orders join it while it is small and leave it while it is large.
    fn requantify(&mut self, side: Side, level: Level, events: &mut Vec<MarketEvent>) {
        let typical = 2.0 * self.params.level_lots * self.conditions.depth;
        let order = self.level_lots();
        let lots = if self.draw.chance(typical / (typical + level.lots as f64)) {
            level.lots + order
        } else {
            (level.lots - order).max(1)
        };
        self.change(side, level.tick, lots, events);
    }

    fn place(&mut self, side: Side, tick: i64, events: &mut Vec<MarketEvent>) {
        let present = self.book.side(side).lots_at(tick);
        let lots = self.level_lots();
        self.change(side, tick, present + lots, events);
        if present == 0 && self.draw.chance(self.params.fleeting_share) {
            self.make_fleeting(side, tick);
        }
    }

    /// The level closest to `tick` that is not the best one.
    fn nearest_behind_touch(&self, side: Side, tick: i64) -> Option<Level> {
        let ladder = self.book.side(side);
        let rank = ladder.rank_of(tick).max(1);
        let outer = ladder.at_rank(rank);
        let inner = (rank > 1).then(|| ladder.at_rank(rank - 1)).flatten();
        match (inner, outer) {
            (Some(inner), Some(outer)) if (inner.tick - tick).abs() < (outer.tick - tick).abs() => Some(inner),
            (inner, outer) => outer.or(inner),
        }
    }

    /// Levels per tick around a place.
    fn local_density(&self, side: Side, tick: i64) -> f64 {
        let ladder = self.book.side(side);
        let rank = ladder.rank_of(tick);
        let (inner, outer) = (rank.saturating_sub(NEIGHBOURS), (rank + NEIGHBOURS).min(ladder.len() - 1));
        match (ladder.at_rank(inner), ladder.at_rank(outer)) {
            (Some(first), Some(last)) if outer > inner => {
                (outer - inner) as f64 / (first.tick - last.tick).abs().max(1) as f64
            }
            _ => 0.0,
        }
    }

    /// Typical levels per tick at a distance from the touch, in (0, 1).
    fn density(&self, bp: f64) -> f64 {
        let relative = bp / self.params.density_scale_bp;
        let per_bp = self.params.density_per_bp * self.conditions.depth / (1.0 + relative * relative);
        (per_bp / self.ticks_per_bp()).clamp(1e-6, 0.95)
    }

    /// Levels per tick right after quotes were moved.
    fn near_density(&self) -> f64 {
        (self.params.near_density_per_bp * self.conditions.depth / self.ticks_per_bp()).clamp(1e-6, 0.95)
    }

    fn level_lots(&mut self) -> i64 {
        self.draw.lots(self.params.level_lots, self.params.level_log_sd, self.params.round_share)
    }

    fn touch_lots(&mut self) -> i64 {
        let median = 0.5 * self.params.touch_lots * self.conditions.depth;
        self.draw.lots(median, 1.0, self.params.round_share)
    }

    /// Closes a wide spread: new best quotes as near the efficient price as the opposite side lets them.
    pub(super) fn refill(&mut self, events: &mut Vec<MarketEvent>) {
        let Some((bid, ask)) = self.book.touch() else { return };
        let (highest, lowest) = self.quotable();
        let wide = (ask.tick - bid.tick) as f64 > REBUILD_THRESHOLDS * self.threshold();
        if self.conditions.hole_bp == 0.0 && !wide && self.draw.chance(self.params.step_share) {
            let side = Side::BOTH[self.draw.below(2)];
            let step = 1 + self.draw.below((ask.tick - bid.tick - 1) as usize) as i64;
            let tick = if side == Side::Buy { (bid.tick + step).min(highest) } else { (ask.tick - step).max(lowest) };
            self.improve(side, tick, false, events);
        } else if self.conditions.hole_bp == 0.0 && !wide {
            let new_bid = highest.clamp(bid.tick, ask.tick - 1);
            self.improve(Side::Buy, new_bid, false, events);
            self.improve(Side::Sell, (new_bid + 1).min(ask.tick), false, events);
        } else {
            self.improve(Side::Buy, highest.min(ask.tick - 1), true, events);
            let bid = self.book.side(Side::Buy).best().map_or(bid.tick, |best| best.tick);
            self.improve(Side::Sell, lowest.max(bid + 1), true, events);
        }
        self.commit(events);
    }

    /// Makes `tick` the best level of a side unless it has a better one; on request with levels in the gap behind.
    fn improve(&mut self, side: Side, tick: i64, fill: bool, events: &mut Vec<MarketEvent>) {
        let (Some(old), Some(other)) = (self.book.side(side).best(), self.book.side(side.opposite()).best()) else {
            return;
        };
        // Never across the other side, which keeps its last levels even when they are stale.
        let tick = if side == Side::Buy { tick.min(other.tick - 1) } else { tick.max(other.tick + 1) };
        let gap = (tick - old.tick) * side.sign();
        if gap <= 0 {
            return;
        }
        let lots = self.touch_lots();
        self.change(side, tick, lots, events);
        if !fill {
            return;
        }
        let mut distance = 0.0;
        loop {
            let near = distance < NEAR_BP * self.ticks_per_bp();
            let density = if near { self.near_density() } else { self.density(0.0) };
            distance += libm::ceil(self.draw.exponential() * (1.0 / density - 0.5).max(0.05));
            if distance >= gap as f64 {
                break;
            }
            let lots = self.level_lots();
            self.change(side, tick - side.sign() * distance as i64, lots, events);
        }
    }

    /// Quotes follow the efficient price: the stale side is taken or withdrawn, then both are posted anew. Inside a
    /// liquidity hole, and when one opens, quotes only withdraw.
    pub(super) fn reprice(&mut self, events: &mut Vec<MarketEvent>) {
        let Some((bid, ask)) = self.book.touch() else { return };
        let (highest, lowest) = self.quotable();
        if self.conditions.hole_bp > 0.0 {
            self.withdraw(Side::Buy, highest, events);
            self.withdraw(Side::Sell, lowest, events);
            self.commit(events);
            return;
        }
        let up = self.efficient > 0.5 * (bid.tick + ask.tick) as f64;
        let taker = if up { Side::Buy } else { Side::Sell };
        let (stale, edge, front) = if up { (Side::Sell, lowest, highest) } else { (Side::Buy, highest, lowest) };
        if self.draw.chance(self.params.snipe_share.max(self.conditions.snipes)) {
            let fills = (4.0 + self.draw.power_law(8.0, 1.5) * self.conditions.sizes).min(MAX_FILLS) as usize;
            self.execute(taker, fills, edge - taker.sign(), events);
            self.commit(events);
            self.excite(taker);
        } else {
            self.start_burst();
        }
        self.withdraw(stale, edge, events);
        self.commit(events);
        self.improve(taker, front, true, events);
        self.improve(stale, edge, false, events);
        self.commit(events);
    }

    /// Cancels every level of a side better than `edge`.
    fn withdraw(&mut self, side: Side, edge: i64, events: &mut Vec<MarketEvent>) {
        while let Some(best) = self.book.side(side).best() {
            let inside = (best.tick - edge) * side.sign() > 0;
            if !inside || self.book.side(side).len() <= RESERVED_LEVELS {
                break;
            }
            self.change(side, best.tick, 0, events);
        }
    }
}
