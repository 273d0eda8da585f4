//! What the risk desk is asked, as it comes over the control socket.
//!
//! Prices and quantities are decimals, as text or numbers; names are those of the configuration. What an order leaves
//! out is a new limit order that lives until it is cancelled.

use bytemuck::Zeroable;
use serde::{Deserialize, Serialize};
use tidegate_guard::risk::{Decimal, RestrictedFile, RiskGate};
use tidegate_wire::order::{
    Execution, FLAG_REDUCE_ONLY, LimitScope, OrderRequest, OrderType, RequestKind, SelfTradeMode, Side, TimeInForce,
};
use tidegate_wire::{InstrumentId, Price, Qty, Registry, Venue};

/// A question or a word to the risk desk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what", deny_unknown_fields)]
pub enum RiskAsk {
    /// Where everything stands.
    Status,
    /// Whether an order may be sent; it counts from then on.
    Check {
        /// The order.
        order: OrderAsk,
    },
    /// Whether an order might be sent; nothing counts.
    Try {
        /// The order.
        order: OrderAsk,
    },
    /// What became of an order.
    Report {
        /// The report.
        report: ReportAsk,
    },
    /// Funds of an account that can be lost, in the reporting currency, as the venue tells them.
    Funds {
        /// Account.
        account: String,
        /// How much, at least 0.
        amount: Decimal,
    },
    /// Stop a scope until a designated person lets it go on.
    Kill {
        /// `engine`, `venue:NAME`, `strategy:NAME` or `account:NAME`.
        scope: String,
        /// Who says so, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        person: Option<String>,
    },
    /// Let a scope go on.
    Reset {
        /// As in `kill`.
        scope: String,
        /// Who agreed, and why.
        agreed: Agreed,
    },
    /// The operator is there.
    Heartbeat {
        /// Who.
        person: String,
    },
    /// Excuse one order from one rule, once, for a while.
    Override {
        /// Account of the order.
        account: String,
        /// Its client order id.
        client_id: u64,
        /// Name of the rule.
        rule: String,
        /// For how long, ms.
        for_ms: u64,
        /// Who agreed, and why.
        agreed: Agreed,
    },
    /// Put a newer restricted list in force.
    Restrict {
        /// The list.
        list: RestrictedFile,
        /// Who of the risk function.
        person: String,
    },
    /// What an emergency protocol would do on a level.
    Rehearse {
        /// Name of the protocol.
        protocol: String,
        /// Level, from 1.
        level: usize,
    },
    /// What a run before held and nobody in this one owns has been dealt with.
    Disown {
        /// Who agreed, and why.
        agreed: Agreed,
    },
    /// End the level that an emergency protocol stands on.
    Calm {
        /// Name of the protocol.
        protocol: String,
        /// Who agreed, and why.
        agreed: Agreed,
    },
}

impl RiskAsk {
    /// Whether it changes something.
    pub const fn changes(&self) -> bool {
        !matches!(self, Self::Status | Self::Try { .. } | Self::Rehearse { .. })
    }

    /// Whether it can only make risk smaller: it is done even when nothing can be recorded any more.
    pub fn stops(&self) -> bool {
        match self {
            Self::Kill { .. } | Self::Report { .. } | Self::Heartbeat { .. } => true,
            Self::Check { order } => order.kind == RequestKind::Cancel,
            _ => false,
        }
    }

    /// Whether it is no request to be recorded before it is carried out: orders and their reports have entries of their
    /// own, heartbeats would fill the log.
    pub const fn has_own_record(&self) -> bool {
        matches!(self, Self::Check { .. } | Self::Report { .. } | Self::Heartbeat { .. })
    }
}

