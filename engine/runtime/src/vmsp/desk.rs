//! What a trade must pass: instruments, prices, the pre-trade gate.
//!
//! The gate is given real balances ([`credit`](tidegate_guard::ledger::credit)); a virtual one is of another type,
//! which it does not take.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytemuck::Zeroable;
use serde_json::Value;
use tidegate_guard::risk::rules::rule_name;
use tidegate_guard::risk::{Credit, MarketView, Permits, Reference, ReferenceKind, RiskGate};
use tidegate_wire::event::BookQuality;
use tidegate_wire::instrument::Contract;
use tidegate_wire::order::{Execution, FLAG_REDUCE_ONLY, OrderRequest, Side, TimeInForce};
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, Scale};

use super::request::Declined;
use super::{STRATEGY, TradePlan, VmspError};
use crate::risk::Names;

/// The gate with what it needs to know.
#[derive(Debug)]
pub(crate) struct Desk {
    gate: RiskGate,
    names: Names,
    instruments: HashMap<String, (InstrumentId, Instrument)>,
    marks: HashMap<InstrumentId, (Price, i64)>,
    account: u16,
    scale: Scale,
    halted: Arc<AtomicBool>,
    /// Number of the next order.
    next: u64,
}

/// A trade as the gate sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) instrument: InstrumentId,
    venue: u8,
    pub(crate) side: Side,
    pub(crate) price: Price,
    pub(crate) qty: Qty,
    /// Decimals of price and quantity together.
    decimals: u32,
}

impl Desk {
    pub(crate) fn new(plan: &TradePlan, owner: &str, scale: Scale) -> Result<Self, VmspError> {
        let position = plan.limits.accounts.keys().position(|name| name == owner);
        let known = || plan.limits.accounts.keys().cloned().collect::<Vec<_>>().join(", ");
        let missing = || VmspError::Risk(format!("there is no account {owner:?}; there are: {}", known()));
        let account = position.and_then(|position| u16::try_from(position).ok()).ok_or_else(missing)?;
        let gate = RiskGate::new(&plan.registry, &[STRATEGY], &plan.limits);
        let gate = gate.map_err(|error| VmspError::Risk(error.to_string()))?;
        let instruments = plan.registry.iter().map(|(id, found)| (found.name(), (id, found.clone()))).collect();
        let (names, halted) = (Names::of(&plan.registry, &[STRATEGY], &plan.limits), plan.halted.clone());
        Ok(Self { gate, names, instruments, marks: HashMap::new(), account, scale, halted, next: 1 })
    }

    fn find(&self, symbol: &str) -> Result<&(InstrumentId, Instrument), Declined> {
        let unknown = || {
            let mut known: Vec<&str> = self.instruments.keys().map(String::as_str).collect();
            known.sort_unstable();
            Declined::new("instrument", format!("no instrument {symbol:?}; there are: {}", known.join(", ")))
        };
        self.instruments.get(symbol).ok_or_else(unknown)
    }

    fn price(&self, symbol: &str, text: &str) -> Result<(InstrumentId, Price), Declined> {
        let (id, instrument) = self.find(symbol)?;
        let price = Price::parse(text.as_bytes(), instrument.price_scale).ok().filter(|price| price.raw() > 0);
        let decimals = instrument.price_scale.decimals();
        let wrong =
            || format!("price {text:?} of {symbol}, expected a number above 0 with at most {decimals} decimals");
        Ok((*id, price.ok_or_else(|| Declined::new("price", wrong()))?))
    }

    /// Takes note of a price.
    pub(crate) fn mark(&mut self, symbol: &str, text: &str, wall_ns: i64) -> Result<(), Declined> {
        let (id, price) = self.price(symbol, text)?;
        self.marks.insert(id, (price, wall_ns));
        self.gate.on_mark(id, price, wall_ns);
        Ok(())
    }

    /// What a trade of so many minor units would be: the largest quantity that they pay for.
    pub(crate) fn ticket(&self, symbol: &str, side: Side, amount: u128, price: &str) -> Result<Ticket, Declined> {
        let (id, price) = self.price(symbol, price)?;
        let (_, instrument) = self.find(symbol)?;
        if instrument.contract != Contract::Linear {
            return Err(Declined::new("instrument", format!("{symbol} is coin-margined; trades are for linear ones")));
        }
        let decimals = u32::from(instrument.price_scale.decimals()) + u32::from(instrument.qty_scale.decimals());
        let lot = instrument.lot.raw().max(1);
        let units = 10u128.checked_pow(decimals).and_then(|scale| amount.checked_mul(scale));
        let qty = units
            .map(|units| units / u128::from(self.scale.units().unsigned_abs()) / price.raw().unsigned_abs() as u128);
        let qty = qty.and_then(|qty| i64::try_from(qty).ok()).map(|qty| qty / lot * lot).filter(|qty| *qty > 0);
        let small =
            || Declined::new("amount", format!("the amount is less than one lot of {symbol}, or too much to count"));
        let qty = Qty::from_raw(qty.ok_or_else(small)?);
        Ok(Ticket { instrument: id, venue: instrument.venue as u8, side, price, qty, decimals })
    }

