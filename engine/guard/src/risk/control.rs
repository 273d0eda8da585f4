//! What persons do to the gate: kill switches, heartbeats, overrides, the restricted list.

use tidegate_wire::order::{Alert, AlertKind, KillCause, LimitScope, OrderRequest, OrderType, RequestKind, Verdict};
use tidegate_wire::{InstrumentId, Price, Qty};

use super::alerts::blank;
use super::book::Who;
use super::gate::RiskGate;
use super::kill::{KillScopeError, KillStateError, KillSwitch, Latch};
use super::limits::{RestrictedFile, RiskError};
use super::orders::Open;
use super::overrides::{Override, OverrideError};
use super::people::{KeyError, Keys, PersonId, Role};
use super::rules::RULES;
use super::state::{RestrictedList, restricted, texts};

/// Why a switch is not reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResetError {
    /// The persons may not.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// No such switch.
    #[error(transparent)]
    Scope(#[from] KillScopeError),
}

/// Why a list is not put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The person may not.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// It is not newer than the one in force.
    #[error("restricted list {offered} is not newer than {in_force}")]
    Version {
        /// Version that was offered.
        offered: u32,
        /// Version in force.
        in_force: u32,
    },
}

impl RestrictedList {
    /// Its version.
    pub const fn version(&self) -> u32 {
        self.version
    }
}

/// An order that counts, for screens and cancel-all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOrder {
    /// A request that cancels it; its `request_id` and `event_ns` are 0.
    pub cancel: OrderRequest,
    /// Quantity that may still execute.
    pub remaining: Qty,
    /// Most aggressive price it may have.
    pub price: Price,
}

impl RiskGate {
    /// Throws a kill switch: by a person's order, a signal, or whatever else the cause says. Whether it was not thrown
    /// before. What is open must be cancelled by the caller: see [`Self::open_orders`].
    ///
    /// # Errors
    /// The scope has no switch.
    pub fn kill(
        &mut self,
        scope: LimitScope,
        id: u16,
        cause: KillCause,
        person: PersonId,
        event_ns: i64,
    ) -> Result<bool, KillScopeError> {
        self.state.now = self.state.now.max(event_ns);
        self.throw(scope, id, Latch { cause, rule: Verdict::NO_RULE, person, event_ns }, (0, 0))
    }

    /// Throws a switch and raises its alert, once.
    pub(crate) fn throw(
        &mut self,
        scope: LimitScope,
        id: u16,
        latch: Latch,
        (measured, limit): (i64, i64),
    ) -> Result<bool, KillScopeError> {
        let new = self.state.kill.throw(scope, id, latch)?;
        if new {
            self.counters.kills += 1;
            self.state.alerts.push(Alert {
                measured,
                limit,
                scope: scope as u8,
                scope_id: id,
                person: latch.person.0,
                rule: latch.rule,
                cause: latch.cause as u8,
                ..blank(AlertKind::Kill, latch.event_ns)
            });
        }
        Ok(new)
    }

    /// Resets a kill switch; gives what it was, `None` when it was not thrown. Either way a scope that lost too much
    /// gets its allowance anew, and one that executed too often counts from zero. The reason is the caller's to keep: a
    /// reset without one is refused.
    ///
    /// # Errors
    /// See [`ResetError`]; nothing was reset.
    pub fn reset(&mut self, scope: LimitScope, id: u16, keys: Keys, reason: &str) -> Result<Option<Latch>, ResetError> {
        self.state.people.agree(keys, self.state.switches.two_person_reset, reason)?;
        let latch = self.state.kill.reset(scope, id)?;
        self.state.book.forgive(scope, id);
        if let Some(bounds) = self.state.bounds_mut(scope, id) {
            bounds.executions.iter_mut().chain(&mut bounds.refusals).for_each(|window| window.clear());
        }
        if let Some(latch) = latch {
            if latch.cause == KillCause::DeadMan {
                self.state.dead_man.restart();
            }
            let mut alert = blank(AlertKind::Reset, self.state.now);
            (alert.scope, alert.scope_id, alert.person) = (scope as u8, id, keys.designated.0);
            (alert.rule, alert.cause) = (latch.rule, latch.cause as u8);
            self.state.alerts.push(alert);
        }
        Ok(latch)
    }