/// Who agreed to something, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// The designated person.
    pub designated: String,
    /// The risk function's, where two are needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<String>,
    /// Why.
    pub reason: String,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderAsk {
    /// Client order id, unique among the account's open orders.
    pub client_id: u64,
    /// Account.
    pub account: String,
    /// Strategy.
    pub strategy: String,
    /// Instrument, such as `BTCUSDT.binance-usdm`.
    pub instrument: String,
    /// `new`, `replace` or `cancel`.
    #[serde(default = "new")]
    pub kind: RequestKind,
    /// `buy` or `sell`.
    pub side: Side,
    /// `limit`, `market` or `post-only`.
    #[serde(default = "limit")]
    pub order_type: OrderType,
    /// `good-till-cancel`, `immediate-or-cancel`, `fill-or-kill`.
    #[serde(default = "good_till_cancel")]
    pub time_in_force: TimeInForce,
    /// Price; none for market orders and cancels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Decimal>,
    /// Quantity; none for cancels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qty: Option<Decimal>,
    /// Whether it may only make a position smaller.
    #[serde(default)]
    pub reduce_only: bool,
    /// What is done about resting orders of the same owner.
    #[serde(default = "expire_taker")]
    pub self_trade: SelfTradeMode,
}

const fn new() -> RequestKind {
    RequestKind::New
}

const fn limit() -> OrderType {
    OrderType::Limit
}

const fn good_till_cancel() -> TimeInForce {
    TimeInForce::GoodTillCancel
}

const fn expire_taker() -> SelfTradeMode {
    SelfTradeMode::ExpireTaker
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "became", deny_unknown_fields)]
pub enum ReportAsk {
    /// It executed, wholly or in part.
    Executed {
        /// Client order id.
        client_id: u64,
        /// Account.
        account: String,
        /// Strategy.
        strategy: String,
        /// Instrument.
        instrument: String,
        /// Side of the order.
        side: Side,
        /// The venue's id of the trade: a report of the same one again changes nothing; 0 where there is none.
        trade_id: u64,
        /// Price.
        price: Decimal,
        /// Quantity.
        qty: Decimal,
        /// Fee in the reporting currency; negative for a rebate.
        #[serde(default)]
        fee: Decimal,
    },
    /// It ended without executing the rest.
    Cancelled(OrderName),
    /// The venue refused it.
    Rejected(OrderName),
    /// A replacement was confirmed.
    Replaced(OrderName),
    /// A replacement was refused.
    ReplaceRejected(OrderName),
}

/// Which order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderName {
    /// Client order id.
    pub client_id: u64,
    /// Account.
    pub account: String,
}

/// Numbers for names.
pub(crate) struct Book<'a> {
    pub(crate) gate: &'a RiskGate,
    pub(crate) registry: &'a Registry,
}

