//! The page: the picture and its figures as a table, in one file that loads nothing.

use super::{Series, escaped, svg};
use crate::output::duration;
use tidegate_runtime::hlog::Summary;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{margin:0 auto;padding:24px;max-width:1080px;font:15px/1.5 system-ui,'DejaVu Sans',sans-serif;\
color:#1c2530;background:#fff}\
h1{font-size:22px;margin:0 0 12px}\
figure{margin:0 0 24px}\
figure svg{width:100%;height:auto;display:block}\
.scroll{overflow-x:auto}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
caption{text-align:left;padding:0 0 8px;font-weight:600}\
th,td{padding:6px 10px;text-align:right;border-bottom:1px solid #d9dfe5;white-space:nowrap}\
th:first-child{text-align:left}\
p{color:#4c5a68;font-size:13px}\
@media (prefers-color-scheme:dark){body{color:#e6ebf0;background:#12181f}\
th,td{border-color:#2b3641}p{color:#a9b6c3}}";

/// Writes the page.
pub(crate) fn html(series: &[Series<'_>]) -> String {
    let rows: String = series.iter().map(row).collect();
    let head: String = ["tag", "count", "min", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"]
        .iter()
        .map(|name| format!("<th scope=\"col\">{name}</th>"))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>Latency report</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>Latency report</h1>\n<figure>\n{}</figure>\n\
         <div class=\"scroll\" role=\"region\" aria-label=\"Figures\" tabindex=\"0\">\n<table>\n\
         <caption>The figures of the plot</caption>\n\
         <thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n\
         <p>p99.9 is shown from 10,000 samples and p99.99 from 100,000; with fewer it would be chance.</p>\n\
         </main>\n</body>\n</html>\n",
        svg(series)
    )
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
