//! The percentile plot: latency over percentile, both on logarithmic scales, as a picture and as a page.
//!
//! The horizontal axis gives each further nine the same width (0, 90, 99, 99.9 % ...): position is the decimal
//! logarithm of how many samples there are to one above. A curve ends where its samples end. Where fewer than ten
//! samples lie above, it is drawn pale: that part says little.
//!
//! Series differ in more than colour: curves in their dashes (by file when there are several, else by tag), tags in
//! the shape of the marks at the reported percentiles.

mod html;
mod scale;
mod svg;

use hdrhistogram::Histogram;

pub(crate) use html::html;
pub(crate) use svg::svg;

/// One curve.
#[derive(Debug)]
pub(crate) struct Series<'a> {
    /// What the legend says; unique.
    pub(crate) label: String,
    /// Which tag it is, among all tags of the plot: decides colour and marks.
    pub(crate) tag: usize,
    /// Which file it is from: decides the dashes when there are several.
    pub(crate) file: usize,
    /// How many files there are.
    pub(crate) files: usize,
    /// The values, in ns.
    pub(crate) histogram: &'a Histogram<u64>,
}

/// A point of a curve: how many samples there are to one above (1 at 0 %, 10 at 90 %), and the latency in ns.
type Point = (f64, f64);

/// Samples that must lie above a percentile for it to say something.
const SAMPLES_ABOVE_MIN: f64 = 10.0;

impl Series<'_> {
    /// The curve in two parts, the sound one and the pale one behind it. They share the point where they meet.
    fn curve(&self) -> (Vec<Point>, Vec<Point>) {
        const STEPS_PER_HALVING: u32 = 5;
        let count = self.histogram.len() as f64;
        let (mut sound, mut pale): (Vec<Point>, Vec<Point>) = (Vec::new(), Vec::new());
        for step in self.histogram.iter_quantiles(STEPS_PER_HALVING) {
            // No percentile beyond the last sample; the largest value stands there.
            let one_in = (1.0 / (1.0 - step.quantile_iterated_to())).min(count);
            let point = (one_in, (step.value_iterated_to() as f64).max(1.0));
            if count / one_in >= SAMPLES_ABOVE_MIN {
                sound.push(point);
            } else {
                if pale.is_empty() {
                    pale.extend(sound.last());
                }
                pale.push(point);
            }
        }
        (sound, pale)
    }

    /// Where the marks are: the usual percentiles that have samples above them, and the largest value.
    fn marks(&self) -> Vec<Point> {
        let count = self.histogram.len() as f64;
        if self.histogram.is_empty() {
            return Vec::new();
        }
        [(2.0, 0.5), (10.0, 0.9), (100.0, 0.99), (1e3, 0.999), (1e4, 0.9999)]
            .into_iter()
            .filter(|&(one_in, _)| count / one_in >= SAMPLES_ABOVE_MIN)
            .map(|(one_in, quantile)| (one_in, self.histogram.value_at_quantile(quantile)))
            .chain([(count, self.histogram.max())])
            .map(|(one_in, ns)| (one_in, (ns as f64).max(1.0)))
            .collect()
    }
}

#[cfg(test)]
mod tests;
