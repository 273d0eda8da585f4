//! Emergency protocols: what is done, by whom and in which order, when a whole portfolio is in trouble.
//!
//! # The model
//!
//! A **protocol** watches one figure of one scope ([`Trigger`], [`Whose`]) and stands on a **level**: up at once when
//! the figure has stood at a threshold, down one level at a time, below the release value and not before the
//! cool-down; a latched level waits for a designated person. A level has graded **actions** ([`Action`]): stop quoting,
//! cancel everything, make positions smaller by a share, hedge on another venue, close.
//!
//! Actions become a **plan**: requests like everybody's, that pass the [risk gate](crate::risk) like everybody's,
//! reductions as reduce-only orders. Plans are made anew every so often while the level holds, so what did not execute
//! is tried again. Every protocol can be rehearsed ([`Emergency::dry_run`]): the same code on a copy of the gate,
//! changing nothing.
//!
//! Stop quoting on a latched level throws the scope's kill switch. On a level that is not latched it holds quotes back
//! through [`Emergency::permits`], which belongs into
//! [`Permits`](crate::risk::Permits) of what the gate is told, and ends with the level. Either way reductions need
//! `switches.reduce_only` (and `switches.reduce_only_through_breakers` where breakers are open as well).
//!
//! Controls behind it: RTS 6 Art. 12 and 17 (adjust, shut down, withdraw), FIA PTG 2010 (loss limits with automatic
//! reduction).

mod config;
mod levels;
mod plan;

use bytemuck::Zeroable;
use tidegate_wire::order::{Alert, AlertKind, KillCause, LimitScope, OrderRequest, Verdict};
use tidegate_wire::{InstrumentId, Registry};

pub use config::{Action, EmergencyFile, HedgeOn, Level, Protocol, Trigger, Whose};

use crate::risk::{KeyError, Keys, Latch, MarketView, PersonId, RiskError, RiskGate};
use levels::Ladder;
pub use plan::EMERGENCY_ID;
use plan::{Maker, Numbers, Owner, WHOLE};

/// What the gate does not know by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Instruments whose breakers are open now.
    pub stopped_instruments: u32,
}

/// One protocol in force.
#[derive(Clone, Debug)]
struct Watch {
    name: String,
    trigger: Trigger,
    scope: LimitScope,
    scope_id: u16,
    /// Instruments that `delta` counts; all of them where it is empty.
    counted: Vec<bool>,
    ladder: Ladder,
    actions: Vec<Vec<Planned>>,
    slippage: i64,
    repeat_ns: i64,
    hedge: Option<Owner>,
    /// Positions when the level was reached, in the order of [`RiskGate::holdings`].
    before: Vec<i64>,
    /// Net value when the level was reached, millionths.
    net_before: i64,
    /// When the next plan is due, ns; `i64::MAX` while the level is 0.
    due: i64,
    measured: i64,
}

/// An action with its share in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planned {
    StopQuoting,
    CancelAll,
    Reduce(i64),
    Hedge(i64),
}

/// A change of level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelChange {
    /// Which protocol, by number.
    pub protocol: u8,
    /// Level before, 0 when quiet.
    pub from: usize,
    /// Level now.
    pub to: usize,
    /// What was measured: millionths, or a count.
    pub measured: i64,
}

/// What a rehearsal shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsal {
    /// Whether quoting would stop.
    pub stops_quoting: bool,
    /// Every request in the order of sending, with what the gate would say.
    pub requests: Vec<(OrderRequest, Verdict)>,
}

/// All protocols.
#[derive(Clone, Debug)]
pub struct Emergency {
    protocols: Vec<Watch>,
    numbers: Numbers,
    /// The newest plan.
    requests: Vec<OrderRequest>,
}

