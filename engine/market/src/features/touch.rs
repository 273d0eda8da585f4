//! The touch: best bid and ask by the newest of book and quote stream, and what its changes say.

use tidegate_wire::Level;

/// Best bid and ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touch {
    /// Update id of the source it came from.
    pub(crate) update_id: u64,
    pub(crate) bid: Level,
    pub(crate) ask: Level,
}

/// Quantities that came to and left the touch between two states of it, mantissas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) bid_added: i64,
    pub(crate) bid_removed: i64,
    pub(crate) ask_added: i64,
    pub(crate) ask_removed: i64,
}

impl Flow {
    /// The order-flow imbalance `e_n`: what came to the bid and left the ask, less the opposite.
    #[inline(always)]
    pub(crate) fn imbalance(self) -> i64 {
        self.bid_added - self.bid_removed - self.ask_added + self.ask_removed
    }
}

impl Touch {
    pub(crate) fn is_two_sided(&self) -> bool {
        self.bid.qty.raw() > 0 && self.ask.qty.raw() > 0
    }

    /// What happened between `self` and `next`. A better price is a queue that came, a worse one a queue that left.
    #[inline(always)]
    pub(crate) fn flow_to(&self, next: &Self) -> Flow {
        let (bid_added, bid_removed) =
            queue(self.bid.price.raw(), self.bid.qty.raw(), next.bid.price.raw(), next.bid.qty.raw());
        let (ask_added, ask_removed) =
            queue(-self.ask.price.raw(), self.ask.qty.raw(), -next.ask.price.raw(), next.ask.qty.raw());
        Flow { bid_added, bid_removed, ask_added, ask_removed }
    }
}

/// What came to a queue less what left it: `added - removed` of [`queue`], without a branch.
#[inline(always)]
pub(crate) fn net(price: i64, qty: i64, next_price: i64, next_qty: i64) -> i64 {
    let came = if next_price >= price { next_qty } else { 0 };
    let left = if next_price <= price { qty } else { 0 };
    came - left
}

/// Added and removed quantity of a queue that stood at `price` (larger is better).
#[inline(always)]
pub(crate) fn queue(price: i64, qty: i64, next_price: i64, next_qty: i64) -> (i64, i64) {
    match next_price.cmp(&price) {
        core::cmp::Ordering::Greater => (next_qty, 0),
        core::cmp::Ordering::Less => (0, qty),
        core::cmp::Ordering::Equal => ((next_qty - qty).max(0), (qty - next_qty).max(0)),
    }
}

/// Imbalance deciles.
const DECILES: usize = 10;
/// Spread classes: one tick, two ticks, three or more.
const SPREADS: usize = 3;
/// Times a state must have been left before its estimate counts.
const EVIDENCE: f64 = 50.0;

/// The micro-price adjustment: expected next move of the mid, by imbalance and spread, learnt as it happens.
#[derive(Clone, Debug, Default)]
pub(crate) struct MicroPrice {
    /// Visits of each state since the mid moved last.
    pending: [f64; DECILES * SPREADS],
    /// Visits that were followed by a move.
    visits: [f64; DECILES * SPREADS],
    /// Sum of those moves, in half ticks (the unit of mid changes).
    moves: [f64; DECILES * SPREADS],
}

impl MicroPrice {
    /// The touch is in `state`; before that the mid moved by `half_ticks` (0 when it did not).
    #[inline(always)]
    pub(crate) fn see(&mut self, state: usize, half_ticks: i64) {
        if half_ticks != 0 {
            self.settle(half_ticks as f64);
        }
        self.pending[state] += 1.0;
    }

    /// Credits a move to the states that led to it, and its mirror image to the mirrored states.
    fn settle(&mut self, half_ticks: f64) {
        for state in 0..DECILES * SPREADS {
            let visits = core::mem::take(&mut self.pending[state]);
            if visits > 0.0 {
                let mirror = state - state % DECILES + DECILES - 1 - state % DECILES;
                self.visits[state] += visits;
                self.moves[state] += visits * half_ticks;
                self.visits[mirror] += visits;
                self.moves[mirror] -= visits * half_ticks;
            }
        }
    }

    /// Expected next move in `state`, half ticks; `None` without enough evidence.
    #[inline(always)]
    pub(crate) fn expected(&self, state: usize) -> Option<f64> {
        (self.visits[state] >= EVIDENCE).then(|| self.moves[state] / self.visits[state])
    }
}

/// The state of a touch: decile of `bid / (bid + ask)` and spread class.
#[inline(always)]
pub(crate) fn micro_state(touch: &Touch, tick: i64) -> usize {
    let (bid, ask) = (touch.bid.qty.raw() as f64, touch.ask.qty.raw() as f64);
    let decile = ((bid / (bid + ask) * DECILES as f64) as usize).min(DECILES - 1);
    let spread = touch.ask.price.raw() - touch.bid.price.raw();
    let class = if spread <= tick {
        0
    } else if spread <= 2 * tick {
        1
    } else {
        2
    };
    class * DECILES + decile
}
