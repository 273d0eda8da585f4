//! What follows when something was decided: breakers, cancels, files, alerts.

use std::time::{Duration, Instant};

use std::sync::atomic::Ordering;
use tidegate_guard::Command;
use tidegate_guard::emergency::EMERGENCY_ID;
use tidegate_guard::risk::{KillSwitch, MarketView, Permits};
use tidegate_wire::InstrumentId;
use tidegate_wire::decision::Scope;
use tidegate_wire::order::{AlertKind, KillCause, LimitScope, OrderRequest, Verdict};

use super::desk::{Owner, Surroundings};
use super::judging::prevented;
use super::luld::Bands;
use super::market::Market;

/// How long after a failure saving is tried again.
const AGAIN: Duration = Duration::from_secs(1);

impl Owner {
    /// Switches were thrown or reset: whoever trades by other means knows at once, then the breakers, and then what is
    /// open in a scope that stopped is cancelled.
    pub(super) fn stop(&mut self) {
        if *self.gate.kill_switch() == self.known {
            return;
        }
        self.halted.store(self.gate.kill_switch().get(LimitScope::Firm, 0).is_some(), Ordering::Release);
        let listed = |switch: &KillSwitch| switch.iter().map(|(scope, id, _)| (scope, id)).collect::<Vec<_>>();
        let (before, after) = (listed(&self.known), listed(self.gate.kill_switch()));
        let thrown: Vec<_> = after.iter().filter(|scope| !before.contains(scope)).copied().collect();
        for (scope, id) in &thrown {
            self.commands.extend(self.breaker(*scope, *id).map(|(scope, id)| Command::Trip(scope, id)));
        }
        for (scope, id) in before.iter().filter(|scope| !after.contains(scope)) {
            self.commands.extend(self.breaker(*scope, *id).map(|(scope, id)| Command::Reset(scope, id)));
        }
        self.command();
        self.known = self.gate.kill_switch().clone();
        self.unsaved = true;
        for (scope, id) in thrown {
            // A protocol's own orders make smaller what is to be made smaller.
            let open = self.gate.open_orders(scope, id).map(|order| order.cancel);
            let open: Vec<_> = open.filter(|order| order.client_id & EMERGENCY_ID == 0).collect();
            open.into_iter().for_each(|cancel| self.cancel(cancel));
        }
    }

    /// Hands commands to the hot loop as far as it takes them.
    fn command(&mut self) {
        let inbox = &self.around.inbox;
        let taken = self.commands.iter().take_while(|command| inbox.put(**command)).count();
        self.commands.drain(..taken);
    }

    /// Wants an open order cancelled: numbered, dated and judged like everybody's.
    fn cancel(&mut self, cancel: OrderRequest) {
        self.numbered += 1;
        let request = OrderRequest { request_id: self.numbered, event_ns: self.market.now_ns(), ..cancel };
        let verdict = self.gate.check(&request, &self.view(request.instrument, None));
        self.want(&request, &verdict);
    }

    /// Carries out plans of protocols that are due.
    pub(super) fn act(&mut self, now: i64) {
        while let Some(protocol) = self.emergency.due(now) {
            let Self { emergency, gate, market, around, bands, .. } = self;
            let (mut first, mut wanted) = (Vec::new(), Vec::new());
            let kill = gate.kill_switch().clone();
            let views = |instrument| view(market, around, bands, &kill, (instrument, None));
            emergency.carry_out(protocol, gate, views, now, |gate, request, verdict| {
                if verdict.is_accepted() {
                    first.extend(prevented(gate));
                }
                wanted.push((*request, *verdict));
            });
            first.into_iter().for_each(|cancel| self.cancel(cancel));
            let refused = wanted.iter().filter(|(_, verdict)| !verdict.is_accepted()).count();
            if refused > 0 {
                tracing::error!(refused, "risk: orders of an emergency were refused; the next plan tries again");
            }
            wanted.iter().for_each(|(request, verdict)| self.want(request, verdict));
        }
    }

    /// Records an order of the desk's own, and writes it where it is taken from if it may be sent.
    fn want(&mut self, request: &OrderRequest, verdict: &Verdict) {
        if verdict.is_accepted() {
            let line = self.orders_named.order(request);
            self.orders.write(&line);
        }
        if let Some(trail) = &self.around.trail {
            trail.order(request, "");
            trail.verdict(verdict);
        }
    }

    /// Brings everything where it belongs: breakers, the disk, alerts.
    pub(super) fn settle(&mut self) {
        self.stop();
        self.command();
        self.orders.retry();
        let flat = self.gate.open_orders(LimitScope::Firm, 0).next().is_none()
            && self.gate.holdings().all(|holding| holding.position.raw() == 0);
        self.exposed.note(flat);
        if self.kept.is_due(self.gate.stakes().any(|stake| stake.position.raw() != 0)) {
            self.snapshot();
        }
        if self.unsaved && Instant::now() >= self.save_at {
            match self.saved.write(&self.gate.kill_switch().to_bytes()) {
                Ok(()) => self.unsaved = false,
                Err(error) => {
                    let path = self.saved.path().display();
                    tracing::error!(%path, %error, "risk: thrown switches cannot be saved; tried again");
                    self.save_at = Instant::now() + AGAIN;
                }
            }
        }
        let (now, desk) = (self.market.now_ns(), self.desk_ns());
        while let Some(alert) = self.gate.take_alert() {
            // The dead man's clock is the desk's, everything else happens in event time, which may not have begun.
            let silent = alert.kind == AlertKind::Kill as u8 && alert.cause == KillCause::DeadMan as u8;
            let since = match (silent, now) {
                (true, _) => desk.saturating_sub(alert.event_ns),
                (false, 0) => 0,
                (false, now) => now.saturating_sub(alert.event_ns),
            };
            // What was asked happened when it was asked, however long the question waited.
            let waited = i64::try_from(self.turned.elapsed().as_nanos()).unwrap_or(i64::MAX);
            let line = self.names.alert(&alert);
            self.teller.tell(line, alert.event_ns, since.max(waited));
        }
    }

    /// The breaker of a switch's scope, where there is one.
    pub(super) fn breaker(&self, scope: LimitScope, id: u16) -> Option<(Scope, u16)> {
        match scope {
            LimitScope::Firm => Some((Scope::Engine, 0)),
            LimitScope::Venue => Some((Scope::Venue, id)),
            LimitScope::Strategy if id < self.watched => Some((Scope::Strategy, id)),
            LimitScope::Strategy | LimitScope::Account | LimitScope::Instrument => None,
        }
    }
}

/// An instrument as an order of a strategy meets it; without a strategy, as one that the desk itself wants.
pub(super) fn view(
    market: &Market,
    around: &Surroundings,
    bands: &Bands,
    kill: &KillSwitch,
    (instrument, strategy): (InstrumentId, Option<u16>),
) -> MarketView {
    // A thrown switch has tripped its scope's breaker by hand; the rule of the switch judges that, and lets orders
    // through that only make a position smaller.
    let thrown = |scope, id| kill.get(scope, id).is_some();
    let permits = around.board.permits(instrument, market.venue(instrument), strategy, thrown);
    // Whoever cannot record must not take new risk.
    let recorded = around.trail.as_ref().is_none_or(|trail| !trail.is_pressed());
    let permits = Permits {
        instrument: permits.instrument && bands.permit(instrument),
        engine: permits.engine && recorded,
        ..permits
    };
    market.view(instrument, permits)
}
