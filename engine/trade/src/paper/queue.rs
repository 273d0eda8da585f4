//! Where a resting order stands in its queue.
//!
//! A feed of levels tells how much rests at a price, not whose it is. What is known for certain: whoever was there when
//! the order came is ahead of it, whoever came later is behind it, a trade at the price takes from the front, and
//! nobody is ahead who is not in the level. What is not known is whether a cancellation was ahead of the order or
//! behind it; that is what a [`QueueModel`] guesses. How much hangs on it: C. Moallemi and K. Yuan, "A model for queue
//! position valuation in a limit order book" (2017), find the value of a place in the queue to be of the order of the
//! spread; in R. Cont and A. Kukanov, "Optimal order placement in limit order markets" (2017), an order executes when
//! the outflow of the queue exceeds what was ahead of it, which is the rule here.
//!
//! # A trade and the change of the level that reports it
//!
//! A venue says the same thing twice: it prints a trade, and the level gets smaller. They come over different streams,
//! in either order. [`Queue`] keeps what one of them has said until the other has said it too:
//!
//! * traded, and not yet seen to be gone from the level: such a decrease is no cancellation;
//! * gone from the level, taken for cancelled, and not yet explained by a trade: a trade that explains it takes back
//!   the places that the order was moved on for it, and moves it on by its own quantity.
//!
//! Where the venue stamps both, a trade that is stamped after the level is not in it yet, and one that is stamped well
//! before it is (a level may be stamped when it is sent, some time after it changed). Between, and where there are no
//! stamps, what fits is taken to be the same.

use libm::{log1p, pow};

/// Largest exponent of [`QueueModel::Power`].
const STEEPEST: f64 = 16.0;

/// How much of a cancellation was ahead of an order, of which `front` rests ahead and `back` behind, counted in lots.
///
/// `power` and `logarithmic` are the family of E. Rigtorp, "Estimating order queue position" (2013,
/// <https://rigtorp.se/2013/06/08/estimating-order-queue-position.html>), which hftbacktest popularised: a share
/// `f(front) / (f(front) + f(back))` of it was ahead.
///
/// Which one is nearest depends on the market: `tests/tests/queues.rs` holds them to queues whose orders are known, and
/// `tests/tests/paper.rs` shows what each fills at a recorded touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QueueModel {
    /// None of it, as long as there is anything behind: only trades move the order on. The latest fills.
    #[default]
    RiskAverse,
    /// As much as of the queue: everybody cancels at the same rate (R. Cont, S. Stoikov and R. Talreja, "A stochastic
    /// model for order book dynamics", 2010); `f(x) = x`.
    Proportional,
    /// `f(x) = x^n`, n above 0 to 16. Above 1, cancellations are likelier in the longer part.
    Power(f64),
    /// `f(x) = ln(1 + x)`: less depends on how long the parts are.
    Logarithmic,
    /// All of it, as long as there is anything ahead. The earliest fills that a queue admits: a bound, no estimate.
    Optimistic,
}

impl QueueModel {
    /// Whether the exponent makes sense.
    ///
    /// # Errors
    /// Key, value and what was expected.
    pub fn check(self) -> Result<(), String> {
        match self {
            Self::Power(n) if !(n > 0.0 && n <= STEEPEST) => {
                Err(format!("queue.power is {n}, expected above 0 to {STEEPEST}"))
            }
            _ => Ok(()),
        }
    }

    /// Of `cancelled` that left a level, how much was ahead: in `[cancelled - back, front]`, rounded down.
    ///
    /// All quantities are mantissas of at least 0, `lot` is above 0.
    pub fn ahead(self, front: i64, back: i64, cancelled: i64, lot: i64) -> i64 {
        let guess = match self {
            Self::RiskAverse => 0,
            Self::Optimistic => cancelled,
            _ if front == 0 => 0,
            Self::Proportional => {
                let whole = i128::from(front) + i128::from(back);
                // At most `cancelled`: it fits.
                (i128::from(cancelled) * i128::from(front) / whole) as i64
            }
            Self::Power(n) => {
                // One division less than the definition, and no power of a large number.
                portion(cancelled, 1.0 / (1.0 + pow(back as f64 / front as f64, n)))
            }
            Self::Logarithmic => {
                let part = |qty: i64| log1p(qty as f64 / lot as f64);
                portion(cancelled, part(front) / (part(front) + part(back)))
            }
        };
        guess.clamp((cancelled - back).max(0).min(front), front)
    }
}

/// A share in `[0, 1]` of a quantity, rounded down.
fn portion(qty: i64, share: f64) -> i64 {
    (qty as f64 * share) as i64
}

/// What all queues of an instrument have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueRules {
    /// Who cancels.
    pub model: QueueModel,
    /// The instrument's lot, a mantissa above 0.
    pub lot: i64,
    /// How long a trade and the change of the level may lie apart, ns of event time.
    pub pairing_ns: i64,
    /// How much later than it changed the venue may stamp a level, ns.
    pub slack_ns: i64,
}

