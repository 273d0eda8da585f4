//! The longest and the shortest position that open orders could lead to.

use tidegate_wire::order::{LimitScope, Side};

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "position",
    unit: "quantity, mantissa",
    about: "The worst-case position of the account, the strategy or everybody would pass its limit.",
    source: "RTS 6 Art. 15(1), 17(4); Art. 8",
    overridable: true,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    let (who, after) = (c.decoded.who, &c.after);
    let listed = &state.listed[usize::from(who.instrument)];
    let side = c.decoded.side;
    let holdings = [
        (LimitScope::Strategy, who.strategy, &listed.strategy, after.strategy.worst(side)),
        (LimitScope::Account, who.account, &listed.account, after.account.worst(side)),
        (LimitScope::Instrument, who.instrument, &listed.everybody, after.net.worst(side)),
    ];
    for (scope, scope_id, range, worst) in holdings {
        let limit = if side == Side::Buy { range.long } else { range.short };
        // What an account may reduce does not hang on what the others hold.
        let exempt = scope == LimitScope::Instrument && c.reduces();
        if worst > limit && !exempt {
            return Err(Breach { scope, scope_id, measured: worst, limit });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn borders_with_positions_and_open_orders() {
        for (key, scope) in [
            ("account_max_long", LimitScope::Account),
            ("strategy_max_long", LimitScope::Strategy),
            ("max_long", LimitScope::Instrument),
        ] {
            let mut desk = Desk::new(&instrument(&format!("{key} = 0.1")));
            let held = desk.buy(PRICE, 40);
            desk.accepts(&held);
            desk.fill(&held, PRICE, 40);
            let open = desk.buy(PRICE, 30);
            desk.accepts(&open);
            let too_much = desk.buy(PRICE, 30 + LOT);
            assert_eq!(desk.refuses(&too_much, "position", 100 + LOT, 100).scope, scope as u8);
            let rest = desk.buy(PRICE, 30);
            desk.accepts(&rest);
            // A sell that may not execute frees nothing.
            let sell = desk.sell(PRICE + 100 * TICK, 50);
            desk.accepts(&sell);
            let more = desk.buy(PRICE, LOT);
            desk.refuses(&more, "position", 100 + LOT, 100);
            desk.gate.on_cancelled(0, rest.client_id);
            let again = desk.buy(PRICE - TICK, 30);
            desk.accepts(&again);
        }
    }

    #[test]
    fn short_is_the_mirror_image() {
        let mut desk = Desk::new(&instrument("account_max_short = 0.1"));
        for (qty, accepted) in [(100 - LOT, true), (LOT, true), (LOT, false)] {
            let order = desk.sell(PRICE, qty);
            if accepted {
                desk.accepts(&order)
            } else {
                desk.refuses(&order, "position", 100 + LOT, 100)
            };
            desk.now += 1_000 * MS;
        }
    }
}
