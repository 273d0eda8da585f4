//! Numbers that speak for or against a cause: what an instrument did around the incident beside what is usual for it.
//!
//! What is usual comes from the same recording outside the window that is looked at, as medians and mean absolute
//! values, so that other incidents in it count little. Each number is turned into a strength in [0, 1] by a Hill curve
//! `x^2 / (x^2 + half^2)`: 1/2 where it reaches `half` times its yardstick. Halves were set on simulated incidents.

use serde::Serialize;

use super::market::{Series, Step, Watched};

/// One number with what is usual.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Evidence {
    /// Whose number: an instrument or a venue; absent for the engine's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// What was measured.
    pub measure: &'static str,
    /// The number, in `unit`.
    pub value: f64,
    /// What is usual in the same recording, in `unit`; absent where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usual: Option<f64>,
    /// Unit of both.
    pub unit: &'static str,
    /// When, ns since the Unix epoch.
    pub at_ns: i64,
    /// How strongly it speaks for the cause, in [0, 1].
    pub strength: f64,
}

/// What is looked at for causes, ns since the Unix epoch: from, to.
pub(super) type Window = (i64, i64);

/// Seconds in which nothing counts as usual: books are being built.
const BUILDING: usize = 2;
/// Seconds of usual market without which nothing can be compared.
pub(super) const USUAL_MIN: usize = 5;

/// `x^2 / (x^2 + half^2)`.
pub(super) fn hill(x: f64, half: f64) -> f64 {
    let square = x.max(0.0).powi(2);
    if square.is_finite() { square / (square + half * half) } else { 0.0 }
}

/// A quantile in [0, 1] by nearest rank; `None` without values.
pub(super) fn quantile(values: impl IntoIterator<Item = f64>, q: f64) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    values.get((last as f64 * q).round() as usize).copied()
}

fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    quantile(values, 0.5)
}

/// An instrument's seconds, within the window and outside.
pub(super) struct Sight<'a> {
    watched: &'a Watched,
    /// Index and second, within the window.
    inside: Vec<usize>,
    outside: Vec<usize>,
    /// Last mids, carried over seconds without any.
    mids: Vec<Option<f64>>,
}

impl<'a> Sight<'a> {
    /// Splits an instrument's seconds by a window; from its end to `usual_from` they belong to neither side.
    pub(super) fn new(watched: &'a Watched, window: Window, usual_from: i64) -> Self {
        let series = &watched.coarse;
        let meets = |index: &usize, (from, to): Window| {
            let begin = series.time_of(*index);
            begin + series.step_ns > from && begin < to
        };
        let all = 0..series.steps.len();
        let inside = all.clone().filter(|index| meets(index, window)).collect();
        let outside = all.filter(|index| *index >= BUILDING && !meets(index, (window.0, usual_from))).collect();
        let mut last = None;
        let mids = series.steps.iter().map(|step| {
            last = step.mid().or(last);
            last
        });
        Self { watched, inside, outside, mids: mids.collect() }
    }

    fn series(&self) -> &Series {
        &self.watched.coarse
    }

    fn step(&self, index: usize) -> &Step {
        &self.series().steps[index]
    }

    /// Seconds of usual market to compare with.
    pub(super) fn usual_seconds(&self) -> usize {
        self.outside.len()
    }

    fn evidence(&self, measure: &'static str, (value, usual): (f64, f64), unit: &'static str, at: usize) -> Evidence {
        let (of, at_ns) = (Some(self.watched.name.clone()), self.series().time_of(at));
        Evidence { of, measure, value, usual: Some(usual), unit, at_ns, strength: 0.0 }
    }

    /// Log return over `steps` seconds up to the end of one.
    fn return_of(&self, index: usize, steps: usize) -> Option<f64> {
        let before = self.mids.get(index.checked_sub(steps)?).copied().flatten()?;
        Some((self.mids[index]? / before).ln())
    }

    /// Mean size of a one-second return outside the window, times sqrt(pi / 2): a standard deviation if normal.
    fn usual_deviation(&self) -> f64 {
        let sizes: Vec<f64> = self.outside.iter().filter_map(|i| Some(self.return_of(*i, 1)?.abs())).collect();
        let mean = sizes.iter().sum::<f64>() / sizes.len().max(1) as f64;
        // A fifth of a basis point: quotes of one tick move by less only by not moving.
        (mean * 1.2533).max(2e-5)
    }

