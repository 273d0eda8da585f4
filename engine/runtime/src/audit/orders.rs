//! Orders, verdicts and executions of a log: as rows, and as order records of Delegated Regulation (EU) 2025/416.

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use tidegate_guard::risk::rules::rule_name;
use tidegate_record::entry::{Entry, Kind};
use tidegate_trade::desk::{ACCOUNT, STRATEGY};
use tidegate_wire::decimal::Fixed;
use tidegate_wire::order::{
    Execution, LimitScope, MONEY_DECIMALS, OrderRequest, OrderType, RequestKind, SelfTradeMode, Side, TimeInForce,
    Verdict,
};
use tidegate_wire::{InstrumentId, Scale};

use crate::trading::PAPER;

/// What a log says its numbers mean.
#[derive(Clone, Debug, Default)]
pub(crate) struct OrderNames {
    pub(crate) accounts: Vec<String>,
    pub(crate) strategies: Vec<String>,
    pub(crate) instruments: Vec<String>,
    /// Decimals of prices and quantities, by instrument.
    pub(crate) decimals: Vec<(u8, u8)>,
}

fn word<T>(value: Option<T>, name: impl Fn(T) -> &'static str) -> &'static str {
    value.map_or("unknown", name)
}

impl OrderNames {
    fn name(of: &[String], id: u16) -> String {
        of.get(usize::from(id)).cloned().unwrap_or_else(|| id.to_string())
    }

    fn account(&self, id: u16) -> String {
        if id == PAPER {
            return ACCOUNT.into();
        }
        Self::name(&self.accounts, id)
    }

    fn strategy(&self, id: u16) -> String {
        if id == PAPER {
            return STRATEGY.into();
        }
        Self::name(&self.strategies, id)
    }

    fn instrument(&self, id: InstrumentId) -> String {
        Self::name(&self.instruments, id.0)
    }

    fn shown(&self, id: InstrumentId, raw: i64, of: impl Fn(&(u8, u8)) -> u8) -> String {
        let decimals = self.decimals.get(id.index()).map_or(0, of);
        Fixed::new(raw, Scale::saturating(decimals)).to_string()
    }

    fn price(&self, id: InstrumentId, raw: i64) -> String {
        self.shown(id, raw, |decimals| decimals.0)
    }

    fn qty(&self, id: InstrumentId, raw: i64) -> String {
        self.shown(id, raw, |decimals| decimals.1)
    }

    /// What an entry says; `None` for other kinds.
    pub(crate) fn body(&self, entry: &Entry<'_>) -> Option<Value> {
        match entry.kind {
            Kind::Order | Kind::PaperOrder => entry.record().map(|order| self.order(&order)),
            Kind::Verdict | Kind::PaperVerdict => entry.record().map(|verdict| self.verdict(&verdict)),
            Kind::Execution | Kind::PaperExecution => entry.record().map(|execution| self.execution(&execution)),
            _ => None,
        }
    }

    pub(crate) fn order(&self, order: &OrderRequest) -> Value {
        json!({
            "request_id": order.request_id,
            "client_id": order.client_id,
            "kind": word(RequestKind::from_repr(order.kind), RequestKind::name),
            "account": self.account(order.account),
            "strategy": self.strategy(order.strategy),
            "instrument": self.instrument(order.instrument),
            "side": word(Side::from_repr(order.side), Side::name),
            "type": word(OrderType::from_repr(order.order_type), OrderType::name),
            "time_in_force": word(TimeInForce::from_repr(order.time_in_force), TimeInForce::name),
            "price": self.price(order.instrument, order.price.raw()),
            "qty": self.qty(order.instrument, order.qty.raw()),
            "self_trade": word(SelfTradeMode::from_repr(order.self_trade), SelfTradeMode::name),
            "flags": order.flags,
        })
    }

    fn verdict(&self, verdict: &Verdict) -> Value {
        let refused = (verdict.rule != Verdict::NO_RULE).then(|| rule_name(verdict.rule));
        let id = verdict.scope_id;
        let scope = LimitScope::from_repr(verdict.scope).map(|scope| {
            let name = match scope {
                LimitScope::Account => self.account(id),
                LimitScope::Strategy => self.strategy(id),
                LimitScope::Instrument => self.instrument(InstrumentId(id)),
                LimitScope::Firm | LimitScope::Venue => id.to_string(),
            };
            format!("{}:{name}", scope.name())
        });
        json!({
            "request_id": verdict.request_id,
            "client_id": verdict.client_id,
            "accepted": verdict.is_accepted(),
            "rule": refused,
            "scope": scope.filter(|_| refused.is_some()),
            "measured": verdict.measured,
            "limit": verdict.limit,
            "value": Fixed::new(verdict.value, Scale::saturating(MONEY_DECIMALS)).to_string(),
            "reference": self.price(verdict.instrument, verdict.reference.raw()),
            "limits_digest": format!("{:016x}", verdict.limits_digest),
            "restricted_version": verdict.restricted_version,
        })
    }

    fn execution(&self, execution: &Execution) -> Value {
        json!({
            "client_id": execution.client_id,
            "trade_id": execution.trade_id,
            "account": self.account(execution.account),
            "strategy": self.strategy(execution.strategy),
            "instrument": self.instrument(execution.instrument),
            "side": word(Side::from_repr(execution.side), Side::name),
            "price": self.price(execution.instrument, execution.price.raw()),
            "qty": self.qty(execution.instrument, execution.qty.raw()),
            "fee": Fixed::new(execution.fee, Scale::saturating(MONEY_DECIMALS)).to_string(),
        })
    }
}

/// Who keeps the records, and by which codes crypto-assets are known.
#[derive(Clone, Debug, Default)]
pub struct Keeper {
    /// Legal entity identifier (ISO 17442), 20 characters.
    pub lei: String,
    /// Codes (ISO 24165) by instrument name, 9 characters each; an instrument without one goes by its name.
    pub dti: HashMap<String, String>,
}

impl Keeper {
    /// Whether the codes have the form of their standards; that they exist nobody here can know.
    ///
    /// # Errors
    /// The code and what was expected.
    pub fn check(&self) -> Result<(), String> {
        let good = |code: &str, length: usize| code.len() == length && code.bytes().all(|b| b.is_ascii_alphanumeric());
        if !good(&self.lei, 20) {
            return Err(format!("LEI {:?}, expected 20 letters and digits (ISO 17442)", self.lei));
        }
        let bad = self.dti.iter().find(|(_, code)| !good(code, 9));
        bad.map_or(Ok(()), |(name, code)| {
            Err(format!("DTI {code:?} of {name}, expected 9 letters and digits (ISO 24165)"))
        })
    }
}

/// Order records as Delegated Regulation (EU) 2025/416 wants them kept: JSON, dates in UTC with microseconds, decimals
/// rounded and not truncated. Keys are the fields of its annex, and events the codes of order status that it shares
/// with RTS 24; what a firm's log cannot know (the venue's priority, auction phases) is left out.
#[derive(Debug)]
pub struct OrderRecords {
    keeper: Keeper,
    /// Requests whose verdict has not come.
    asked: HashMap<u64, OrderRequest>,
    /// Open orders by account and client id.
    open: HashMap<(u16, u64), Open>,
}

/// What was asked for, what of it has executed, and whether it is on its way out.
#[derive(Clone, Copy, Debug)]
struct Open {
    order: OrderRequest,
    done: i64,
    cancelled: bool,
}

/// A time with microseconds, rounded half up.
fn time(ns: i64) -> String {
    let micros = (ns.max(0) as u64).saturating_add(500) / 1_000;
    humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(micros)).to_string()
}

