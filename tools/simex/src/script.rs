//! What happens when: regimes on a schedule, and the schedule as ground truth.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::SimError;

/// One kind of market or feed condition, with its strength.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum RegimeKind {
    /// Nothing special; in a script only to label a stretch of time.
    Calm,
    /// Latent volatility times `factor` (1 to 20), and the order flow busier by its square root.
    Volatile {
        /// Volatility multiplier.
        factor: f64,
    },
    /// The latent price falls by `drop_percent` in the first 30 % of the regime and then recovers the part `rebound`
    /// of the fall; the book thins out, and sells cascade.
    FlashCrash {
        /// Fall in percent of the price before, in (0, 50].
        drop_percent: f64,
        /// Recovered part, in [0, 1].
        rebound: f64,
    },
    /// Quotes within `half_width_bp` of the efficient price are withdrawn and none are posted there.
    LiquidityHole {
        /// Half-width of the empty zone, bp, in (0, 500].
        half_width_bp: f64,
    },
    /// No frame arrives. Afterwards the frames arrive late but complete, or they are lost and the recorder starts
    /// again with a fresh snapshot.
    FeedStall {
        /// Whether the frames of the stall are lost.
        lossy: bool,
    },
    /// Frames arrive `delay_ms` later than usual; the delay fades in and out over a tenth of the regime each.
    LatencySpike {
        /// Additional delay, ms, in (0, 60000].
        delay_ms: f64,
    },
    /// The listed instruments' efficient prices follow paths of their own.
    CorrelationBreak,
    /// Market orders arrive `factor` times as often (1 to 50), and are larger.
    VolumeSpike {
        /// Multiplier of the rate of market orders that nothing excited.
        factor: f64,
    },
}

/// One entry of a script.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regime {
    /// Start, counted from the start of the run.
    pub start: Duration,
    /// Length, above 0.
    pub duration: Duration,
    /// What happens.
    pub kind: RegimeKind,
    /// Affected instruments by index; empty means all of them. Conditions of the latent price (volatile, flash crash)
    /// reach every instrument of the same assets.
    pub instruments: Vec<usize>,
}

/// A schedule of regimes. They may overlap; effects multiply.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The entries, in any order.
    pub regimes: Vec<Regime>,
}

/// Ground truth for one regime: the times of the market itself, not those of its frames' arrival.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegimeSpan {
    /// Venue time of the start, ns since the epoch.
    pub start_ns: i64,
    /// Venue time of the end (exclusive), ns since the epoch.
    pub end_ns: i64,
    /// What happened, with its strength.
    #[serde(flatten)]
    pub kind: RegimeKind,
    /// Affected instruments by index; never empty.
    pub instruments: Vec<usize>,
    /// Their labels, for people.
    pub labels: Vec<String>,
}

impl Script {
    /// One regime of each kind (both kinds of stall) at fixed fractions of a run of the default instruments, with
    /// calm between. Lengths are capped, so that a long run has the same crash, not a slower one.
    pub fn demo(total: Duration) -> Self {
        use RegimeKind as Kind;
        // (start and length as parts of the run, longest length in seconds, kind, instruments)
        let plan: [(f64, f64, f64, RegimeKind, &[usize]); 9] = [
            (0.02, 0.08, 60.0, Kind::Calm, &[]),
            (0.13, 0.09, 60.0, Kind::Volatile { factor: 3.5 }, &[]),
            (0.26, 0.06, 30.0, Kind::VolumeSpike { factor: 8.0 }, &[]),
            (0.37, 0.09, 15.0, Kind::FlashCrash { drop_percent: 4.0, rebound: 0.5 }, &[]),
            (0.52, 0.04, 15.0, Kind::LiquidityHole { half_width_bp: 25.0 }, &[]),
            (0.61, 0.03, 6.0, Kind::FeedStall { lossy: false }, &[2, 3]),
            (0.69, 0.03, 6.0, Kind::FeedStall { lossy: true }, &[2]),
            (0.77, 0.05, 20.0, Kind::LatencySpike { delay_ms: 400.0 }, &[0, 1]),
            (0.87, 0.09, 40.0, Kind::CorrelationBreak, &[0]),
        ];
        let regimes = plan
            .into_iter()
            .map(|(start, part, cap, kind, instruments)| {
                let duration = total.mul_f64(part).min(Duration::from_secs_f64(cap));
                Regime { start: total.mul_f64(start), duration, kind, instruments: instruments.to_vec() }
            })
            .filter(|regime| !regime.duration.is_zero())
            .collect();
        Self { regimes }
    }

