//! What the engine and its strategies have lost, as the breakers are told it.

use std::time::{Duration, Instant};

use tidegate_guard::Command;
use tidegate_guard::risk::RiskGate;
use tidegate_wire::decision::Scope;
use tidegate_wire::order::LimitScope;

/// Steps in which it is told, millionths: a basis point. Every telling is an entry of the audit log.
const STEP: u32 = 100;
/// How often something better is told at most: at the border of two steps a price may go to and fro for hours.
const BETTER: Duration = Duration::from_secs(1);

/// What of it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tell {
    /// What is worse, and what has been better for a while.
    Due,
    /// What is another.
    All,
}

/// A drawdown as it was told last.
#[derive(Clone, Copy, Debug)]
struct Told {
    millionths: u32,
    at: Instant,
}

/// Drawdowns of the engine and then of the strategies that breakers watch.
#[derive(Debug)]
pub(super) struct Drawdowns(Box<[Told]>);

impl Drawdowns {
    pub(super) fn of(strategies: usize) -> Self {
        Self(vec![Told { millionths: 0, at: Instant::now() }; 1 + strategies].into())
    }

    /// Adds a command for every drawdown that has become another one, in whole steps, rounded down: a breaker whose
    /// threshold is whole basis points trips exactly there. A scope without capital has none.
    pub(super) fn tell(&mut self, gate: &RiskGate, commands: &mut Vec<Command>, what: Tell) {
        for (index, told) in self.0.iter_mut().enumerate() {
            let (limits, scope, id) = match index.checked_sub(1) {
                None => (LimitScope::Firm, Scope::Engine, 0),
                Some(strategy) => (LimitScope::Strategy, Scope::Strategy, strategy as u16),
            };
            let Some(drawdown) = gate.drawdown_millionths(limits, id) else { continue };
            let now = drawdown / STEP * STEP;
            let due = what == Tell::All || now > told.millionths || told.at.elapsed() >= BETTER;
            if now == told.millionths || !due {
                continue;
            }
            *told = Told { millionths: now, at: Instant::now() };
            // One that the hot loop has not taken yet is overtaken.
            commands.retain(|command| !matches!(command, Command::Drawdown(s, i, _) if (*s, *i) == (scope, id)));
            commands.push(Command::Drawdown(scope, id, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use tidegate_guard::risk::RiskLimits;
    use tidegate_wire::order::Execution;
    use tidegate_wire::{Instrument, InstrumentId, Price, Qty, Registry, Venue};

    use super::*;

    #[test]
    fn worse_is_told_at_once_and_better_in_a_while() {
        let mut registry = Registry::new();
        registry.add(Instrument::linear(Venue::Okx, "A", 1, 0)).expect("legal");
        let limits = r#"
[firm]
max_order_value = 1
max_gross_exposure = 1
messages = { count = 1, window_ms = 1 }
[accounts.main]
strategies = ["*"]
instruments = ["*"]
venues = ["*"]
[strategies.carry]
capital = 1000
"#;
        let limits = RiskLimits::from_toml(limits).expect("limits");
        let mut gate = RiskGate::new(&registry, &["carry"], &limits).expect("a gate");
        let fill = Execution { price: Price::from_raw(1_000), qty: Qty::from_raw(10), ..Execution::zeroed() };
        gate.on_fill(&fill).expect("booked");
        let (mut drawdowns, mut commands) = (Drawdowns::of(1), Vec::new());
        let mut tell = |gate: &mut RiskGate, price, what| {
            gate.on_mark(InstrumentId(0), Price::from_raw(price), 1);
            drawdowns.tell(gate, &mut commands, what);
            commands.clone()
        };
        let told = |millionths| vec![Command::Drawdown(Scope::Strategy, 0, millionths)];
        // Ten of them: a tenth of the price is a thousandth of the capital. The firm has no capital.
        assert_eq!(tell(&mut gate, 1_000, Tell::Due), []);
        assert_eq!(tell(&mut gate, 999, Tell::Due), told(1_000));
        assert_eq!(tell(&mut gate, 949, Tell::Due), told(51_000), "the one before was not taken");
        assert_eq!(tell(&mut gate, 950, Tell::Due), told(51_000), "not so soon");
        assert_eq!(tell(&mut gate, 950, Tell::All), told(50_000));
        // From a higher peak it is a part of more, rounded down to a basis point.
        assert_eq!(tell(&mut gate, 1_100, Tell::All), told(0));
        assert_eq!(tell(&mut gate, 1_099, Tell::Due), told(900));
    }
}