    /// Whether these persons may do together what a reset takes.
    ///
    /// # Errors
    /// [`KeyError`]: what is missing.
    pub fn agree(&self, keys: Keys, reason: &str) -> Result<(), KeyError> {
        self.state.people.agree(keys, self.state.switches.two_person_reset, reason)
    }

    /// An alert of somebody else who works through the gate.
    pub(crate) fn alert(&mut self, alert: Alert) {
        self.state.alerts.push(alert);
    }

    /// Whether a designated person has agreed, with a reason.
    pub(crate) fn agreed(&self, keys: Keys, reason: &str) -> Result<(), KeyError> {
        self.state.people.agree(keys, self.state.switches.two_person_reset, reason)
    }

    /// All switches; [`KillSwitch::to_bytes`] of them is what a restart needs.
    pub const fn kill_switch(&self) -> &KillSwitch {
        &self.state.kill
    }

    /// Takes over the switches of an earlier run. What cannot be read stops everything: absence of knowledge is no
    /// permission.
    ///
    /// # Errors
    /// Why they could not be read; everything is stopped then.
    pub fn restore_kill_switch(&mut self, bytes: &[u8], now: i64) -> Result<(), KillStateError> {
        let names = &self.state.names;
        let (switches, read) = KillSwitch::restore(bytes, &texts(&names.strategies), &texts(&names.accounts), now);
        self.state.kill = switches;
        read
    }

    /// The operator is there, on the clock that [`Self::tick`] is given.
    ///
    /// # Errors
    /// The person is no operator.
    pub fn heartbeat(&mut self, person: PersonId, now: i64) -> Result<(), KeyError> {
        self.state.people.may(person, Role::Operator)?;
        self.state.dead_man.beat(now);
        Ok(())
    }

    /// Excuses one order from one rule for a while: the risk function verifies, a designated person authorises (RTS 6
    /// Art. 15(6)).
    ///
    /// # Errors
    /// See [`OverrideError`]; nothing was granted.
    pub fn grant(&mut self, granted: Override, keys: Keys, reason: &str, now: i64) -> Result<(), OverrideError> {
        self.state.people.agree(keys, true, reason)?;
        let overridable = RULES.get(usize::from(granted.rule)).is_some_and(|rule| rule.overridable);
        if !overridable {
            return Err(OverrideError::Rule(granted.rule));
        }
        let longest_ns = self.state.switches.override_ms as i64 * 1_000_000;
        let lasts_ns = granted.expires_ns.saturating_sub(now);
        if lasts_ns <= 0 || lasts_ns > longest_ns {
            return Err(OverrideError::Span { lasts_ns, longest_ns });
        }
        self.state.overrides.grant(granted, now)
    }

    /// Prepares a restricted list, away from the hot path.
    ///
    /// # Errors
    /// A name that is not configured.
    pub fn restricted_list(&self, file: &RestrictedFile) -> Result<RestrictedList, RiskError> {
        restricted(file, &self.state.names).map_err(RiskError::Value)
    }

    /// Puts a newer restricted list in force, from the next request on. Gives the old one back, so that its memory can
    /// be freed elsewhere.
    ///
    /// # Errors
    /// The person is not of the risk function, or the list is not newer; the old one stays.
    pub fn replace_restricted(&mut self, list: RestrictedList, person: PersonId) -> Result<RestrictedList, ListError> {
        self.state.people.may(person, Role::Risk)?;
        let (offered, in_force) = (list.version, self.state.restricted.version);
        if offered <= in_force {
            return Err(ListError::Version { offered, in_force });
        }
        let mut alert = blank(AlertKind::Changed, self.state.now);
        (alert.measured, alert.limit, alert.person) = (i64::from(offered), i64::from(in_force), person.0);
        self.state.alerts.push(alert);
        Ok(core::mem::replace(&mut self.state.restricted, list))
    }

    /// The person of a name.
    pub fn person(&self, name: &str) -> Option<PersonId> {
        self.state.people.names.iter().position(|known| known == name).map(|index| PersonId(index as u16))
    }

    /// Open orders of a scope.
    pub fn open_orders(&self, scope: LimitScope, id: u16) -> impl Iterator<Item = OpenOrder> {
        self.state.open.iter().filter(move |order| concerns(order.who, scope, id)).map(open_order)
    }

    /// Numbers of accounts, strategies and instruments.
    pub fn sizes(&self) -> [u16; 3] {
        let names = &self.state.names;
        [names.accounts.len(), names.strategies.len(), names.instruments.len()].map(|count| count as u16)
    }
}

