//! What an account may trade, where, and by which strategy: nothing that is not named.

use tidegate_wire::order::LimitScope;

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "permission",
    unit: "approvals",
    about: "The account is not approved for the strategy, the instrument or the venue.",
    source: "17 CFR 240.15c3-5(c)(2)(iii); RTS 6 Art. 15(5)",
    overridable: false,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    let (who, allowed) = (c.decoded.who, &state.permissions);
    let missing = if !allowed.instruments.contains(who.account, who.instrument) {
        Some((LimitScope::Instrument, who.instrument))
    } else if !allowed.strategies.contains(who.account, who.strategy) {
        Some((LimitScope::Strategy, who.strategy))
    } else if !allowed.venues.contains(who.account, u16::from(who.venue)) {
        Some((LimitScope::Venue, u16::from(who.venue)))
    } else {
        None
    };
    missing.map_or(Ok(()), |(scope, scope_id)| Err(Breach { scope, scope_id, measured: 0, limit: 1 }))
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn what_is_not_named_is_refused() {
        let mut desk = Desk::new("");
        // `third` may trade nothing but ETHUSDT on USD-M by `grid`.
        let third = |desk: &mut Desk, strategy, instrument, venue| {
            let order = desk.buy(PRICE, LOT);
            OrderRequest { account: 2, strategy, instrument: InstrumentId(instrument), venue, ..order }
        };
        for (strategy, instrument, venue, scope) in [
            (1, 0, 1, LimitScope::Instrument),
            (0, 1, 1, LimitScope::Strategy),
            (1, 2, 0, LimitScope::Instrument),
            (1, 3, 0, LimitScope::Venue),
        ] {
            let order = third(&mut desk, strategy, instrument, venue);
            assert_eq!(desk.refuses(&order, "permission", 0, 1).scope, scope as u8);
        }
        let order = third(&mut desk, 1, 1, 1);
        desk.accepts(&order);
    }
}
