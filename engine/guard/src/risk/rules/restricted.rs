//! The restricted list: instruments that an account, or nobody, may trade.

use tidegate_wire::order::LimitScope;

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "restricted",
    unit: "entries",
    about: "The instrument is on the restricted list of the account.",
    source: "17 CFR 240.15c3-5(c)(2)(ii)",
    overridable: false,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    let who = c.decoded.who;
    if state.restricted.pairs.contains(who.account, who.instrument) {
        return Err(Breach { scope: LimitScope::Instrument, scope_id: who.instrument, measured: 1, limit: 0 });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn lists_are_replaced_at_run_time_by_newer_ones() {
        let mut desk = Desk::new("");
        let file = |version, instrument: &str, account: &str| RestrictedFile {
            version,
            entries: vec![RestrictedEntry { instrument: instrument.into(), account: account.into() }],
        };
        let replace = |desk: &mut Desk, file: &RestrictedFile| {
            let list = desk.gate.restricted_list(file).expect("known names");
            desk.gate.replace_restricted(list, PersonId(1)).map(|old| old.version())
        };
        assert_eq!(replace(&mut desk, &file(1, BTC, "main")), Ok(0));
        let (ours, theirs) = (desk.buy(PRICE, LOT), OrderRequest { account: 1, ..desk.buy(PRICE, LOT) });
        assert_eq!(desk.refuses(&ours, "restricted", 1, 0).restricted_version, 1);
        desk.accepts(&theirs);
        assert_eq!(replace(&mut desk, &file(2, "*", "other")), Ok(1));
        desk.accepts(&ours);
        let theirs = OrderRequest { account: 1, ..desk.buy(PRICE, LOT) };
        desk.refuses(&theirs, "restricted", 1, 0);
        assert!(replace(&mut desk, &file(2, "*", "*")).is_err_and(|e| e.to_string().contains("2")), "not newer");
        let error = desk.gate.restricted_list(&file(3, "NONE", "*")).expect_err("nobody knows it");
        assert!(error.to_string().contains("NONE"), "{error}");
        let stranger = desk.gate.restricted_list(&file(3, "*", "*")).expect("known names");
        assert!(desk.gate.replace_restricted(stranger, PersonId(2)).is_err(), "an operator may not");
    }
}
