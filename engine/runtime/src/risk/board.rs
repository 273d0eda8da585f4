//! Which breakers are open, as their decisions tell it: written by the scribe, read by the risk desk.

use std::sync::atomic::{AtomicU32, Ordering};

use tidegate_guard::risk::Permits;
use tidegate_guard::rules::{DRAWDOWN, MANUAL};
use tidegate_wire::decision::{BreakerState, Decision, Scope};
use tidegate_wire::order::LimitScope;
use tidegate_wire::{InstrumentId, Venue};

/// Open breakers of one scope: those of rules, the one that is tripped by hand, and the one of losses.
#[derive(Debug, Default)]
struct Open {
    rules: AtomicU32,
    manual: AtomicU32,
    losses: AtomicU32,
}

impl Open {
    fn is_any(&self) -> bool {
        [&self.rules, &self.manual, &self.losses].iter().any(|count| count.load(Ordering::Acquire) > 0)
    }
}

/// Open breakers by scope.
#[derive(Debug)]
pub(crate) struct Board {
    instruments: Box<[Open]>,
    venues: Box<[Open]>,
    strategies: Box<[Open]>,
    engine: [Open; 1],
}

impl Board {
    pub(crate) fn new(instruments: usize, strategies: usize) -> Self {
        let zeros = |count: usize| (0..count).map(|_| Open::default()).collect();
        Self {
            instruments: zeros(instruments),
            venues: zeros(Venue::ALL.len()),
            strategies: zeros(strategies),
            engine: [Open::default()],
        }
    }

    /// A breaker changed its state. One thread tells, in the order of the decisions.
    pub(crate) fn decided(&self, decision: &Decision) {
        let state = |number| BreakerState::from_repr(number).unwrap_or(BreakerState::Tripped).allows_trading();
        let (was, is) = (state(decision.from), state(decision.to));
        let place = Scope::from_repr(decision.scope).and_then(|scope| {
            let of: &[Open] = match scope {
                Scope::Instrument => &self.instruments,
                Scope::Venue => &self.venues,
                Scope::Strategy => &self.strategies,
                Scope::Engine => &self.engine,
            };
            of.get(usize::from(decision.scope_id))
        });
        let Some(place) = place.filter(|_| was != is) else { return };
        let place = match decision.rule {
            MANUAL => &place.manual,
            DRAWDOWN => &place.losses,
            _ => &place.rules,
        };
        let open = place.load(Ordering::Relaxed);
        place.store(if is { open.saturating_sub(1) } else { open + 1 }, Ordering::Release);
    }

    /// What is permitted to a strategy on an instrument of a venue; without a strategy, to what the desk itself wants.
    /// What is not known is not permitted; a strategy that no breaker watches is. What was tripped by hand does not
    /// count in a scope whose kill switch is `thrown`: that has a rule of its own. Losses do not hold the desk back,
    /// whose orders are there to make them smaller.
    pub(crate) fn permits(
        &self,
        instrument: InstrumentId,
        venue: u8,
        strategy: Option<u16>,
        thrown: impl Fn(LimitScope, u16) -> bool,
    ) -> Permits {
        let of = |of: &[Open], scope: LimitScope, id: u16| {
            let open = of.get(usize::from(id))?;
            let by_hand = open.manual.load(Ordering::Acquire) > 0 && !thrown(scope, id);
            let permits = open.rules.load(Ordering::Acquire) == 0 && !by_hand;
            Some((permits, open.losses.load(Ordering::Acquire) == 0))
        };
        let (unknown, unwatched) = ((false, true), (true, true));
        let engine = of(&self.engine, LimitScope::Firm, 0).unwrap_or(unknown);
        let of_strategy = strategy.and_then(|strategy| of(&self.strategies, LimitScope::Strategy, strategy));
        let of_strategy = of_strategy.unwrap_or(unwatched);
        Permits {
            instrument: of(&self.instruments, LimitScope::Instrument, instrument.0).unwrap_or(unknown).0,
            venue: of(&self.venues, LimitScope::Venue, u16::from(venue)).unwrap_or(unknown).0,
            strategy: of_strategy.0,
            engine: engine.0,
            strategy_losses: of_strategy.1,
            engine_losses: engine.1 || strategy.is_none(),
        }
    }

