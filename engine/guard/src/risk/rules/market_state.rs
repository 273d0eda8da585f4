//! Breakers and the book: no order on a market that is stopped or not known.

use tidegate_wire::event::BookQuality;
use tidegate_wire::order::LimitScope;

use super::{Breach, Rule};
use crate::risk::candidate::Candidate;
use crate::risk::state::State;

pub(super) static RULE: Rule = Rule {
    name: "market_state",
    unit: "permissions",
    about: "A breaker is open, or the book is not good.",
    source: "RTS 6 Art. 15; 17 CFR 240.15c3-5(c)(2)(i)",
    overridable: false,
};

#[inline(always)]
pub(super) fn check(state: &State, c: &Candidate<'_>) -> Result<(), Breach> {
    let (who, permits) = (c.decoded.who, &c.view.permits);
    let stopped = if !permits.engine {
        Some((LimitScope::Firm, 0))
    } else if !permits.venue {
        Some((LimitScope::Venue, u16::from(who.venue)))
    } else if !permits.instrument {
        Some((LimitScope::Instrument, who.instrument))
    } else if !permits.strategy {
        Some((LimitScope::Strategy, who.strategy))
    } else {
        None
    };
    let reduces = c.reduces();
    let excused = reduces && state.switches.reduce_only_through_breakers;
    // Whoever has lost too much must be able to hold less: the account, and a strategy of what is its own.
    let less = reduces && state.switches.reduce_only;
    let engine_may = permits.engine_losses || less;
    let strategy_may = permits.strategy_losses || (less && c.reduces_its_own());
    let lost = match (engine_may, strategy_may) {
        (false, _) => Some((LimitScope::Firm, 0)),
        (_, false) => Some((LimitScope::Strategy, who.strategy)),
        _ => None,
    };
    let breach = |(scope, scope_id), measured, limit| Err(Breach { scope, scope_id, measured, limit });
    match stopped.filter(|_| !excused).or(lost) {
        Some(whom) => breach(whom, 0, 1),
        // The figure is the quality, its limit the one that is good: nothing may be decided on another.
        None if c.view.quality != BookQuality::Good => {
            breach((LimitScope::Instrument, who.instrument), c.view.quality as i64, BookQuality::Good as i64)
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::risk::testing::*;

    #[test]
    fn open_breakers_and_bad_books_stop_orders() {
        let mut desk = Desk::new("");
        let order = desk.buy(PRICE, LOT);
        type Close = fn(&mut Permits);
        let closed: [(Close, LimitScope); 4] = [
            (|p| p.engine = false, LimitScope::Firm),
            (|p| p.venue = false, LimitScope::Venue),
            (|p| p.instrument = false, LimitScope::Instrument),
            (|p| p.strategy = false, LimitScope::Strategy),
        ];
        for (close, scope) in closed {
            close(&mut desk.view.permits);
            assert_eq!(desk.refuses(&order, "market_state", 0, 1).scope, scope as u8);
            desk.accepts(&cancel(&order));
            desk.view.permits = Permits::ALL;
        }
        for quality in [BookQuality::Building, BookQuality::Gapped, BookQuality::Stale, BookQuality::Crossed] {
            desk.view.quality = quality;
            desk.refuses(&order, "market_state", quality as i64, BookQuality::Good as i64);
        }
        desk.view.quality = BookQuality::Good;
        desk.accepts(&order);
    }

    #[test]
    fn whoever_has_lost_too_much_may_only_hold_less() {
        for (configured, extra) in [(true, ""), (false, "[switches]\nreduce_only = false\n")] {
            let mut desk = Desk::new(extra);
            let order = desk.buy(PRICE, LOT);
            desk.accepts(&order);
            desk.fill(&order, PRICE, LOT);
            let more = desk.buy(PRICE, LOT);
            desk.view.permits.strategy_losses = false;
            assert_eq!(desk.refuses(&more, "market_state", 0, 1).scope, LimitScope::Strategy as u8);
            desk.view.permits.engine_losses = false;
            assert_eq!(desk.refuses(&more, "market_state", 0, 1).scope, LimitScope::Firm as u8);
            // Another strategy's position is not this one's to reduce.
            let others = reduce_only(OrderRequest { strategy: 1, ..desk.sell(PRICE, LOT) });
            assert!(!desk.send(&others).is_accepted());
            let less = reduce_only(desk.sell(PRICE, LOT));
            assert_eq!(desk.send(&less).is_accepted(), configured);
        }
    }

    #[test]
    fn reductions_pass_breakers_only_where_configured_and_bad_books_never() {
        for (configured, extra) in [(false, ""), (true, "[switches]\nreduce_only_through_breakers = true\n")] {
            let mut desk = Desk::new(extra);
            let order = desk.buy(PRICE, LOT);
            desk.accepts(&order);
            desk.fill(&order, PRICE, LOT);
            desk.view.permits.venue = false;
            let less = reduce_only(desk.sell(PRICE, LOT));
            desk.view.quality = BookQuality::Stale;
            assert!(!desk.send(&less).is_accepted());
            desk.view.quality = BookQuality::Good;
            assert_eq!(desk.send(&less).is_accepted(), configured);
        }
    }
}
