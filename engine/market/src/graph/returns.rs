//! One-second returns of all books, and how they move together.

/// Seconds of returns that are compared.
pub(super) const SECONDS: usize = 60;
/// Fewest returns that a correlation is computed from.
const LEAST: u32 = 20;
/// Lanes of a sum: adjacent ones are added in the same order on every machine.
const LANES: usize = 4;

/// Returns of one book, newest last in ring order.
#[derive(Clone, Debug)]
struct Series {
    mid: Option<f64>,
    /// The mid sampled in the running second, if the book was good.
    sampled: Option<f64>,
    /// Where `known` has no bit there is no return, and 0 in its place.
    returns: [f64; SECONDS],
    known: u64,
    /// Returns less their mean, over their norm; 0 where there is none. In time order, oldest first.
    standard: [f64; SECONDS],
}

const NOTHING: Series =
    Series { mid: None, sampled: None, returns: [0.0; SECONDS], known: 0, standard: [0.0; SECONDS] };
const _: () = assert!(SECONDS <= u64::BITS as usize, "a bit a return");

/// One-second log mid returns of a number of books.
#[derive(Debug)]
pub(super) struct Returns {
    books: Vec<Series>,
    /// Place of the oldest return.
    oldest: usize,
    /// Whether `standard` belongs to the newest second.
    fresh: bool,
}

impl Returns {
    pub(super) fn new(books: usize) -> Self {
        Self { books: vec![NOTHING; books], oldest: 0, fresh: true }
    }

    /// A book begins anew.
    pub(super) fn forget(&mut self, book: usize) {
        if let Some(series) = self.books.get_mut(book) {
            *series = NOTHING;
            self.fresh = false;
        }
    }

    /// The mid of a book at the end of the second; `None` while its book is not good.
    pub(super) fn sample(&mut self, book: usize, mid: Option<f64>) {
        self.books[book].sampled = mid;
    }

    /// The second is over and every book was sampled.
    pub(super) fn end_second(&mut self) {
        for series in &mut self.books {
            let (before, now) = (series.mid, series.sampled);
            let change = before.zip(now).map(|(before, now)| libm::log(now / before));
            series.returns[self.oldest] = change.unwrap_or(0.0);
            series.known = series.known & !(1 << self.oldest) | u64::from(change.is_some()) << self.oldest;
            series.mid = now;
        }
        self.oldest = (self.oldest + 1) % SECONDS;
        self.fresh = false;
    }

    /// Brings every series to mean 0 and norm 1. Needed once a second, before correlations are asked for.
    pub(super) fn standardise(&mut self) {
        if self.fresh {
            return;
        }
        self.fresh = true;
        for series in &mut self.books {
            let count = series.known.count_ones();
            let mean = sum(&series.returns) / f64::from(count.max(1));
            let mut centred = series.returns;
            for (place, value) in centred.iter_mut().enumerate() {
                *value = if series.known >> place & 1 == 1 { *value - mean } else { 0.0 };
            }
            let squares = dot(&centred, &centred);
            let norm = if count >= LEAST && squares > 1e-18 { 1.0 / squares.sqrt() } else { 0.0 };
            let (newer, older) = centred.split_at(self.oldest);
            for (value, standard) in older.iter().chain(newer).zip(&mut series.standard) {
                *standard = value * norm;
            }
        }
    }

    /// Correlation of two books' returns, in [-1, 1]; 0 while it is not known.
    pub(super) fn correlation(&self, a: usize, b: usize) -> f64 {
        dot(&self.books[a].standard, &self.books[b].standard)
    }

    /// Correlation of `a`'s returns with `b`'s a second later, in [-1, 1]; 0 while it is not known.
    pub(super) fn lead(&self, a: usize, b: usize) -> f64 {
        dot(&self.books[a].standard[..SECONDS - 1], &self.books[b].standard[1..])
    }
}

/// In lanes, as [`dot`]: a sum of one chain waits for every addition.
fn sum(values: &[f64; SECONDS]) -> f64 {
    let (lanes, rest) = values.as_chunks::<LANES>();
    let sums = lanes.iter().fold([0.0; LANES], |sums, lanes| core::array::from_fn(|lane| sums[lane] + lanes[lane]));
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest.iter().sum::<f64>()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let (whole_a, whole_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = whole_a.remainder().iter().zip(whole_b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in whole_a.zip(whole_b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_is_seen_a_second_ahead() {
        let mut returns = Returns::new(3);
        let mut state = 7u64;
        let (mut leader, mut follower, mut before) = (100.0f64, 50.0f64, 0.0);
        for _ in 0..200 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let step = ((state >> 33) as f64 / f64::from(1u32 << 30) - 1.0) * 1e-3;
            leader *= 1.0 + step;
            follower *= 1.0 + before;
            before = step;
            returns.sample(0, Some(leader));
            returns.sample(1, Some(follower));
            returns.sample(2, None);
            returns.end_second();
        }
        returns.standardise();
        assert!(returns.lead(0, 1) > 0.95, "{}", returns.lead(0, 1));
        assert!(returns.lead(1, 0).abs() < 0.5 && returns.correlation(0, 1).abs() < 0.5);
        assert!((returns.correlation(0, 0) - 1.0).abs() < 1e-12);
        assert_eq!((returns.correlation(0, 2), returns.lead(2, 0)), (0.0, 0.0), "unknown");
        returns.forget(0);
        returns.standardise();
        assert_eq!(returns.correlation(0, 1), 0.0);
    }
}