    /// The largest move within five seconds, bp, signed.
    pub(super) fn shock(&self) -> Option<Evidence> {
        let moves = self.inside.iter().flat_map(|i| (1..=5).map(move |k| (*i, k)));
        let moves = moves.filter_map(|(i, k)| Some((self.return_of(i, k)?, i, k)));
        let (largest, at, steps) = moves.max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()))?;
        let usual = self.usual_deviation() * (steps as f64).sqrt();
        let mut evidence = self.evidence("largest move within 5 s", (largest * 1e4, usual * 1e4), "bp", at);
        evidence.strength = hill(largest.abs() / usual, 12.0) * hill(largest.abs() * 1e4, 25.0);
        Some(evidence)
    }

    /// Median size of one-second returns over the wildest six seconds, bp.
    pub(super) fn volatility(&self) -> Option<Evidence> {
        let size = |index: &usize| Some(self.return_of(*index, 1)?.abs() * 1e4);
        let usual = median(self.outside.iter().filter_map(size))?.max(0.2);
        let runs = self.inside.windows(6).filter_map(|run| Some((median(run.iter().filter_map(size))?, run[5])));
        let (wildest, at) = runs.max_by(|a, b| a.0.total_cmp(&b.0))?;
        let mut evidence = self.evidence("median 1 s move, wildest 6 s", (wildest, usual), "bp", at);
        evidence.strength = hill(wildest / usual, 6.5);
        Some(evidence)
    }

    /// The mean of a number over two seconds: its extreme within the window, its median outside.
    fn extreme(&self, of: impl Fn(&Step) -> Option<f64>, lowest: bool) -> Option<(f64, f64, usize)> {
        let usual = median(self.outside.iter().filter_map(|index| of(self.step(*index))))?;
        let pairs = self
            .inside
            .windows(2)
            .filter_map(|pair| Some(((of(self.step(pair[0]))? + of(self.step(pair[1]))?) / 2.0, pair[1])));
        let by = |a: &(f64, usize), b: &(f64, usize)| if lowest { b.0.total_cmp(&a.0) } else { a.0.total_cmp(&b.0) };
        let (value, at) = pairs.max_by(by)?;
        Some((value, usual, at))
    }

    /// The thinnest book: quantity within 10 bp of mid over two seconds.
    pub(super) fn hole(&self) -> Option<Evidence> {
        let (thinnest, usual, at) = self.extreme(Step::depth, true)?;
        let mut evidence = self.evidence("quantity within 10 bp, thinnest 2 s", (thinnest, usual), "qty", at);
        let missing = 1.0 - thinnest / usual.max(f64::MIN_POSITIVE);
        evidence.strength = ((missing - 0.5) / 0.45).clamp(0.0, 1.0);
        Some(evidence)
    }

    /// The widest spread over two seconds, bp.
    pub(super) fn spread(&self) -> Option<Evidence> {
        let (widest, usual, at) = self.extreme(Step::spread_bp, false)?;
        let mut evidence = self.evidence("spread, widest 2 s", (widest, usual), "bp", at);
        evidence.strength = hill(widest / usual.max(0.2), 8.0) * hill(widest, 2.0);
        Some(evidence)
    }

    /// Trades of the busiest six seconds over the usual ones: the geometric mean of count and quantity.
    pub(super) fn volume(&self) -> Option<Evidence> {
        let trades = |index: &usize| (f64::from(self.step(*index).trades), self.step(*index).volume);
        let sum = |indices: &[usize]| indices.iter().map(trades).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        let (count, quantity) = sum(&self.outside);
        let seconds = self.outside.len() as f64;
        if count == 0.0 || quantity == 0.0 {
            return None;
        }
        let ratio = |run: &[usize]| {
            let (trades, traded) = sum(run);
            (trades / (6.0 * count / seconds) * traded / (6.0 * quantity / seconds)).sqrt()
        };
        let (largest, at) =
            self.inside.windows(6).map(|run| (ratio(run), run[5])).max_by(|a, b| a.0.total_cmp(&b.0))?;
        let mut evidence = self.evidence("trades over the usual, busiest 6 s", (largest, 1.0), "ratio", at);
        evidence.strength = hill(largest, 4.0);
        Some(evidence)
    }

    /// Messages of the busiest second.
    pub(super) fn flood(&self) -> Option<Evidence> {
        let messages = |index: &usize| f64::from(self.step(*index).messages);
        let usual = quantile(self.outside.iter().map(messages), 0.95)?.max(1.0);
        let at = self.inside.iter().max_by(|a, b| messages(a).total_cmp(&messages(b)))?;
        let mut evidence = self.evidence("messages, busiest second", (messages(at), usual), "1/s", *at);
        evidence.strength = hill(messages(at) / usual, 5.0);
        Some(evidence)
    }

    /// The longest silence of the book stream, s.
    pub(super) fn silence(&self, window: Window) -> Option<Evidence> {
        let usual = quantile(self.outside.iter().map(|index| self.step(*index).silence_ns as f64 * 1e-9), 0.9)?;
        let (from, to) = longest(&self.watched.silences, window)?;
        let (seconds, usual) = ((to - from) as f64 * 1e-9, usual.max(0.01));
        let strength = hill(seconds, 0.9) * hill(seconds / usual, 5.0);
        let (of, measure) = (Some(self.watched.name.clone()), "longest silence of the book stream");
        Some(Evidence { of, measure, value: seconds, usual: Some(usual), unit: "s", at_ns: from, strength })
    }

    /// Latency that every frame of a second had at least, beyond the usual, ms.
    pub(super) fn latency(&self) -> Option<Evidence> {
        let low = |index: &usize| self.step(*index).latency_ms();
        let usual = median(self.outside.iter().filter_map(low))?;
        let noise = quantile(self.outside.iter().filter_map(low).map(|ms| (ms - usual).abs()), 0.9)?.max(2.0);
        let all = self.inside.iter().filter_map(|index| Some((low(index)?, *index)));
        let (slowest, at) = all.max_by(|a, b| a.0.total_cmp(&b.0))?;
        let mut evidence = self.evidence("least latency of a second, slowest", (slowest, usual), "ms", at);
        evidence.strength = hill(slowest - usual, 30.0) * hill((slowest - usual) / noise, 6.0);
        Some(evidence)
    }

    /// Correlation of one-second returns with another instrument: within the window, and outside.
    pub(super) fn correlation(&self, other: &Self) -> Option<Evidence> {
        let pairs = |indices: &[usize]| -> Vec<(f64, f64)> {
            let shift = (self.series().start_ns - other.series().start_ns) / self.series().step_ns;
            let fresh = |sight: &Self, index: usize| {
                let both = [index.checked_sub(1)?, index];
                both.iter().all(|i| sight.series().steps.get(*i).is_some_and(|s| s.mids > 0)).then_some(())?;
                sight.return_of(index, 1)
            };
            let one = |index: &usize| {
                let theirs = usize::try_from(*index as i64 + shift).ok()?;
                Some((fresh(self, *index)?, fresh(other, theirs)?))
            };
            indices.iter().filter_map(one).collect()
        };
        let (now, before) = (pairs(&self.inside), pairs(&self.outside));
        let ((r, n), (usual, m)) = ((correlation(&now)?, now.len()), (correlation(&before)?, before.len()));
        // Fisher's z: differences of atanh(r) have the variance 1/(n - 3) + 1/(m - 3).
        let deviation = (1.0 / (n as f64 - 3.0) + 1.0 / (m as f64 - 3.0)).sqrt();
        let apart = ((usual.atanh() - r.atanh()) / deviation).max(0.0);
        let at = *self.inside.first()?;
        let mut evidence = self.evidence("correlation of 1 s returns", (r, usual), "ratio", at);
        evidence.of = Some(format!("{} with {}", self.watched.name, other.watched.name));
        evidence.strength = hill(apart, 2.2) * hill((usual - r).max(0.0), 0.3);
        Some(evidence)
    }
}

