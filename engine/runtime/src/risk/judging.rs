//! Orders, their reports and rehearsals, as the desk answers them.

use serde_json::{Value, json};
use tidegate_guard::risk::RiskGate;
use tidegate_wire::Price;
use tidegate_wire::order::{Execution, LimitScope, OrderRequest, RequestKind, Verdict};

use super::ask::{OrderAsk, OrderName, ReportAsk};
use super::desk::Owner;
use super::holding::trade;
use crate::audit::Trail;

impl Owner {
    /// Judges an order; what is let through counts from here on.
    pub(super) fn check(&mut self, order: &OrderAsk, who: &str, now: i64) -> Result<Value, String> {
        // Refused before it is judged: where nothing can be recorded nothing is piled up either.
        if order.kind != RequestKind::Cancel && self.around.trail.as_ref().is_some_and(Trail::is_pressed) {
            return Err("no new risk: the audit log has failed or does not keep up, so nothing can be recorded".into());
        }
        if let Some(error) = self.kept.error().filter(|_| order.kind != RequestKind::Cancel) {
            return Err(format!("no new risk: what executes could not be kept: {error}"));
        }
        self.numbered += 1;
        let request = self.book().order(order, now, self.numbered);
        let request = request.inspect_err(|reason| self.unreadable(who, now, &json!(order), reason))?;
        let view = self.view(request.instrument, Some((request.account, request.strategy)));
        let verdict = self.gate.check(&request, &view);
        if let Some(trail) = &self.around.trail {
            trail.order(&request, who);
            trail.verdict(&verdict);
        }
        Ok(self.answer(&verdict, prevented(&self.gate).collect()))
    }

    /// What names something that is not there is told too: it may be an order, or an execution that nobody has booked.
    fn unreadable(&mut self, who: &str, now: i64, what: &Value, reason: &str) {
        let line = json!({ "kind": "unreadable", "event_ns": now, "who": who, "what": what, "reason": reason });
        self.teller.tell(line, now, 0);
    }

    /// Judges an order on a copy of the gate.
    pub(super) fn rehearse_order(&self, order: &OrderAsk, now: i64) -> Result<Value, String> {
        let request = self.book().order(order, now, self.numbered + 1)?;
        let view = self.view(request.instrument, Some((request.account, request.strategy)));
        let mut gate = self.gate.clone();
        let verdict = gate.check(&request, &view);
        Ok(self.answer(&verdict, prevented(&gate).collect()))
    }

    fn answer(&self, verdict: &Verdict, first: Vec<OrderRequest>) -> Value {
        let mut answer = self.names.verdict(verdict);
        answer["cancel_first"] = first.iter().map(|request| self.orders_named.order(request)).collect();
        answer
    }

    pub(super) fn report(&mut self, report: &ReportAsk, who: &str, now: i64) -> Result<Value, String> {
        if let Some(execution) = self.book().execution(report, now) {
            let execution = execution.inspect_err(|reason| self.unreadable(who, now, &json!(report), reason))?;
            if !self.kept.is_new(trade(&execution)) {
                return Ok(json!({ "done": true, "exists": true }));
            }
            if let Some(trail) = &self.around.trail {
                trail.execution(&execution, who);
            }
            self.gate.on_fill(&execution).map_err(|error| error.to_string())?;
            let Execution { account, strategy, instrument, event_ns, .. } = execution;
            let mark = self.gate.mark(account, strategy, instrument);
            self.kept.executed(event_ns, report, mark.map(Price::raw))?;
            return Ok(json!({ "done": true }));
        }
        let (name, then): (&OrderName, fn(&mut RiskGate, u16, u64)) = match report {
            ReportAsk::Cancelled(name) => (name, RiskGate::on_cancelled),
            ReportAsk::Rejected(name) => (name, RiskGate::on_rejected),
            ReportAsk::Replaced(name) => (name, RiskGate::on_replaced),
            ReportAsk::ReplaceRejected(name) => (name, RiskGate::on_replace_rejected),
            ReportAsk::Executed { .. } => unreachable!("booked above"),
        };
        let account = self.book().account(&name.account);
        let account = account.inspect_err(|reason| self.unreadable(who, now, &json!(report), reason))?;
        then(&mut self.gate, account, name.client_id);
        if let (Some(trail), Ok(body)) = (&self.around.trail, serde_json::to_value(report)) {
            trail.risk(now, &json!({ "kind": "report", "account_number": account, "who": who, "report": body }));
        }
        Ok(json!({ "done": true }))
    }

    pub(super) fn rehearse(&self, protocol: &str, level: usize, now: i64) -> Result<Value, String> {
        let number = self.protocol(protocol)?;
        let views = |instrument| self.view(instrument, None);
        let shown = self.emergency.dry_run(number, level, &self.gate, views, now);
        let shown = shown.ok_or_else(|| format!("protocol {protocol:?} has no level {level}"))?;
        let requests = shown.requests.iter().map(|(request, verdict)| {
            json!({ "request": self.orders_named.order(request), "verdict": self.names.verdict(verdict) })
        });
        Ok(json!({
            "protocol": protocol,
            "level": level,
            "stops_quoting": shown.stops_quoting,
            "requests": requests.collect::<Vec<_>>(),
        }))
    }
}

/// Cancels of resting orders of the same owner that must go first.
pub(super) fn prevented(gate: &RiskGate) -> impl Iterator<Item = OrderRequest> {
    gate.self_trade_actions().iter().filter_map(|action| {
        let mut open = gate.open_orders(LimitScope::Account, action.account);
        open.find(|order| order.cancel.client_id == action.client_id).map(|order| order.cancel)
    })
}
