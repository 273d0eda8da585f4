//! The **test** generator: no path is drawn, prices come of orders.
//!
//! A zero-intelligence book (after Smith, Farmer, Gillemot and Krishnamurthy 2003): limit orders, cancellations and
//! market orders arrive at random, sizes have Pareto tails, the signs of market orders are correlated. Whoever sets a
//! trap is one more participant who sends orders and takes them back, and must get there against the others; a plan
//! that fails is no trap. Decoys are plans of participants who mean it. No model and no threshold was
//! fitted on it; its first runs did lead to stricter candidates of hunts, grabs and layers, see `traps` of the crate.

// Tests and examples share it: none of them uses all of it.
#![allow(dead_code)]

use tidegate_wire::look::LookRecord;
use tidegate_wire::order::Side;
use tidegate_wire::trap::TrapPattern;

use crate::rig::{Draw, OPEN, Past, SECOND, Simulated, Truth, sign};

/// Limit orders a second.
const LIMITS: f64 = 60.0;
/// Cancellations a second.
const CANCELS: f64 = 30.0;
/// Market orders a second.
const MARKETS: f64 = 3.0;
/// Smallest order.
const SMALLEST: f64 = 300.0;
/// Exponent of the sizes' tail.
const TAIL: f64 = 1.7;
/// Fewest levels a side: market makers far away refill them.
const FEWEST: usize = 70;
/// Farthest limit order from the opposite touch, ticks.
const REACH: f64 = 60.0;
/// Seconds until the first plan.
const QUIET: i64 = 120;

/// What a participant is about.
#[derive(Debug)]
struct Plan {
    pattern: TrapPattern,
    /// Whether the lure is meant to mislead.
    trap: bool,
    lure: Side,
    stage: u8,
    start_ns: i64,
    since_ns: i64,
    /// How long the running stage may last or is to last, ns.
    patience_ns: i64,
    level: f64,
    unit: f64,
    from: f64,
    goal: f64,
    /// Resting orders of the plan: price and quantity.
    resting: Vec<(i64, i64)>,
}

/// How a plan goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Same,
    Stage,
    Done,
    Failed,
}

/// The market.
pub(crate) struct Agents {
    pub(crate) market: Simulated,
    draw: Draw,
    sign: Side,
    past: Past,
    plan: Option<Plan>,
    act_ns: i64,
    next_ns: i64,
    pub(crate) truths: Vec<Truth>,
    /// Plans that failed.
    pub(crate) failed: u32,
}

impl Agents {
    pub(crate) fn new(seed: u64) -> Self {
        let (market, next_ns) = (Simulated::new(OPEN), OPEN + QUIET * SECOND);
        let (draw, past) = (Draw::new(seed), Past::default());
        let (plan, truths, sign) = (None, Vec::new(), Side::Buy);
        let mut new = Self { market, draw, sign, past, plan, act_ns: 0, next_ns, truths, failed: 0 };
        for n in 0..FEWEST as i64 {
            for (side, price) in [(Side::Buy, 499_999 - n), (Side::Sell, 500_001 + n)] {
                let qty = new.size(3.0);
                new.market.set(side, price, qty);
            }
        }
        new.market.open();
        new
    }

    /// An order's size: Pareto, at most a hundred times the smallest.
    fn size(&mut self, scale: f64) -> i64 {
        let tail = (1.0 - self.draw.uniform()).powf(-1.0 / TAIL).min(100.0);
        (scale * SMALLEST * tail) as i64 + 1
    }

    /// Runs for a time; shows every look.
    pub(crate) fn run(&mut self, seconds: i64, see: &mut dyn FnMut(&LookRecord)) {
        let end = self.market.now_ns + seconds * SECOND;
        while self.market.now_ns < end {
            let gap = self.draw.exponential() / (LIMITS + CANCELS + MARKETS);
            let before = self.market.now_ns / SECOND;
            self.market.now_ns += (gap * SECOND as f64) as i64 + 1;
            if self.market.now_ns / SECOND != before {
                self.past.second(self.market.mid());
            }
            self.background();
            self.plans();
            self.market.looks.each(see);
        }
    }

