//! Self-exciting arrivals of market orders.
//!
//! Two mutually exciting point processes (buys, sells) with an exponential kernel: every arrival raises the intensity
//! of its own side by `own` and of the other side by `cross`, and both raises die away at rate `decay` (Hawkes 1971).
//! With baseline m on each side the mean rate of both together is 2 m / (1 - n), where the branching ratio
//! n = (own + cross) / decay is the expected number of direct children of an arrival and must be below 1.
//! Between arrivals the intensity only falls, so its present value bounds it until something happens and candidate
//! times can be thinned exactly (Ogata 1981).

use super::book::Side;

/// The excited part of the two intensities. The baseline belongs to the caller, who may change it at any time.
#[derive(Debug, Clone)]
pub(crate) struct Hawkes {
    /// Excitation above the baseline by side, arrivals per second, never negative.
    excited: [f64; 2],
    /// Rise of an arrival's own side, 1/s.
    own: f64,
    /// Rise of the opposite side, 1/s.
    cross: f64,
    /// Rate at which excitation dies away, 1/s.
    decay: f64,
}

impl Hawkes {
    /// `branching` is in [0, 1), `cross_share` in [0, 1] is the part of it that goes to the other side.
    pub(crate) fn new(branching: f64, cross_share: f64, decay: f64) -> Self {
        assert!((0.0..1.0).contains(&branching), "branching ratio {branching} would let the arrivals explode");
        assert!(decay > 0.0 && (0.0..=1.0).contains(&cross_share));
        Self {
            excited: [0.0; 2],
            own: branching * decay * (1.0 - cross_share),
            cross: branching * decay * cross_share,
            decay,
        }
    }

    /// Excitation of one side, arrivals per second above the baseline.
    pub(crate) fn excited(&self, side: Side) -> f64 {
        self.excited[side.index()]
    }

    /// Lets `seconds` pass without an arrival.
    pub(crate) fn pass(&mut self, seconds: f64) {
        let left = libm::exp(-self.decay * seconds);
        self.excited[0] *= left;
        self.excited[1] *= left;
    }

    /// Registers an arrival now.
    pub(crate) fn arrive(&mut self, side: Side) {
        self.excited[side.index()] += self.own;
        self.excited[side.opposite().index()] += self.cross;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;

    /// Arrival times of one run with a constant baseline, thinned as the order flow does it.
    fn run(hawkes: &mut Hawkes, baseline: f64, seconds: f64, draw: &mut Draw) -> Vec<(f64, Side)> {
        let (mut now, mut arrivals) = (0.0, Vec::new());
        let total = |hawkes: &Hawkes| 2.0 * baseline + hawkes.excited(Side::Buy) + hawkes.excited(Side::Sell);
        loop {
            let bound = total(hawkes);
            let step = draw.exponential() / bound;
            now += step;
            if now >= seconds {
                return arrivals;
            }
            hawkes.pass(step);
            let buy = baseline + hawkes.excited(Side::Buy);
            let mark = draw.uniform() * bound;
            if mark >= total(hawkes) {
                continue;
            }
            let side = if mark < buy { Side::Buy } else { Side::Sell };
            hawkes.arrive(side);
            arrivals.push((now, side));
        }
    }

    #[test]
    fn mean_rate_is_the_theoretical_one() {
        for (branching, cross) in [(0.0, 0.0), (0.5, 0.2), (0.8, 0.3)] {
            let mut hawkes = Hawkes::new(branching, cross, 6.0);
            let arrivals = run(&mut hawkes, 2.0, 20_000.0, &mut Draw::new(3, 0));
            let rate = arrivals.len() as f64 / 20_000.0;
            let theory = 4.0 / (1.0 - branching);
            assert!((rate / theory - 1.0).abs() < 0.03, "n = {branching}: {rate} against {theory}");
        }
    }

    #[test]
    fn counts_are_overdispersed_as_in_theory() {
        // For windows much longer than the memory the variance-to-mean ratio of counts tends to 1 / (1 - n)^2.
        let mut hawkes = Hawkes::new(0.6, 0.3, 20.0);
        let arrivals = run(&mut hawkes, 2.0, 40_000.0, &mut Draw::new(5, 0));
        let mut counts = vec![0.0; 4_000];
        for (time, _) in arrivals {
            counts[(time / 10.0) as usize] += 1.0;
        }
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let variance = counts.iter().map(|count| (count - mean) * (count - mean)).sum::<f64>() / counts.len() as f64;
        assert!((variance / mean / 6.25 - 1.0).abs() < 0.15, "{}", variance / mean);
    }

    #[test]
    #[should_panic(expected = "explode")]
    fn a_branching_ratio_of_one_is_refused() {
        Hawkes::new(1.0, 0.2, 6.0);
    }
}
