//! The picture. Written by hand: it is a few lines, text and marks, and it must look the same everywhere.

use tidegate_runtime::markup::{Markup, escaped};

use super::scale::Scale;
use super::{Point, Series};

const WIDTH: f64 = 1040.0;
const LEFT: f64 = 76.0;
const TOP: f64 = 56.0;
const PLOT_HEIGHT: f64 = 420.0;
/// Below the plot: labels, the axis title and the note.
const BOTTOM: f64 = 84.0;
const LEGEND_ROW: f64 = 22.0;
const SWATCH_WIDTH: f64 = 44.0;
/// A character of the legend at 13 px, generously.
const CHARACTER: f64 = 7.6;
/// Longer labels are cut; the page's table has them whole.
const LABEL_CHARACTERS_MAX: usize = 34;

/// Dashes of curves; the first is a full line.
const DASHES: [&str; 6] = ["none", "8 4", "2 3", "10 4 2 4", "14 5", "5 2 1 2 1 2"];

/// Colours of tags on light and on dark ground: each at least 3:1 against it, apart for the common kinds of colour
/// blindness as far as eight can be.
const COLOURS: [(&str, &str); 8] = [
    ("#0b62a8", "#6db6f2"),
    ("#b34700", "#f5a25d"),
    ("#00795c", "#4fd1a5"),
    ("#8a3b8f", "#d99be0"),
    ("#7a5c00", "#e0c34f"),
    ("#a3123f", "#f58aa6"),
    ("#3d4a57", "#b6c2cf"),
    ("#006a80", "#5fcbe0"),
];

/// Which colour and dashes a series has.
struct Look {
    colour: usize,
    dash: &'static str,
    mark: usize,
}

impl Look {
    fn of(series: &Series<'_>) -> Self {
        let dashed_by = if series.files > 1 { series.file } else { series.tag };
        Self {
            colour: series.tag % COLOURS.len(),
            dash: DASHES[dashed_by % DASHES.len()],
            mark: series.tag % MARKS.len(),
        }
    }
}

/// Draws the percentile plot.
pub(crate) fn svg(series: &[Series<'_>]) -> String {
    let legend_width = legend_width(series);
    let width = WIDTH - LEFT - legend_width - 28.0;
    // A long legend makes the picture taller, not the plot.
    let height = (TOP + PLOT_HEIGHT + BOTTOM).max(TOP + LEGEND_ROW * series.len() as f64 + 24.0);
    let curves: Vec<(Vec<Point>, Vec<Point>)> = series.iter().map(Series::curve).collect();
    let points = curves.iter().flat_map(|(sound, pale)| sound.iter().chain(pale)).copied();
    let marks = series.iter().flat_map(Series::marks);
    let scale = Scale::around(points.chain(marks), (LEFT, TOP, width, PLOT_HEIGHT));

    let mut out = Markup::default();
    out.line(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-labelledby=\"tg-title tg-desc\" class=\"tg-plot\">"
    ));
    out.line(format_args!("<title id=\"tg-title\">Latency by percentile</title>"));
    out.line(format_args!("<desc id=\"tg-desc\">{}</desc>", escaped(&description(series))));
    style(&mut out);
    out.line(format_args!("<rect class=\"tg-ground\" width=\"{WIDTH}\" height=\"{height}\"/>"));
    out.line(format_args!("<text class=\"tg-head\" x=\"{LEFT}\" y=\"30\">Latency by percentile</text>"));
    axes(&mut out, &scale);
    for (one, (sound, pale)) in series.iter().zip(&curves) {
        curve(&mut out, &scale, one, sound, pale);
    }
    legend(&mut out, series, LEFT + width + 28.0);
    out.line(format_args!("</svg>"));
    out.0
}

