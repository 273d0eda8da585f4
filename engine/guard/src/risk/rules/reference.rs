//! Without a price to hold an order against nothing is sent: missing, not a number, or too old.

use tidegate_wire::order::LimitScope;

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "reference",
    unit: "ns",
    about: "The reference price is missing or older than it may be.",
    source: "17 CFR 240.15c3-5(c)(1)(ii); RTS 6 Art. 15(1)(a)",
    overridable: false,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    if c.reference > 0 {
        return Ok(());
    }
    let id = c.decoded.who.instrument;
    let measured = if c.view.reference.price.raw() > 0 { c.age_ns } else { i64::MAX };
    let limit = state.listed[usize::from(id)].max_age_ns;
    Err(Breach { scope: LimitScope::Instrument, scope_id: id, measured, limit })
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn a_price_must_be_there_and_young() {
        let mut desk = Desk::new("");
        let limit = 2_000 * MS;
        let scale = tidegate_wire::Scale::saturating(1);
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -5.0] {
            desk.view.reference = Reference::from_f64(value, scale, desk.now, ReferenceKind::Mid);
            let order = desk.buy(PRICE, LOT);
            desk.refuses(&order, "reference", i64::MAX, limit);
        }
        desk.view.reference = Reference { at_ns: desk.now, ..reference(PRICE) };
        let sent_at = desk.now;
        for (age, accepted) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
            desk.now = sent_at + age;
            let order = desk.buy_at(desk.now, PRICE, LOT);
            let verdict = desk.send(&order);
            assert_eq!(verdict.is_accepted(), accepted, "{age}");
            assert_eq!(verdict.reference_age_ns, age);
        }
    }
}
