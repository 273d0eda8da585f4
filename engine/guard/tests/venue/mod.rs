//! A venue in miniature: one book, price and time, no prevention of its own.

use bytemuck::Zeroable;
use proptest::prelude::*;
use tidegate_guard::risk::{RiskGate, SelfTradeAction, SelfTradeKind};
use tidegate_wire::order::{Execution, LimitScope, OrderRequest, Side};
use tidegate_wire::{InstrumentId, Qty};

/// The venue with the gate in front of it.
pub(crate) struct Exchange {
    pub(crate) gate: RiskGate,
    /// Resting orders with what is left of them, oldest first.
    book: Vec<(OrderRequest, i64)>,
    /// What moved between accounts: received by the first, given by the second.
    trades: u64,
}

impl Exchange {
    pub(crate) fn new(gate: RiskGate) -> Self {
        Self { gate, book: Vec::new(), trades: 0 }
    }

    /// Quantity of all resting orders.
    pub(crate) fn resting(&self) -> i64 {
        self.book.iter().map(|(_, left)| left).sum()
    }

    /// Does what prevention asks for, and reports it.
    pub(crate) fn carry_out(&mut self, actions: &[SelfTradeAction]) {
        for action in actions {
            let order = self.book.iter_mut().find(|(order, _)| order.client_id == action.client_id);
            let (_, left) = order.expect("it rests");
            *left = if action.kind == SelfTradeKind::Expire { 0 } else { *left - action.qty.raw() };
            assert!(*left >= 0, "{action:?}");
            self.gate.on_prevented(action);
        }
        self.book.retain(|(_, left)| *left > 0);
    }

    /// Matches an order; gives the accounts of every execution, the resting one first.
    pub(crate) fn send(&mut self, request: &OrderRequest, mut qty: i64) -> Vec<(u16, u16)> {
        let mut met = Vec::new();
        let buys = request.side == Side::Buy as u8;
        while qty > 0 {
            let crosses = |order: &OrderRequest| {
                order.side != request.side
                    && if buys { order.price <= request.price } else { order.price >= request.price }
            };
            let sign = if buys { 1 } else { -1 };
            let candidates = self.book.iter().enumerate().filter(|(_, (order, _))| crosses(order));
            let best = candidates.min_by_key(|(age, (order, _))| (sign * order.price.raw(), *age));
            let Some(index) = best.map(|(index, _)| index) else { break };
            let (maker, left) = self.book[index];
            let traded = left.min(qty);
            qty -= traded;
            self.book[index].1 -= traded;
            self.book.retain(|(_, left)| *left > 0);
            self.trades += 1;
            for order in [&maker, request] {
                let OrderRequest { account, strategy, instrument, side, client_id, .. } = *order;
                let traded = Qty::from_raw(traded);
                let report = Execution { client_id, price: maker.price, qty: traded, ..Execution::zeroed() };
                let report = Execution { account, strategy, instrument, side, trade_id: self.trades, ..report };
                self.gate.on_fill(&report).expect("a good report");
            }
            met.push((maker.account, request.account));
        }
        if qty > 0 {
            self.book.push((*request, qty));
        }
        met
    }

    /// What the gate counts is what rests here, and all positions together are zero.
    pub(crate) fn agrees(&self) -> Result<(), TestCaseError> {
        let counted: i64 = self.gate.open_orders(LimitScope::Firm, 0).map(|order| order.remaining.raw()).sum();
        prop_assert_eq!(counted, self.resting());
        let position = |account| self.gate.position(account, InstrumentId(0)).expect("known").raw();
        prop_assert_eq!(position(0) + position(1) + position(2), 0);
        let unknown = self.gate.counters().unknown_executions;
        prop_assert_eq!(unknown, 0);
        Ok(())
    }
}