/// Whether an order belongs to a scope.
pub(crate) const fn concerns(who: Who, scope: LimitScope, id: u16) -> bool {
    match scope {
        LimitScope::Firm => id == 0,
        LimitScope::Venue => who.venue as u16 == id,
        LimitScope::Instrument => who.instrument == id,
        LimitScope::Account => who.account == id,
        LimitScope::Strategy => who.strategy == id,
    }
}

fn open_order(order: &Open) -> OpenOrder {
    let Open { who, client_id, .. } = *order;
    let cancel = OrderRequest {
        client_id,
        account: who.account,
        strategy: who.strategy,
        instrument: InstrumentId(who.instrument),
        venue: who.venue,
        kind: RequestKind::Cancel as u8,
        side: order.side as u8,
        order_type: OrderType::Limit as u8,
        ..bytemuck::Zeroable::zeroed()
    };
    OpenOrder { cancel, remaining: Qty::from_raw(order.remaining()), price: Price::from_raw(order.price) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::testing::*;

    fn alerts(desk: &mut Desk) -> Vec<Alert> {
        core::iter::from_fn(|| desk.gate.take_alert()).collect()
    }

    #[test]
    fn a_thrown_switch_survives_a_restart_and_an_unreadable_file_stops_everything() {
        let mut desk = Desk::new("");
        assert_eq!(desk.gate.kill(LimitScope::Strategy, 0, KillCause::Operator, PersonId(2), desk.now), Ok(true));
        assert_eq!(desk.gate.kill(LimitScope::Strategy, 0, KillCause::Signal, PersonId::NONE, desk.now), Ok(false));
        let saved = desk.gate.kill_switch().to_bytes();
        let mut later = Desk::new("");
        assert_eq!(later.gate.restore_kill_switch(&saved, later.now), Ok(()));
        let (ours, theirs) = (later.buy(PRICE, LOT), OrderRequest { strategy: 1, ..later.buy(PRICE, LOT) });
        later.refuses(&ours, "kill_switch", 1, 0);
        later.accepts(&theirs);
        assert!(later.gate.restore_kill_switch(&saved[..20], later.now).is_err());
        let theirs = OrderRequest { strategy: 1, ..later.buy(PRICE, LOT) };
        assert_eq!(later.refuses(&theirs, "kill_switch", 1, 0).scope, LimitScope::Firm as u8);
        let thrown = alerts(&mut desk);
        assert_eq!(thrown.len(), 1, "once");
        assert_eq!((thrown[0].kind, thrown[0].event_ns, thrown[0].person), (AlertKind::Kill as u8, desk.now, 2));
    }

    #[test]
    fn two_persons_reset_where_it_is_configured() {
        let mut desk = Desk::new("[switches]\ntwo_person_reset = true\n");
        assert_eq!(desk.gate.kill(LimitScope::Firm, 0, KillCause::Operator, PersonId(2), desk.now), Ok(true));
        let one = Keys { designated: PersonId(0), risk: None };
        let mut reset = |keys, reason| desk.gate.reset(LimitScope::Firm, 0, keys, reason).map(|latch| latch.is_some());
        assert_eq!(reset(one, "looked at"), Err(ResetError::Keys(KeyError::Second)));
        let both = Keys { designated: PersonId(0), risk: Some(PersonId(1)) };
        assert_eq!(reset(both, ""), Err(ResetError::Keys(KeyError::Reason)));
        assert_eq!((reset(both, "looked at"), reset(both, "looked at")), (Ok(true), Ok(false)));
        assert_eq!((desk.gate.person("bob"), desk.gate.person("eve")), (Some(PersonId(1)), None));
    }

    #[test]
    fn the_operators_silence_stops_everything() {
        let mut desk = Desk::new("[switches]\ndead_man_ms = 1000\n");
        desk.gate.tick(desk.now);
        desk.gate.tick(desk.now + 999 * MS);
        assert!(!desk.gate.kill_switch().is_any_thrown());
        assert!(desk.gate.heartbeat(PersonId(0), desk.now).is_err(), "no operator");
        desk.gate.heartbeat(PersonId(2), desk.now + 500 * MS).expect("an operator");
        desk.gate.tick(desk.now + 1_499 * MS);
        assert!(!desk.gate.kill_switch().is_any_thrown());
        desk.gate.tick(desk.now + 1_500 * MS);
        let latch = desk.gate.kill_switch().get(LimitScope::Firm, 0).copied().expect("thrown");
        assert_eq!((latch.cause, latch.event_ns), (KillCause::DeadMan, desk.now + 1_500 * MS));
        let told = alerts(&mut desk);
        assert_eq!((told[0].measured, told[0].limit), (1_000 * MS, 1_000 * MS));
        // After a reset the time runs anew.
        desk.gate.reset(LimitScope::Firm, 0, desk.keys(), "the line was down").expect("may");
        desk.gate.tick(desk.now + 9_000 * MS);
        desk.gate.tick(desk.now + 9_999 * MS);
        assert!(!desk.gate.kill_switch().is_any_thrown());
    }

    #[test]
    fn overrides_are_two_persons_and_short() {
        let mut desk = Desk::new(&instrument("max_order_qty = 0.05"));
        let order = desk.buy(PRICE, 50 + LOT);
        let rule = rule_index("order_quantity").expect("a rule");
        let (now, keys) = (desk.now, desk.keys());
        let wanted =
            |rule, ms: i64| Override { account: 0, client_id: order.client_id, rule, expires_ns: now + ms * MS };
        let mut grant = |granted, keys| desk.gate.grant(granted, keys, "a client insists", now);
        let one = Keys { designated: PersonId(0), risk: None };
        assert_eq!(grant(wanted(rule, 10), one), Err(OverrideError::Keys(KeyError::Second)));
        for (ms, legal) in [(0, false), (60_000, true), (60_001, false)] {
            assert_eq!(grant(wanted(rule, ms), keys).is_ok(), legal, "{ms} ms");
        }
        for name in ["kill_switch", "permission", "restricted", "self_trade", "market_state", "reference"] {
            let never = rule_index(name).expect(name);
            assert_eq!(grant(wanted(never, 10), keys), Err(OverrideError::Rule(never)), "{name}");
        }
        assert_eq!(grant(wanted(200, 10), keys), Err(OverrideError::Rule(200)));
        let verdict = desk.accepts(&order);
        assert_eq!(rule_of(&verdict), "none");
        assert_eq!(rule_name(verdict.overridden), "order_quantity");
        let told = alerts(&mut desk);
        assert_eq!((told[0].kind, told[0].client_id), (AlertKind::Override as u8, order.client_id));
        let next = desk.buy(PRICE, 50 + LOT);
        desk.refuses(&next, "order_quantity", 50 + LOT, 50);
    }

    #[test]
    fn every_override_that_was_needed_is_told_and_spent() {
        let mut desk = Desk::new(&instrument("max_order_qty = 0.05\nlimits = { max_order_value = 100 }"));
        let order = desk.buy(PRICE, 50 + LOT);
        for rule in ["order_quantity", "order_value", "position"] {
            desk.overrides(&order, rule);
        }
        let verdict = desk.accepts(&order);
        assert_eq!(rule_name(verdict.overridden), "order_quantity");
        let told: Vec<_> = alerts(&mut desk).iter().map(|alert| rule_name(alert.rule)).collect();
        assert_eq!(told, ["order_quantity", "order_value"], "the third was not needed");
    }

    #[test]
    fn everything_open_of_a_scope_can_be_cancelled() {
        let mut desk = Desk::new("");
        let orders = [desk.buy(PRICE, LOT), OrderRequest { strategy: 1, ..desk.sell(PRICE + TICK, 2 * LOT) }];
        orders.iter().for_each(|order| {
            desk.accepts(order);
        });
        let of = |desk: &Desk, scope, id| desk.gate.open_orders(scope, id).collect::<Vec<_>>();
        assert_eq!(of(&desk, LimitScope::Firm, 0).len(), 2);
        let grid = of(&desk, LimitScope::Strategy, 1);
        assert_eq!((grid.len(), grid[0].remaining.raw(), grid[0].cancel.client_id), (1, 2 * LOT, orders[1].client_id));
        assert_eq!(of(&desk, LimitScope::Venue, 0).len(), 0);
        desk.accepts(&OrderRequest { event_ns: desk.now, ..grid[0].cancel });
        desk.gate.on_cancelled(0, grid[0].cancel.client_id);
        assert_eq!(of(&desk, LimitScope::Instrument, 0).len(), 1);
        assert_eq!(desk.gate.sizes(), [3, 2, 4]);
    }
}
