//! Where the risk desk stands, as it is shown.

use serde_json::{Value, json};
use tidegate_guard::risk::rules;
use tidegate_wire::Scale;
use tidegate_wire::decimal::Fixed;
use tidegate_wire::order::{KillCause, LimitScope, Verdict};

use super::desk::Owner;

impl Owner {
    /// Thrown switches, protocols, exposure, counters, how late alerts were.
    pub(super) fn status(&self) -> Value {
        let thrown = self.gate.kill_switch().iter().map(|(scope, id, latch)| {
            let rule = match latch.cause {
                KillCause::Emergency => self.names.protocols.get(usize::from(latch.rule)).cloned(),
                _ if latch.rule == Verdict::NO_RULE => None,
                _ => Some(rules::rule_name(latch.rule).to_owned()),
            };
            json!({
                "scope": self.names.scope(scope as u8, id),
                "cause": latch.cause.name(),
                "rule": rule,
                "person": self.names.people.get(usize::from(latch.person.0)),
                "event_ns": latch.event_ns,
            })
        });
        let protocols = self.names.protocols.iter().map(|name| {
            let level = self.emergency.protocol(name).and_then(|number| self.emergency.level(number));
            json!({ "name": name, "level": level })
        });
        let standing = |scope, id, name: &str| {
            let of = self.gate.totals(scope, id)?;
            Some(json!({
                "scope": name,
                "exposure_millionths": of.exposure,
                "profit_millionths": of.profit,
                "daily_loss_millionths": of.daily_loss,
                "drawdown_millionths": of.drawdown,
            }))
        };
        let firm = standing(LimitScope::Firm, 0, "engine").into_iter();
        let named = |scope: LimitScope, names: &[String]| {
            let all =
                names.iter().zip(0..).filter_map(|(name, id)| standing(scope, id, &format!("{}:{name}", scope.name())));
            all.collect::<Vec<_>>()
        };
        let accounts = named(LimitScope::Account, &self.names.accounts);
        let strategies = named(LimitScope::Strategy, &self.names.strategies);
        let positions = self.gate.holdings().filter(|held| held.position.raw() != 0).map(|held| {
            let scale = self.registry.get(held.instrument).map_or(Scale::saturating(0), |listed| listed.qty_scale);
            json!({
                "account": self.names.accounts.get(usize::from(held.account)),
                "strategy": self.names.strategies.get(usize::from(held.strategy)),
                "instrument": self.names.instruments.get(held.instrument.index()),
                "qty": Fixed::new(held.position.raw(), scale).to_string(),
            })
        });
        let breakers = self
            .around
            .board
            .open()
            .into_iter()
            .map(|(scope, id, why)| json!({ "scope": self.names.scope(scope as u8, id), "why": why.join(", ") }));
        json!({
            "breakers": breakers.collect::<Vec<_>>(),
            "thrown": thrown.collect::<Vec<_>>(),
            "saved": !self.unsaved,
            "held_by_nobody": self.kept.orphans,
            "positions": positions.collect::<Vec<_>>(),
            "protocols": protocols.collect::<Vec<_>>(),
            "luld": self.bands.status(&self.registry),
            "standing": firm.chain(accounts).chain(strategies).collect::<Vec<_>>(),
            "orders_unwritten": self.orders.pending(),
            "orders_lost": self.orders.lost(),
            "open_orders": self.gate.open_orders(LimitScope::Firm, 0).count(),
            "counters": self.gate.counters(),
            "alerts": self.teller.figures(),
            "stopped_instruments": self.around.board.stopped_instruments(),
        })
    }
}
