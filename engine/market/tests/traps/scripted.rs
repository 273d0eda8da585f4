//! The **training** generator: prices follow a path that is drawn, and scripts bend the path.
//!
//! The mid is a random walk that is pulled to a slow mean; books are drawn around it with log-normal quantities,
//! trades come by a Poisson process whose side leans to the path's drift. A trap is a path (push, hold, fall), a lean
//! of the trades and a change of the book's depth; half of the scripts are decoys with the same beginning and another
//! end. Each seed is a climate of its own: volatility, trading, sizes, how fast books change, how rough scripts are.
//! The models in `traps::model` are fitted on what this generator makes.

use tidegate_wire::look::LookRecord;
use tidegate_wire::order::Side;
use tidegate_wire::trap::TrapPattern;

use crate::rig::{Draw, Past, SECOND, Simulated, Truth, sign};

/// Time between two steps, ns.
const STEP: i64 = SECOND / 20;
/// Levels a side that are drawn.
const LEVELS: i64 = 80;
/// What a seed's market is like.
#[derive(Clone, Copy, Debug)]
struct Climate {
    /// Deviation of the path over a second, ticks.
    volatility: f64,
    /// Trades a second in quiet times.
    trades: f64,
    /// Mean quantity of a level.
    level: f64,
    /// Levels that change at a step, part of all.
    refresh: f64,
    /// Noise of the path while a script runs, over that of quiet times.
    rough: f64,
    /// Strength of the pull to the slow mean, a second.
    pull: f64,
}

impl Climate {
    fn of(draw: &mut Draw) -> Self {
        Self {
            volatility: draw.within(1.5, 6.0),
            trades: draw.within(1.5, 10.0),
            level: 2_000.0 * (0.5 * draw.normal()).exp(),
            refresh: draw.within(0.002, 0.010),
            rough: draw.within(0.3, 2.5),
            pull: draw.within(0.0, 0.06),
        }
    }
}

/// A part of a script.
#[derive(Clone, Copy, Debug)]
struct Phase {
    /// How long it lasts, ns.
    ns: i64,
    /// Where the path goes, ticks; linear from where it is.
    to: f64,
    /// Trades over the usual, in the direction of the lure (> 0) or against it (< 0).
    push: f64,
    /// Depth ahead of the lure over the usual.
    ahead: f64,
}

/// A script that runs.
#[derive(Debug)]
struct Script {
    truth: Option<Truth>,
    lure: Side,
    phases: Vec<Phase>,
    from: f64,
    begun_ns: i64,
    /// Layers that stand: price and quantity.
    layers: Vec<(i64, i64)>,
}

/// The market.
pub(crate) struct Scripted {
    pub(crate) market: Simulated,
    draw: Draw,
    climate: Climate,
    path: f64,
    /// How far the path is from where its script wants it, ticks.
    jitter: f64,
    mean: f64,
    past: Past,
    script: Option<Script>,
    next_ns: i64,
    pub(crate) truths: Vec<Truth>,
}

impl Scripted {
    /// A market of the climate of `seed` that opens at a time.
    pub(crate) fn new(seed: u64, open_ns: i64) -> Self {
        let (path, mut draw) = (500_000.0, Draw::new(seed));
        let climate = Climate::of(&mut draw);
        let mut new = Self {
            market: Simulated::new(open_ns),
            draw,
            climate,
            path,
            jitter: 0.0,
            mean: path,
            past: Past::default(),
            script: None,
            next_ns: open_ns + 90 * SECOND,
            truths: Vec::new(),
        };
        new.book(1.0, Side::Buy);
        new.market.open();
        new
    }

    /// Runs for a time; shows every look.
    pub(crate) fn run(&mut self, seconds: i64, see: &mut dyn FnMut(&LookRecord)) {
        let end = self.market.now_ns + seconds * SECOND;
        while self.market.now_ns < end {
            self.market.now_ns += STEP;
            self.step();
            if self.market.now_ns % SECOND == 0 {
                self.past.second(self.path);
            }
            self.market.looks.each(see);
        }
    }

    fn step(&mut self) {
        if self.script.is_none() && self.market.now_ns >= self.next_ns {
            self.begin();
        }
        let Climate { volatility, rough, pull, .. } = self.climate;
        let noise = volatility / 20f64.sqrt() * self.draw.normal();
        self.mean += 0.1 * volatility * self.draw.normal();
        let (mut push, mut ahead, mut lure) = (0.0, 1.0, Side::Buy);
        let now = self.market.now_ns;
        match &mut self.script {
            Some(script) if !script.phases.is_empty() => {
                let phase = script.phases[0];
                let part = ((now - script.begun_ns) as f64 / phase.ns as f64).min(1.0);
                self.jitter = 0.95 * self.jitter + rough * noise;
                self.path = script.from + part * (phase.to - script.from) + self.jitter;
                (push, ahead, lure) = (phase.push, phase.ahead, script.lure);
                if part >= 1.0 {
                    (script.from, script.begun_ns) = (phase.to, now);
                    script.phases.remove(0);
                }
            }
            Some(_) => self.end(),
            None => self.path += noise + pull / 20.0 * (self.mean - self.path),
        }
        self.trades(push, lure);
        self.book(ahead, lure);
        self.market.flush();
    }