    /// One order of somebody who knows nothing.
    fn background(&mut self) {
        let which = self.draw.uniform() * (LIMITS + CANCELS + MARKETS);
        if which < MARKETS {
            if self.draw.chance(0.4) {
                self.sign = self.draw.side();
            }
            let qty = self.size(1.0);
            self.market.take(self.sign, qty);
        } else if which < MARKETS + CANCELS {
            self.cancel();
        } else {
            let side = self.draw.side();
            let away = 1 + self.draw.within(0.0, REACH) as i64;
            let price = self.market.best(side.opposite()) - sign(side) as i64 * away;
            let qty = self.size(1.0);
            self.add(side, price, qty);
        }
        self.refill();
        self.market.flush();
    }

    /// A part of some level goes: each unit of quantity is as likely to be of it.
    fn cancel(&mut self) {
        let side = self.draw.side();
        let levels = if side == Side::Buy { &self.market.bids } else { &self.market.asks };
        let mut at = (self.draw.uniform() * levels.values().sum::<i64>() as f64) as i64;
        let hit = levels.iter().find(|(_, qty)| {
            at -= **qty;
            at < 0
        });
        let (price, qty) = hit.map_or((0, 0), |(price, qty)| (*price, *qty));
        let ours = self.plan.iter().flat_map(|plan| &plan.resting).any(|(at, _)| *at == price);
        if levels.len() > FEWEST / 2 && !ours {
            let part = if self.draw.chance(0.3) { 1.0 } else { self.draw.uniform() };
            self.market.set(side, price, qty - (part * qty as f64) as i64 - 1);
        }
    }

    fn add(&mut self, side: Side, price: i64, qty: i64) {
        let there = self.market.get(side, price);
        self.market.set(side, price, there + qty);
    }

    /// Market makers far away quote behind the last level.
    fn refill(&mut self) {
        for side in [Side::Buy, Side::Sell] {
            let levels = if side == Side::Buy { &self.market.bids } else { &self.market.asks };
            let last = if side == Side::Buy { levels.keys().next() } else { levels.keys().next_back() };
            if let Some(last) = last.copied().filter(|_| levels.len() < FEWEST) {
                let qty = self.size(3.0);
                self.market.set(side, last - sign(side) as i64, qty);
            }
        }
    }

    /// Begins a plan, or goes on with it.
    fn plans(&mut self) {
        let now = self.market.now_ns;
        let Some(mut plan) = self.plan.take() else {
            if now >= self.next_ns {
                self.plan = Some(self.begin());
            }
            return;
        };
        if now < self.act_ns {
            self.plan = Some(plan);
            return;
        }
        self.act_ns = now + (self.draw.within(0.03, 0.12) * SECOND as f64) as i64;
        let next = match plan.pattern {
            TrapPattern::StopHunt => self.hunt(&mut plan),
            TrapPattern::LiquidityGrab => self.grab(&mut plan),
            TrapPattern::Layering => self.layering(&mut plan),
            _ => self.breaks(&mut plan),
        };
        self.market.flush();
        match next {
            Next::Same => self.plan = Some(plan),
            Next::Stage => {
                (plan.stage, plan.since_ns) = (plan.stage + 1, now);
                self.plan = Some(plan);
            }
            Next::Done | Next::Failed => {
                self.next_ns = now + (self.draw.within(40.0, 90.0) * SECOND as f64) as i64;
                self.failed += u32::from(next == Next::Failed);
                if next == Next::Done && plan.trap {
                    let Plan { pattern, lure, start_ns, .. } = plan;
                    self.truths.push(Truth { pattern, lure, start_ns, end_ns: now });
                }
            }
        }
    }

    fn begin(&mut self) -> Plan {
        let (lure, trap, now) = (self.draw.side(), self.draw.chance(0.5), self.market.now_ns);
        let breaks = if lure == Side::Buy { TrapPattern::BullTrap } else { TrapPattern::BearTrap };
        let kinds = [breaks, TrapPattern::StopHunt, TrapPattern::LiquidityGrab, TrapPattern::Layering];
        let pattern = kinds[(self.draw.uniform() * 4.0) as usize];
        Plan {
            pattern,
            trap,
            lure,
            stage: 0,
            start_ns: now,
            since_ns: now,
            patience_ns: (self.draw.within(9.0, 28.0) * SECOND as f64) as i64,
            level: self.past.swing(sign(lure)),
            unit: self.past.usual().max(4.0),
            from: self.market.mid(),
            goal: self.draw.uniform(),
            resting: Vec::new(),
        }
    }

