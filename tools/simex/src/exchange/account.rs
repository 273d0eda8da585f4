//! The account behind the API key: synthetic, and changing, so that private channels have something to say.

use serde_json::{Value, json};

/// An account on Bitget's USDT futures: one position that is opened, changed and closed in a cycle.
#[derive(Debug, Default)]
pub(crate) struct Account {
    step: i64,
    changed_ms: i64,
    opened_ms: i64,
    entry: f64,
    mark: f64,
    realised: f64,
}

/// Size of the position in each step of the cycle; 0 is closed.
const SIZES: [f64; 8] = [0.01, 0.02, 0.03, 0.02, 0.01, 0.0, 0.01, 0.04];
/// Money at the start.
const DEPOSIT: f64 = 10_000.0;

impl Account {
    /// Goes on to the next step at a price.
    pub(crate) fn advance(&mut self, mark: f64, now_ms: i64) {
        let before = self.size();
        self.step += 1;
        let (after, old_mark) = (self.size(), self.mark);
        self.mark = mark;
        self.changed_ms = now_ms;
        if after > before {
            self.entry = (self.entry * before + mark * (after - before)) / after;
        } else {
            self.realised += (before - after) * (mark - self.entry);
        }
        if before == 0.0 || old_mark == 0.0 {
            self.opened_ms = now_ms;
        }
    }

    /// Time of the last step.
    pub(crate) fn changed_ms(&self) -> i64 {
        self.changed_ms
    }

    fn size(&self) -> f64 {
        if self.step == 0 { 0.0 } else { SIZES[(self.step - 1) as usize % SIZES.len()] }
    }

    fn profit(&self) -> f64 {
        self.size() * (self.mark - self.entry)
    }

    /// Open positions as `positions` pushes them.
    pub(crate) fn positions(&self) -> Value {
        let size = self.size();
        if size == 0.0 {
            return json!([]);
        }
        let text = format!("{size:.2}");
        json!([{
            "posId": "1",
            "instId": "BTCUSDT",
            "marginCoin": "USDT",
            "marginSize": format!("{:.4}", size * self.mark / 20.0),
            "marginMode": "crossed",
            "holdSide": "long",
            "posMode": "hedge_mode",
            "total": text,
            "available": text,
            "frozen": "0",
            "openPriceAvg": format!("{:.1}", self.entry),
            "leverage": 20,
            "achievedProfits": format!("{:.4}", self.realised),
            "unrealizedPL": format!("{:.4}", self.profit()),
            "unrealizedPLR": format!("{:.6}", self.mark / self.entry - 1.0),
            "liquidationPrice": format!("{:.1}", self.entry * 0.9),
            "keepMarginRate": "0.004",
            "marginRate": "0.01",
            "cTime": self.opened_ms.to_string(),
            "breakEvenPrice": format!("{:.1}", self.entry),
            "totalFee": "",
            "deductedFee": "0",
            "markPrice": format!("{:.1}", self.mark),
            "uTime": self.changed_ms.to_string(),
            "assetMode": "single",
            "autoMargin": "off",
        }])
    }

    /// The order that made the last step, as `orders` pushes it.
    pub(crate) fn orders(&self) -> Value {
        let time = self.changed_ms.to_string();
        json!([{
            "leverage": "20",
            "orderType": "limit",
            "tradeSide": "open",
            "orderId": format!("1000000000{}", self.step),
            "feeDetail": [{"feeCoin": "USDT", "fee": "0.00000000"}],
            "cTime": time,
            "uTime": time,
            "posMode": "hedge_mode",
            "marginMode": "crossed",
            "posSide": "long",
            "price": format!("{:.1}", self.mark),
            "priceAvg": format!("{:.1}", self.mark),
            "enterPointSource": "API",
            "cancelReason": "",
            "accBaseVolume": "0.01",
            "stpMode": "none",
            "side": "buy",
            "totalProfits": format!("{:.4}", self.realised),
            "marginCoin": "USDT",
            "notionalUsd": format!("{:.2}", 0.01 * self.mark),
            "instId": "BTCUSDT",
            "size": "0.01",
            "reduceOnly": "no",
            "force": "gtc",
            "clientOid": format!("synthetic-{}", self.step),
            "status": "filled",
        }])
    }

    /// Balances as `account` pushes them.
    pub(crate) fn balances(&self) -> Value {
        let (free, equity) = (DEPOSIT + self.realised, DEPOSIT + self.realised + self.profit());
        let available = format!("{free:.8}");
        json!([{
            "marginCoin": "USDT",
            "frozen": "0.00000000",
            "available": available,
            "maxOpenPosAvailable": available,
            "maxTransferOut": available,
            "equity": format!("{equity:.8}"),
            "usdtEquity": format!("{equity:.12}"),
            "crossedRiskRate": "0",
            "unrealizedPL": format!("{:.12}", self.profit()),
            "unionTotalMargin": "0",
            "unionAvailable": "0",
            "unionMm": "0",
            "assetsMode": "single",
        }])
    }

    /// Open positions as REST shows them: other keys, and a leverage that is text.
    pub(crate) fn rest_positions(&self) -> Value {
        let mut rows = self.positions();
        for row in rows.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            for (old, new) in [("instId", "symbol"), ("frozen", "locked")] {
                if let Some(value) = row.remove(old) {
                    row.insert(new.to_owned(), value);
                }
            }
            row.insert("leverage".to_owned(), "20".into());
            row.insert("openDelegateSize".to_owned(), "0".into());
            row.insert("marginRatio".to_owned(), "0.01".into());
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_opens_changes_and_closes() {
        let mut account = Account::default();
        assert_eq!(account.positions(), json!([]));
        let mut sizes = Vec::new();
        for step in 0..8 {
            account.advance(60_000.0 + f64::from(step), 1_000 + i64::from(step));
            let rows = account.positions();
            sizes.push(rows[0]["total"].as_str().unwrap_or("closed").to_owned());
        }
        assert_eq!(sizes, ["0.01", "0.02", "0.03", "0.02", "0.01", "closed", "0.01", "0.04"]);
        assert_eq!(account.rest_positions()[0]["symbol"], "BTCUSDT");
        assert_eq!(account.orders()[0]["status"], "filled");
    }
}
