//! A request that makes no sense. Found while it is decoded, before any other rule: see
//! [`Malformed`](crate::risk::Malformed) for the figure in the verdict.

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "malformed",
    unit: "what is wrong",
    about: "Unknown codes, owners or venues, impossible amounts, numbers that do not fit.",
    source: "17 CFR 240.15c3-5(c)(1)(ii)",
    overridable: false,
};

#[inline(always)]
pub(super) const fn check(_: &State, _: &Candidate<'_>) -> Result<(), Breach> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn every_field_is_looked_at() {
        let mut desk = Desk::new("");
        let good = desk.buy(PRICE, LOT);
        type Spoil = fn(&mut OrderRequest);
        let bad: [(i64, Spoil); 16] = [
            (1, |r| r.kind = 3),
            (1, |r| r.side = 2),
            (1, |r| r.order_type = 3),
            (1, |r| r.time_in_force = 4),
            (1, |r| r.self_trade = 6),
            (1, |r| r.flags = 2),
            (1, |r| r.reserved[1] = 1),
            (2, |r| r.account = 3),
            (2, |r| r.strategy = 2),
            (2, |r| r.instrument = InstrumentId::NONE),
            (3, |r| r.venue = 0),
            (4, |r| r.qty = Qty::ZERO),
            (4, |r| r.price = Price::from_raw(-1)),
            (4, |r| r.order_type = OrderType::Market as u8),
            (5, |r| r.time_in_force = TimeInForce::GoodTillDate as u8),
            (5, |r| r.expires_ns = 1),
        ];
        for (what, spoil) in bad {
            let mut request = good;
            spoil(&mut request);
            desk.refuses(&request, "malformed", what, 0);
        }
        // A cancel needs an owner only.
        let any = OrderRequest { side: 9, order_type: 9, self_trade: 9, flags: 9, ..cancel(&good) };
        desk.accepts(&any);
        desk.refuses(&OrderRequest { account: 3, ..any }, "malformed", 2, 0);
        let huge = OrderRequest { qty: Qty::from_raw(i64::MAX), ..good };
        desk.refuses(&huge, "malformed", 6, 0);
        desk.accepts(&good);
    }
}
