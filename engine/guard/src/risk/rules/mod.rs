//! The pre-trade rules: one file each, and their table.
//!
//! To add a rule: write its file and add one line to `rules!` below. Rules are appended, never reordered: their index
//! is in every verdict and alert. An order passes all of them; the first that refuses is the one that is named. Calls
//! are static and small, so the compiler lays all of them out in one function.

pub(crate) mod duplicate_content;
pub(crate) mod duplicate_id;

use tidegate_wire::order::LimitScope;

use super::candidate::Candidate;
use super::state::{Bounds, State};

/// What a rule is.
#[derive(Debug)]
pub struct Rule {
    /// Name in configuration, overrides and reports.
    pub name: &'static str,
    /// Unit of the figure and the limit in a verdict.
    pub unit: &'static str,
    /// What it refuses.
    pub about: &'static str,
    /// The requirement it implements a control of.
    pub source: &'static str,
    /// Whether two persons may excuse one order from it (RTS 6 Art. 15(6)).
    pub overridable: bool,
}

/// What was measured, and whose limit it passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) scope: LimitScope,
    pub(crate) scope_id: u16,
    pub(crate) measured: i64,
    pub(crate) limit: i64,
}

impl Breach {
    pub(crate) const fn of_firm(measured: i64, limit: i64) -> Self {
        Self { scope: LimitScope::Firm, scope_id: 0, measured, limit }
    }
}

impl Bounds {
    /// A breach of one of these bounds.
    pub(crate) const fn breach(&self, measured: i64, limit: i64) -> Breach {
        Breach { scope: self.scope, scope_id: self.id, measured, limit }
    }
}

macro_rules! rules {
    ($($module:ident)*) => {
        /// All rules, by index.
        pub static RULES: &[&Rule] = &[$(&$module::RULE),*];

        /// Number of rules.
        pub const RULE_COUNT: usize = [$(stringify!($module)),*].len();

        /// The first rule that refuses; `excused` is asked before a breach counts.
        #[inline(always)]
        pub(crate) fn first_breach(
            state: &State,
            candidate: &Candidate<'_>,
            mut excused: impl FnMut(u8) -> bool,
        ) -> Option<(u8, Breach)> {
            let mut index = 0;
            $(
                if let Err(breach) = $module::check(state, candidate) && !excused(index) {
                    return Some((index, breach));
                }
                index += 1;
            )*
            debug_assert_eq!(usize::from(index), RULE_COUNT);
            None
        }

        /// One rule by itself, by index; for benches and what-if questions. `None` when it lets the order pass.
        pub(crate) fn single(rule: u8, state: &State, candidate: &Candidate<'_>) -> Option<Breach> {
            let checks = [$($module::check as fn(&State, &Candidate<'_>) -> Result<(), Breach>),*];
            checks.get(usize::from(rule)).and_then(|check| check(state, candidate).err())
        }
    };
}

mod cancel_rate;
mod credit;
mod daily_loss;
mod drawdown;
mod gross_exposure;
mod kill_switch;
mod malformed;
mod market_state;
mod message_rate;
mod open_orders;
mod order_quantity;
mod order_rate;
mod order_state;
mod order_value;
mod period_collar;
mod permission;
mod position;
mod price_collar;
mod reduce_only;
mod reference;
mod repeated_execution;
mod repeated_violation;
mod restricted;
mod self_trade;
mod tick_lot;

rules! {
    malformed
    kill_switch
    repeated_execution
    permission
    restricted
    market_state
    order_state
    tick_lot
    reference
    price_collar
    period_collar
    order_quantity
    order_value
    position
    reduce_only
    gross_exposure
    credit
    daily_loss
    drawdown
    open_orders
    duplicate_id
    duplicate_content
    order_rate
    message_rate
    self_trade
    cancel_rate
    repeated_violation
}

// The gate keeps sets of rules as bits of a word.
const _: () = assert!(RULE_COUNT <= 64);

/// Index of the rule for requests that make no sense.
pub(crate) const MALFORMED: u8 = 0;
/// Index of the rule that stops a scope after too many executions.
pub(crate) const REPEATED_EXECUTION: u8 = 2;
/// Index of the rule on a day's loss.
pub(crate) const DAILY_LOSS: u8 = 17;
/// Index of the rule on drawdown.
pub(crate) const DRAWDOWN: u8 = 18;
/// Index of the rule on the number of open orders, which also says that the table is full.
pub(crate) const OPEN_ORDERS: u8 = 19;
/// Index of the rule against trading with oneself.
pub(crate) const SELF_TRADE: u8 = 24;
/// Index of the rule on cancels.
pub(crate) const CANCEL_RATE: u8 = 25;
/// Index of the rule on refusals.
pub(crate) const REPEATED_VIOLATION: u8 = 26;

/// Name of a rule by its index in a verdict.
pub fn rule_name(index: u8) -> &'static str {
    RULES.get(usize::from(index)).map_or("none", |rule| rule.name)
}

/// Index of a rule by its name.
pub fn rule_index(name: &str) -> Option<u8> {
    RULES.iter().position(|rule| rule.name == name).map(|index| index as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole_and_constants_name_their_rules() {
        for (index, rule) in RULES.iter().enumerate() {
            assert_eq!(rule_index(rule.name), Some(index as u8), "{} has a name of its own", rule.name);
            assert!(!rule.about.is_empty() && !rule.source.is_empty() && !rule.unit.is_empty());
        }
        for (index, name) in [
            (MALFORMED, "malformed"),
            (REPEATED_EXECUTION, "repeated_execution"),
            (DAILY_LOSS, "daily_loss"),
            (DRAWDOWN, "drawdown"),
            (OPEN_ORDERS, "open_orders"),
            (SELF_TRADE, "self_trade"),
            (CANCEL_RATE, "cancel_rate"),
            (REPEATED_VIOLATION, "repeated_violation"),
        ] {
            assert_eq!(rule_name(index), name);
        }
        assert_eq!(rule_name(255), "none");
    }
}