/// Pearson's; `None` for fewer than eight pairs, or where one side did not move.
fn correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.len() < 8 {
        return None;
    }
    let n = pairs.len() as f64;
    let (x, y) = pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0 / n, sum.1 + pair.1 / n));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        (xy, xx, yy) = (xy + (a - x) * (b - y), xx + (a - x).powi(2), yy + (b - y).powi(2));
    }
    let scale = (xx * yy).sqrt();
    (scale > 0.0).then(|| (xy / scale).clamp(-0.999, 0.999))
}

/// The longest of some spans that meets a window.
pub(super) fn longest(spans: &[(i64, i64)], window: Window) -> Option<(i64, i64)> {
    let meets = spans.iter().filter(|span| span.1 > window.0 && span.0 < window.1);
    meets.max_by_key(|span| span.1 - span.0).copied()
}

/// Spans during which both of two lists have one.
pub(super) fn common(one: &[(i64, i64)], other: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let both = one.iter().flat_map(|a| other.iter().map(|b| (a.0.max(b.0), a.1.min(b.1))));
    both.filter(|span| span.0 < span.1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_formulas() {
        assert_eq!((hill(0.0, 3.0), hill(3.0, 3.0), hill(f64::INFINITY, 3.0)), (0.0, 0.5, 0.0));
        assert_eq!((quantile([3.0, 1.0, 2.0, f64::NAN], 0.5), quantile([], 0.5)), (Some(2.0), None));
        let line: Vec<(f64, f64)> = (0..9).map(|i| (f64::from(i), 2.0 * f64::from(i))).collect();
        assert_eq!((correlation(&line), correlation(&line[..7])), (Some(0.999), None));
        assert_eq!(common(&[(0, 5), (8, 9)], &[(3, 10)]), [(3, 5), (8, 9)]);
        assert_eq!(longest(&[(0, 5), (6, 20)], (4, 6)), Some((0, 5)));
    }
}
