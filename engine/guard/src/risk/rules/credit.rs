//! Credit and capital: exposure may not pass leverage times the capital set aside, nor leverage times the funds that
//! are really there.

use tidegate_wire::order::LimitScope;

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "credit",
    unit: "millionths",
    about: "The scope's exposure would pass what its capital or its funds bear.",
    source: "17 CFR 240.15c3-5(c)(1)(i)",
    overridable: true,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    for bounds in state.scopes(c.decoded.who) {
        if bounds.capital.is_none() && bounds.leverage.is_none() {
            continue;
        }
        // Where leverage is limited, an account of which nobody has told the funds has none.
        let funds = match (bounds.scope, bounds.leverage) {
            (LimitScope::Account, Some(_)) => Some(bounds.credit.unwrap_or(0)),
            _ => bounds.credit,
        };
        let base = bounds.capital.unwrap_or(i64::MAX).min(funds.unwrap_or(i64::MAX));
        let limit = match bounds.leverage {
            Some(thousandths) if base < i64::MAX => {
                let limit = i128::from(base) * i128::from(thousandths) / 1_000;
                i64::try_from(limit).unwrap_or(i64::MAX)
            }
            _ => base,
        };
        let after = c.after.totals[bounds.scope as usize].exposure;
        if after > limit && c.after.raises(bounds.scope) {
            return Err(bounds.breach(after, limit));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn funds_bear_leverage_times_themselves() {
        let mut desk = Desk::new("[accounts.main.limits]\nleverage = 2.5\n");
        let order = desk.buy(PRICE, 100);
        desk.refuses(&order, "credit", 1_000_000_000, 0);
        for (funds, accepted) in [(399_999_999, false), (400_000_000, true)] {
            desk.gate.on_funds(0, Credit::new(funds).expect("no debt")).expect("an account");
            let verdict = desk.send(&order);
            assert_eq!(verdict.is_accepted(), accepted);
        }
        let more = desk.buy(PRICE, LOT);
        desk.refuses(&more, "credit", 1_050_000_000, 1_000_000_000);
        assert!(desk.gate.on_funds(9, Credit::default()).is_err());
    }

    #[test]
    fn capital_is_a_threshold_in_every_scope() {
        for (scope, extra) in scopes("capital = 1000") {
            let mut desk = Desk::new(&extra);
            let (order, more) = (desk.buy(PRICE, 100), desk.buy(PRICE, LOT));
            desk.accepts(&order);
            let verdict = desk.refuses(&more, "credit", 1_050_000_000, 1_000_000_000);
            assert_eq!(verdict.scope, scope as u8);
        }
    }
}
