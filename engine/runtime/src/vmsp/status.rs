//! Where everything stands, and what trades do meanwhile.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tidegate_guard::ledger::{Balances, Command, credit, shown};
use tidegate_record::journal::JournalError;
use tidegate_wire::clock::realtime_ns;
use tidegate_wire::order::Side;

use super::host::{Answer, Writer};
use super::request::{self, Declined};
use super::times::Measured;
use super::trades::{RETRY, Stage, Trade};

impl Writer {
    /// All of it; where the journal has failed, without what may not be durable.
    pub(super) fn status(&self, failed: Option<&JournalError>) -> Value {
        let (account, scale) = (self.plan.account, self.plan.scale);
        let text = |amount| request::shown(amount, scale);
        let state = match (failed, self.running) {
            (Some(_), _) => "failed",
            (None, true) => "running",
            (None, false) => "stopped",
        };
        let balances = self.ledger.balances(&account).unwrap_or_default();
        let (usable, buffer) = self.ledger.usable(&account, self.clock.now_ns());
        let multiplied = self.plan.multiplier.and_then(|times| shown(balances.total(), scale, times));
        let multiplied = multiplied.map(|shown| shown.to_string());
        let drift = self.drift.as_ref();
        let status = json!({
            "state": state,
            "running": self.running,
            "error": failed.map(ToString::to_string),
            "account": { "owner": account.owner.as_str(), "asset": account.asset.as_str() },
            "balance": {
                "total": text(balances.total()),
                "locked": text(balances.locked()),
                "available": text(balances.available),
                "usable": text(usable),
                "buffer": text(buffer),
                "virtual": multiplied,
            },
            "positions": {
                "locked_count": balances.locked_count,
                "max_locked": self.ledger.limits().max_locked,
                "locks": self.locks(),
            },
            "virtual_market": {
                "virtual_balance": multiplied,
                "locked_positions_count": balances.locked_count,
                "protection_active": self.running,
                "market_hash": self.plan.multiplier.map(|_| self.market_hash()),
            },
            "drift_protection": {
                "active": drift.is_some(),
                "protection_hash": drift.map(|drift| hex::encode(&drift.fingerprint()[..16])),
                "sequence_length": self.plan.steps,
                "next_step": self.step % u64::from(self.plan.steps),
            },
            "trades": self.trades.iter().collect::<Vec<_>>(),
            "times": self.times.report(),
            "journal": {
                "commands": self.ledger.applied(),
                "state": format!("{:016x}", self.ledger.state_hash()),
                "recovered_records": self.recovered.frames,
                "recovered_torn_bytes": self.recovered.torn_bytes,
                "syncs": self.committer.syncs(),
            },
        });
        // What the disk refused is in memory, and nobody may count on it.
        if failed.is_some() { without_balances(status) } else { status }
    }

    fn locks(&self) -> Vec<Value> {
        let locks = self.ledger.locked(&self.plan.account);
        let row = |found: &tidegate_guard::ledger::Reservation| {
            json!({
                "id": request::lock_name(found.id, found.symbol),
                "amount": request::shown(found.amount, self.plan.scale),
                "state": found.state.name(),
                "expires_in_s": (found.state == tidegate_guard::ledger::State::Pending)
                    .then(|| self.seconds_to(found.expires_ns)),
            })
        };
        locks.map(row).collect()
    }

    /// A digest of what is shown, for those who compare screens; nothing is decided by it.
    fn market_hash(&self) -> String {
        let state = self.ledger.state_hash().to_be_bytes();
        hex::encode(&Sha256::new().chain_update(b"tidegate market v1").chain_update(state).finalize()[..16])
    }

    /// The wait of the next step, and the step; no wait without drift.
    fn next_drift(&mut self) -> (u64, Duration) {
        let step = self.step;
        self.step += 1;
        let begun = Instant::now();
        let wait = self.drift.as_ref().map_or(Duration::ZERO, |drift| drift.delay(step));
        self.times.since(Measured::Drift, begun);
        (step % u64::from(self.plan.steps), wait)
    }

