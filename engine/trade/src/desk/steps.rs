//! What the desk does at each step of a position's life.

use super::*;

use crate::gateway::{ExecType, Reason, Report, SubmitError};
use tidegate_guard::risk::rules::rule_name;
use tidegate_wire::signal::{Action, FLAG_BELOW_CONFIDENCE, FLAG_STOPPED};

/// Most parts of a close.
const PARTS_MAX: i64 = 1_024;
/// Rules of the gate that a smaller order may pass.
const TOO_LARGE: [&str; 2] = ["order_quantity", "order_value"];

/// Why an order was not sent.
struct Stopped {
    ending: Ending,
    /// The gate's rule, or the exchange's reason.
    name: &'static str,
}

impl TradeDesk {
    /// A signal: a position is asked for where it may be traded.
    pub fn signal(&mut self, signal: &SignalBody, log: &mut impl TradeLog) {
        self.advance(signal.event_ns, log);
        let side = match signal.action() {
            Action::Long => Side::Buy,
            Action::Short => Side::Sell,
            Action::Neutral => return,
        };
        if signal.has(FLAG_BELOW_CONFIDENCE) || signal.has(FLAG_STOPPED) || signal.leverage <= 0.0 {
            self.counters.not_tradable += 1;
            return;
        }
        self.counters.asked += 1;
        let mut position = self.sized(signal, side);
        let (instrument, asked) = (position.instrument, position.asked);
        let listed = self.listed.get(instrument.index());
        let market = listed.and_then(|listed| Some((listed.valuer?, listed.exchange?, listed.mid()?)));
        let Some((valuer, place, mid)) = market else { return self.never(&position, Ending::NoMarket, log) };
        if self.positions.iter().any(|held| held.instrument == instrument && held.side != side) {
            return self.never(&position, Ending::Opposite, log);
        }
        if asked == 0 {
            return self.never(&position, Ending::TooSmall, log);
        }
        let value = valuer.value(mid, asked, Rounding::Up).unwrap_or(i64::MAX);
        position.leverage = value as f64 / position.margin as f64;
        let reserve = Command::Reserve {
            account: self.account,
            amount: position.margin.unsigned_abs().into(),
            symbol: Name::new(&self.listed[instrument.index()].instrument.symbol).unwrap_or(Name::NONE),
            ttl_ns: RESERVED_NS,
            wall_ns: self.now_ns.unsigned_abs(),
        };
        match self.ledger.apply(0, &reserve, self.now_ns.unsigned_abs()) {
            Ok(outcome) => position.reservation = outcome.id,
            Err(refusal) => {
                position.refusal = refusal.name();
                return self.never(&position, Ending::Unlocked, log);
            }
        }
        let order = self.order(&position, side, asked, 0);
        position.entry_id = order.client_id;
        let ending = match self.send(place, position.signal, &order, log) {
            Ok(()) => return self.wait_for(position),
            Err(stopped) => {
                position.refusal = stopped.name;
                stopped.ending
            }
        };
        self.void(&position);
        self.never(&position, ending, log);
    }

    fn sized(&self, signal: &SignalBody, side: Side) -> Position {
        let margin = i64::try_from(self.settings.margin).unwrap_or(i64::MAX / MONEY).saturating_mul(MONEY);
        let listed = self.listed.get(signal.instrument.index());
        let (wanted, most) =
            (margin as f64 * signal.leverage, listed.map_or((0, SizeBound::Signal), |listed| listed.most));
        let (wanted, bound) = if wanted > most.0 as f64 { most } else { (wanted as i64, SizeBound::Signal) };
        let asked = listed.and_then(|listed| {
            let price = if side == Side::Buy { listed.best_ask } else { listed.best_bid };
            Some(position::quantity(&listed.valuer?, wanted, price, listed.instrument.lot.raw()))
        });
        Position {
            reservation: 0,
            signal: signal.sequence,
            coin: signal.coin,
            instrument: signal.instrument,
            side,
            confidence: signal.confidence,
            leverage: 0.0,
            bound,
            margin,
            signal_ns: signal.event_ns,
            end_ns: signal.timer_end_ns,
            asked: asked.unwrap_or(0),
            entry_id: 0,
            close_id: 0,
            entry: Fills::default(),
            exit: Fills::default(),
            fees: 0,
            funding: 0,
            stage: Stage::Entering,
            ending: Ending::Timer,
            refusal: "",
            parts: 1,
        }
    }

    fn order(&mut self, position: &Position, side: Side, qty: i64, flags: u8) -> OrderRequest {
        self.given += 1;
        let venue = self.listed[position.instrument.index()].instrument.venue;
        OrderRequest {
            request_id: self.given,
            client_id: self.given,
            event_ns: self.now_ns,
            qty: Qty::from_raw(qty),
            side: side as u8,
            flags,
            ..request(self.number, 0, position.instrument, venue)
        }
    }

