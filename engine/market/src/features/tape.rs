//! What trades alone say: volume buckets (VPIN) and the autocovariance of price changes (Roll).

/// Volume buckets of VPIN.
const VPIN_BUCKETS: usize = 50;
/// Buckets that must be full before VPIN counts.
const VPIN_EVIDENCE: usize = 10;
/// How long volume is watched to size a bucket, ns.
const VPIN_WATCH_NS: i64 = 30_000_000_000;
/// Part of the watched volume that makes a bucket: two seconds of thirty.
const VPIN_SHARE: f64 = 2.0 / 30.0;

/// Volume-synchronised probability of informed trading.
#[derive(Clone, Debug)]
pub(crate) struct Vpin {
    watch_until: i64,
    watched: f64,
    /// Size of a bucket; 0 while watching.
    bucket: f64,
    bought: f64,
    sold: f64,
    imbalances: [f64; VPIN_BUCKETS],
    full: usize,
    next: usize,
}

impl Default for Vpin {
    fn default() -> Self {
        Self {
            watch_until: 0,
            watched: 0.0,
            bucket: 0.0,
            bought: 0.0,
            sold: 0.0,
            imbalances: [0.0; VPIN_BUCKETS],
            full: 0,
            next: 0,
        }
    }
}

impl Vpin {
    pub(crate) fn trade(&mut self, now: i64, qty: f64, sell: bool) {
        if self.bucket == 0.0 {
            if self.watch_until == 0 {
                self.watch_until = now + VPIN_WATCH_NS;
            }
            if now < self.watch_until {
                self.watched += qty;
                return;
            }
            self.bucket = self.watched * VPIN_SHARE;
        }
        let mut rest = qty;
        // One trade can fill several buckets; more than all of them say nothing that the last ones do not.
        rest = rest.min(self.bucket * VPIN_BUCKETS as f64);
        while rest > 0.0 {
            let room = self.bucket - self.bought - self.sold;
            let taken = rest.min(room);
            if sell {
                self.sold += taken;
            } else {
                self.bought += taken;
            }
            rest -= taken;
            if taken < room {
                break;
            }
            self.imbalances[self.next] = (self.bought - self.sold).abs();
            self.next = (self.next + 1) % VPIN_BUCKETS;
            self.full = (self.full + 1).min(VPIN_BUCKETS);
            (self.bought, self.sold) = (0.0, 0.0);
        }
    }

    pub(crate) fn get(&self) -> Option<f64> {
        let sum: f64 = self.imbalances[..self.full].iter().sum();
        (self.full >= VPIN_EVIDENCE).then(|| sum / (self.bucket * self.full as f64))
    }
}

/// Price changes of Roll's estimator.
const ROLL_TRADES: usize = 128;

/// Roll's spread estimator, in exact integer arithmetic.
#[derive(Clone, Debug)]
pub(crate) struct Roll {
    last_price: i64,
    last_change: Option<i64>,
    /// Products of adjacent changes and the changes themselves.
    ring: [(i64, i64); ROLL_TRADES],
    len: usize,
    next: usize,
    product_sum: i128,
    change_sum: i64,
}

impl Default for Roll {
    fn default() -> Self {
        let ring = [(0, 0); ROLL_TRADES];
        Self { last_price: 0, last_change: None, ring, len: 0, next: 0, product_sum: 0, change_sum: 0 }
    }
}

impl Roll {
    pub(crate) fn trade(&mut self, price: i64) {
        let last = core::mem::replace(&mut self.last_price, price);
        if last == 0 {
            return;
        }
        let change = price - last;
        if let Some(before) = self.last_change.replace(change) {
            let product = before.saturating_mul(change);
            let (old_product, old_change) = core::mem::replace(&mut self.ring[self.next], (product, change));
            self.product_sum += i128::from(product) - i128::from(old_product);
            self.change_sum += change - old_change;
            self.next = (self.next + 1) % ROLL_TRADES;
            self.len = (self.len + 1).min(ROLL_TRADES);
        }
    }

    /// The spread in price mantissas; `None` before the ring is half full or where the autocovariance is not negative.
    pub(crate) fn spread(&self) -> Option<f64> {
        if self.len < ROLL_TRADES / 2 {
            return None;
        }
        let n = self.len as f64;
        let mean = self.change_sum as f64 / n;
        let covariance = self.product_sum as f64 / n - mean * mean;
        (covariance < 0.0).then(|| 2.0 * (-covariance).sqrt())
    }
}