    /// An aggressive order of some touches' size.
    fn hit(&mut self, side: Side, from: f64, to: f64) {
        let touch = self.market.best(side.opposite());
        let qty = self.market.get(side.opposite(), touch) as f64 * self.draw.within(from, to);
        self.market.take(side, qty as i64 + 1);
    }

    /// A passive order at the touch, or one tick in front of it where there is room.
    fn support(&mut self, side: Side, scale: f64) {
        let d = sign(side) as i64;
        let front = self.market.best(side) + d;
        let room = d * (self.market.best(side.opposite()) - front) > 0;
        let qty = self.size(scale);
        self.add(side, if room { front } else { front - d }, qty);
    }

    /// Part of the way from the farthest goal back to where the plan began.
    fn beyond(&self, plan: &Plan) -> f64 {
        sign(plan.lure) * (self.market.mid() - plan.level) / plan.unit
    }

    fn breaks(&mut self, plan: &mut Plan) -> Next {
        let (beyond, age) = (self.beyond(plan), self.market.now_ns - plan.since_ns);
        match plan.stage {
            0 if beyond >= 1.2 + plan.goal => Next::Stage,
            0 if age > 15 * SECOND => Next::Failed,
            0 => {
                self.hit(plan.lure, 0.5, 1.8);
                self.support(plan.lure, 1.5);
                Next::Same
            }
            1 => {
                let hold = if plan.trap { plan.patience_ns } else { 47 * SECOND };
                let floor = if plan.trap { 0.5 } else { 0.9 };
                if beyond < floor {
                    self.hit(plan.lure, 0.3, 1.0);
                    self.support(plan.lure, 3.0);
                } else if plan.trap && self.draw.chance(0.2) && beyond > 0.8 {
                    self.hit(plan.lure.opposite(), 0.1, 0.6);
                } else if !plan.trap && self.draw.chance(0.15) {
                    self.hit(plan.lure, 0.2, 1.0);
                }
                match age > hold {
                    true if plan.trap => Next::Stage,
                    true => Next::Done,
                    false => Next::Same,
                }
            }
            _ if beyond <= -0.7 => Next::Done,
            _ if age > 15 * SECOND => Next::Failed,
            _ => {
                self.hit(plan.lure.opposite(), 0.5, 1.8);
                self.support(plan.lure.opposite(), 1.5);
                Next::Same
            }
        }
    }

    fn hunt(&mut self, plan: &mut Plan) -> Next {
        let (beyond, age) = (self.beyond(plan), self.market.now_ns - plan.since_ns);
        let spike = sign(plan.lure) * (self.market.mid() - plan.from) / plan.unit;
        match plan.stage {
            0 if beyond >= 0.6 + plan.goal && spike >= 2.2 => {
                plan.goal = self.market.mid();
                Next::Stage
            }
            0 if age > 4 * SECOND => Next::Failed,
            0 => {
                self.hit(plan.lure, 2.0, 6.0);
                Next::Same
            }
            1 => {
                // Stops that were triggered.
                if self.draw.chance(0.3) {
                    self.hit(plan.lure, 0.3, 1.5);
                }
                if age > plan.patience_ns / 50 { Next::Stage } else { Next::Same }
            }
            _ if plan.trap
                && sign(plan.lure) * (plan.goal - self.market.mid())
                    >= 0.75 * sign(plan.lure) * (plan.goal - plan.from) =>
            {
                Next::Done
            }
            _ if plan.trap && age > 6 * SECOND => Next::Failed,
            _ if plan.trap => {
                self.hit(plan.lure.opposite(), 1.0, 3.5);
                self.support(plan.lure.opposite(), 4.0);
                Next::Same
            }
            _ => {
                let back = sign(plan.lure) * (plan.goal - self.market.mid()) > 0.2 * plan.unit;
                if back {
                    self.hit(plan.lure, 0.5, 1.5);
                    self.support(plan.lure, 3.0);
                }
                if age > 10 * SECOND { Next::Done } else { Next::Same }
            }
        }
    }