/// Two times of one event, ns since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    /// Event time.
    pub event_ns: i64,
    /// The venue's own; 0 where it sends none.
    pub venue_ns: i64,
}

/// A level that has not been seen, or not since it could be trusted.
const UNSEEN: i64 = -1;

/// The place of one order. Quantities are mantissas of at least 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Quantity ahead; `i64::MAX` while the level has never been seen.
    ahead: i64,
    /// Quantity of the level when it was seen last, or [`UNSEEN`].
    level: i64,
    /// Traded at the price and not yet seen to be gone.
    traded: i64,
    /// The last such trade.
    traded_at: Stamps,
    /// Seen to be gone and taken for cancelled, and no trade has explained it.
    gone: i64,
    /// When it was seen last, ns of event time.
    gone_ns: i64,
    /// Places that the order was moved on for that.
    credit: i64,
    /// The venue's stamp of the level.
    level_ns: i64,
}

impl Queue {
    /// Behind everything that rests at the level: `level` is its quantity, `None` where it is not known, seen at
    /// `seen`. Of this `traded` has been printed already, at `traded_at`.
    pub fn join(level: Option<i64>, seen: Stamps, traded: i64, traded_at: Stamps) -> Self {
        let traded = traded.min(level.unwrap_or(0));
        Self {
            ahead: level.map_or(i64::MAX, |level| level - traded),
            level: level.unwrap_or(UNSEEN),
            traded,
            traded_at,
            gone: 0,
            gone_ns: 0,
            credit: 0,
            level_ns: seen.venue_ns,
        }
    }

    /// Quantity that must trade before the order does; `i64::MAX` while that is not known.
    pub const fn ahead(&self) -> i64 {
        self.ahead
    }

    /// The level has `qty` now.
    pub fn see(&mut self, rules: &QueueRules, at: Stamps, qty: i64) {
        self.forget(rules, at.event_ns);
        let before = core::mem::replace(&mut self.level, qty);
        self.level_ns = at.venue_ns;
        if before == UNSEEN {
            // Who is in it now was there before, or nobody knows.
            self.ahead = self.ahead.min(qty);
            self.traded = if at.venue_ns > 0 && self.traded_at.venue_ns > at.venue_ns { self.traded } else { 0 };
            return;
        }
        let decrease = (before - qty).max(0);
        let explained = decrease.min(self.traded);
        self.traded -= explained;
        let cancelled = decrease - explained;
        if cancelled > 0 {
            let back = (before - explained - self.traded - self.ahead).max(0);
            let places = rules.model.ahead(self.ahead, back, cancelled, rules.lot);
            self.ahead -= places;
            self.credit = self.credit.saturating_add(places);
            self.gone = self.gone.saturating_add(cancelled);
            self.gone_ns = at.event_ns;
        }
        self.ahead = self.ahead.min(qty);
        // A level that is stamped well after a trade has it in it, although others may have come in its place.
        if self.traded_at.venue_ns > 0 && at.venue_ns.saturating_sub(rules.slack_ns) > self.traded_at.venue_ns {
            self.traded = 0;
        }
    }

    /// Somebody traded `qty` at the level: gives how much of it reached the order.
    pub fn trade(&mut self, rules: &QueueRules, at: Stamps, qty: i64) -> i64 {
        self.forget(rules, at.event_ns);
        if self.ahead == i64::MAX {
            return 0;
        }
        let stamped = at.venue_ns > 0 && self.level_ns > 0;
        let not_in_level = stamped && at.venue_ns > self.level_ns;
        let in_level = stamped && at.venue_ns < self.level_ns.saturating_sub(rules.slack_ns);
        let explains = if not_in_level { 0 } else { qty.min(self.gone) };
        let mut back = 0;
        if explains > 0 {
            // At most the credit: it fits.
            back = (i128::from(self.credit) * i128::from(explains) / i128::from(self.gone)) as i64;
            self.gone -= explains;
        }
        let reach = self.ahead + self.credit;
        let ahead = self.ahead + back;
        self.ahead = (ahead - qty).max(0);
        self.credit = (reach - qty).max(0) - self.ahead;
        if !in_level {
            self.traded = self.traded.saturating_add(qty - explains);
            self.traded_at = at;
        }
        (qty - ahead).max(0)
    }

    /// Somebody traded beyond the price: nobody is ahead any more.
    pub fn passed(&mut self) {
        (self.ahead, self.level, self.credit, self.gone, self.traded) = (0, UNSEEN, 0, 0, 0);
    }

    /// The book cannot be trusted: what is known of it is not compared with what comes after.
    pub fn blind(&mut self) {
        (self.level, self.credit, self.gone, self.traded) = (UNSEEN, 0, 0, 0);
    }

    /// What nobody has told for so long will not be told.
    fn forget(&mut self, rules: &QueueRules, now_ns: i64) {
        if self.gone > 0 && now_ns.saturating_sub(self.gone_ns) > rules.pairing_ns {
            (self.gone, self.credit) = (0, 0);
        }
        if self.traded > 0 && now_ns.saturating_sub(self.traded_at.event_ns) > rules.pairing_ns {
            self.traded = 0;
        }
    }
}