impl Emergency {
    /// Protocols over a gate; what plans need is allocated here.
    ///
    /// # Errors
    /// [`RiskError::Value`] names the key, the value and what was expected.
    pub fn new(registry: &Registry, gate: &RiskGate, file: &EmergencyFile) -> Result<Self, RiskError> {
        file.check().map_err(RiskError::Value)?;
        if file.protocols.len() > usize::from(Verdict::NO_RULE) {
            return Err(RiskError::Value(format!(
                "protocols has {} entries, expected below 255",
                file.protocols.len()
            )));
        }
        let watch = |(name, protocol): (&String, &Protocol)| {
            Watch::new(registry, gate, name, protocol).map_err(|error| format!("protocols.{name}{error}"))
        };
        let protocols = file.protocols.iter().map(watch).collect::<Result<_, _>>().map_err(RiskError::Value)?;
        // A plan cancels what is open and reduces what is held.
        let most = gate.capacity() + gate.holdings().count() + 1;
        Ok(Self { protocols, numbers: Numbers::default(), requests: Vec::with_capacity(most) })
    }

    /// Number of a protocol by its name.
    pub fn protocol(&self, name: &str) -> Option<u8> {
        self.protocols.iter().position(|watch| watch.name == name).map(|index| index as u8)
    }

    /// Level a protocol stands on, 0 when quiet; `None` when there is no such protocol.
    pub fn level(&self, protocol: u8) -> Option<usize> {
        self.protocols.get(usize::from(protocol)).map(|watch| watch.ladder.level())
    }

    /// Measures every protocol's figure at event time `now` and moves levels. Every change raises an alert and is told
    /// to `changed`; a latched stop throws its kill switch at once.
    pub fn evaluate(
        &mut self,
        gate: &mut RiskGate,
        observed: &Observed,
        now: i64,
        mut changed: impl FnMut(LevelChange),
    ) {
        for (index, watch) in self.protocols.iter_mut().enumerate() {
            let from = watch.ladder.level();
            watch.measured = watch.measure(gate, observed);
            let Some(to) = watch.ladder.measure(watch.measured, now) else { continue };
            let change = LevelChange { protocol: index as u8, from, to, measured: watch.measured };
            gate.alert(watch.alert(&change, now));
            if to > from {
                watch.reached(gate, now);
                (from + 1..=to).for_each(|level| watch.stop_for_good(gate, index as u8, level, now));
            }
            watch.due = if to == 0 { i64::MAX } else { now };
            changed(change);
        }
    }

    /// Whether protocols let a strategy take new risk on an account.
    pub fn permits(&self, account: u16, strategy: u16) -> bool {
        !self.protocols.iter().any(|watch| {
            let concerned = match watch.scope {
                LimitScope::Account => watch.scope_id == account,
                LimitScope::Strategy => watch.scope_id == strategy,
                _ => true,
            };
            concerned && watch.stops(watch.ladder.level())
        })
    }

    /// A protocol whose plan is due.
    pub fn due(&self, now: i64) -> Option<u8> {
        self.protocols.iter().position(|watch| watch.due <= now).map(|index| index as u8)
    }

    /// Makes a protocol's plan for the level it stands on and puts every request of it through the gate; `send` is told
    /// of each with its verdict, in order. Sending what was accepted (and what self-trade prevention asks for first) is
    /// its task.
    pub fn carry_out(
        &mut self,
        protocol: u8,
        gate: &mut RiskGate,
        views: impl Fn(InstrumentId) -> MarketView,
        now: i64,
        mut send: impl FnMut(&mut RiskGate, &OrderRequest, &Verdict),
    ) {
        let Some(watch) = self.protocols.get_mut(usize::from(protocol)) else { return };
        watch.due = if watch.ladder.level() == 0 { i64::MAX } else { now.saturating_add(watch.repeat_ns) };
        let level = watch.ladder.level();
        watch.plan(level, gate, &views, now, &mut self.numbers, &mut self.requests);
        for request in &self.requests {
            let verdict = gate.check(request, &views(request.instrument));
            send(gate, request, &verdict);
        }
    }

