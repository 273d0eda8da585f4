//! Random faults. The seed decides kinds, times and order; where they hit depends on who is connected.

use serde::{Deserialize, Serialize};
use strum::VariantArray;

use super::{Fault, FaultKind};
use crate::draw::Draw;
use crate::exchange::ExchangeError;
use crate::exchange::venue::Venue;

/// Stream of draws that nothing else of the exchange uses.
const STREAM: u64 = 1 << 40;

/// Random faults at a mean rate.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chaos {
    /// Seed; the same one gives the same faults at the same times after the start.
    pub seed: u64,
    /// Mean number of faults a minute, over all venues.
    pub per_minute: f64,
    /// Kinds to choose from; all of them if empty.
    #[serde(default)]
    pub kinds: Vec<FaultKind>,
    #[serde(skip)]
    state: Option<State>,
}

struct State {
    draw: Draw,
    next_ns: i64,
}

impl Chaos {
    /// Faults of every kind.
    pub fn new(seed: u64, per_minute: f64) -> Self {
        Self { seed, per_minute, kinds: Vec::new(), state: None }
    }

    pub(crate) fn validate(&self) -> Result<(), ExchangeError> {
        if self.per_minute > 0.0 && self.per_minute <= 6_000.0 {
            return Ok(());
        }
        Err(ExchangeError::Config(format!("chaos: per_minute is {}, expected above 0 to 6000", self.per_minute)))
    }

    fn state(&mut self) -> &mut State {
        let (seed, mean_ns) = (self.seed, 60e9 / self.per_minute);
        self.state.get_or_insert_with(|| {
            let mut draw = Draw::new(seed, STREAM);
            let next_ns = (draw.exponential() * mean_ns) as i64;
            State { draw, next_ns }
        })
    }

    /// Time of the next fault, after the start.
    pub(crate) fn next_at_ns(&mut self) -> i64 {
        self.state().next_ns
    }

    /// The next fault, somewhere among `venues`.
    pub(crate) fn draw(&mut self, venues: &[Venue]) -> Fault {
        let mean_ns = 60e9 / self.per_minute;
        let kinds = if self.kinds.is_empty() { FaultKind::VARIANTS.to_vec() } else { self.kinds.clone() };
        let state = self.state();
        let kind = kinds[state.draw.below(kinds.len())];
        let venue = venues[state.draw.below(venues.len())];
        let lasting_ms = 200 + state.draw.below(3_000) as u64;
        let by = 1 + state.draw.below(5_000) as i64;
        state.next_ns += (state.draw.exponential() * mean_ns) as i64 + 1;
        Fault {
            venue: Some(if kind == FaultKind::WrongChecksum { Venue::Bitget } else { venue }),
            lasting: std::time::Duration::from_millis(lasting_ms),
            delay: std::time::Duration::from_millis(lasting_ms / 2),
            by,
            ..Fault::new(kind)
        }
    }
}

impl Clone for Chaos {
    /// A copy begins anew: the seed says everything.
    fn clone(&self) -> Self {
        Self { seed: self.seed, per_minute: self.per_minute, kinds: self.kinds.clone(), state: None }
    }
}

impl PartialEq for Chaos {
    fn eq(&self, other: &Self) -> bool {
        (self.seed, self.per_minute, &self.kinds) == (other.seed, other.per_minute, &other.kinds)
    }
}

impl std::fmt::Debug for Chaos {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Chaos {{ seed: {}, per_minute: {} }}", self.seed, self.per_minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(seed: u64) -> Vec<(i64, Fault)> {
        let mut chaos = Chaos::new(seed, 60.0);
        (0..200).map(|_| (chaos.next_at_ns(), chaos.draw(Venue::VARIANTS))).collect()
    }

    #[test]
    fn the_seed_decides_kinds_times_and_order() {
        assert_eq!(series(3), series(3));
        assert_ne!(series(3), series(4));
        let faults = series(3);
        assert!(faults.is_sorted_by_key(|(at, _)| *at));
        // 200 faults at one a second.
        let last = faults[199].0 as f64 / 1e9;
        assert!((140.0..260.0).contains(&last), "{last}");
        assert!(faults.iter().all(|(_, fault)| fault.validate().is_ok()));
        let kinds: std::collections::BTreeSet<_> = faults.iter().map(|(_, fault)| fault.kind).collect();
        assert_eq!(kinds.len(), FaultKind::VARIANTS.len());
    }
}