impl Book<'_> {
    pub(crate) fn account(&self, name: &str) -> Result<u16, String> {
        self.gate.account(name).ok_or_else(|| format!("no account {name:?} in the limits"))
    }

    pub(crate) fn strategy(&self, name: &str) -> Result<u16, String> {
        self.gate.strategy(name).ok_or_else(|| format!("no strategy {name:?} in the configuration"))
    }

    pub(crate) fn instrument(&self, name: &str) -> Result<InstrumentId, String> {
        self.gate.instrument(name).ok_or_else(|| format!("no instrument {name:?} in this run"))
    }

    /// A scope as people write it: `engine`, `venue:okx`, `strategy:carry`, `account:main`.
    pub(crate) fn scope(&self, text: &str) -> Result<(LimitScope, u16), String> {
        let expected = || format!("{text:?}: expected engine, venue:NAME, strategy:NAME or account:NAME");
        match text.split_once(':') {
            None if text == "engine" => Ok((LimitScope::Firm, 0)),
            Some(("venue", name)) => {
                let venue = Venue::from_name(name).ok_or_else(|| format!("unknown venue {name:?}"))?;
                Ok((LimitScope::Venue, venue as u16))
            }
            Some(("strategy", name)) => Ok((LimitScope::Strategy, self.strategy(name)?)),
            Some(("account", name)) => Ok((LimitScope::Account, self.account(name)?)),
            _ => Err(expected()),
        }
    }

    /// An order as a record, at a time, with a number.
    pub(crate) fn order(&self, ask: &OrderAsk, event_ns: i64, number: u64) -> Result<OrderRequest, String> {
        let instrument = self.instrument(&ask.instrument)?;
        let definition = self.registry.get(instrument).ok_or("the instrument has no definition")?;
        if matches!(ask.self_trade, SelfTradeMode::Decrement | SelfTradeMode::Transfer) {
            let mode = ask.self_trade.name();
            return Err(format!(
                "self_trade is {mode}, expected NONE or an EXPIRE mode: what else there is, a program \
                                that embeds the gate can have"
            ));
        }
        let at = |value: Option<Decimal>, key: &str, decimals: u8| {
            value.map_or(Ok(0), |value| value.at_scale(decimals)).map_err(|reason| format!("{key} {reason}"))
        };
        Ok(OrderRequest {
            request_id: number,
            client_id: ask.client_id,
            event_ns,
            price: Price::from_raw(at(ask.price, "price", definition.price_scale.decimals())?),
            qty: Qty::from_raw(at(ask.qty, "qty", definition.qty_scale.decimals())?),
            account: self.account(&ask.account)?,
            strategy: self.strategy(&ask.strategy)?,
            instrument,
            venue: definition.venue as u8,
            kind: ask.kind as u8,
            side: ask.side as u8,
            order_type: ask.order_type as u8,
            time_in_force: ask.time_in_force as u8,
            self_trade: ask.self_trade as u8,
            flags: if ask.reduce_only { FLAG_REDUCE_ONLY } else { 0 },
            ..OrderRequest::zeroed()
        })
    }

    /// An execution as a record; `None` for reports of another kind.
    pub(crate) fn execution(&self, report: &ReportAsk, event_ns: i64) -> Option<Result<Execution, String>> {
        let ReportAsk::Executed { client_id, account, strategy, instrument, side, trade_id, price, qty, fee } = report
        else {
            return None;
        };
        let read = || {
            let instrument = self.instrument(instrument)?;
            let definition = self.registry.get(instrument).ok_or("the instrument has no definition")?;
            let price = price.at_scale(definition.price_scale.decimals()).map_err(|why| format!("price {why}"))?;
            let qty = qty.at_scale(definition.qty_scale.decimals()).map_err(|why| format!("qty {why}"))?;
            for (key, value) in [("price", price), ("qty", qty)] {
                if value <= 0 {
                    return Err(format!("{key} is not above 0"));
                }
            }
            Ok(Execution {
                client_id: *client_id,
                event_ns,
                trade_id: *trade_id,
                price: Price::from_raw(price),
                qty: Qty::from_raw(qty),
                fee: fee.money().map_err(|why| format!("fee {why}"))?,
                account: self.account(account)?,
                strategy: self.strategy(strategy)?,
                instrument,
                side: *side as u8,
                ..Execution::zeroed()
            })
        };
        Some(read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_need_little_and_unknown_keys_are_refused() {
        let text = r#"{"what":"check","order":{"client_id":7,"account":"main","strategy":"carry",
            "instrument":"BTCUSDT.binance-usdm","side":"buy","price":"42000.5","qty":0.25}}"#;
        let ask: RiskAsk = serde_json::from_str(text).expect("an order");
        let RiskAsk::Check { order } = &ask else { panic!("{ask:?}") };
        assert_eq!((order.kind, order.order_type, order.reduce_only), (RequestKind::New, OrderType::Limit, false));
        assert!(ask.changes() && ask.has_own_record() && !ask.stops());
        let again = serde_json::to_string(&ask).expect("JSON");
        assert_eq!(serde_json::from_str::<RiskAsk>(&again).expect("our own"), ask);
        assert!(serde_json::from_str::<RiskAsk>(&text.replace("qty", "quantity")).is_err());
        let kill: RiskAsk = serde_json::from_str(r#"{"what":"kill","scope":"engine"}"#).expect("a kill");
        assert!(kill.stops() && kill.changes());
    }
}
