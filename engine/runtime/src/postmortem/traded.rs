//! What became of orders and positions while an incident lasted, as the log's verdicts and executions tell it.

use std::collections::BTreeMap;

use serde::Serialize;
use tidegate_guard::risk::Decimal;
use tidegate_guard::risk::rules::rule_name;
use tidegate_wire::instrument::Contract;
use tidegate_wire::order::{Execution, Side, Verdict};
use tidegate_wire::{Instrument, InstrumentId, Qty, Registry};

use super::log::Session;
use super::market::{Watched, Witness};

/// Orders and positions during an incident.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct OrdersImpact {
    /// Requests that the risk gate judged.
    pub judged: usize,
    /// Of those, let through.
    pub accepted: usize,
    /// Of those, refused: how many by which rule.
    pub refused_by: BTreeMap<&'static str, usize>,
    /// Worst-case value of what was refused, reporting currency.
    pub refused_value: f64,
    /// Executions.
    pub executions: usize,
    /// Fees of them, reporting currency.
    pub fees: f64,
    /// Instruments in which something was held or executed.
    pub instruments: Vec<Traded>,
}

/// Positions and executions in one instrument, of all accounts together.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Traded {
    /// Its name.
    pub instrument: String,
    /// Position when the incident began, the venue's unit of quantity; negative when short.
    pub held_before: f64,
    /// Position when it ended.
    pub held_after: f64,
    /// Quantity bought meanwhile.
    pub bought: f64,
    /// Quantity sold meanwhile.
    pub sold: f64,
    /// Value of the position at the mid when it began, quote units; absent without a mid, and for coin-margined
    /// contracts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposure_before: Option<f64>,
    /// How much worse than the mid executions were on average, bp of their value; below zero: better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slippage_bp: Option<f64>,
    /// What positions and executions brought meanwhile, at mids, quote units, before fees; absent as the exposure is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profit: Option<f64>,
}

/// Orders and positions between two times; `None` for a session without any. What earlier sessions left is what the
/// desk told of it at the beginning.
pub(super) fn traded(
    session: &Session,
    registry: &Registry,
    witness: &Witness,
    (from_ns, until_ns): (i64, i64),
) -> Option<OrdersImpact> {
    let left = session.told.iter().any(|told| told.body["kind"] == "held");
    if session.verdicts.is_empty() && session.executions.is_empty() && !left {
        return None;
    }
    let within = |at: i64| (from_ns..=until_ns).contains(&at);
    let verdicts: Vec<&Verdict> =
        session.verdicts.iter().map(|logged| &logged.record).filter(|verdict| within(verdict.event_ns)).collect();
    let mut refused_by = BTreeMap::new();
    for verdict in verdicts.iter().filter(|verdict| !verdict.is_accepted()) {
        *refused_by.entry(rule_name(verdict.rule)).or_default() += 1;
    }
    let refused = verdicts.iter().filter(|verdict| !verdict.is_accepted());
    let executions: Vec<&Execution> = session.executions.iter().map(|logged| &logged.record).collect();
    let meanwhile = executions.iter().filter(|execution| within(execution.event_ns));
    let one = |(index, watched): (usize, &Watched)| {
        let listed = registry.get(InstrumentId(index as u16))?;
        let fills = executions.iter().filter(|execution| execution.instrument.index() == index);
        let base = match listed.contract {
            Contract::Linear => Some(1.0),
            Contract::Sized { base_per_contract } => Some(base_per_contract),
            Contract::Inverse { .. } => None,
        };
        let before = session.told.iter().filter_map(|told| held(&told.body, listed)).sum();
        Book { watched, listed, base, before, fills: fills.copied().collect() }.between(from_ns, until_ns)
    };
    Some(OrdersImpact {
        judged: verdicts.len(),
        accepted: verdicts.iter().filter(|verdict| verdict.is_accepted()).count(),
        refused_by,
        refused_value: refused.map(|verdict| verdict.value as f64 * 1e-6).sum(),
        executions: meanwhile.clone().count(),
        fees: meanwhile.map(|execution| execution.fee as f64 * 1e-6).sum(),
        instruments: witness.instruments.iter().enumerate().filter_map(one).collect(),
    })
}

