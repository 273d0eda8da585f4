//! An order that says it only reduces must: together with other open orders of its side it may not pass zero.

use tidegate_wire::order::{LimitScope, Side};

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "reduce_only",
    unit: "quantity, mantissa",
    about: "Open orders of that side would come to more than the account's position.",
    source: "RTS 6 Art. 12",
    overridable: false,
};

#[inline(always)]
pub(super) fn check(_: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    if !c.reduces() {
        return Ok(());
    }
    let account = &c.after.account;
    let (measured, limit) = match c.decoded.side {
        Side::Sell => (account.sells, account.position.max(0)),
        Side::Buy => (account.buys, account.position.saturating_neg().max(0)),
    };
    if measured > limit {
        return Err(Breach { scope: LimitScope::Account, scope_id: c.decoded.who.account, measured, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn never_past_zero() {
        let mut desk = Desk::new("");
        let nothing = reduce_only(desk.sell(PRICE, LOT));
        desk.refuses(&nothing, "reduce_only", LOT, 0);
        let held = desk.buy(PRICE, 100);
        desk.accepts(&held);
        desk.fill(&held, PRICE, 100);
        let open = desk.sell(PRICE + TICK, 40);
        desk.accepts(&open);
        for (qty, accepted) in [(60 + LOT, false), (60 - LOT, true), (2 * LOT, false), (LOT, true)] {
            let less = reduce_only(desk.sell(PRICE, qty));
            let verdict = desk.send(&less);
            assert_eq!(verdict.is_accepted(), accepted, "{qty}");
        }
        let wrong_side = reduce_only(desk.buy(PRICE, LOT));
        desk.refuses(&wrong_side, "reduce_only", LOT, 0);
    }
}