    fn grab(&mut self, plan: &mut Plan) -> Next {
        let (d, age) = (sign(plan.lure), self.market.now_ns - plan.since_ns);
        let across = plan.lure.opposite();
        match plan.stage {
            0 => {
                let levels = (9.0 + 12.0 * plan.goal).max(1.2 * plan.unit) as usize;
                let side = if plan.lure == Side::Buy { &self.market.asks } else { &self.market.bids };
                let there: Vec<(i64, i64)> = if plan.lure == Side::Buy {
                    side.iter().take(levels).map(|(p, q)| (*p, *q)).collect()
                } else {
                    side.iter().rev().take(levels).map(|(p, q)| (*p, *q)).collect()
                };
                let last = there.last().map_or(plan.from, |level| level.0 as f64);
                if d * (last - plan.level) >= 0.4 * plan.unit {
                    return Next::Failed;
                }
                let qty = there.iter().map(|level| level.1).sum();
                plan.goal = last;
                plan.resting = vec![(last as i64 + d as i64, qty)];
                self.market.take(plan.lure, qty);
                Next::Stage
            }
            1 => {
                // An iceberg at the extreme takes whoever still follows.
                let (price, swept) = plan.resting[0];
                let room = d * (price as f64 - self.market.best(plan.lure) as f64) > 0.0;
                if room && self.market.get(across, price) < swept / 8 {
                    self.add(across, price, swept / 4);
                }
                self.market.flush();
                if self.draw.chance(0.6) {
                    self.market.take(plan.lure, swept / 20);
                }
                if age > plan.patience_ns / 18 { Next::Stage } else { Next::Same }
            }
            _ if plan.trap && d * (plan.goal - self.market.mid()) >= 0.75 * d * (plan.goal - plan.from) => Next::Done,
            _ if plan.trap && age > 8 * SECOND => Next::Failed,
            _ if plan.trap => {
                self.support(across, 5.0);
                self.support(across, 5.0);
                self.hit(across, 0.6, 1.6);
                Next::Same
            }
            _ => {
                plan.resting.clear();
                if d * (plan.goal - self.market.mid()) > 0.2 * plan.unit {
                    self.support(plan.lure, 5.0);
                    self.hit(plan.lure, 0.3, 1.2);
                }
                if age > 11 * SECOND { Next::Done } else { Next::Same }
            }
        }
    }

    fn layering(&mut self, plan: &mut Plan) -> Next {
        let (d, age) = (sign(plan.lure) as i64, self.market.now_ns - plan.since_ns);
        match plan.stage {
            0 => {
                let count = 4 + (6.0 * plan.goal) as i64;
                let near = self.draw.within(3.0, 7.0) as i64;
                let levels = if plan.lure == Side::Buy { &self.market.bids } else { &self.market.asks };
                let mean = levels.values().sum::<i64>() / levels.len().max(1) as i64;
                for n in 0..count {
                    let (price, size) = (self.market.best(plan.lure) - d * (near + n), self.draw.within(5.0, 10.0));
                    let qty = (size * mean as f64) as i64;
                    self.add(plan.lure, price, qty);
                    plan.resting.push((price, qty));
                }
                Next::Stage
            }
            1 if plan.trap => {
                // Sells to those who follow, and goes when the price comes near.
                if self.draw.chance(0.1) {
                    self.hit(plan.lure.opposite(), 0.1, 0.5);
                }
                let nearest = plan.resting.first().map_or(0, |level| level.0);
                let close = d * (self.market.best(plan.lure) - nearest) <= 1;
                if age > plan.patience_ns * 2 / 3 || close && age > SECOND { Next::Stage } else { Next::Same }
            }
            1 if plan.goal < 0.5 => {
                // A seller who means it: the orders are there to be traded.
                self.hit(plan.lure.opposite(), 1.0, 3.0);
                let left: i64 =
                    plan.resting.iter().map(|(price, qty)| self.market.get(plan.lure, *price).min(*qty)).sum();
                let whole: i64 = plan.resting.iter().map(|level| level.1).sum();
                if 2 * left < whole || age > 40 * SECOND { Next::Done } else { Next::Same }
            }
            1 => {
                if age > 35 * SECOND {
                    Next::Stage
                } else {
                    Next::Same
                }
            }
            _ => {
                let pulled = if plan.trap { plan.resting.len() } else { 1.min(plan.resting.len()) };
                for (price, qty) in plan.resting.drain(..pulled) {
                    let there = self.market.get(plan.lure, price);
                    if there > 0 {
                        self.market.set(plan.lure, price, (there - qty).max(0));
                    }
                }
                if plan.resting.is_empty() { Next::Done } else { Next::Same }
            }
        }
    }
}
