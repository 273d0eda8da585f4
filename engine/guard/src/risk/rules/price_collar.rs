//! The price collar, order by order: not too far beyond the reference on the side that costs.

use tidegate_wire::order::{LimitScope, OrderType, Side};

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "price_collar",
    unit: "millionths of the reference",
    about: "A buy too far above the reference price, or a sell too far below.",
    source: "RTS 6 Art. 15(1)(a); 17 CFR 240.15c3-5(c)(1)(ii)",
    overridable: true,
};

/// How far a price lies beyond a base on the side that costs, millionths of the base rounded up; 0 or less when it does
/// not.
#[inline(always)]
pub(super) fn beyond(side: Side, price: i64, base: i64) -> i64 {
    let away = match side {
        Side::Buy => i128::from(price) - i128::from(base),
        Side::Sell => i128::from(base) - i128::from(price),
    };
    if away <= 0 {
        return 0;
    }
    let scaled = away * 1_000_000;
    i64::try_from((scaled + i128::from(base) - 1) / i128::from(base)).unwrap_or(i64::MAX)
}

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    // A market order is counted at the collar's edge and has no price of its own.
    if c.decoded.order_type == OrderType::Market || c.reference <= 0 {
        return Ok(());
    }
    let (side, id) = (c.decoded.side, c.decoded.who.instrument);
    let passive = match side {
        Side::Buy => c.price <= c.reference,
        Side::Sell => c.price >= c.reference,
    };
    if passive {
        return Ok(());
    }
    let (measured, limit) = (beyond(side, c.price, c.reference), state.listed[usize::from(id)].collar);
    if measured > limit {
        return Err(Breach { scope: LimitScope::Instrument, scope_id: id, measured, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn borders_on_both_sides() {
        // 2 % of 10,000.0 is 200.0; one tick is half a basis point here.
        let edge = PRICE / 50;
        for (side, away, accepted) in [
            (Side::Buy, edge - TICK, true),
            (Side::Buy, edge, true),
            (Side::Buy, edge + TICK, false),
            (Side::Sell, edge - TICK, true),
            (Side::Sell, edge, true),
            (Side::Sell, edge + TICK, false),
            (Side::Buy, -4 * edge, true),
            (Side::Sell, -4 * edge, true),
        ] {
            let mut desk = Desk::new("");
            let order = match side {
                Side::Buy => desk.buy(PRICE + away, LOT),
                Side::Sell => desk.sell(PRICE - away, LOT),
            };
            if accepted {
                desk.accepts(&order);
            } else {
                desk.refuses(&order, "price_collar", 20_000 + 50, 20_000);
            }
        }
    }

    #[test]
    fn figures_are_rounded_up() {
        assert_eq!(super::beyond(Side::Buy, 1_000_001, 1_000_000), 1);
        assert_eq!(super::beyond(Side::Buy, 3_000_001, 3_000_000), 1, "a third of a millionth");
        assert_eq!(super::beyond(Side::Sell, 1, i64::MAX), 1_000_000);
        assert_eq!(super::beyond(Side::Buy, i64::MAX, 1), i64::MAX);
    }
}