    fn end(&mut self) {
        let script = self.script.take().expect("one runs");
        for (price, qty) in &script.layers {
            if self.market.get(script.lure, *price) == *qty {
                self.market.set(script.lure, *price, (self.climate.level * self.draw.within(0.3, 1.5)) as i64);
            }
        }
        self.truths.extend(script.truth.map(|truth| Truth { end_ns: self.market.now_ns, ..truth }));
        (self.mean, self.jitter) = (self.path, 0.0);
        self.next_ns = self.market.now_ns + (self.draw.within(30.0, 80.0) * SECOND as f64) as i64;
    }

    fn trades(&mut self, push: f64, lure: Side) {
        let quiet = self.climate.trades * STEP as f64 / SECOND as f64;
        for (side, rate) in
            [(lure, quiet / 2.0 * (1.0 + push.max(0.0))), (lure.opposite(), quiet / 2.0 * (1.0 - push.min(0.0)))]
        {
            let mut left = rate;
            while self.draw.exponential() < left {
                left -= 1.0;
                let price = self.market.best(side.opposite());
                let qty = (400.0 * (0.8 * self.draw.normal()).exp()) as i64 + 1;
                self.market.print(side, price, qty);
            }
        }
    }

    /// Draws the book around the path; `ahead` scales what the lure meets.
    fn book(&mut self, ahead: f64, lure: Side) {
        let bid = (self.path - 0.5).round() as i64;
        let layers = self.script.as_ref().map(|script| script.layers.clone()).unwrap_or_default();
        for side in [Side::Buy, Side::Sell] {
            let direction = -sign(side) as i64;
            let best = if side == Side::Buy { bid } else { bid + 1 };
            let side_of = if side == Side::Buy { &self.market.bids } else { &self.market.asks };
            let end = best + direction * LEVELS;
            let outside = |price: &&i64| direction * (**price - best) < 0 || direction * (**price - end) >= 0;
            let gone: Vec<i64> = side_of.keys().filter(outside).copied().collect();
            gone.into_iter().for_each(|price| self.market.set(side, price, 0));
            let scale = if side == lure { 1.0 } else { ahead };
            for n in 0..LEVELS {
                let price = best + direction * n;
                let layer = layers.iter().find(|(at, _)| *at == price).filter(|_| side == lure);
                let there = self.market.get(side, price);
                if let Some((_, qty)) = layer {
                    if there != *qty {
                        self.market.set(side, price, *qty);
                    }
                } else if there == 0 || self.draw.chance(self.climate.refresh) {
                    let qty = self.climate.level * scale * (1.0 + n as f64 / 120.0) * (0.6 * self.draw.normal()).exp();
                    self.market.set(side, price, qty as i64 + 1);
                }
            }
        }
    }

    /// Begins a script: a trap, or a decoy that begins as one.
    fn begin(&mut self) {
        let (lure, trap) = (self.draw.side(), self.draw.chance(0.5));
        let kind = (self.draw.uniform() * 4.0) as usize;
        let (pattern, phases) = match kind {
            0 => {
                (if lure == Side::Buy { TrapPattern::BullTrap } else { TrapPattern::BearTrap }, self.breaks(lure, trap))
            }
            1 => (TrapPattern::StopHunt, self.hunt(lure, trap)),
            2 => (TrapPattern::LiquidityGrab, self.grab(lure, trap)),
            _ => (TrapPattern::Layering, self.layering(lure, trap)),
        };
        let now = self.market.now_ns;
        let truth = trap.then_some(Truth { pattern, lure, start_ns: now, end_ns: now });
        let layers = if kind == 3 { self.layers(lure) } else { Vec::new() };
        self.script = Some(Script { truth, lure, phases, from: self.path, begun_ns: now, layers });
    }

    fn time(&mut self, from: f64, to: f64) -> i64 {
        (self.draw.within(from, to) * SECOND as f64) as i64
    }

    fn breaks(&mut self, lure: Side, trap: bool) -> Vec<Phase> {
        let (d, unit) = (sign(lure), self.past.deviation().max(4.0));
        let level = self.past.swing(d);
        let top = level + d * unit * self.draw.within(1.3, 3.0);
        let push = Phase { ns: self.time(1.0, 5.0), to: top, push: self.draw.within(2.0, 8.0), ahead: 1.0 };
        if trap {
            let hover = level + d * unit * self.draw.within(0.3, 1.2);
            let (hold, fall) = (self.time(8.5, 25.0), self.time(1.0, 6.0));
            let back = level - d * unit * self.draw.within(0.8, 2.0);
            let held =
                Phase { ns: hold, to: hover, push: self.draw.within(-2.5, 0.5), ahead: self.draw.within(1.0, 2.0) };
            vec![push, held, Phase { ns: fall, to: back, push: -self.draw.within(2.0, 8.0), ahead: 1.5 }]
        } else {
            let on = level + d * unit * self.draw.within(1.5, 6.0);
            let dip = level + d * unit * self.draw.within(-0.3, 1.2);
            let fallen = Phase { ns: self.time(3.0, 12.0), to: dip, push: -self.draw.within(0.0, 3.0), ahead: 1.2 };
            let held = Phase {
                ns: self.time(30.0, 50.0),
                to: on,
                push: self.draw.within(-0.2, 2.5),
                ahead: self.draw.within(0.6, 1.1),
            };
            if self.draw.chance(0.6) { vec![push, fallen, held] } else { vec![push, held] }
        }
    }