    /// Scopes with open breakers, and of which kind: of rules, by hand, of losses.
    pub(crate) fn open(&self) -> Vec<(LimitScope, u16, Vec<&'static str>)> {
        let all: [(LimitScope, &[Open]); 4] = [
            (LimitScope::Firm, &self.engine),
            (LimitScope::Venue, &self.venues),
            (LimitScope::Strategy, &self.strategies),
            (LimitScope::Instrument, &self.instruments),
        ];
        let kinds = |open: &Open| {
            let counts = [("rules", &open.rules), ("by hand", &open.manual), ("losses", &open.losses)];
            counts.into_iter().filter(|(_, count)| count.load(Ordering::Acquire) > 0).map(|(kind, _)| kind).collect()
        };
        let of = |(scope, of): (LimitScope, &[Open])| {
            let open = of.iter().zip(0..).filter(|(open, _)| open.is_any());
            open.map(|(open, id)| (scope, id, kinds(open))).collect::<Vec<_>>()
        };
        all.into_iter().flat_map(of).collect()
    }

    /// Instruments that are stopped by breakers of their own.
    pub(crate) fn stopped_instruments(&self) -> u32 {
        self.instruments.iter().filter(|open| open.is_any()).count() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    #[test]
    fn a_scope_is_stopped_while_any_of_its_breakers_is_open() {
        let board = Board::new(2, 1);
        let change = |scope: Scope, id, from: BreakerState, to: BreakerState| {
            let (scope, from, to) = (scope as u8, from as u8, to as u8);
            board.decided(&Decision { scope, scope_id: id, from, to, ..Decision::zeroed() });
        };
        let permits = |strategy| board.permits(InstrumentId(1), 0, Some(strategy), |_, _| false);
        assert_eq!(permits(0), Permits::ALL);
        change(Scope::Instrument, 1, BreakerState::Closed, BreakerState::Tripped);
        change(Scope::Instrument, 1, BreakerState::HalfOpen, BreakerState::Tripped);
        change(Scope::Instrument, 1, BreakerState::Tripped, BreakerState::Cooling);
        change(Scope::Instrument, 1, BreakerState::Cooling, BreakerState::HalfOpen);
        assert!(!permits(0).instrument, "the other breaker is open");
        assert_eq!(board.stopped_instruments(), 1);
        change(Scope::Instrument, 1, BreakerState::Tripped, BreakerState::Closed);
        assert_eq!((permits(0), board.stopped_instruments()), (Permits::ALL, 0));
        change(Scope::Strategy, 0, BreakerState::Closed, BreakerState::Tripped);
        change(Scope::Engine, 0, BreakerState::Closed, BreakerState::Tripped);
        assert!(!permits(0).strategy && permits(7).strategy && !permits(0).engine);
        assert!(!board.permits(InstrumentId(9), 0, Some(0), |_, _| false).instrument, "nobody knows it");
        let lost = |scope: Scope, to: BreakerState| {
            board.decided(&Decision { scope: scope as u8, rule: DRAWDOWN, to: to as u8, ..Decision::zeroed() });
        };
        let losses = |strategy| {
            let permits = board.permits(InstrumentId(1), 0, strategy, |_, _| false);
            (permits.strategy_losses, permits.engine_losses)
        };
        lost(Scope::Strategy, BreakerState::Tripped);
        assert_eq!((losses(Some(0)), losses(Some(7))), ((false, true), (true, true)));
        lost(Scope::Engine, BreakerState::Tripped);
        let open = board.open();
        assert_eq!(open[0], (LimitScope::Firm, 0, vec!["rules", "losses"]));
        assert_eq!(open[1], (LimitScope::Strategy, 0, vec!["rules", "losses"]));
        assert_eq!((losses(Some(0)), losses(None)), ((false, false), (true, true)));
        let by_hand = Decision { scope: Scope::Venue as u8, rule: MANUAL, ..Decision::zeroed() };
        board.decided(&Decision { to: BreakerState::Tripped as u8, ..by_hand });
        assert!(!permits(7).venue, "an operator has tripped it");
        assert!(board.permits(InstrumentId(1), 0, Some(7), |scope, id| (scope, id) == (LimitScope::Venue, 0)).venue);
    }
}