    /// What a protocol would do on a level, from 1 on, as things stand: the same code on a copy of the gate. Nothing
    /// changes: no level, no order, no counter. `None` when there is no such protocol or level.
    pub fn dry_run(
        &self,
        protocol: u8,
        level: usize,
        gate: &RiskGate,
        views: impl Fn(InstrumentId) -> MarketView,
        now: i64,
    ) -> Option<Rehearsal> {
        let mut watch = self.protocols.get(usize::from(protocol))?.clone();
        watch.ladder.border(level)?;
        let (mut gate, mut numbers, mut requests) = (gate.clone(), self.numbers, Vec::new());
        watch.reached(&gate, now);
        (1..=level).for_each(|level| watch.stop_for_good(&mut gate, protocol, level, now));
        watch.plan(level, &gate, &views, now, &mut numbers, &mut requests);
        let judged = requests.into_iter().map(|request| {
            let verdict = gate.check(&request, &views(request.instrument));
            (request, verdict)
        });
        Some(Rehearsal { stops_quoting: (1..=level).any(|level| watch.has_stop(level)), requests: judged.collect() })
    }

    /// A designated person ends a protocol's level, latched or not; whether there was one. A kill switch that the
    /// protocol has thrown is reset by itself ([`RiskGate::reset`]).
    ///
    /// # Errors
    /// The persons may not, or gave no reason.
    pub fn reset(
        &mut self,
        protocol: u8,
        gate: &mut RiskGate,
        keys: Keys,
        reason: &str,
        now: i64,
    ) -> Result<bool, KeyError> {
        gate.agreed(keys, reason)?;
        let Some(watch) = self.protocols.get_mut(usize::from(protocol)) else { return Ok(false) };
        let from = watch.ladder.level();
        let was = watch.ladder.reset(now);
        if was {
            watch.due = i64::MAX;
            let change = LevelChange { protocol, from, to: 0, measured: watch.measured };
            gate.alert(Alert { person: keys.designated.0, ..watch.alert(&change, now) });
        }
        Ok(was)
    }
}

impl Watch {
    fn new(registry: &Registry, gate: &RiskGate, name: &str, protocol: &Protocol) -> Result<Self, String> {
        let missing = |key: &str, name: &str| format!(".{key} names {name:?}, expected one that is configured");
        let (scope, scope_id) = match &protocol.scope {
            Whose::Firm => (LimitScope::Firm, 0),
            Whose::Account(name) => {
                (LimitScope::Account, gate.account(name).ok_or_else(|| missing("scope.account", name))?)
            }
            Whose::Strategy(name) => {
                (LimitScope::Strategy, gate.strategy(name).ok_or_else(|| missing("scope.strategy", name))?)
            }
        };
        let counted = registry.iter().map(|(_, i)| protocol.asset.as_deref().is_none_or(|asset| asset == i.base()));
        let counted: Vec<bool> = counted.collect();
        if let Some(asset) = protocol.asset.as_deref().filter(|_| !counted.contains(&true)) {
            return Err(missing("asset", asset));
        }
        let hedge = protocol.hedge.as_ref().map(|on| {
            let instrument = gate.instrument(&on.instrument);
            Ok::<_, String>(Owner {
                account: gate.account(&on.account).ok_or_else(|| missing("hedge.account", &on.account))?,
                strategy: gate.strategy(&on.strategy).ok_or_else(|| missing("hedge.strategy", &on.strategy))?,
                instrument: instrument.ok_or_else(|| missing("hedge.instrument", &on.instrument))?,
            })
        });
        let actions = protocol.levels.iter().map(|level| level.actions.iter().map(planned).collect());
        Ok(Self {
            name: name.to_owned(),
            trigger: protocol.trigger,
            scope,
            scope_id,
            counted,
            ladder: Ladder::new(protocol)?,
            actions: actions.collect::<Result<_, _>>()?,
            slippage: protocol.slippage_bp.at_scale(2)?,
            repeat_ns: protocol.repeat_ms as i64 * 1_000_000,
            hedge: hedge.transpose()?,
            before: vec![0; gate.holdings().count()],
            net_before: 0,
            due: i64::MAX,
            measured: 0,
        })
    }