    /// Checks ranges and instrument indices.
    ///
    /// # Errors
    /// Names the first impossible entry.
    pub fn validate(&self, instruments: usize) -> Result<(), SimError> {
        for (entry, regime) in self.regimes.iter().enumerate() {
            let fail = |reason: String| Err(SimError::Regime { entry, reason });
            if regime.duration.is_zero() {
                return fail("its duration is 0".to_owned());
            }
            if regime.start.checked_add(regime.duration).is_none_or(|end| end > Duration::from_secs(1 << 30)) {
                return fail("it ends more than 34 years after the start".to_owned());
            }
            if let Some(index) = regime.instruments.iter().find(|&&index| index >= instruments) {
                return fail(format!("instrument {index} does not exist, there are {instruments}"));
            }
            let (name, value, low, high) = match regime.kind {
                RegimeKind::Calm | RegimeKind::FeedStall { .. } | RegimeKind::CorrelationBreak => continue,
                RegimeKind::Volatile { factor } => ("factor", factor, 1.0, 20.0),
                RegimeKind::VolumeSpike { factor } => ("factor", factor, 1.0, 50.0),
                RegimeKind::LiquidityHole { half_width_bp } => ("half_width_bp", half_width_bp, 0.1, 500.0),
                RegimeKind::LatencySpike { delay_ms } => ("delay_ms", delay_ms, 0.001, 60_000.0),
                RegimeKind::FlashCrash { drop_percent, rebound } => {
                    if !(0.0..=1.0).contains(&rebound) {
                        return fail(format!("rebound is {rebound}, expected a part in [0, 1]"));
                    }
                    ("drop_percent", drop_percent, 0.001, 50.0)
                }
            };
            if !(low..=high).contains(&value) {
                return fail(format!("{name} is {value}, expected a number in [{low}, {high}]"));
            }
        }
        Ok(())
    }

    /// The spans in order of their start, clipped to the run, with instruments resolved.
    pub(crate) fn spans(&self, start_ns: i64, end_ns: i64, labels: &[String]) -> Vec<RegimeSpan> {
        let mut spans: Vec<_> = self
            .regimes
            .iter()
            .map(|regime| {
                let from = start_ns + nanos(regime.start);
                let mut instruments = regime.instruments.clone();
                if instruments.is_empty() {
                    instruments = (0..labels.len()).collect();
                }
                instruments.sort_unstable();
                instruments.dedup();
                RegimeSpan {
                    start_ns: from,
                    end_ns: (from + nanos(regime.duration)).min(end_ns),
                    kind: regime.kind,
                    labels: instruments.iter().map(|&index| labels[index].clone()).collect(),
                    instruments,
                }
            })
            .filter(|span| span.start_ns < span.end_ns)
            .collect();
        spans.sort_by_key(|span| (span.start_ns, span.end_ns));
        spans
    }
}

/// Saturating, because validation has bounded it long before.
fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX / 4)
}

impl RegimeSpan {
    /// Whether it rules at this venue time for this instrument.
    pub fn covers(&self, time_ns: i64, instrument: usize) -> bool {
        self.at(time_ns) && self.instruments.contains(&instrument)
    }

    /// Whether it rules at this venue time for any instrument.
    pub(crate) fn at(&self, time_ns: i64) -> bool {
        self.start_ns <= time_ns && time_ns < self.end_ns
    }

    /// Elapsed part of the span, in [0, 1].
    pub(crate) fn progress(&self, time_ns: i64) -> f64 {
        ((time_ns - self.start_ns) as f64 / (self.end_ns - self.start_ns) as f64).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_is_ordered_and_separated_for_any_length() {
        for seconds in [10, 120, 3_600] {
            let script = Script::demo(Duration::from_secs(seconds));
            assert!(script.validate(6).is_ok());
            for pair in script.regimes.windows(2) {
                assert!(pair[0].start + pair[0].duration < pair[1].start);
            }
        }
    }

    #[test]
    fn impossible_entries_are_named() {
        let entry = |kind, instruments| Script {
            regimes: vec![Regime { start: Duration::ZERO, duration: Duration::from_secs(1), kind, instruments }],
        };
        let error = entry(RegimeKind::Volatile { factor: f64::NAN }, vec![]).validate(6);
        assert!(error.is_err_and(|error| error.to_string().contains("factor is NaN")));
        let error = entry(RegimeKind::Calm, vec![6]).validate(6);
        assert!(error.is_err_and(|error| error.to_string().contains("instrument 6 does not exist")));
    }
}
