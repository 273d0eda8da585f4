//! What is held as the journal keeps it: by name, so that an edited configuration moves nothing to somebody else.

use std::path::Path;

use serde_json::json;
use tidegate_guard::risk::{Allowance, PersonId, RiskGate, Stake};
use tidegate_wire::order::{Execution, KillCause, LimitScope};
use tidegate_wire::{Price, Qty, Registry};

use super::ask::{Book, ReportAsk};
use super::desk::Owner;
use super::kept::{Found, Frame, Held, Kept, Trade};
use super::told::Names;
use super::{RiskDeskError, kept};

/// Gives a fresh gate what earlier runs left, and remembers their trades.
pub(super) fn restore(switches: &Path, gate: &mut RiskGate, registry: &Registry) -> Result<Kept, RiskDeskError> {
    let (mut kept, Found { event_ns, rows, after, earlier }) = Kept::open(&switches.with_extension("kept"))?;
    let reported = rows.iter().chain(&after).filter_map(|frame| match frame {
        Frame::Executed { report, .. } => Some(report),
        _ => None,
    });
    for report in earlier.iter().chain(reported) {
        if let Some(Ok(execution)) = (Book { gate, registry }).execution(report, 0) {
            kept.is_new(trade(&execution));
        }
    }
    gate.advance(event_ns);
    let mut allowances = Vec::new();
    for row in rows {
        let booked = match &row {
            Frame::Held(held) => stake(held, gate, registry)
                .and_then(|stake| gate.restore_stake(&stake, event_ns).map_err(|error| error.to_string())),
            // A scope that is not there any more has nothing to lose.
            Frame::Allowance(of) => {
                allowances.extend(allowance(of, &Book { gate, registry }));
                Ok(())
            }
            // It was nobody's then; perhaps its owner is back.
            Frame::Executed { report, .. } => fill(report, (event_ns, None), gate, registry),
            Frame::Snapshot { .. } => Ok(()),
        };
        kept.leave(booked, row);
    }
    gate.restore_allowances(&allowances);
    for frame in after {
        let Frame::Executed { event_ns, report, mark } = &frame else { continue };
        let booked = fill(report, (*event_ns, mark.map(Price::from_raw)), gate, registry);
        kept.leave(booked, frame);
    }
    Ok(kept)
}

/// By which a trade is known when it is reported again.
pub(super) const fn trade(execution: &Execution) -> Trade {
    (execution.account, execution.instrument.0, execution.side, execution.trade_id)
}

fn fill(
    report: &ReportAsk,
    (event_ns, mark): (i64, Option<Price>),
    gate: &mut RiskGate,
    registry: &Registry,
) -> Result<(), String> {
    let execution = (Book { gate, registry }).execution(report, event_ns);
    let execution = execution.unwrap_or_else(|| Err("it is no execution".into()))?;
    gate.restore_fill(&execution, mark).map_err(|error| error.to_string())
}

fn stake(held: &Held, gate: &RiskGate, registry: &Registry) -> Result<Stake, String> {
    let book = Book { gate, registry };
    let instrument = book.instrument(&held.instrument)?;
    let listed = registry.get(instrument).ok_or("the instrument has no definition")?;
    let decimals = (listed.price_scale.decimals(), listed.qty_scale.decimals());
    let rescaled = |raw: i64, (from, to): (u8, u8)| {
        rescaled(raw, from, to).ok_or_else(|| format!("{raw} with {from} decimals does not fit {to}"))
    };
    Ok(Stake {
        account: book.account(&held.account)?,
        strategy: book.strategy(&held.strategy)?,
        instrument,
        position: Qty::from_raw(rescaled(held.position, (held.decimals.1, decimals.1))?),
        cash: held.cash,
        coins: held.coins,
        mark: Price::from_raw(rescaled(held.mark, (held.decimals.0, decimals.0))?),
    })
}

/// A mantissa at another number of decimals, where that is exact.
fn rescaled(raw: i64, from: u8, to: u8) -> Option<i64> {
    let factor = 10i64.checked_pow(u32::from(from.abs_diff(to)))?;
    if to >= from { raw.checked_mul(factor) } else { (raw % factor == 0).then_some(raw / factor) }
}

fn allowance(of: &kept::Allowance, book: &Book<'_>) -> Option<Allowance> {
    let (scope, id) = match of.scope.split_once(':') {
        Some(("instrument", name)) => (LimitScope::Instrument, book.instrument(name).ok()?.0),
        _ => book.scope(&of.scope).ok()?,
    };
    Some(Allowance { scope, id, profit: of.profit, day_start: of.day_start, peak: of.peak })
}