    fn measure(&self, gate: &RiskGate, observed: &Observed) -> i64 {
        let standing = gate.totals(self.scope, self.scope_id).unwrap_or_default();
        match self.trigger {
            Trigger::Drawdown => standing.drawdown,
            Trigger::DailyLoss => standing.daily_loss,
            Trigger::GrossExposure => standing.exposure,
            Trigger::CorrelatedTrips => i64::from(observed.stopped_instruments),
            Trigger::Delta => self.net(gate).saturating_abs(),
        }
    }

    fn net(&self, gate: &RiskGate) -> i64 {
        gate.net_value(self.scope, self.scope_id, |instrument| self.counted[instrument.index()])
    }

    /// Remembers what is held: shares are of that.
    fn reached(&mut self, gate: &RiskGate, now: i64) {
        self.before.iter_mut().zip(gate.holdings()).for_each(|(before, held)| *before = held.position.raw());
        self.net_before = self.net(gate);
        self.due = now;
    }

    fn has_stop(&self, level: usize) -> bool {
        let actions = level.checked_sub(1).and_then(|index| self.actions.get(index));
        actions.is_some_and(|actions| actions.contains(&Planned::StopQuoting))
    }

    /// Whether quoting is stopped on a level: by itself or one below.
    fn stops(&self, level: usize) -> bool {
        (1..=level).any(|level| self.has_stop(level))
    }

    /// A latched level's stop is the kill switch of the scope.
    fn stop_for_good(&self, gate: &mut RiskGate, protocol: u8, level: usize, now: i64) {
        let Some(border) = self.ladder.border(level).filter(|border| border.latched && self.has_stop(level)) else {
            return;
        };
        let latch = Latch { cause: KillCause::Emergency, rule: protocol, person: PersonId::NONE, event_ns: now };
        let _ = gate.throw(self.scope, self.scope_id, latch, (self.measured, border.threshold));
    }

    /// The plan of a level: its own actions; what lower levels did is part of what is left.
    fn plan<V: Fn(InstrumentId) -> MarketView>(
        &self,
        level: usize,
        gate: &RiskGate,
        views: V,
        now: i64,
        numbers: &mut Numbers,
        requests: &mut Vec<OrderRequest>,
    ) {
        requests.clear();
        let actions = level.checked_sub(1).and_then(|index| self.actions.get(index));
        let mut maker = Maker { gate, views, now, slippage: self.slippage, numbers, requests };
        for action in actions.into_iter().flatten() {
            match (*action, self.hedge) {
                (Planned::CancelAll, _) => maker.cancel_all(self.scope, self.scope_id),
                (Planned::Reduce(share), _) => {
                    maker.reduce(self.scope, self.scope_id, WHOLE - share, &self.before);
                }
                (Planned::Hedge(share), Some(owner)) => {
                    // What is left to do of what was asked for: the net value has moved with every hedge so far.
                    let (net, target) = (self.net(gate), self.net_before as i128 * i128::from(WHOLE - share));
                    let left = net.saturating_sub((target / i128::from(WHOLE)) as i64);
                    let same = left != 0 && left.signum() == self.net_before.signum();
                    maker.hedge(owner, if same { left } else { 0 });
                }
                (Planned::StopQuoting | Planned::Hedge(_), _) => {}
            }
        }
    }

    fn alert(&self, change: &LevelChange, now: i64) -> Alert {
        let border = self.ladder.border(change.to.max(change.from));
        Alert {
            event_ns: now,
            measured: change.measured,
            limit: border.map_or(0, |b| if change.to > change.from { b.threshold } else { b.release }),
            account: u16::MAX,
            scope_id: self.scope_id,
            person: u16::MAX,
            kind: AlertKind::Emergency as u8,
            rule: change.protocol,
            scope: self.scope as u8,
            ..Alert::zeroed()
        }
    }
}

fn planned(action: &Action) -> Result<Planned, String> {
    Ok(match action {
        Action::StopQuoting => Planned::StopQuoting,
        Action::CancelAll => Planned::CancelAll,
        Action::Reduce { share } => Planned::Reduce(share.at_scale(6)?),
        Action::Hedge { share } => Planned::Hedge(share.at_scale(6)?),
        Action::Close => Planned::Reduce(WHOLE),
    })
}