    /// Asks the gate whether a trade may be entered, with these funds. It enters at the newest price, which becomes the
    /// ticket's, and only where that is the price asked for or better: no gain is booked that the market did not offer.
    pub(crate) fn enter(
        &mut self,
        ticket: &mut Ticket,
        funds: Option<Credit>,
        wall_ns: i64,
    ) -> Result<OrderRequest, Declined> {
        let too_much = || Declined::new("funds", "the balance does not fit the gate's 64 bits of millionths");
        let funds = funds.ok_or_else(too_much)?;
        self.gate.on_funds(self.account, funds).map_err(|error| Declined::new("funds", error.to_string()))?;
        let order = self.judge(ticket, (ticket.side, ticket.price), 0, wall_ns)?;
        // Without a price the gate has refused.
        let mark = self.marks.get(&ticket.instrument).map_or(ticket.price, |(price, _)| *price);
        let offered = match ticket.side {
            Side::Buy => mark.raw() <= ticket.price.raw(),
            Side::Sell => mark.raw() >= ticket.price.raw(),
        };
        if !offered {
            self.forget(&order);
            return Err(Declined::new(
                "not-offered",
                "the newest price is worse than the one asked for: nothing was entered",
            ));
        }
        ticket.price = mark;
        Ok(order)
    }

    /// Asks the gate whether a position may be closed at the newest price, and says what that brings, minor units.
    pub(crate) fn exit(&mut self, ticket: &Ticket, wall_ns: i64) -> Result<(OrderRequest, i128), Declined> {
        let none = || Declined::new("reference", "there is no price to close at; `tidegate vmsp mark` gives one");
        let (mark, _) = *self.marks.get(&ticket.instrument).ok_or_else(none)?;
        let too_much = || Declined::new("amount", "what the position brings does not fit 128 bits");
        let gain = self.gain(ticket, mark).ok_or_else(too_much)?;
        let request = self.judge(ticket, (ticket.side.opposite(), mark), FLAG_REDUCE_ONLY, wall_ns)?;
        Ok((request, gain))
    }

    /// What a position brings at a price, minor units, rounded down; `None` when it does not fit.
    fn gain(&self, ticket: &Ticket, mark: Price) -> Option<i128> {
        let difference = i128::from(mark.raw()) - i128::from(ticket.price.raw());
        let signed = if ticket.side == Side::Buy { difference } else { -difference };
        let value = signed.checked_mul(i128::from(ticket.qty.raw()))?.checked_mul(i128::from(self.scale.units()))?;
        Some(value.div_euclid(10i128.checked_pow(ticket.decimals)?))
    }

    fn judge(
        &mut self,
        ticket: &Ticket,
        (side, price): (Side, Price),
        flags: u8,
        wall_ns: i64,
    ) -> Result<OrderRequest, Declined> {
        let number = self.next;
        self.next += 1;
        let request = OrderRequest {
            request_id: number,
            client_id: number,
            event_ns: wall_ns,
            price,
            qty: ticket.qty,
            account: self.account,
            instrument: ticket.instrument,
            venue: ticket.venue,
            side: side as u8,
            time_in_force: TimeInForce::ImmediateOrCancel as u8,
            flags,
            ..OrderRequest::zeroed()
        };
        let reference = self.marks.get(&ticket.instrument).map_or(Reference::MISSING, |(price, at_ns)| Reference {
            price: *price,
            at_ns: *at_ns,
            kind: ReferenceKind::Mark,
        });
        // Whoever only closes may, whatever is stopped.
        let engine = flags & FLAG_REDUCE_ONLY != 0 || !self.halted.load(Ordering::Acquire);
        // There is no book here: the price is the word of whoever gave it.
        let permits = Permits { engine, ..Permits::ALL };
        let view = MarketView { reference, quality: BookQuality::Good, permits };
        let verdict = self.gate.check(&request, &view);
        if verdict.is_accepted() && verdict.allowed_qty == ticket.qty {
            return Ok(request);
        }
        let (rule, measured, limit) = (rule_name(verdict.rule), verdict.measured, verdict.limit);
        Err(Declined::new(rule, format!("risk rule {rule} refuses it: {measured} against a limit of {limit}")))
    }

    /// The oldest alert of the gate that was not taken yet: a refusal, a switch that a rule has thrown.
    pub(crate) fn take_alert(&mut self) -> Option<Value> {
        self.gate.take_alert().map(|alert| self.names.alert(&alert))
    }

    /// An order that was let through is booked at a price.
    pub(crate) fn book(&mut self, request: &OrderRequest, price: Price) {
        let OrderRequest { client_id, event_ns, qty, account, strategy, instrument, side, .. } = *request;
        let trade_id = client_id;
        let fill = Execution {
            client_id,
            event_ns,
            trade_id,
            price,
            qty,
            account,
            strategy,
            instrument,
            side,
            ..Execution::zeroed()
        };
        // The gate let this order through a moment ago: it knows it.
        if let Err(error) = self.gate.on_fill(&fill) {
            tracing::error!(%error, "vmsp: the gate does not know a trade that it let through");
        }
    }

    /// An order that was let through came to nothing.
    pub(crate) fn forget(&mut self, request: &OrderRequest) {
        self.gate.on_cancelled(request.account, request.client_id);
    }
}