impl Kept {
    /// What could not be booked is nobody's, if something is held.
    fn leave(&mut self, booked: Result<(), String>, frame: Frame) {
        let Err(reason) = booked else { return };
        match &frame {
            Frame::Held(held) if held.position == 0 => {
                tracing::warn!(reason, ?held, "risk: what a run before has earned is nobody's in this one");
            }
            _ => {
                tracing::error!(reason, ?frame, "risk: what a run before held is nobody's in this one");
                self.orphans.push(frame);
            }
        }
    }
}

/// What belongs to nobody is held all the same: everything is stopped until a person says that it has been dealt with.
pub(super) fn stop_for_orphans(kept: &Kept, gate: &mut RiskGate) {
    if !kept.orphans.is_empty() {
        let now = tidegate_wire::clock::realtime_ns();
        let _ = gate.kill(LimitScope::Firm, 0, KillCause::LeftOpen, PersonId::NONE, now);
        tracing::error!(
            count = kept.orphans.len(),
            "risk: everything is stopped: name the owners again, or close what they held elsewhere and say so with \
             `tidegate risk disown`"
        );
    }
}

/// The rows of a snapshot.
pub(super) fn rows(gate: &RiskGate, registry: &Registry, names: &Names) -> impl Iterator<Item = Frame> {
    let name = |of: &[String], id: u16| of.get(usize::from(id)).cloned().unwrap_or_default();
    let held = gate.stakes().filter_map(move |stake| {
        let listed = registry.get(stake.instrument)?;
        Some(Frame::Held(Held {
            account: name(&names.accounts, stake.account),
            strategy: name(&names.strategies, stake.strategy),
            instrument: listed.name(),
            decimals: (listed.price_scale.decimals(), listed.qty_scale.decimals()),
            position: stake.position.raw(),
            cash: stake.cash,
            coins: stake.coins,
            mark: stake.mark.raw(),
        }))
    });
    let allowances = gate.allowances().map(move |of| {
        let scope = names.scope(of.scope as u8, of.id);
        Frame::Allowance(kept::Allowance { scope, profit: of.profit, day_start: of.day_start, peak: of.peak })
    });
    held.chain(allowances)
}

impl Owner {
    /// Keeps what everybody holds now.
    pub(super) fn snapshot(&mut self) {
        let now = self.market.now_ns();
        // Whose day it is: losses of another one do not belong to it.
        self.gate.advance(now);
        let rows: Vec<_> = rows(&self.gate, &self.registry, &self.names).collect();
        self.kept.snapshot(now, rows.into_iter());
    }

