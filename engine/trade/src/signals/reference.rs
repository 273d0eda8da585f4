//! The price that coins are compared with.

use super::config::SimulatedReference;

/// How long a simulated price stands still, ns: it depends on time alone.
const STEP_NS: i64 = 1_000_000_000;
const NS: f64 = 1e-9;

/// Period, s, and size of the waves that a simulated price is made of, in logarithms.
const WAVES: [(f64, f64); 4] = [(127.0, 0.0004), (613.0, 0.001), (7_919.0, 0.006), (104_729.0, 0.03)];

/// Where the reference price comes from.
#[derive(Clone, Debug)]
pub enum Reference {
    /// An instrument: its newest mid.
    Observed {
        /// The newest price; 0 before the first.
        price: f64,
        /// When it came, ns since the Unix epoch.
        at_ns: i64,
        /// From what age on it counts as none, ns.
        stale_ns: i64,
    },
    /// A made-up path: a function of time and nothing else, so that any run over any part of it sees the same.
    Simulated {
        /// The price it moves around.
        price: f64,
        /// Of each wave, radians.
        phases: [f64; WAVES.len()],
        /// The step that was computed last, and its price.
        cached: (i64, f64),
    },
}

impl Reference {
    /// An instrument's price that is none from this age on, ns.
    pub const fn observed(stale_ns: i64) -> Self {
        Self::Observed { price: 0.0, at_ns: i64::MIN, stale_ns }
    }

    /// A made-up path.
    pub fn simulated(settings: SimulatedReference) -> Self {
        let mut state = settings.seed;
        let phases = WAVES.map(|_| {
            // SplitMix64 (Steele, Lea, Flood 2014): any seed is a good one.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            (mixed >> 11) as f64 / (1u64 << 53) as f64 * core::f64::consts::TAU
        });
        Self::Simulated { price: settings.price, phases, cached: (i64::MIN, settings.price) }
    }

    /// Whether it is made up.
    pub const fn is_simulated(&self) -> bool {
        matches!(self, Self::Simulated { .. })
    }

    /// The instrument's price is known anew.
    #[inline]
    pub fn observe(&mut self, now_ns: i64, mid: f64) {
        if let Self::Observed { price, at_ns, .. } = self
            && mid > 0.0
        {
            (*price, *at_ns) = (mid, now_ns);
        }
    }

    /// The price at a time with its age, ns; `None` while there is none that is fresh.
    #[inline]
    pub fn at(&mut self, now_ns: i64) -> Option<(f64, i64)> {
        match self {
            Self::Observed { price, at_ns, stale_ns } => {
                let age = now_ns.saturating_sub(*at_ns);
                (*price > 0.0 && age < *stale_ns).then_some((*price, age))
            }
            Self::Simulated { price, phases, cached } => {
                let step = now_ns.div_euclid(STEP_NS);
                if cached.0 != step {
                    let seconds = (step * STEP_NS) as f64 * NS;
                    let wave = |((period, size), phase): (&(f64, f64), &f64)| {
                        size * libm::sin(core::f64::consts::TAU * (seconds / period).fract() + phase)
                    };
                    let moved: f64 = WAVES.iter().zip(phases.iter()).map(wave).sum();
                    *cached = (step, *price * libm::exp(moved));
                }
                Some((cached.1, 0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_grows_old() {
        let mut reference = Reference::observed(10);
        assert_eq!(reference.at(5), None, "nothing came yet");
        reference.observe(5, 4.2);
        reference.observe(6, 0.0);
        reference.observe(6, f64::NAN);
        assert_eq!(reference.at(5), Some((4.2, 0)));
        assert_eq!(reference.at(14), Some((4.2, 9)));
        assert_eq!(reference.at(15), None, "stale");
        assert!(!reference.is_simulated());
    }

    #[test]
    fn a_simulated_price_depends_on_time_and_seed_alone() {
        let path = |seed, from: i64| {
            let mut reference = Reference::simulated(SimulatedReference { seed, price: 5.0 });
            (from..900).map(|s| reference.at(s * STEP_NS + 7).map(|(price, _)| price)).collect::<Vec<_>>()
        };
        assert_eq!(path(1, 0)[500..], path(1, 500)[..]);
        assert_ne!(path(1, 500), path(2, 500));
        let all: Vec<f64> = path(3, 0).into_iter().flatten().collect();
        assert!(all.iter().all(|price| (4.7..5.3).contains(price)), "it stays near its price");
        assert!(all.windows(2).any(|pair| pair[0] != pair[1]), "it moves");
    }
}
