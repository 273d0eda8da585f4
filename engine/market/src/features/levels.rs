//! What the best levels of a book say: their list, their slope, and where a band around the mid ends.

use crate::book::{Book, TOP, Top};

/// Levels of the multi-level order-flow imbalance and of top depth.
pub(super) const MULTI: usize = 5;

/// The best levels of one side, as [`super::touch::net`] compares them.
pub(super) type Multi = [(i64, i64); MULTI];

/// The best levels of a side as `(price, qty)`, larger price better; absent levels have no quantity.
#[inline(always)]
pub(super) fn multi(book: &Book, bids: bool) -> Multi {
    let top = if bids { book.top_bids() } else { book.top_asks() };
    core::array::from_fn(|i| if i < top.len { (-top.keys[i], top.qtys[i]) } else { (i64::MIN, 0) })
}

/// Least-squares slope through the origin of cumulated quantity over distance from `origin` (twice a key), per half
/// tick. In two lanes so that additions overlap; the order is fixed.
#[inline(always)]
pub(super) fn slope(top: &Top, origin: i64) -> f64 {
    let (mut cumulated, mut xy, mut xx) = (0, [0.0; 2], [0.0; 2]);
    for pair in 0..TOP / 2 {
        for lane in 0..2 {
            let i = 2 * pair + lane;
            let distance = if i < top.len { (2 * top.keys[i] - origin) as f64 } else { 0.0 };
            cumulated += top.qtys[i];
            xy[lane] += distance * cumulated as f64;
            xx[lane] += distance * distance;
        }
    }
    (xy[0] + xy[1]) / (xx[0] + xx[1])
}

/// `mid2 * parts / 20,000` rounded down. In 128 bits, unless the product surely fits 64: a wide division costs.
#[inline(always)]
pub(super) fn div_floor(mid2: i64, parts: i64) -> i64 {
    if mid2.unsigned_abs() < 1 << 48 {
        (mid2 * parts).div_euclid(20_000)
    } else {
        (i128::from(mid2) * i128::from(parts)).div_euclid(20_000) as i64
    }
}

/// The same rounded up.
#[inline(always)]
pub(super) fn div_ceil(mid2: i64, parts: i64) -> i64 {
    -div_floor(-mid2, parts)
}
