//! Two logs side by side: how many times slower or faster the second is, per tag and percentile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use tidegate_runtime::hlog::Summary;

use super::{NO_FIGURE, TaggedLog, all_series, table};
use crate::output::{Format, number_table, print_json};

/// What is printed in JSON.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    a: &'a Path,
    b: &'a Path,
    tags: BTreeMap<&'a str, Pair>,
    only_a: Vec<&'a str>,
    only_b: Vec<&'a str>,
}

#[derive(Serialize)]
struct Pair {
    a: Summary,
    b: Summary,
    ratio: Ratio,
}

/// Second over first; absent where either has no figure, or the first is zero.
#[derive(Serialize)]
struct Ratio {
    mean: Option<f64>,
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
    p999: Option<f64>,
    p9999: Option<f64>,
    max: Option<f64>,
}

impl Ratio {
    fn of(a: &Summary, b: &Summary) -> Self {
        let over = |a: Option<f64>, b: Option<f64>| Some(b? / a.filter(|&a| a > 0.0)?);
        let ns = |a: Option<u64>, b: Option<u64>| over(a.map(|ns| ns as f64), b.map(|ns| ns as f64));
        Self {
            mean: over(a.mean_ns, b.mean_ns),
            p50: ns(a.p50_ns, b.p50_ns),
            p90: ns(a.p90_ns, b.p90_ns),
            p99: ns(a.p99_ns, b.p99_ns),
            p999: ns(a.p999_ns, b.p999_ns),
            p9999: ns(a.p9999_ns, b.p9999_ns),
            max: ns(a.max_ns, b.max_ns),
        }
    }

    fn row(&self, tag: &str) -> Vec<String> {
        let figures = [self.mean, self.p50, self.p90, self.p99, self.p999, self.p9999, self.max];
        let text = |figure: Option<f64>| figure.map_or_else(|| NO_FIGURE.to_owned(), |ratio| format!("{ratio:.2}x"));
        std::iter::once(tag.to_owned()).chain(figures.map(text)).collect()
    }
}

/// Prints the comparison of the second log with the first.
pub(super) fn print(logs: &[TaggedLog; 2], format: Format) -> anyhow::Result<()> {
    let report = report(&logs[0], &logs[1]);
    if format == Format::Json {
        return print_json(&report);
    }
    anstream::println!("{}\n", table(&all_series(logs)));
    let header = ["second / first", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
    let rows = report.tags.iter().map(|(tag, pair)| pair.ratio.row(tag));
    anstream::println!("{}", number_table(&header, rows));
    for (tags, path) in [(&report.only_a, report.a), (&report.only_b, report.b)] {
        if !tags.is_empty() {
            anstream::eprintln!("only in {}: {}", path.display(), tags.join(", "));
        }
    }
    Ok(())
}

fn report<'a>(a: &'a TaggedLog, b: &'a TaggedLog) -> Report<'a> {
    let names = |log: &'a TaggedLog| -> BTreeSet<&'a str> { log.tags.keys().map(String::as_str).collect() };
    let (in_a, in_b) = (names(a), names(b));
    let pair = |tag: &&'a str| {
        let (a, b) = (Summary::of(&a.tags[*tag]), Summary::of(&b.tags[*tag]));
        let ratio = Ratio::of(&a, &b);
        (*tag, Pair { a, b, ratio })
    };
    Report {
        schema: "tidegate.hist_compare.v1",
        a: &a.path,
        b: &b.path,
        tags: in_a.intersection(&in_b).map(pair).collect(),
        only_a: in_a.difference(&in_b).copied().collect(),
        only_b: in_b.difference(&in_a).copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_second_over_first_and_absent_without_figures() {
        let a = Summary { p50_ns: Some(100), p99_ns: Some(0), p90_ns: None, mean_ns: Some(50.0), ..Summary::default() };
        let b = Summary { p50_ns: Some(250), p99_ns: Some(9), p90_ns: Some(9), mean_ns: Some(25.0), ..a.clone() };
        let ratio = Ratio::of(&a, &b);
        assert_eq!((ratio.p50, ratio.mean, ratio.p90, ratio.p99), (Some(2.5), Some(0.5), None, None));
        assert_eq!(ratio.row("t"), ["t", "0.50x", "2.50x", "-", "-", "-", "-", "-"]);
    }
}
