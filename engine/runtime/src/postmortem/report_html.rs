//! A post-mortem as one page that loads nothing: pictures are inline, there is no script.

use super::Postmortem;
use super::plots::{Curve, Plot};
use super::report_md::{
    COLUMNS, IMPACT_COLUMNS, TRADED_COLUMNS, agreement, clock, evidence, extent, impact_rows, orders_sentence, rows,
    shown_causes, traded_rows, verdict,
};
use super::timeline::number;
use crate::markup::{Markup, escaped, head, page};

const WIDTH: f64 = 1040.0;
const LEFT: f64 = 96.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 28.0;
/// Height of one curve with the gap below it.
const ROW: f64 = 96.0;
const GAP: f64 = 26.0;
const BOTTOM: f64 = 34.0;

/// A post-mortem as a page.
pub fn html(report: &Postmortem) -> String {
    let mut out = Markup::default();
    out.line(format_args!("<p class=\"lead\"><strong>{}</strong></p>", escaped(&verdict(report))));
    let first = report.incident.first_trip.as_ref().map_or_else(String::new, |first| format!(" First trip: {first}."));
    out.line(format_args!("<p class=\"lead\">{}{}</p>", escaped(&extent(&report.incident)), escaped(&first)));
    out.line(format_args!("<p class=\"lead\">{}</p>", escaped(&agreement(&report.reproduction))));
    let log = &report.log;
    let verified = format!("Audit log {}: verified, {} entries, root {}.", log.origin, log.size, log.root);
    out.line(format_args!("<p>{}</p>", escaped(&verified)));
    list(&mut out, report.reproduction.remarks.iter().chain(&log.remarks).map(String::as_str));
    for plot in &report.plots {
        picture(&mut out, plot);
    }
    causes(&mut out, report);
    out.line(format_args!("<h2>Impact</h2>"));
    let seconds = format!("{} instrument-seconds out of trading", number(report.impact.instrument_seconds));
    table(&mut out, &seconds, &IMPACT_COLUMNS, impact_rows(&report.impact).iter().map(<[String; 7]>::as_slice));
    out.line(format_args!("<p>{}</p>", escaped(&orders_sentence(&report.impact))));
    if let Some(orders) = report.impact.orders.as_ref().filter(|orders| !orders.instruments.is_empty()) {
        let caption = "positions and executions, quote units, profit at mids and before fees";
        table(&mut out, caption, &TRADED_COLUMNS, traded_rows(orders).iter().map(<[String; 8]>::as_slice));
    }
    out.line(format_args!("<h2>Other thresholds</h2>"));
    for one in &report.counterfactuals {
        let caption = format!("{} ({}), prices of {}", one.rule, one.unit, one.instrument);
        table(&mut out, &caption, &COLUMNS, rows(one).iter().map(<[String; 8]>::as_slice));
    }
    out.line(format_args!("<h2>Recommendations</h2>"));
    if report.recommendations.is_empty() {
        out.line(format_args!("<p class=\"lead\">No change of the configuration follows.</p>"));
    }
    for one in &report.recommendations {
        let says = format!("{}: {}.", one.why, one.effect);
        out.line(format_args!("<p class=\"lead\">{}</p>\n<pre>{}</pre>", escaped(&says), escaped(&one.diff)));
    }
    timeline(&mut out, report);
    page(&format!("Post-mortem of {}", clock(report.incident.start_ns)), &out.0)
}

fn list<'a>(out: &mut Markup, items: impl Iterator<Item = &'a str>) {
    let items: String = items.map(|item| format!("<li>{}</li>", escaped(item))).collect();
    if !items.is_empty() {
        out.line(format_args!("<ul>{items}</ul>"));
    }
}

fn causes(out: &mut Markup, report: &Postmortem) {
    out.line(format_args!("<h2>Causes</h2>"));
    let row = |ranked: &super::Ranked| {
        let by = ranked.explained_by.map_or_else(String::new, |by| format!(" Mostly explained by {}.", by.name()));
        let numbers: String = ranked
            .evidence
            .iter()
            .map(|one| format!("<br>{}", escaped(&evidence(one, report.incident.start_ns))))
            .collect();
        let says = format!("{}.{}", escaped(ranked.cause.about()), escaped(&by));
        let (name, score) = (ranked.cause.name(), ranked.score);
        format!("<tr><th scope=\"row\">{name}</th><td>{score:.2}</td><td class=\"says\">{says}{numbers}</td></tr>\n")
    };
    let rows: String = shown_causes(report).map(row).collect();
    framed(out, "Causes by score", &["cause", "score", "evidence"], &rows);
}

fn timeline(out: &mut Markup, report: &Postmortem) {
    out.line(format_args!("<h2>Timeline</h2>"));
    let row = |moment: &super::Moment| {
        let says = escaped(&moment.says);
        let says = if moment.trip { format!("<strong>{says}</strong>") } else { says };
        let (after, entry) = (moment.after_s, moment.entry);
        format!("<tr><th scope=\"row\">{after:+.3} s</th><td>{entry}</td><td class=\"says\">{says}</td></tr>\n")
    };
    let rows: String = report.timeline.iter().map(row).collect();
    let caption = format!("By event time after the first trip; {} more were left out", report.timeline_left_out);
    framed(out, &caption, &["after", "entry", "what happened"], &rows);
}