    /// Checks an order of a signal's position and sends it; what stood in its way otherwise.
    fn send(
        &mut self,
        place: usize,
        signal: u64,
        order: &OrderRequest,
        log: &mut impl TradeLog,
    ) -> Result<(), Stopped> {
        let listed = &self.listed[order.instrument.index()];
        let price = listed.mid().unwrap_or(0);
        let reference = Reference { price: Price::from_raw(price), at_ns: listed.at_ns, kind: ReferenceKind::Mid };
        // Breakers were looked at when the signal came; a close must not wait for one.
        let view = MarketView { reference, quality: listed.quality, permits: Permits::ALL };
        log.order(signal, order);
        let verdict = self.gate.check(order, &view);
        log.verdict(&verdict);
        if !verdict.is_accepted() {
            self.counters.refused += 1;
            return Err(Stopped { ending: Ending::Refused, name: rule_name(verdict.rule) });
        }
        let sent = OrderRequest { account: 0, ..*order };
        self.exchanges[place].1.submit(self.now_ns, &sent).map_err(|SubmitError::Busy| {
            self.gate.on_rejected(order.account, order.client_id);
            Stopped { ending: Ending::Rejected, name: Reason::NoRoom.name() }
        })
    }

    fn wait_for(&mut self, position: Position) {
        self.next_ns = self.next_ns.min(position.end_ns);
        self.positions.push(position);
    }

    fn void(&mut self, position: &Position) {
        // A reservation that expired meanwhile has returned by itself.
        let _ = self.ledger.apply(0, &Command::Void { id: position.reservation }, self.now_ns.unsigned_abs());
    }

    /// A position that never was.
    fn never(&mut self, position: &Position, ending: Ending, log: &mut impl TradeLog) {
        *self.counters.endings.entry(ending).or_default() += 1;
        let position = Position { ending, ..*position };
        log.position(self.now_ns, &position, (0, 0), &self.balances());
    }

    /// Takes the reports of an exchange that have arrived.
    pub(super) fn hear(&mut self, place: usize, log: &mut impl TradeLog) {
        while let Some(report) = self.exchanges[place].1.poll() {
            let report = Report { account: self.number, ..report };
            self.now_ns = self.now_ns.max(report.event_ns);
            if let Some(execution) = report.execution() {
                log.execution(&execution);
                // An execution without an owner is an alert of the gate's own.
                let _ = self.gate.on_fill(&execution);
            }
            if report.is_last() && report.exec_type() != Some(ExecType::Trade) {
                self.gate.on_cancelled(report.account, report.client_id);
            }
            self.reported(&report, log);
        }
    }

    fn reported(&mut self, report: &Report, log: &mut impl TradeLog) {
        let id = report.client_id;
        let Some(at) = self.positions.iter().position(|one| one.entry_id == id || one.close_id == id) else { return };
        let retry_ns = i64::try_from(self.settings.retry_ms).unwrap_or(i64::MAX / 2_000_000) * 1_000_000;
        let position = &mut self.positions[at];
        let entering = position.entry_id == id;
        if let Some((execution, valuer)) = report.execution().zip(self.listed[position.instrument.index()].valuer) {
            let fills = if entering { &mut position.entry } else { &mut position.exit };
            let paying = execution.side == Side::Buy as u8;
            fills.add(&valuer, execution.event_ns, (execution.price.raw(), execution.qty.raw()), paying);
            position.fees += execution.fee;
        }
        if !report.is_last() {
            return;
        }
        if let Some(reason) = report.reason().filter(|reason| *reason != Reason::None) {
            position.refusal = reason.name();
        }
        if entering {
            if position.entry.qty == 0 {
                let rejected = report.exec_type() == Some(ExecType::Rejected);
                let position = self.positions.remove(at);
                self.void(&position);
                return self.never(&position, if rejected { Ending::Rejected } else { Ending::Unfilled }, log);
            }
            position.stage = Stage::Held;
            return self.opened(at);
        }
        if position.held() == 0 {
            let position = self.positions.remove(at);
            return self.closed(&position, log);
        }
        position.stage = Stage::Waiting(report.event_ns.saturating_add(retry_ns));
        self.counters.retried += 1;
        self.next_ns = self.next_ns.min(report.event_ns.saturating_add(retry_ns));
    }

    /// The margin of what was filled becomes a position's; the rest returns.
    fn opened(&mut self, at: usize) {
        let position = &mut self.positions[at];
        let part = i128::from(position.margin) * i128::from(position.entry.qty);
        let used = (part + i128::from(position.asked) - 1) / i128::from(position.asked);
        position.margin = i64::try_from(used).unwrap_or(position.margin).min(position.margin);
        let post = Command::Post { id: position.reservation, amount: position.margin.unsigned_abs().into() };
        if let Err(refusal) = self.ledger.apply(0, &post, self.now_ns.unsigned_abs()) {
            // The fill came after the reservation's life: nothing holds its margin, so it is left at once.
            (position.ending, position.refusal) = (Ending::Unlocked, refusal.name());
            position.end_ns = self.now_ns;
        }
        self.counters.opened += 1;
        self.next_ns = self.next_ns.min(self.positions[at].end_ns);
    }

