//! From histograms to figures: sums per tag, the percentiles people ask for, the percentile table.

use std::collections::BTreeMap;
use std::io::{self, Write};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::{HlogError, Interval};

/// Samples from which p99.9 means something: at least ten lie above it.
const P999_COUNT_MIN: u64 = 10_000;
/// Samples from which p99.99 means something.
const P9999_COUNT_MIN: u64 = 100_000;

/// The figures of one histogram. What too few samples cannot show is `None`, never a number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Samples.
    pub count: u64,
    /// Smallest value, in ns; `None` without samples, like all the following.
    pub min_ns: Option<u64>,
    /// Mean, in ns.
    pub mean_ns: Option<f64>,
    /// Median, in ns.
    pub p50_ns: Option<u64>,
    /// 90th percentile, in ns.
    pub p90_ns: Option<u64>,
    /// 99th percentile, in ns.
    pub p99_ns: Option<u64>,
    /// 99.9th percentile, in ns; `None` below 10,000 samples.
    pub p999_ns: Option<u64>,
    /// 99.99th percentile, in ns; `None` below 100,000 samples.
    pub p9999_ns: Option<u64>,
    /// Largest value, in ns.
    pub max_ns: Option<u64>,
}

impl Summary {
    /// The figures of values in ns.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let count = histogram.len();
        let from = |count_min: u64, quantile: f64| (count >= count_min).then(|| histogram.value_at_quantile(quantile));
        Self {
            count,
            min_ns: (count > 0).then(|| histogram.min()),
            mean_ns: (count > 0).then(|| histogram.mean()),
            p50_ns: from(1, 0.5),
            p90_ns: from(1, 0.9),
            p99_ns: from(1, 0.99),
            p999_ns: from(P999_COUNT_MIN, 0.999),
            p9999_ns: from(P9999_COUNT_MIN, 0.9999),
            max_ns: (count > 0).then(|| histogram.max()),
        }
    }
}

/// Adds intervals up per tag. Histograms of different range or precision add up too, at the precision of the first.
///
/// # Errors
/// When a sum cannot hold the values of an interval.
pub fn merge<'a>(
    intervals: impl IntoIterator<Item = &'a Interval>,
) -> Result<BTreeMap<String, Histogram<u64>>, HlogError> {
    let mut sums: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    for interval in intervals {
        let Some(sum) = sums.get_mut(&interval.tag) else {
            let mut first = interval.histogram.clone();
            first.auto(true);
            sums.insert(interval.tag.clone(), first);
            continue;
        };
        sum.add(&interval.histogram)
            .map_err(|error| HlogError::Merge { tag: interval.tag.clone(), problem: error.to_string() })?;
    }
    Ok(sums)
}

/// The unit of a percentile table's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Nanos,
    /// Microseconds.
    Micros,
    /// Milliseconds.
    Millis,
}

impl Unit {
    /// Nanoseconds in one.
    pub fn ns(self) -> f64 {
        match self {
            Self::Nanos => 1.0,
            Self::Micros => 1e3,
            Self::Millis => 1e6,
        }
    }
}

/// Writes the percentile table (`.hgrm`) of values in ns, five steps to each halving of the distance to 100 %, in the
/// layout every HdrHistogram plotter reads.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_hgrm(out: &mut impl Write, histogram: &Histogram<u64>, unit: Unit) -> io::Result<()> {
    const STEPS_PER_HALVING: u32 = 5;
    let ns = unit.ns();
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut count = 0;
    for step in histogram.iter_quantiles(STEPS_PER_HALVING) {
        let value = step.value_iterated_to() as f64 / ns;
        let quantile = step.quantile_iterated_to();
        count += step.count_since_last_iteration();
        write!(out, "{value:12.3} {quantile:14.12} {count:10}")?;
        // The last row stands for 100 %, whose reciprocal has no number.
        if quantile < 1.0 {
            write!(out, " {:14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(out)?;
    }
    let (mean, deviation) = (histogram.mean() / ns, histogram.stdev() / ns);
    let (max, count) = (histogram.max() as f64 / ns, histogram.len());
    let halves = (2 * 10_u64.pow(u32::from(histogram.sigfig()))).next_power_of_two();
    writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
    writeln!(out, "#[Max     = {max:12.3}, Total count    = {count:12}]")?;
    writeln!(out, "#[Buckets = {:12}, SubBuckets     = {halves:12}]", histogram.buckets())
}