/// A position that an earlier run left, raw, if that is what an entry of the log tells and it is of an instrument.
fn held(body: &serde_json::Value, listed: &Instrument) -> Option<i64> {
    let held = Some(&body["held"]).filter(|held| body["kind"] == "held" && held["instrument"] == listed.name())?;
    Decimal::parse(held["position"].as_str()?).ok()?.at_scale(listed.qty_scale.decimals()).ok()
}

/// What was executed in one instrument, in order.
struct Book<'a> {
    watched: &'a Watched,
    listed: &'a Instrument,
    /// Units of the base in one of quantity; `None` where the value of a price is not in proportion to it.
    base: Option<f64>,
    /// Position when the session began, raw.
    before: i64,
    fills: Vec<&'a Execution>,
}

/// Quantity of an execution, raw, negative when it sold.
fn signed(fill: &Execution) -> i64 {
    if fill.side == Side::Buy as u8 { fill.qty.raw() } else { -fill.qty.raw() }
}

impl Book<'_> {
    fn between(&self, from_ns: i64, until_ns: i64) -> Option<Traded> {
        let (mut before, mut meanwhile) = (self.before, Vec::new());
        for fill in self.fills.iter().filter(|fill| fill.event_ns <= until_ns) {
            if fill.event_ns < from_ns { before += signed(fill) } else { meanwhile.push(*fill) }
        }
        if before == 0 && meanwhile.is_empty() {
            return None;
        }
        let qty = |raw: i64| Qty::from_raw(raw).to_f64(self.listed.qty_scale);
        let sum = |of: &dyn Fn(i64) -> i64| meanwhile.iter().map(|fill| of(signed(fill))).sum::<i64>();
        let after = before + sum(&|raw| raw);
        let mids = self.watched.mid_before(from_ns).zip(self.watched.mid_at(until_ns)).zip(self.base);
        let paid: f64 = meanwhile.iter().map(|fill| qty(signed(fill)) * self.price(fill)).sum();
        Some(Traded {
            instrument: self.watched.name.clone(),
            held_before: qty(before),
            held_after: qty(after),
            bought: qty(sum(&|raw| raw.max(0))),
            sold: qty(sum(&|raw| (-raw).max(0))),
            exposure_before: mids.map(|((mid, _), base)| qty(before).abs() * mid * base),
            slippage_bp: self.slippage_bp(&meanwhile),
            profit: mids.map(|((first, last), base)| (qty(after) * last - qty(before) * first - paid) * base),
        })
    }

    fn price(&self, fill: &Execution) -> f64 {
        fill.price.to_f64(self.listed.price_scale)
    }

    /// Executions against the mid that was known before they were reported, bp of their value at that; `None` where one
    /// has no mid.
    fn slippage_bp(&self, fills: &[&Execution]) -> Option<f64> {
        let (mut worse, mut value) = (0.0, 0.0);
        for fill in fills {
            let (mid, qty) = (self.watched.mid_before(fill.event_ns)?, signed(fill) as f64);
            worse += qty * (self.price(fill) - mid);
            value += qty.abs() * mid;
        }
        (value > 0.0).then(|| worse / value * 1e4)
    }
}

impl OrdersImpact {
    /// What was judged and executed, as a sentence.
    pub(super) fn sentence(&self) -> String {
        let refused = self.judged - self.accepted;
        let by: Vec<String> = self.refused_by.iter().map(|(rule, count)| format!("{count} by {rule}")).collect();
        let by = if by.is_empty() {
            String::new()
        } else {
            format!(" ({}; worst case {:.2})", by.join(", "), self.refused_value)
        };
        format!(
            "{} orders and cancels were judged, {refused} refused{by}; {} executions, fees {:.2}, reporting currency.",
            self.judged, self.executions, self.fees
        )
    }
}