impl OrderRecords {
    /// Records of a keeper whose codes were checked.
    pub fn new(keeper: Keeper) -> Self {
        Self { keeper, asked: HashMap::new(), open: HashMap::new() }
    }

    /// The record of an entry, number `index` of the log; `None` for entries that are none.
    pub(crate) fn of(&mut self, index: u64, entry: &Entry<'_>, names: &OrderNames) -> Option<Value> {
        match entry.kind {
            Kind::Order => {
                let order: OrderRequest = entry.record()?;
                self.asked.insert(order.request_id, order);
                None
            }
            Kind::Verdict => {
                let verdict: Verdict = entry.record()?;
                let order = self.asked.remove(&verdict.request_id)?;
                self.judged(index, entry.time_ns, &order, verdict.is_accepted(), names)
            }
            Kind::Execution => self.executed(index, entry.time_ns, &entry.record()?, names),
            // Numbers of accounts and orders are those of a session.
            Kind::Session => {
                self.asked.clear();
                self.open.clear();
                None
            }
            Kind::Risk => {
                let told: Value = serde_json::from_slice(entry.body).ok()?;
                self.ended(index, entry.time_ns, &told, names)
            }
            _ => None,
        }
    }

    /// A request passed the gate, or did not. A refused change leaves its order as it is.
    fn judged(
        &mut self,
        index: u64,
        at: i64,
        order: &OrderRequest,
        accepted: bool,
        names: &OrderNames,
    ) -> Option<Value> {
        let key = (order.account, order.client_id);
        let (event, of, done) = match (accepted, RequestKind::from_repr(order.kind)?) {
            (false, RequestKind::New) => ("REMO", *order, 0),
            (true, RequestKind::New) => {
                self.open.insert(key, Open { order: *order, done: 0, cancelled: false });
                ("NEWO", *order, 0)
            }
            (true, RequestKind::Replace) => {
                let open = self.open.get_mut(&key)?;
                open.order = OrderRequest { price: order.price, qty: order.qty, ..open.order };
                ("REME", open.order, open.done)
            }
            // What executes before the venue has cancelled it is still to come: it stays known.
            (true, RequestKind::Cancel) => {
                let open = self.open.get_mut(&key).filter(|open| !open.cancelled)?;
                open.cancelled = true;
                ("CAME", open.order, open.done)
            }
            (false, RequestKind::Replace | RequestKind::Cancel) => return None,
        };
        Some(self.record(index, at, event, &of, done, names))
    }

