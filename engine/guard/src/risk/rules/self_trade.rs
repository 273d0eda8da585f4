//! Self-trade prevention before the venue: an order that would meet a resting order of its owner (its account, or
//! one of the same trade group) is treated as its mode says. What happens to the resting orders is worked out in
//! [`self_trade`](crate::risk::self_trade).

use tidegate_wire::order::{LimitScope, SelfTradeMode};

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::self_trade::ACTIONS_MAX;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "self_trade",
    unit: "quantity, mantissa",
    about: "The order would trade with its own owner and its mode lets it expire.",
    source: "7 U.S.C. 6c(a)(2); ICE Rule 4.02(c); RTS 6 Art. 13",
    overridable: false,
};

#[inline(always)]
pub(super) fn check(_: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    let crossing = c.crossing;
    if crossing.orders == 0 {
        return Ok(());
    }
    let expires = match c.decoded.self_trade {
        SelfTradeMode::None => false,
        SelfTradeMode::ExpireTaker | SelfTradeMode::ExpireBoth => true,
        // The taker is the smaller one, or as large: nothing of it is left.
        SelfTradeMode::Decrement => crossing.qty >= c.qty,
        SelfTradeMode::ExpireMaker | SelfTradeMode::Transfer => false,
    };
    // More than can be dealt with at once: the taker stays at home.
    if expires || crossing.orders as usize > ACTIONS_MAX {
        let (scope, scope_id) = (LimitScope::Account, c.decoded.who.account);
        return Err(Breach { scope, scope_id, measured: crossing.qty, limit: 0 });
    }
    Ok(())
}