fn table<'a>(out: &mut Markup, caption: &str, columns: &[&str], rows: impl Iterator<Item = &'a [String]>) {
    let row = |cells: &[String]| {
        let cells = cells.iter().enumerate().map(|(index, cell)| match index {
            0 => format!("<th scope=\"row\">{}</th>", escaped(cell)),
            _ => format!("<td>{}</td>", escaped(cell)),
        });
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    framed(out, caption, columns, &rows.map(row).collect::<String>());
}

/// A table that scrolls by itself where it is too wide.
fn framed(out: &mut Markup, caption: &str, columns: &[&str], rows: &str) {
    let (caption, head) = (escaped(caption), head(columns));
    out.line(format_args!("<div class=\"scroll\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\">"));
    out.line(format_args!("<table>\n<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>"));
    out.line(format_args!("<tbody>\n{rows}</tbody>\n</table>\n</div>"));
}

/// All curves of one instrument over the same time.
fn picture(out: &mut Markup, plot: &Plot) {
    let curves: Vec<&Curve> = plot.curves.iter().filter(|curve| curve.points.iter().any(|p| p.1.is_some())).collect();
    let times = || curves.iter().flat_map(|curve| &curve.points).map(|point| point.0);
    let (from, to) = (times().fold(f64::INFINITY, f64::min), times().fold(f64::NEG_INFINITY, f64::max));
    if from >= to {
        return;
    }
    let height = TOP + ROW * curves.len() as f64 + BOTTOM;
    let x = |seconds: f64| LEFT + (WIDTH - LEFT - RIGHT) * ((seconds - from) / (to - from)).clamp(0.0, 1.0);
    let name = escaped(&plot.instrument);
    out.line(format_args!("<figure>\n<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\""));
    out.line(format_args!(
        "role=\"img\" aria-label=\"{name} around the incident: {}\" class=\"pm\">",
        described(&curves)
    ));
    out.line(format_args!("<style>.pm text{{font:12px system-ui,'DejaVu Sans',sans-serif;fill:#1c2530}}"));
    out.line(format_args!(".pm .c{{fill:none;stroke:#0b62a8;stroke-width:1.5}}.pm .g{{stroke:#d9dfe5}}"));
    out.line(format_args!(
        ".pm .t{{stroke:#a3123f;stroke-dasharray:4 3}}.pm .e{{stroke:#00795c;stroke-dasharray:8 4}}"
    ));
    out.line(format_args!("@media (prefers-color-scheme:dark){{.pm text{{fill:#e6ebf0}}.pm .c{{stroke:#6db6f2}}"));
    out.line(format_args!(".pm .g{{stroke:#2b3641}}.pm .t{{stroke:#f58aa6}}.pm .e{{stroke:#4fd1a5}}}}</style>"));
    out.line(format_args!(
        "<text x=\"{LEFT}\" y=\"16\">{name}: trips dashed short, end of the incident dashed long</text>"
    ));
    let bottom = height - BOTTOM;
    let marks = plot.trips_s.iter().map(|at| (*at, "t")).chain(plot.end_s.map(|at| (at, "e")));
    for (at, class) in marks.filter(|(at, _)| (from..=to).contains(at)) {
        out.line(format_args!("<path class=\"{class}\" d=\"M{:.1} {TOP}V{bottom:.1}\"/>", x(at)));
    }
    for (row, curve) in curves.iter().enumerate() {
        line(out, curve, TOP + ROW * row as f64, &x);
    }
    for part in 0..=4 {
        let seconds = from + (to - from) * f64::from(part) / 4.0;
        let (at, y) = (x(seconds), bottom + 18.0);
        out.line(format_args!("<text x=\"{at:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{seconds:+.0} s</text>"));
    }
    out.line(format_args!("</svg>\n</figure>"));
}

/// For readers who do not see the picture: ends of each curve.
fn described(curves: &[&Curve]) -> String {
    let one = |curve: &&Curve| {
        let (low, high) = bounds(curve);
        format!("{} {} to {} {}", curve.measure, number(low), number(high), curve.unit)
    };
    escaped(&curves.iter().map(one).collect::<Vec<_>>().join("; "))
}

fn bounds(curve: &Curve) -> (f64, f64) {
    let values = || curve.points.iter().filter_map(|point| point.1);
    (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
}

fn line(out: &mut Markup, curve: &Curve, top: f64, x: &dyn Fn(f64) -> f64) {
    let (low, high) = bounds(curve);
    let span = if high > low { high - low } else { 1.0 };
    let y = |value: f64| top + (ROW - GAP) * (1.0 - (value - low) / span);
    let (right, base) = (WIDTH - RIGHT, top + ROW - GAP);
    out.line(format_args!("<path class=\"g\" d=\"M{LEFT} {top:.1}H{right}M{LEFT} {base:.1}H{right}\"/>"));
    let label = |value: f64, at: f64| {
        format!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", LEFT - 6.0, at + 4.0, number(value))
    };
    out.line(format_args!("{}{}", label(high, top), label(low, base)));
    let caption = format!("{}, {}", curve.measure, curve.unit);
    out.line(format_args!("<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", LEFT + 4.0, base + 15.0, escaped(&caption)));
    // A curve breaks where nothing was known.
    let mut path = String::new();
    let mut pen = 'M';
    for (seconds, value) in &curve.points {
        match value {
            Some(value) => {
                path.push_str(&format!("{pen}{:.1} {:.1}", x(*seconds), y(*value)));
                pen = 'L';
            }
            None => pen = 'M',
        }
    }
    out.line(format_args!("<path class=\"c\" d=\"{path}\"/>"));
}