    fn executed(&mut self, index: u64, at: i64, execution: &Execution, names: &OrderNames) -> Option<Value> {
        let key = (execution.account, execution.client_id);
        let open = self.open.get_mut(&key)?;
        open.done += execution.qty.raw();
        let (order, done) = (open.order, open.done);
        let event = if done < order.qty.raw() { "PARF" } else { "FILL" };
        if event == "FILL" {
            self.open.remove(&key);
        }
        let mut record = self.record(index, at, event, &order, done, names);
        record["tradingVenueTransactionIdentificationCode"] = execution.trade_id.to_string().into();
        record["transactionPrice"] = names.price(execution.instrument, execution.price.raw()).into();
        record["tradedQuantity"] = names.qty(execution.instrument, execution.qty.raw()).into();
        Some(record)
    }

    /// A report ended an order.
    fn ended(&mut self, index: u64, at: i64, told: &Value, names: &OrderNames) -> Option<Value> {
        let (report, account) = (&told["report"], u16::try_from(told["account_number"].as_u64()?).ok()?);
        let key = (account, report["client_id"].as_u64()?);
        let event = match report["became"].as_str()? {
            "cancelled" => "CAME",
            "rejected" => "REMO",
            _ => return None,
        };
        let Open { order, done, cancelled } = self.open.remove(&key)?;
        // The cancel that was asked for has its record.
        (event != "CAME" || !cancelled).then(|| self.record(index, at, event, &order, done, names))
    }

