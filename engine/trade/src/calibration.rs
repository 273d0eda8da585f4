//! Is a stated probability one? Reliability, Brier score and log loss, beside what the base rate alone would have got.
//!
//! Brier, Verification of forecasts expressed in terms of probability (1950); reliability diagrams as in Murphy,
//! Winkler, Reliability of subjective probability forecasts (1977); intervals of frequencies by Wilson, Probable
//! inference, the law of succession, and statistical inference (1927).

use serde::Serialize;

/// Bins of a reliability diagram, of equal width.
pub const BINS: usize = 10;
/// Stated probabilities are held this far from 0 and 1 in the log loss, which is infinite there.
const CLIP: f64 = 1e-6;
/// Standard deviations of a 95 % interval.
const Z95: f64 = 1.959_963_984_540_054;

/// What one stated probability costs, given what happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Loss {
    /// Minus the logarithm of the probability stated of what happened, nats; finite whatever was stated.
    pub(crate) log: f64,
    /// Squared difference of stated and happened.
    pub(crate) brier: f64,
}

/// A stated probability as it is scored: held to `[0, 1]`; what is no number counts as 0.5.
fn held(stated: f64) -> f64 {
    if stated.is_nan() { 0.5 } else { stated.clamp(0.0, 1.0) }
}

/// What a stated probability costs.
pub(crate) fn loss(stated: f64, happened: bool) -> Loss {
    let of_what_happened = if happened { held(stated) } else { 1.0 - held(stated) };
    let missed = 1.0 - of_what_happened;
    Loss { log: -libm::log(of_what_happened.clamp(CLIP, 1.0 - CLIP)), brier: missed * missed }
}

/// Stated probabilities and what happened, as they come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    bins: [Sums; BINS],
    brier: f64,
    log_loss: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    count: u64,
    happened: u64,
    stated: f64,
}

/// One bin of a reliability diagram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// From this stated probability on.
    pub from: f64,
    /// Up to this one; exclusive but in the last bin.
    pub to: f64,
    /// Cases.
    pub count: u64,
    /// Mean of what was stated.
    pub stated: f64,
    /// How often it happened.
    pub observed: f64,
    /// 95 % interval of that, lower end.
    pub low95: f64,
    /// 95 % interval of that, upper end.
    pub high95: f64,
}

/// How good stated probabilities were.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CalibrationReport {
    /// Cases.
    pub count: u64,
    /// How often it happened.
    pub base_rate: f64,
    /// Mean of what was stated.
    pub stated: f64,
    /// Mean squared difference of stated and happened; less is better.
    pub brier: f64,
    /// The same if the base rate of these cases had always been stated.
    pub brier_base: f64,
    /// Part of the base rate's Brier score that was done away with; below 0 when worse than the base rate.
    pub skill: f64,
    /// Mean of minus the logarithm of the probability stated of what happened.
    pub log_loss: f64,
    /// The same for the base rate.
    pub log_loss_base: f64,
    /// Mean distance of stated from observed over the bins, weighed by their cases.
    pub error: f64,
    /// Bins that hold cases.
    pub bins: Vec<Bin>,
}

impl Calibration {
    /// Adds a case. A stated probability outside `[0, 1]` is held to its ends; what is no number counts as 0.5.
    pub fn add(&mut self, stated: f64, happened: bool) {
        let (stated, loss) = (held(stated), loss(stated, happened));
        let place = ((stated * BINS as f64) as usize).min(BINS - 1);
        let bin = &mut self.bins[place];
        bin.count += 1;
        bin.happened += u64::from(happened);
        bin.stated += stated;
        self.brier += loss.brier;
        self.log_loss += loss.log;
    }

    /// Cases so far.
    pub fn count(&self) -> u64 {
        self.bins.iter().map(|bin| bin.count).sum()
    }