    fn hunt(&mut self, lure: Side, trap: bool) -> Vec<Phase> {
        let (d, unit, from) = (sign(lure), self.past.deviation().max(4.0), self.path);
        let beyond = self.past.swing(d) + d * unit * self.draw.within(0.6, 2.0);
        let top = if d * (beyond - from) < 2.2 * unit { from + d * 2.2 * unit } else { beyond };
        let spike = Phase { ns: self.time(0.3, 2.0), to: top, push: self.draw.within(8.0, 30.0), ahead: 0.8 };
        let wait = Phase {
            ns: self.time(0.1, 1.0),
            to: top,
            push: self.draw.within(0.0, 2.0),
            ahead: self.draw.within(0.9, 1.6),
        };
        if trap {
            let back = top - self.draw.within(0.7, 1.1) * (top - from);
            vec![
                spike,
                wait,
                Phase { ns: self.time(0.8, 5.0), to: back, push: -self.draw.within(2.0, 10.0), ahead: 1.2 },
            ]
        } else {
            let on = top + d * unit * self.draw.within(-0.4, 2.0);
            let dip = top - self.draw.within(0.1, 0.55) * (top - from);
            let fallen = Phase { ns: self.time(0.5, 4.0), to: dip, push: -self.draw.within(0.5, 6.0), ahead: 1.1 };
            let wait = if self.draw.chance(0.6) { fallen } else { wait };
            vec![spike, wait, Phase { ns: self.time(8.0, 15.0), to: on, push: self.draw.within(0.0, 4.0), ahead: 0.8 }]
        }
    }

    fn grab(&mut self, lure: Side, trap: bool) -> Vec<Phase> {
        let (d, unit, from) = (sign(lure), self.past.deviation().max(4.0), self.path);
        let far = from + d * self.draw.within(9.0, 22.0).max(1.1 * unit);
        // What a sweep takes is what stood there: many times the usual trades.
        let levels = (far - from).abs();
        let ns = self.time(0.15, 0.6);
        let taken = levels * self.climate.level * self.draw.within(0.8, 1.4) / 550.0;
        let push = taken / (self.climate.trades / 2.0 * ns as f64 / SECOND as f64);
        let sweep = Phase { ns, to: far, push, ahead: 1.0 };
        if trap {
            let absorbed = Phase {
                ns: self.time(0.5, 2.0),
                to: far,
                push: push * self.draw.within(0.1, 0.4),
                ahead: self.draw.within(1.2, 2.5),
            };
            let back = far - self.draw.within(0.7, 1.1) * (far - from);
            vec![
                sweep,
                absorbed,
                Phase { ns: self.time(0.8, 5.0), to: back, push: -self.draw.within(1.0, 8.0), ahead: 1.3 },
            ]
        } else {
            let on = far + d * self.draw.within(-0.2, 1.0) * unit;
            vec![
                sweep,
                Phase {
                    ns: self.time(10.0, 14.0),
                    to: on,
                    push: self.draw.within(0.0, 3.0),
                    ahead: self.draw.within(0.4, 1.0),
                },
            ]
        }
    }

    /// Layers stand as long as the script: a trap's briefly and untouched, a decoy's for longer, or until they are met.
    fn layering(&mut self, lure: Side, trap: bool) -> Vec<Phase> {
        let (d, from) = (sign(lure), self.path);
        if trap {
            let to = from + d * self.draw.within(0.0, 6.0);
            vec![Phase { ns: self.time(1.5, 20.0), to, push: self.draw.within(-4.0, 1.0), ahead: 1.0 }]
        } else if self.draw.chance(0.5) {
            vec![Phase { ns: self.time(31.0, 45.0), to: from + d * self.draw.within(-1.0, 6.0), push: 0.0, ahead: 1.0 }]
        } else {
            let to = from - d * self.draw.within(20.0, 30.0);
            vec![Phase { ns: self.time(4.0, 20.0), to, push: -self.draw.within(20.0, 60.0), ahead: 1.0 }]
        }
    }

    fn layers(&mut self, lure: Side) -> Vec<(i64, i64)> {
        let count = self.draw.within(4.0, 11.0) as i64;
        let (near, every) = (self.draw.within(2.0, 9.0) as i64, self.draw.within(1.0, 3.0) as i64);
        let best = self.market.best(lure);
        let level = self.climate.level;
        let layer = |n: i64, size: f64| (best - sign(lure) as i64 * (near + n * every), (size * level) as i64);
        (0..count).map(|n| layer(n, self.draw.within(5.0, 11.0))).collect()
    }
}