    /// Tells the log what earlier runs left: what is judged from here on is judged with that; and everybody what is
    /// nobody's.
    pub(super) fn tell_holdings(&mut self) {
        let now = self.gate.now();
        if let Some(trail) = &self.around.trail {
            for row in rows(&self.gate, &self.registry, &self.names) {
                if let Frame::Held(held) = row {
                    trail.risk(now, &json!({ "kind": "held", "held": held }));
                }
            }
        }
        for orphan in self.kept.orphans.clone() {
            self.teller.tell(json!({ "kind": "held-by-nobody", "event_ns": now, "held": orphan }), now, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::Value;
    use tidegate_guard::risk::RiskLimits;
    use tidegate_wire::{Instrument, Venue};

    use super::*;

    const DAY: i64 = 86_400_000_000_000;
    const LIMITS: &str = r#"
[firm]
max_order_value = 1000000
max_gross_exposure = 1000000
messages = { count = 100, window_ms = 1 }
capital = 100000
[accounts.main]
strategies = ["*"]
instruments = ["*"]
venues = ["*"]
"#;

    /// A desk's memory between its runs.
    struct Memory {
        _folder: tempfile::TempDir,
        switches: PathBuf,
    }

    /// One run.
    struct Run {
        gate: RiskGate,
        kept: Kept,
        registry: Registry,
        names: Names,
    }

    impl Memory {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            Self { switches: folder.path().join("kill.state"), _folder: folder }
        }

        fn run(&self, strategies: &[&str], decimals: u8) -> Run {
            let mut registry = Registry::new();
            registry.add(Instrument::linear(Venue::Okx, "A", 1, decimals)).expect("legal");
            let limits = RiskLimits::from_toml(LIMITS).expect("limits");
            let names = Names::of(&registry, strategies, &limits);
            let mut gate = RiskGate::new(&registry, strategies, &limits).expect("a gate");
            let kept = restore(&self.switches, &mut gate, &registry).expect("restored");
            Run { gate, kept, registry, names }
        }
    }

    impl Run {
        fn executed(&mut self, at: i64, strategy: &str, (side, price, trade_id): (&str, &str, u64)) {
            let report: ReportAsk = serde_json::from_value(json!({
                "became": "executed", "client_id": 1, "account": "main", "strategy": strategy, "instrument": "A.okx",
                "side": side, "trade_id": trade_id, "price": price, "qty": "10",
            }))
            .expect("a report");
            let execution = Book { gate: &self.gate, registry: &self.registry }.execution(&report, at);
            let execution = execution.expect("one").expect("known");
            assert!(self.kept.is_new(trade(&execution)), "{trade_id}");
            self.gate.on_fill(&execution).expect("booked");
            let mark = self.gate.mark(execution.account, execution.strategy, execution.instrument);
            self.kept.executed(at, &report, mark.map(Price::raw)).expect("kept");
        }

        fn mark(&mut self, at: i64, raw: i64) {
            self.gate.on_mark(tidegate_wire::InstrumentId(0), Price::from_raw(raw), at);
        }

        fn snapshot(&mut self, at: i64) {
            self.gate.advance(at);
            let rows: Vec<_> = rows(&self.gate, &self.registry, &self.names).collect();
            self.kept.snapshot(at, rows.into_iter());
        }

        /// Everything that it stands for, as text.
        fn standing(&self) -> Value {
            let scopes = [(LimitScope::Firm, 0), (LimitScope::Account, 0), (LimitScope::Strategy, 0)];
            let totals: Vec<_> = scopes.iter().map(|(scope, id)| self.gate.totals(*scope, *id)).collect();
            let held: Vec<_> = self.gate.stakes().map(|stake| format!("{stake:?}")).collect();
            json!({ "totals": totals, "held": held, "switches": self.gate.kill_switch().iter().count() })
        }
    }

    #[test]
    fn each_run_begins_where_the_one_before_ended() {
        let memory = Memory::new();
        let mut before = Value::Null;
        for day in 0..4i64 {
            let mut run = memory.run(&["carry", "grid"], 0);
            if day > 0 {
                assert_eq!(run.standing(), before, "{day}");
            }
            let at = 20_000 * DAY + day * DAY;
            run.gate.advance(at);
            assert_eq!(run.gate.totals(LimitScope::Firm, 0).expect("there").daily_loss, 0, "a new day");
            run.snapshot(at);
            // Bought at one price, again away from what it is valued at, and the market falls.
            let trade = day as u64 * 10 + 1;
            run.mark(at, 1_000);
            run.executed(at, "carry", ("buy", "100.0", trade));
            run.mark(at, 1_010);
            run.executed(at, "grid", ("sell", "120.0", trade + 1));
            if day % 2 == 0 {
                run.mark(at, 970);
                run.snapshot(at + 1);
            }
            run.executed(at + 2, "carry", ("sell", "96.0", trade + 2));
            before = run.standing();
        }
    }

    #[test]
    fn what_is_nobodys_stays_until_its_owner_is_back() {
        let memory = Memory::new();
        let at = 20_000 * DAY;
        let mut run = memory.run(&["carry", "grid"], 0);
        run.mark(at, 1_000);
        run.executed(at, "grid", ("buy", "100.0", 1));
        run.executed(at, "carry", ("buy", "100.0", 2));
        run.mark(at, 1_200);
        run.snapshot(at);
        run.executed(at, "grid", ("buy", "100.0", 3));
        let (before, firm) = (run.standing(), run.gate.totals(LimitScope::Firm, 0).expect("there"));
        drop(run);
        for _ in 0..2 {
            let mut run = memory.run(&["carry"], 0);
            assert_eq!(run.kept.orphans.len(), 2, "{:?}", run.kept.orphans);
            stop_for_orphans(&run.kept, &mut run.gate);
            assert_eq!(run.gate.kill_switch().iter().count(), 1);
            let now = run.gate.totals(LimitScope::Firm, 0).expect("there");
            assert_eq!((now.drawdown, now.daily_loss), (0, 0), "nothing was lost by an edit: {firm:?} {now:?}");
            run.snapshot(at + 1);
        }
        let run = memory.run(&["carry", "grid"], 0);
        assert_eq!((&run.standing()["held"], run.kept.orphans.len()), (&before["held"], 0));
    }

    #[test]
    fn an_instrument_with_other_decimals_is_the_same_if_it_is_exact() {
        let memory = Memory::new();
        let mut run = memory.run(&["carry"], 0);
        run.executed(DAY, "carry", ("buy", "100.0", 1));
        run.snapshot(DAY);
        drop(run);
        let finer = memory.run(&["carry"], 3);
        assert_eq!(finer.gate.stakes().map(|stake| stake.position.raw()).collect::<Vec<_>>(), [10_000]);
        assert_eq!((rescaled(1_500, 3, 2), rescaled(1_505, 3, 2), rescaled(i64::MAX, 0, 1)), (Some(150), None, None));
    }
}