    /// What it comes to; `None` without cases.
    pub fn report(&self) -> Option<CalibrationReport> {
        let count = self.count();
        let cases = (count > 0).then_some(count as f64)?;
        let base_rate = self.bins.iter().map(|bin| bin.happened).sum::<u64>() as f64 / cases;
        let bins: Vec<Bin> = self.bins.iter().enumerate().filter_map(|(place, sums)| bin(place, sums)).collect();
        let brier = self.brier / cases;
        let brier_base = base_rate * (1.0 - base_rate);
        let entropy = |p: f64| if p > 0.0 { -p * libm::log(p) } else { 0.0 };
        Some(CalibrationReport {
            count,
            base_rate,
            stated: self.bins.iter().map(|bin| bin.stated).sum::<f64>() / cases,
            brier,
            brier_base,
            skill: if brier_base > 0.0 { 1.0 - brier / brier_base } else { 0.0 },
            log_loss: self.log_loss / cases,
            log_loss_base: entropy(base_rate) + entropy(1.0 - base_rate),
            error: bins.iter().map(|bin| (bin.stated - bin.observed).abs() * bin.count as f64).sum::<f64>() / cases,
            bins,
        })
    }
}

fn bin(place: usize, sums: &Sums) -> Option<Bin> {
    let cases = (sums.count > 0).then_some(sums.count as f64)?;
    let observed = sums.happened as f64 / cases;
    let (low95, high95) = wilson(observed, cases);
    let edge = |place: usize| place as f64 / BINS as f64;
    let (from, to) = (edge(place), edge(place + 1));
    Some(Bin { from, to, count: sums.count, stated: sums.stated / cases, observed, low95, high95 })
}

/// Wilson's 95 % interval of a frequency among so many cases.
fn wilson(observed: f64, cases: f64) -> (f64, f64) {
    let z2 = Z95 * Z95;
    let middle = observed + z2 / (2.0 * cases);
    let half = Z95 * libm::sqrt(observed * (1.0 - observed) / cases + z2 / (4.0 * cases * cases));
    let scale = 1.0 + z2 / cases;
    // At the ends an end of the interval is exact, which roundings miss by a hair.
    let low = if observed <= 0.0 { 0.0 } else { ((middle - half) / scale).max(0.0) };
    let high = if observed >= 1.0 { 1.0 } else { ((middle + half) / scale).min(1.0) };
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn nothing_is_said_of_no_cases() {
        assert_eq!(Calibration::default().report(), None);
    }

    #[test]
    fn scores_of_known_cases() {
        let mut calibration = Calibration::default();
        for (stated, happened) in [(0.25, false), (0.25, false), (0.25, true), (0.25, false), (0.75, true)] {
            calibration.add(stated, happened);
        }
        let report = calibration.report().expect("a report");
        assert_eq!((report.count, report.bins.len()), (5, 2));
        assert!(near(report.base_rate, 0.4) && near(report.stated, 0.35));
        assert!(near(report.brier, (3.0 * 0.0625 + 0.5625 + 0.0625) / 5.0), "{}", report.brier);
        assert!(near(report.brier_base, 0.24));
        assert!(near(report.log_loss, -(4.0 * libm::log(0.75) + libm::log(0.25)) / 5.0), "{}", report.log_loss);
        assert!(near(report.error, (0.0 * 4.0 + 0.25) / 5.0), "{}", report.error);
        let bin = report.bins[0];
        assert!(near(bin.from, 0.2) && near(bin.to, 0.3) && bin.count == 4 && near(bin.observed, 0.25));
        assert!(bin.low95 > 0.04 && bin.low95 < 0.05 && bin.high95 > 0.69 && bin.high95 < 0.70, "{bin:?}");
    }

    #[test]
    fn ends_and_nonsense_are_held() {
        let mut calibration = Calibration::default();
        for (stated, happened) in [(1.0, false), (0.0, true), (7.0, true), (-1.0, false), (f64::NAN, true)] {
            calibration.add(stated, happened);
        }
        let report = calibration.report().expect("a report");
        assert!(report.log_loss.is_finite() && report.brier.is_finite());
        assert_eq!(report.bins.iter().map(|bin| bin.count).sum::<u64>(), 5);
        assert_eq!(report.bins.last().map(|bin| bin.to), Some(1.0));
    }

    #[test]
    fn one_outcome_alone_has_no_skill() {
        let mut calibration = Calibration::default();
        (0..10).for_each(|_| calibration.add(0.9, true));
        let report = calibration.report().expect("a report");
        assert_eq!((report.skill, report.log_loss_base, report.brier_base), (0.0, 0.0, 0.0));
    }

    #[test]
    fn intervals_end_where_frequencies_do() {
        for cases in 1..200 {
            let (low, high) = (wilson(0.0, f64::from(cases)).0, wilson(1.0, f64::from(cases)).1);
            assert!(low == 0.0 && high == 1.0, "{cases}: {low} {high}");
        }
    }
}