    fn record(&self, index: u64, at: i64, event: &str, o: &OrderRequest, done: i64, names: &OrderNames) -> Value {
        let instrument = names.instrument(o.instrument);
        let code = self.keeper.dti.get(&instrument).unwrap_or(&instrument);
        let order_type = match OrderType::from_repr(o.order_type) {
            Some(OrderType::Market) => "MARK",
            _ => "LMTO",
        };
        let validity = match TimeInForce::from_repr(o.time_in_force) {
            Some(TimeInForce::GoodTillCancel) => "GTCV",
            Some(TimeInForce::ImmediateOrCancel) => "IOCV",
            Some(TimeInForce::FillOrKill) => "FOKV",
            Some(TimeInForce::GoodTillDate) => "GTTV",
            None => "OTHR",
        };
        let qty = o.qty.raw();
        let mut record = json!({
            "identificationOfEntityWhichSubmittedOrder": self.keeper.lei,
            "clientIdentificationCode": names.account(o.account),
            "investmentDecisionWithinFirm": names.strategy(o.strategy),
            "tradingCapacity": "DEAL",
            "dateAndTime": time(at),
            "sequenceNumber": index,
            "orderIdentificationCode": o.client_id.to_string(),
            "cryptoAssetIdentificationCode": code,
            "buySellIndicator": if o.side == Side::Buy as u8 { "BUYI" } else { "SELL" },
            "orderType": order_type,
            "validityPeriod": validity,
            "passiveOnly": o.order_type == OrderType::PostOnly as u8,
            "initialQuantity": names.qty(o.instrument, qty),
            "remainingQuantity": names.qty(o.instrument, if event == "REMO" { 0 } else { (qty - done).max(0) }),
            "selfExecutionPrevention": o.self_trade != SelfTradeMode::None as u8,
            "event": event,
        });
        if order_type == "LMTO" {
            record["limitPrice"] = names.price(o.instrument, o.price.raw()).into();
        }
        if o.expires_ns != 0 {
            record["validityPeriodDateAndTime"] = time(o.expires_ns).into();
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use tidegate_wire::order::Outcome;
    use tidegate_wire::{Price, Qty};

    #[test]
    fn an_orders_life_is_a_record_an_event() {
        let text = |of: &str| vec![of.to_owned()];
        let names = OrderNames {
            accounts: text("main"),
            strategies: text("carry"),
            instruments: text("BTCUSDT.binance-usdm"),
            decimals: vec![(1, 3)],
        };
        let dti = HashMap::from([("BTCUSDT.binance-usdm".to_owned(), "4H95J0R2X".to_owned())]);
        let keeper = Keeper { lei: "5493001KJTIIGC8Y1R12".into(), dti };
        assert_eq!(keeper.check(), Ok(()));
        let mut records = OrderRecords::new(keeper);
        let (mut index, mut out) = (0, Vec::new());
        let mut entry = |kind, at, body: &[u8]| {
            out.extend(records.of(index, &Entry::new(kind, at, body), &names));
            index += 1;
        };
        let order = OrderRequest {
            request_id: 1,
            client_id: 77,
            price: Price::from_raw(420_005),
            qty: Qty::from_raw(250),
            ..OrderRequest::zeroed()
        };
        let yes = Verdict { request_id: 1, client_id: 77, outcome: Outcome::Accepted as u8, ..Verdict::zeroed() };
        entry(Kind::Order, 1_700_000_000_000_000_499, bytemuck::bytes_of(&order));
        entry(Kind::Verdict, 1_700_000_000_000_000_500, bytemuck::bytes_of(&yes));
        let part = Execution { client_id: 77, trade_id: 5, qty: Qty::from_raw(100), ..Execution::zeroed() };
        entry(Kind::Execution, 1_700_000_000_000_002_000, bytemuck::bytes_of(&part));
        let cancel = OrderRequest { request_id: 2, kind: RequestKind::Cancel as u8, ..order };
        entry(Kind::Order, 3_000, bytemuck::bytes_of(&cancel));
        entry(Kind::Verdict, 3_000, bytemuck::bytes_of(&Verdict { request_id: 2, ..yes }));
        // It executed in part before the venue had cancelled it.
        let late = Execution { trade_id: 6, qty: Qty::from_raw(50), ..part };
        entry(Kind::Execution, 3_500, bytemuck::bytes_of(&late));
        let report = br#"{"kind":"report","account_number":0,"report":{"became":"cancelled","client_id":77}}"#;
        entry(Kind::Risk, 3_600, report);
        entry(Kind::Order, 4_000, bytemuck::bytes_of(&OrderRequest { request_id: 3, ..order }));
        let no = Verdict { request_id: 3, outcome: Outcome::Refused as u8, ..yes };
        entry(Kind::Verdict, 4_000, bytemuck::bytes_of(&no));
        let events: Vec<&str> = out.iter().filter_map(|record| record["event"].as_str()).collect();
        assert_eq!(events, ["NEWO", "PARF", "CAME", "PARF", "REMO"]);
        assert_eq!(out[0]["dateAndTime"], "2023-11-14T22:13:20.000001Z", "rounded, not truncated");
        assert_eq!((&out[0]["limitPrice"], &out[0]["initialQuantity"]), (&"42000.5".into(), &"0.250".into()));
        assert_eq!(out[0]["cryptoAssetIdentificationCode"], "4H95J0R2X");
        assert_eq!((&out[1]["remainingQuantity"], &out[1]["tradedQuantity"]), (&"0.150".into(), &"0.100".into()));
        assert_eq!((&out[2]["remainingQuantity"], &out[3]["remainingQuantity"]), (&"0.150".into(), &"0.100".into()));
        assert_eq!(out[4]["remainingQuantity"], "0.000");
    }

    #[test]
    fn codes_have_the_form_of_their_standards() {
        let keeper = |lei: &str, dti: &str| Keeper {
            lei: lei.into(),
            dti: HashMap::from([("BTCUSDT.okx".to_owned(), dti.to_owned())]),
        };
        assert!(keeper("short", "4H95J0R2X").check().is_err_and(|error| error.contains("20 letters")));
        let error = keeper("5493001KJTIIGC8Y1R12", "4H95-0R2X").check().expect_err("a dash");
        assert!(error.contains("4H95-0R2X") && error.contains("BTCUSDT.okx"), "{error}");
    }
}