/// For readers who do not see the picture: what is drawn, and the ends of each curve.
fn description(series: &[Series<'_>]) -> String {
    if series.is_empty() {
        return String::from("No samples.");
    }
    let curves: Vec<String> = series
        .iter()
        .map(|one| {
            let median = crate::output::duration(one.histogram.value_at_quantile(0.5));
            let max = crate::output::duration(one.histogram.max());
            format!("{}: {} samples, median {median}, maximum {max}", one.label, one.histogram.len())
        })
        .collect();
    format!("Latency on a logarithmic scale over percentiles from 0 to the last sample. {}.", curves.join("; "))
}

fn style(out: &mut Markup) {
    out.line(format_args!("<style>"));
    out.line(format_args!(".tg-plot text{{font:13px system-ui,'DejaVu Sans',sans-serif;fill:#1c2530}}"));
    out.line(format_args!(".tg-plot .tg-head{{font-size:17px;font-weight:600}}"));
    out.line(format_args!(".tg-plot .tg-note{{font-size:12px;fill:#4c5a68}}"));
    out.line(format_args!(".tg-ground{{fill:#fff}}.tg-grid{{stroke:#d9dfe5;stroke-width:1}}"));
    out.line(format_args!(".tg-axis{{stroke:#5b6976;stroke-width:1;fill:none}}"));
    out.line(format_args!(".tg-curve{{fill:none;stroke-width:2;stroke-linejoin:round}}.tg-pale{{opacity:.4}}"));
    out.line(format_args!(".tg-mark{{stroke-width:1.5}}"));
    for (index, (light, _)) in COLOURS.iter().enumerate() {
        out.line(format_args!(".tg-c{index}{{stroke:{light}}}.tg-f{index}{{fill:{light}}}"));
    }
    out.line(format_args!("@media (prefers-color-scheme:dark){{"));
    out.line(format_args!(".tg-plot text{{fill:#e6ebf0}}.tg-plot .tg-note{{fill:#a9b6c3}}.tg-ground{{fill:#12181f}}"));
    out.line(format_args!(".tg-grid{{stroke:#2b3641}}.tg-axis{{stroke:#8795a3}}"));
    for (index, (_, dark)) in COLOURS.iter().enumerate() {
        out.line(format_args!(".tg-c{index}{{stroke:{dark}}}.tg-f{index}{{fill:{dark}}}"));
    }
    out.line(format_args!("}}"));
    out.line(format_args!("</style>"));
}

fn axes(out: &mut Markup, scale: &Scale) {
    let (right, bottom) = (scale.left + scale.width, scale.top + scale.height);
    let (left, top) = (scale.left, scale.top);
    for tick in scale.latency_ticks() {
        let y = tick.at;
        out.line(format_args!("<line class=\"tg-grid\" x1=\"{left}\" y1=\"{y:.1}\" x2=\"{right:.1}\" y2=\"{y:.1}\"/>"));
        out.line(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 8.0,
            y + 4.5,
            tick.label
        ));
    }
    for tick in scale.percent_ticks() {
        let x = tick.at;
        out.line(format_args!("<line class=\"tg-grid\" x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>"));
        out.line(format_args!(
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 20.0,
            tick.label
        ));
    }
    out.line(format_args!("<path class=\"tg-axis\" d=\"M{left} {top}V{bottom}H{right:.1}\"/>"));
    let middle = left + scale.width / 2.0;
    out.line(format_args!(
        "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">percentile</text>",
        bottom + 44.0
    ));
    out.line(format_args!(
        "<text class=\"tg-note\" x=\"{left}\" y=\"{:.1}\">Marks: 50, 90, 99, 99.9, 99.99 % with ten samples above \
         them, and the maximum. Pale: fewer than ten samples above.</text>",
        bottom + 68.0
    ));
}

fn curve(out: &mut Markup, scale: &Scale, series: &Series<'_>, sound: &[Point], pale: &[Point]) {
    let look = Look::of(series);
    let (colour, dash) = (look.colour, look.dash);
    out.line(format_args!("<g><title>{}</title>", escaped(&series.label)));
    for (part, pale) in [(sound, ""), (pale, " tg-pale")] {
        if part.len() > 1 {
            let places: Vec<String> =
                part.iter().map(|&point| scale.place(point)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            out.line(format_args!(
                "<polyline class=\"tg-curve tg-c{colour}{pale}\" stroke-dasharray=\"{dash}\" points=\"{}\"/>",
                places.join(" ")
            ));
        }
    }
    for point in series.marks() {
        mark(out, &look, scale.place(point));
    }
    out.line(format_args!("</g>"));
}

/// Shapes of marks around the origin; filled ones are closed, crosses are open.
const MARKS: [&str; 6] = [
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "M-3.5 -3.5h7v7h-7z",
    "M0 -4.8L4.4 3.2H-4.4z",
    "M0 -5L5 0L0 5L-5 0z",
    "M-4 -4L4 4M-4 4L4 -4",
    "M0 4.8L4.4 -3.2H-4.4z",
];

fn mark(out: &mut Markup, look: &Look, (x, y): (f64, f64)) {
    let (colour, shape) = (look.colour, MARKS[look.mark]);
    out.line(format_args!(
        "<path class=\"tg-mark tg-c{colour} tg-f{colour}\" transform=\"translate({x:.1} {y:.1})\" d=\"{shape}\"/>"
    ));
}

fn legend_width(series: &[Series<'_>]) -> f64 {
    let longest = series.iter().map(|one| shortened(&one.label).chars().count()).max().unwrap_or(0);
    SWATCH_WIDTH + 8.0 + longest as f64 * CHARACTER + 12.0
}

fn legend(out: &mut Markup, series: &[Series<'_>], left: f64) {
    for (row, one) in series.iter().enumerate() {
        let look = Look::of(one);
        let y = TOP + 8.0 + LEGEND_ROW * row as f64;
        let (right, colour, dash) = (left + SWATCH_WIDTH, look.colour, look.dash);
        out.line(format_args!(
            "<line class=\"tg-curve tg-c{colour}\" stroke-dasharray=\"{dash}\" x1=\"{left:.1}\" y1=\"{y}\" \
             x2=\"{right:.1}\" y2=\"{y}\"/>"
        ));
        mark(out, &look, (left + SWATCH_WIDTH / 2.0, y));
        let label = escaped(&shortened(&one.label));
        out.line(format_args!("<text x=\"{:.1}\" y=\"{:.1}\">{label}</text>", right + 8.0, y + 4.5));
    }
}

/// Cut in the middle, so that a tag at the front and a file name at the end both stay.
fn shortened(label: &str) -> String {
    let characters: Vec<char> = label.chars().collect();
    if characters.len() <= LABEL_CHARACTERS_MAX {
        return label.to_owned();
    }
    let half = (LABEL_CHARACTERS_MAX - 1) / 2;
    let (front, back) = (&characters[..half], &characters[characters.len() - half..]);
    front.iter().chain(['…'].iter()).chain(back).collect()
}
