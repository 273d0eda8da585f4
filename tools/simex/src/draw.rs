//! Random draws with the same bits on every host.
//!
//! The generator is ChaCha with 8 rounds, one stream for each part of the market, so that changing one instrument
//! leaves the draws of the others alone. Transcendental functions come from `libm`, because the C library's last bit
//! differs between platforms and a single bit would change every later frame.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Spacing of the 53-bit uniform grid.
const ULP: f64 = 1.0 / (1u64 << 53) as f64;

/// A seeded stream of draws.
pub(crate) struct Draw {
    rng: ChaCha8Rng,
    /// The second value of the last polar pair; used by the next call.
    spare_normal: Option<f64>,
}

impl Draw {
    /// `stream` separates parts that must not influence each other's draws.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self { rng, spare_normal: None }
    }

    /// Uniform in [0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 * ULP
    }

    /// Uniform in (0, 1], for logarithms.
    fn positive_uniform(&mut self) -> f64 {
        ((self.rng.next_u64() >> 11) + 1) as f64 * ULP
    }

    /// Uniform integer in [0, bound); `bound` is at least 1. The bias of the multiply is below 2^-40 here.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        debug_assert!(bound > 0);
        (self.uniform() * bound as f64) as usize
    }

    /// True with probability `p`.
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// Exponential with mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -libm::log(self.positive_uniform())
    }

    /// Standard normal (Box and Muller 1958, Marsaglia's polar form).
    pub(crate) fn normal(&mut self) -> f64 {
        if let Some(value) = self.spare_normal.take() {
            return value;
        }
        loop {
            let x = 2.0 * self.uniform() - 1.0;
            let y = 2.0 * self.uniform() - 1.0;
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let scale = libm::sqrt(-2.0 * libm::log(square) / square);
                self.spare_normal = Some(y * scale);
                return x * scale;
            }
        }
    }

    /// Log-normal with the given median (any unit) and standard deviation of the logarithm.
    pub(crate) fn log_normal(&mut self, median: f64, log_sd: f64) -> f64 {
        median * libm::exp(log_sd * self.normal())
    }

    /// Lomax (shifted power law): P(X > x) = (1 + x / scale)^-tail.
    pub(crate) fn power_law(&mut self, scale: f64, tail: f64) -> f64 {
        scale * (libm::exp(self.exponential() / tail) - 1.0)
    }

    /// A quantity in lots, at least 1: log-normal, and a share of it rounded to 1, 2 or 5 times a power of ten of
    /// lots, because people and their programs choose round amounts.
    pub(crate) fn lots(&mut self, median: f64, log_sd: f64, round_share: f64) -> i64 {
        let size = self.log_normal(median, log_sd).max(1.0);
        if !self.chance(round_share) {
            return size as i64;
        }
        let decade = libm::pow(10.0, libm::floor(libm::log10(size)));
        let digit = size / decade;
        let rounded = if digit < 1.5 {
            1.0
        } else if digit < 3.5 {
            2.0
        } else if digit < 7.5 {
            5.0
        } else {
            10.0
        };
        (rounded * decade) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut draw = Draw::new(7, 0);
        let n = 200_000;
        let (mut mean, mut square, mut exponential, mut tail) = (0.0, 0.0, 0.0, 0);
        for _ in 0..n {
            let z = draw.normal();
            mean += z;
            square += z * z;
            exponential += draw.exponential();
            tail += usize::from(draw.power_law(6.0, 0.9) > 60.0);
        }
        let n = n as f64;
        assert!((mean / n).abs() < 0.01);
        assert!((square / n - 1.0).abs() < 0.02);
        assert!((exponential / n - 1.0).abs() < 0.02);
        let expected = libm::pow(11.0, -0.9);
        assert!((tail as f64 / n - expected).abs() < 0.003);
    }

    #[test]
    fn round_lots_have_one_leading_digit() {
        let mut draw = Draw::new(1, 0);
        for _ in 0..1_000 {
            let lots = draw.lots(300.0, 1.5, 1.0).to_string();
            assert!(lots[1..].bytes().all(|digit| digit == b'0'), "{lots}");
        }
    }

    #[test]
    fn streams_differ_and_repeat() {
        let series = |seed, stream| {
            let mut draw = Draw::new(seed, stream);
            (0..8).map(|_| draw.uniform().to_bits()).collect::<Vec<_>>()
        };
        assert_eq!(series(1, 2), series(1, 2));
        assert_ne!(series(1, 2), series(1, 3));
        assert_ne!(series(1, 2), series(2, 2));
    }
}
