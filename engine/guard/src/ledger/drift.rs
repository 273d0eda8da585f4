//! Timing drift: how long an entry or an exit waits, from a keyed sequence.
//!
//! Whoever knows the key can tell every wait; whoever does not cannot tell one from the others. The sequence has
//! [`STEPS`] steps and begins again behind the last. Step `i` is the first 64 bits of
//! `HMAC-SHA-256(key, "tidegate drift v1" || i as u64, big-endian)` (RFC 2104, FIPS 198-1), scaled to the range.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Steps of the sequence, unless told otherwise.
pub const STEPS: u32 = 256;

/// A range that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("drift from {from:?} to {to:?} in {steps} steps, expected from <= to <= 1 hour and 1 to 65,536 steps")]
pub struct DriftError {
    /// Shortest wait.
    pub from: Duration,
    /// Longest wait.
    pub to: Duration,
    /// Steps of the sequence.
    pub steps: u32,
}

/// A keyed sequence of waits.
#[derive(Clone)]
pub struct Drift {
    keyed: Hmac<Sha256>,
    from_ns: u64,
    to_ns: u64,
    steps: u32,
}

impl std::fmt::Debug for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys are not for logs.
        f.debug_struct("Drift").field("from_ns", &self.from_ns).field("to_ns", &self.to_ns).finish_non_exhaustive()
    }
}

impl Drift {
    /// The sequence of a key: waits from `from` to `to`, both included.
    ///
    /// # Errors
    /// [`DriftError`]: no such range.
    pub fn new(key: &[u8; 32], (from, to): (Duration, Duration), steps: u32) -> Result<Self, DriftError> {
        if from > to || to > Duration::from_secs(3_600) || !(1..=65_536).contains(&steps) {
            return Err(DriftError { from, to, steps });
        }
        let Ok(keyed) = Hmac::new_from_slice(key) else { unreachable!("a key of any length will do") };
        Ok(Self { keyed, from_ns: from.as_nanos() as u64, to_ns: to.as_nanos() as u64, steps })
    }

    /// The wait at a step; steps beyond the last begin again.
    pub fn delay(&self, step: u64) -> Duration {
        let digest = self.digest(b"tidegate drift v1", step % u64::from(self.steps));
        let [a, b, c, d, e, f, g, h, ..] = digest;
        let drawn = u128::from(u64::from_be_bytes([a, b, c, d, e, f, g, h]));
        let span = u128::from(self.to_ns - self.from_ns) + 1;
        Duration::from_nanos(self.from_ns + ((drawn * span) >> 64) as u64)
    }

    /// A digest that shows which key is in force without telling it.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.digest(b"tidegate drift fingerprint v1", 0)
    }

    fn digest(&self, purpose: &[u8], number: u64) -> [u8; 32] {
        let mut keyed = self.keyed.clone();
        keyed.update(purpose);
        keyed.update(&number.to_be_bytes());
        keyed.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

    #[test]
    fn the_same_key_and_step_give_the_same_wait() {
        let drift = |byte| Drift::new(&[byte; 32], RANGE, STEPS).expect("a range");
        let all: Vec<Duration> = (0..256).map(|step| drift(7).delay(step)).collect();
        assert!(all.iter().all(|wait| (RANGE.0..=RANGE.1).contains(wait)));
        assert!((0..256).all(|step| drift(7).delay(step + 256) == all[step as usize]), "it begins again");
        let others = (0..256).filter(|step| drift(8).delay(*step) != all[*step as usize]).count();
        assert!(others > 250, "{others}");
        // Spread over the range: no eighth of it is empty (the chance of that is 2^-46 or so for a fair sequence).
        let eighths: std::collections::HashSet<u128> =
            all.iter().map(|wait| (*wait - RANGE.0).as_nanos() * 8 / 1_900_000_001).collect();
        assert_eq!(eighths.len(), 8);
        // By another program: Python's hmac.
        assert_eq!(GOLDEN.map(|(step, _)| all[step].as_nanos() as u64), GOLDEN.map(|(_, ns)| ns));
    }

    const GOLDEN: [(usize, u64); 3] = [(0, 1_080_468_887), (1, 1_491_445_002), (255, 1_620_066_222)];

    #[test]
    fn ranges_that_are_none_are_refused() {
        let bad = |from, to, steps| {
            Drift::new(&[0; 32], (Duration::from_millis(from), Duration::from_millis(to)), steps).is_err()
        };
        assert!(bad(2, 1, 256) && bad(0, 3_600_001, 256) && bad(1, 2, 0) && bad(1, 2, 65_537));
        let one = Drift::new(&[0; 32], (RANGE.0, RANGE.0), 1).expect("a range of one");
        assert_eq!(one.delay(99), RANGE.0);
        assert!(!format!("{one:?}").contains("keyed"));
    }
}