    /// Books a trade; its entry waits in the timers, and nobody waits for it.
    pub(super) fn trade(&mut self, symbol: &str, side: Side, amount: &str, price: &str) -> Answer {
        let units = request::amount(amount, self.plan.scale)?;
        request::symbol(symbol)?;
        let ticket = self.desk()?.ticket(symbol, side, units, price)?;
        let full = || Declined::new("trades", "as many trades as are remembered have not ended yet");
        let id = self.trades.place().ok_or_else(full)?;
        let (step, shift) = self.next_drift();
        let (created_ns, window) = (self.clock.now_ns(), self.plan.window);
        let entry_ns = created_ns + shift.as_nanos() as u64;
        let Balances { available, .. } = self.ledger.balances(&self.plan.account).unwrap_or_default();
        let total = self.ledger.balances(&self.plan.account).unwrap_or_default().total().max(1) as f64;
        let trade = Trade {
            id,
            symbol: symbol.to_owned(),
            side,
            amount: amount.to_owned(),
            price: price.to_owned(),
            alpha_sequence: step,
            alpha_applied: self.drift.is_some(),
            created_ns,
            entry_ns,
            exit_ns: entry_ns + window.as_nanos() as u64,
            drift_period_s: window.as_secs_f64(),
            shift_delay_s: shift.as_secs_f64(),
            protection_window_s: window.as_secs_f64(),
            balance_impact: units as f64 / total,
            protection_level: available.saturating_sub(units) as f64 / total,
            stage: Stage::Waiting,
            lock: None,
            gain: None,
            note: None,
            units,
            lock_id: 0,
            ticket,
        };
        let answer = json!({ "trade": trade });
        self.trades.add(trade);
        Ok(answer)
    }

    /// Enters and closes what is due.
    pub(super) fn trade_timers(&mut self) {
        while let Some(mut trade) = self.trades.due(self.clock.now_ns()) {
            match trade.stage {
                Stage::Waiting => match self.enter(&mut trade) {
                    Ok(()) => trade.stage = Stage::Open,
                    Err(declined) => (trade.stage, trade.note) = (Stage::Refused, Some(declined.reason)),
                },
                Stage::Open => match self.exit(&mut trade) {
                    Ok(()) => trade.stage = Stage::Closed,
                    Err(declined) => {
                        trade.exit_ns = self.clock.now_ns() + RETRY.as_nanos() as u64;
                        trade.note = Some(declined.reason);
                    }
                },
                Stage::Refused | Stage::Closed => {}
            }
            self.trades.put(trade);
        }
    }

    /// Locks, asks the gate, and makes a position of the lock, or gives it back.
    fn enter(&mut self, trade: &mut Trade) -> Result<(), Declined> {
        let symbol = request::symbol(&trade.symbol)?;
        let reserved = self.reserve(0, trade.units, symbol)?;
        let total = self.ledger.balances(&self.plan.account).unwrap_or_default().total();
        // The real balance: the virtual one is of a type that the gate does not take.
        let funds = credit(total, self.plan.scale);
        let mut ticket = trade.ticket;
        let order = self.desk().and_then(|desk| desk.enter(&mut ticket, funds, realtime_ns()));
        let posted = match order {
            Ok(order) => self.command(0, &Command::Post { id: reserved.id, amount: 0 }).map(|_| order),
            Err(declined) => Err(declined),
        };
        match posted {
            Ok(order) => {
                self.desk()?.book(&order, ticket.price);
                trade.ticket = ticket;
                let (_, drift) = self.next_drift();
                trade.exit_ns += drift.as_nanos() as u64;
                trade.drift_period_s += drift.as_secs_f64();
                (trade.lock, trade.lock_id) = (Some(request::lock_name(reserved.id, symbol)), reserved.id);
                Ok(())
            }
            Err(declined) => {
                // If even this fails, the lock expires.
                let _ = self.command(0, &Command::Void { id: reserved.id });
                Err(declined)
            }
        }
    }

    /// Asks the gate and closes the position with what it brings.
    fn exit(&mut self, trade: &mut Trade) -> Result<(), Declined> {
        let ticket = trade.ticket;
        let (order, gain) = self.desk()?.exit(&ticket, realtime_ns())?;
        match self.command(0, &Command::Close { id: trade.lock_id, gain }) {
            Ok(_) => self.desk()?.book(&order, order.price),
            Err(declined) => {
                self.desk()?.forget(&order);
                return Err(declined);
            }
        }
        trade.gain = Some(tidegate_guard::ledger::Shown(gain, self.plan.scale).to_string());
        trade.note = None;
        Ok(())
    }
}

/// The status with nothing in it that may be undone.
fn without_balances(mut status: Value) -> Value {
    for part in ["balance", "positions", "virtual_market", "trades", "journal"] {
        status[part] = Value::Null;
    }
    status
}
