//! The page: the picture and its figures as a table, in one file that loads nothing.

use tidegate_runtime::hlog::Summary;
use tidegate_runtime::markup::{escaped, head, page};

use super::{Series, svg};
use crate::output::duration;

/// Writes the page.
pub(crate) fn html(series: &[Series<'_>]) -> String {
    let rows: String = series.iter().map(row).collect();
    let head = head(&["tag", "count", "min", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"]);
    let body = format!(
        "<figure>\n{}</figure>\n\
         <div class=\"scroll\" role=\"region\" aria-label=\"Figures\" tabindex=\"0\">\n<table>\n\
         <caption>The figures of the plot</caption>\n\
         <thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n\
         <p>p99.9 is shown from 10,000 samples and p99.99 from 100,000; with fewer it would be chance.</p>\n",
        svg(series)
    );
    page("Latency report", &body)
}

fn row(series: &Series<'_>) -> String {
    let summary = Summary::of(series.histogram);
    let cell = |text: String| format!("<td>{text}</td>");
    let figure = |ns: Option<u64>| cell(ns.map_or_else(|| String::from("-"), duration));
    let cells = [
        cell(summary.count.to_string()),
        figure(summary.min_ns),
        figure(summary.mean_ns.map(|ns| ns.round() as u64)),
        figure(summary.p50_ns),
        figure(summary.p90_ns),
        figure(summary.p99_ns),
        figure(summary.p999_ns),
        figure(summary.p9999_ns),
        figure(summary.max_ns),
    ];
    format!("<tr><th scope=\"row\">{}</th>{}</tr>\n", escaped(&series.label), cells.concat())
}
