//! The price collar over a period: orders may not chase a market that runs away in steps, each of which is small.

use tidegate_wire::order::{LimitScope, OrderType, Side};

use super::price_collar::beyond;
use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "period_collar",
    unit: "millionths of the period's best reference",
    about: "A buy too far above the lowest reference of the period, or a sell too far below the highest.",
    source: "RTS 6 Art. 15(1)(a); 17 CFR 240.15c3-5(c)(1)(ii)",
    overridable: true,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    // A reduction must be able to follow the market down: the collar of one order still holds for it.
    if c.decoded.order_type == OrderType::Market || c.reference <= 0 || c.reduces() {
        return Ok(());
    }
    let (side, id) = (c.decoded.side, c.decoded.who.instrument);
    let listed = &state.listed[usize::from(id)];
    // Before the first reference of the period this one is its best.
    let base = match side {
        Side::Buy => listed.period.low().min(c.reference),
        Side::Sell => listed.period.high().max(c.reference),
    };
    let passive = match side {
        Side::Buy => c.price <= base,
        Side::Sell => c.price >= base,
    };
    if passive {
        return Ok(());
    }
    let (measured, limit) = (beyond(side, c.price, base), listed.period_collar);
    if measured > limit {
        return Err(Breach { scope: LimitScope::Instrument, scope_id: id, measured, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn steps_add_up_over_the_period() {
        let mut desk = Desk::new("");
        let first = desk.buy(PRICE, LOT);
        desk.accepts(&first);
        // 5 % of 10,000.0 are 500.0, in steps that the collar of one order admits.
        for step in 1..=4 {
            desk.now += 1_000 * MS;
            let at = PRICE + step * PRICE / 100;
            desk.move_to(at);
            let order = desk.buy(at, LOT);
            desk.accepts(&order);
        }
        for (above, accepted) in [(PRICE / 20 - TICK, true), (PRICE / 20, true), (PRICE / 20 + TICK, false)] {
            desk.move_to(PRICE + PRICE / 20);
            let order = desk.buy(PRICE + above, LOT);
            if accepted {
                desk.accepts(&order);
            } else {
                desk.refuses(&order, "period_collar", 50_050, 50_000);
            }
        }
        let sell = desk.sell(PRICE + PRICE / 20, LOT);
        desk.accepts(&sell);
        desk.now += 70_000 * MS;
        desk.move_to(PRICE + PRICE / 20);
        let order = desk.buy(PRICE + PRICE / 20 + TICK, LOT);
        desk.accepts(&order);
    }

    #[test]
    fn reductions_may_follow_the_market() {
        let mut desk = Desk::new("");
        let held = desk.buy(PRICE, 10 * LOT);
        desk.accepts(&held);
        desk.fill(&held, PRICE, 10 * LOT);
        let low = PRICE - PRICE / 10;
        desk.move_to(low);
        let sell = desk.sell(low, LOT);
        desk.refuses(&sell, "period_collar", 100_000, 50_000);
        let less = reduce_only(desk.sell(low, LOT));
        desk.accepts(&less);
        let too_low = reduce_only(desk.sell(low - low / 50 - 2 * TICK, LOT));
        assert_eq!(rule_of(&desk.send(&too_low)), "price_collar");
    }
}