    fn closed(&mut self, position: &Position, log: &mut impl TradeLog) {
        let (settled, borne) = position.settled();
        let close = Command::Close { id: position.reservation, gain: settled.into() };
        self.counters.closed += 1;
        // What no margin stood behind is nobody's gain and nobody's loss.
        let booked = self.ledger.apply(0, &close, self.now_ns.unsigned_abs()).is_ok();
        let (settled, borne) = if booked { (settled, borne) } else { (0, 0) };
        if booked {
            self.counters.profit += settled;
            self.counters.borne += borne;
            self.counters.fees += position.fees;
            self.counters.funding += position.funding;
        }
        *self.counters.endings.entry(position.ending).or_default() += 1;
        log.position(self.now_ns, position, (settled, borne), &self.balances());
    }

    /// Closes what has lost its margin at the prices of now.
    pub(super) fn watch_margins(&mut self, instrument: InstrumentId, log: &mut impl TradeLog) {
        let listed = &self.listed[instrument.index()];
        let Some(valuer) = listed.valuer.filter(|_| listed.mid().is_some()) else { return };
        let (bid, ask, fee_ppm) = (listed.best_bid, listed.best_ask, self.settings.paper.fees.taker_ppm);
        for at in 0..self.positions.len() {
            let position = &mut self.positions[at];
            if position.instrument != instrument || position.stage != Stage::Held {
                continue;
            }
            let price = if position.side == Side::Buy { bid } else { ask };
            if position.profit_at(&valuer, price, fee_ppm).is_some_and(|profit| profit <= -position.margin) {
                position.ending = Ending::Margin;
                self.close(at, log);
            }
        }
    }

    /// Exchanges funding on what is held, at the mid and the rate of the running period: longs pay where it is above
    /// zero.
    pub(super) fn fund(&mut self) {
        let first = self.funding_ns == i64::MIN;
        self.funding_ns = (self.now_ns.div_euclid(FUNDING_PERIOD_NS) + 1).saturating_mul(FUNDING_PERIOD_NS);
        if first {
            return;
        }
        for position in &mut self.positions {
            let listed = &self.listed[position.instrument.index()];
            let Some((valuer, mid)) = listed.valuer.zip(listed.mid()) else { continue };
            let value = valuer.value(mid, position.held(), Rounding::Up).unwrap_or(0);
            let signed = if position.side == Side::Buy { value } else { -value };
            position.funding += (signed as f64 * listed.funding).ceil() as i64;
        }
    }

    /// Closes positions whose timers have ended, and sends again what came back unfilled.
    pub(super) fn end_timers(&mut self, log: &mut impl TradeLog) {
        let now = self.now_ns;
        for at in 0..self.positions.len() {
            let due = match self.positions[at].stage {
                Stage::Held => now >= self.positions[at].end_ns,
                Stage::Waiting(from) => now >= from,
                Stage::Entering | Stage::Closing => false,
            };
            if due {
                self.close(at, log);
            }
        }
        let next = |position: &Position| match position.stage {
            Stage::Held => position.end_ns,
            Stage::Waiting(from) => from,
            Stage::Entering | Stage::Closing => i64::MAX,
        };
        self.next_ns = self.positions.iter().map(next).min().unwrap_or(i64::MAX);
    }

    fn close(&mut self, at: usize, log: &mut impl TradeLog) {
        let position = self.positions[at];
        let lot = self.listed[position.instrument.index()].instrument.lot.raw();
        let part = (position.held() / lot / position.parts).max(1).saturating_mul(lot).min(position.held());
        let order = self.order(&position, position.side.opposite(), part, FLAG_REDUCE_ONLY);
        let retry_ns = i64::try_from(self.settings.retry_ms).unwrap_or(i64::MAX / 2_000_000) * 1_000_000;
        let Some(place) = self.listed[position.instrument.index()].exchange else { return };
        let sent = self.send(place, position.signal, &order, log);
        let position = &mut self.positions[at];
        match sent {
            Ok(()) => (position.close_id, position.stage, position.parts) = (order.client_id, Stage::Closing, 1),
            Err(stopped) => {
                position.refusal = stopped.name;
                // A part may fit where the whole is too large. Nothing else gets better by it.
                if TOO_LARGE.contains(&stopped.name) {
                    position.parts = (position.parts * 2).min(PARTS_MAX);
                }
                position.stage = Stage::Waiting(self.now_ns.saturating_add(retry_ns));
                self.counters.retried += 1;
                self.next_ns = self.next_ns.min(self.now_ns.saturating_add(retry_ns));
            }
        }
    }
}
