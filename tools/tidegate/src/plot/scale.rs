//! From values to places: two logarithmic axes and where their labels go.

use super::Point;

/// The plot's inner rectangle and the values at its edges.
#[derive(Debug)]
pub(super) struct Scale {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    /// Nines shown: the logarithm of the largest "one in" of any series, at least 2 (99 %).
    nines: f64,
    /// Logarithms of the latencies at the bottom and at the top.
    low: f64,
    high: f64,
}

/// A labelled place on an axis.
#[derive(Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
}

/// Between the centres of two labels of the horizontal axis, in pixels.
const LABEL_GAP_MIN: f64 = 36.0;

impl Scale {
    /// Fits the axes around points; without any, to 1 us..1 ms.
    pub(super) fn around(
        points: impl Iterator<Item = Point>,
        (left, top, width, height): (f64, f64, f64, f64),
    ) -> Self {
        let (mut nines, mut low, mut high) = (2.0_f64, f64::INFINITY, f64::NEG_INFINITY);
        for (one_in, ns) in points {
            nines = nines.max(one_in.log10());
            low = low.min(ns);
            high = high.max(ns);
        }
        if low > high {
            (low, high) = (1e3, 1e6);
        }
        let (mut low, mut high) = (step_below(low), step_above(high));
        // At least a decade: a flat curve then lies in the middle, not on an edge.
        if high / low < 10.0 {
            (low, high) = (step_below(low * 0.3), step_above(high * 3.0));
        }
        Self { left, top, width, height, nines, low: low.log10(), high: high.log10() }
    }

    pub(super) fn place(&self, (one_in, ns): Point) -> (f64, f64) {
        (self.x(one_in), self.y(ns))
    }

    fn x(&self, one_in: f64) -> f64 {
        self.left + self.width * one_in.max(1.0).log10() / self.nines
    }

    fn y(&self, ns: f64) -> f64 {
        let share = (ns.log10() - self.low) / (self.high - self.low);
        self.top + self.height * (1.0 - share)
    }

    /// Percentiles: 0, 50, 90, 99, 99.9 % and on; without 50 % where it has no room.
    pub(super) fn percent_ticks(&self) -> Vec<Tick> {
        let mut ticks = vec![Tick { at: self.x(1.0), label: String::from("0 %") }];
        if self.x(2.0) - self.x(1.0) >= LABEL_GAP_MIN && self.x(10.0) - self.x(2.0) >= LABEL_GAP_MIN {
            ticks.push(Tick { at: self.x(2.0), label: String::from("50 %") });
        }
        // Rounding must not lose the last nine of exactly 10^n samples.
        for nine in 1..=(self.nines + 1e-9).floor() as i32 {
            let label = match nine {
                1 => String::from("90 %"),
                2 => String::from("99 %"),
                more => format!("99.{} %", "9".repeat(more as usize - 2)),
            };
            ticks.push(Tick { at: self.x(10_f64.powi(nine)), label });
        }
        ticks
    }

    /// Latencies: each power of ten, and 2 and 5 times it while there is room.
    pub(super) fn latency_ticks(&self) -> Vec<Tick> {
        let per_decade = self.height / (self.high - self.low);
        let factors: &[f64] = if per_decade >= 90.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let decades = self.low.floor() as i32..=self.high.ceil() as i32;
        decades
            .flat_map(|decade| factors.iter().map(move |factor| factor * 10_f64.powi(decade)))
            .filter(|ns| (self.low - 1e-9..=self.high + 1e-9).contains(&ns.log10()))
            .map(|ns| Tick { at: self.y(ns), label: latency(ns) })
            .collect()
    }
}

/// The largest of 1, 2, 5, 10, ... that is not above.
fn step_below(value: f64) -> f64 {
    let decade = 10_f64.powf((value.log10() + 1e-9).floor());
    [5.0, 2.0, 1.0].into_iter().map(|factor| factor * decade).find(|&step| step <= value * 1.000_001).unwrap_or(decade)
}

/// The smallest of 1, 2, 5, 10, ... that is not below.
fn step_above(value: f64) -> f64 {
    let decade = 10_f64.powf((value.log10() + 1e-9).floor());
    let above = |&step: &f64| step >= value * 0.999_999;
    [1.0, 2.0, 5.0].into_iter().map(|factor| factor * decade).find(above).unwrap_or(10.0 * decade)
}

/// A round latency with its unit: `200 ns`, `1 us`, `50 ms`, `2 s`.
fn latency(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 999.5 => (ns, "ns"),
        ns if ns < 999.5e3 => (ns / 1e3, "us"),
        ns if ns < 999.5e6 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    if value < 0.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: (f64, f64, f64, f64) = (80.0, 40.0, 640.0, 400.0);

    #[test]
    fn each_nine_is_equally_wide() {
        let scale = Scale::around([(1.0, 100.0), (1e5, 1e6)].into_iter(), BOX);
        let labels: Vec<String> = scale.percent_ticks().into_iter().map(|tick| tick.label).collect();
        assert_eq!(labels, ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"]);
        assert!((scale.x(100.0) - scale.x(10.0) - 128.0).abs() < 1e-6);
        assert_eq!(scale.place((1.0, 100.0)), (80.0, 440.0));
        assert_eq!(scale.place((1e5, 1e6)), (720.0, 40.0));
    }

    #[test]
    fn latency_labels_are_round_and_inside() {
        let scale = Scale::around([(1.0, 87.0), (1e4, 40_000.0)].into_iter(), BOX);
        let ticks = scale.latency_ticks();
        assert_eq!(ticks.first().unwrap().label, "50 ns");
        assert_eq!(ticks.last().unwrap().label, "50 us");
        assert!(ticks.iter().any(|tick| tick.label == "1 us"));
        assert!(ticks.iter().all(|tick| (39.9..=440.1).contains(&tick.at)));
    }

    #[test]
    fn degenerate_ranges_have_room() {
        for points in [vec![], vec![(1.0, 1.0)], vec![(1.0, 500.0), (1e3, 500.0)], vec![(1.0, 1e3), (5.0, 9.9e3)]] {
            let scale = Scale::around(points.into_iter(), BOX);
            assert!(scale.high - scale.low >= 0.99, "{scale:?}");
            assert!(scale.latency_ticks().len() >= 2, "{scale:?}");
        }
    }

    #[test]
    fn steps_are_one_two_five() {
        assert_eq!((step_below(1_000.0), step_above(1_000.0)), (1_000.0, 1_000.0));
        assert_eq!((step_below(1_999.0), step_above(2_001.0)), (1_000.0, 5_000.0));
        assert_eq!((step_below(7.0), step_above(7.0)), (5.0, 10.0));
    }
}
