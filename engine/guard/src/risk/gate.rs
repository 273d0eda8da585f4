//! The gate: a request and the market in, a verdict out.

use bytemuck::Zeroable;
use tidegate_wire::order::{
    Alert, AlertKind, KillCause, LimitScope, OrderRequest, OrderType, Outcome, RequestKind, SelfTradeMode, TimeInForce,
    Verdict,
};
use tidegate_wire::{InstrumentId, Price, Qty, Registry};

use super::alerts::blank;
use super::book::Who;
use super::candidate::{Candidate, Decoded, usable};
use super::kill::Latch;
use super::limits::{RiskError, RiskLimits};
use super::market::MarketView;
use super::orders::{Open, Terms};
use super::people::PersonId;
use super::rules::{
    Breach, CANCEL_RATE, DAILY_LOSS, DRAWDOWN, MALFORMED, OPEN_ORDERS, REPEATED_VIOLATION, RULES, SELF_TRADE,
    duplicate_content, duplicate_id, first_breach, single,
};
use super::self_trade::{Actions, Prevented, SelfTradeAction};
use super::state::State;

/// What the gate counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RiskCounters {
    /// Requests judged.
    pub requests: u64,
    /// Of these, let through.
    pub accepted: u64,
    /// Of these, refused.
    pub refused: u64,
    /// Executions booked.
    pub executions: u64,
    /// Of these, for orders that nobody knows or for more than was open.
    pub unknown_executions: u64,
    /// Kill switches thrown.
    pub kills: u64,
    /// Alerts that found no place.
    pub lost_alerts: u64,
}

/// The pre-trade risk gate. See the [module](super) for what it promises.
#[derive(Clone, Debug)]
pub struct RiskGate {
    pub(super) state: State,
    pub(super) counters: RiskCounters,
    actions: Actions,
}

impl RiskGate {
    /// A gate for the instruments of a registry and the strategies of a run, numbered as in the list. Everything it
    /// will ever need is allocated here.
    ///
    /// # Errors
    /// [`RiskError::Value`] names the key, the value and what was expected.
    pub fn new(registry: &Registry, strategies: &[&str], limits: &RiskLimits) -> Result<Self, RiskError> {
        let state = State::new(registry, strategies, limits).map_err(RiskError::Value)?;
        // Zeroed memory is mapped at its first touch, a page fault each: a copy has touched every page.
        Ok(Self { state: state.clone(), counters: RiskCounters::default(), actions: Actions::new() })
    }

    /// Judges a request at its event time and, if it may be sent, counts it at once (RTS 6 Art. 15(2)).
    #[inline]
    pub fn check(&mut self, request: &OrderRequest, view: &MarketView) -> Verdict {
        self.actions.clear();
        self.counters.requests += 1;
        let state = &mut self.state;
        state.now = state.now.max(request.event_ns);
        state.book.begin_day(state.now);
        state.ids.refresh(duplicate_id::key(request), state.now);
        state.contents.refresh(duplicate_content::key(request), state.now);
        let decoded = match Decoded::of(state, request) {
            Ok(decoded) => decoded,
            Err(what) => return self.refuse(request, view, None, MALFORMED, what.into()),
        };
        if decoded.kind == RequestKind::Cancel {
            return self.cancel(request, view, decoded.who);
        }
        if !self.prices(&decoded, view) {
            let what = super::Malformed::Overflow;
            return self.refuse(request, view, Some(decoded.who), MALFORMED, what.into());
        }
        let state = &mut self.state;
        let candidate = match Candidate::build(state, request, view, decoded) {
            Ok(candidate) => candidate,
            Err(what) => return self.refuse(request, view, Some(decoded.who), MALFORMED, what.into()),
        };
        // Rules that overrides excused, as bits.
        let mut overridden = 0u64;
        let breach = first_breach(state, &candidate, |rule| {
            let excused = is_excused(state, request, rule);
            overridden |= u64::from(excused) << rule;
            excused
        });
        match breach {
            None => self.accept(&candidate, overridden),
            Some((SELF_TRADE, breach)) => self.prevent(&candidate, breach),
            Some((rule, breach)) => self.refuse(request, view, Some(decoded.who), rule, breach),
        }
    }

    /// One rule by itself (by its index in [`RULES`]) on a request: `Some((measured, limit))` when it would refuse,
    /// `None` when it lets the request pass or the request makes no sense. Changes nothing.
    pub fn probe(&self, rule: u8, request: &OrderRequest, view: &MarketView) -> Option<(i64, i64)> {
        let decoded = Decoded::of(&self.state, request).ok().filter(|d| d.kind != RequestKind::Cancel)?;
        let candidate = Candidate::build(&self.state, request, view, decoded).ok()?;
        single(rule, &self.state, &candidate).map(|breach| (breach.measured, breach.limit))
    }

    /// What must be done to resting orders before the order of the last verdict is sent.
    pub fn self_trade_actions(&self) -> &[SelfTradeAction] {
        self.actions.as_slice()
    }

    /// What was counted.
    pub fn counters(&self) -> RiskCounters {
        RiskCounters { lost_alerts: self.state.alerts.lost(), ..self.counters }
    }

    /// The oldest alert that nobody has taken.
    pub fn take_alert(&mut self) -> Option<Alert> {
        self.state.alerts.take()
    }

    /// Takes note of the reference price: positions are worth that, and the period's extremes know of it. Whether the
    /// numbers fitted.
    #[inline(always)]
    fn prices(&mut self, decoded: &Decoded, view: &MarketView) -> bool {
        let state = &mut self.state;
        let listed = &mut state.listed[usize::from(decoded.who.instrument)];
        let (reference, _) = usable(listed, view, state.now);
        if reference == 0 {
            return true;
        }
        listed.period.note(state.now, reference);
        state.book.remark(decoded.who, &listed.valuer, reference)
    }

    #[inline(always)]
    fn accept(&mut self, c: &Candidate<'_>, overridden: u64) -> Verdict {
        let (mut terms, mut value, mut after) =
            (Terms { price: c.price, unit: c.unit, total: c.request.qty.raw() }, c.value, c.after);
        let mut allowed = terms.total;
        if c.crossing.orders > 0 && c.decoded.self_trade != SelfTradeMode::None {
            let prevented = self.actions.plan(&mut self.state, c);
            (allowed, terms, value, after) = match lessened(&self.state, c, prevented, (terms, value, after)) {
                Some(lessened) => lessened,
                // Less of what fitted fits; if it ever did not, nothing is sent.
                None => return self.prevent(c, Breach::of_firm(prevented.taken, 0)),
            };
        }
        let (state, who) = (&mut self.state, c.decoded.who);
        state.book.commit(who, &after);
        let now = state.now;
        match c.replaces {
            Some(place) => replace(state, place, terms),
            None => {
                let rests = c.decoded.order_type != OrderType::Market
                    && matches!(c.decoded.time_in_force, TimeInForce::GoodTillCancel | TimeInForce::GoodTillDate);
                let group = state.groups[usize::from(who.account)];
                let mut open = Open::new(c.request.client_id, who, c.decoded.side, terms, value);
                (open.rests, open.group, open.reduce_only) = (rests, group, c.decoded.reduce_only);
                state.open.insert(open);
                state.ids.insert(duplicate_id::key(c.request), now);
                state.contents.insert(duplicate_content::key(c.request), now);
                state.scopes_mut(who).into_iter().for_each(|bounds| bounds.open_orders += 1);
            }
        }
        for bounds in state.scopes_mut(who) {
            bounds.messages.iter_mut().for_each(|window| window.note(now));
            bounds.orders.iter_mut().for_each(|window| window.note(now));
        }
        let overridden = if overridden == 0 { Verdict::NO_RULE } else { self.used(c.request, overridden) };
        let accepted = self.verdict(c.request, c.view, Outcome::Accepted);
        let self_trade_actions = self.actions.as_slice().len() as u16;
        Verdict { allowed_qty: Qty::from_raw(allowed), value, self_trade_actions, overridden, ..accepted }
    }

    /// The order stays at home because of its owner's resting orders, which may expire with it.
    fn prevent(&mut self, c: &Candidate<'_>, breach: Breach) -> Verdict {
        // A replacement that stays at home leaves its order as it is, and with it those it would have met.
        let both = matches!(c.decoded.self_trade, SelfTradeMode::ExpireBoth | SelfTradeMode::Decrement);
        if both && c.replaces.is_none() {
            let _ = self.actions.plan(&mut self.state, c);
        }
        let self_trade_actions = self.actions.as_slice().len() as u16;
        let refused = self.refuse(c.request, c.view, Some(c.decoded.who), SELF_TRADE, breach);
        Verdict { self_trade_actions, ..refused }
    }

    /// Cancels always pass; too many raise an alert.
    fn cancel(&mut self, request: &OrderRequest, view: &MarketView, who: Who) -> Verdict {
        let state = &mut self.state;
        let now = state.now;
        let mut over = None;
        for bounds in state.scopes_mut(who) {
            if let Some(window) = &mut bounds.cancels {
                over = over.or(window.is_full(now).then_some((bounds.scope, bounds.id, window.limit())));
                window.note(now);
            }
            bounds.messages.iter_mut().for_each(|window| window.note(now));
        }
        if let Some((scope, scope_id, limit)) = over {
            let breach = Breach { scope, scope_id, measured: limit + 1, limit };
            state.alerts.push(alert(AlertKind::CancelRate, now, request, CANCEL_RATE, breach));
        }
        self.verdict(request, view, Outcome::Accepted)
    }

    #[cold]
    #[inline(never)]
    fn refuse(
        &mut self,
        request: &OrderRequest,
        view: &MarketView,
        who: Option<Who>,
        rule: u8,
        breach: Breach,
    ) -> Verdict {
        let now = self.state.now;
        self.state.alerts.push(alert(AlertKind::Refusal, now, request, rule, breach));
        if matches!(rule, DAILY_LOSS | DRAWDOWN) {
            self.rule_kill(breach, rule);
        }
        for index in 0..who.map_or(0, |_| super::book::SCOPES) {
            let Some(who) = who else { break };
            let [a, b, c, d, e] = self.state.scopes_mut(who);
            let bounds = [a, b, c, d, e].into_iter().nth(index);
            let Some((bounds, window)) = bounds.and_then(|b| Some(((b.scope, b.id), b.refusals.as_mut()?))) else {
                continue;
            };
            window.note(now);
            let limit = window.limit();
            if window.is_full(now) {
                let breach = Breach { scope: bounds.0, scope_id: bounds.1, measured: limit, limit };
                self.rule_kill(breach, REPEATED_VIOLATION);
            }
        }
        let refused = self.verdict(request, view, Outcome::Refused);
        let (scope, scope_id) = (breach.scope as u8, breach.scope_id);
        Verdict { rule, scope, scope_id, measured: breach.measured, limit: breach.limit, ..refused }
    }

    /// A rule throws the switch of the scope whose limit was passed; an instrument has none, its orders are refused.
    pub(super) fn rule_kill(&mut self, breach: Breach, rule: u8) {
        let latch = Latch { cause: KillCause::Rule, rule, person: PersonId::NONE, event_ns: self.state.now };
        let _ = self.throw(breach.scope, breach.scope_id, latch, (breach.measured, breach.limit));
    }

    /// Overrides were used: each is told, and holds no longer. Gives the first rule.
    #[cold]
    fn used(&mut self, request: &OrderRequest, rules: u64) -> u8 {
        let now = self.state.now;
        for rule in (0..RULES.len() as u8).filter(|rule| rules >> rule & 1 != 0) {
            self.state.overrides.consume(request.account, request.client_id, rule, now);
            self.state.alerts.push(alert(AlertKind::Override, now, request, rule, Breach::of_firm(0, 0)));
        }
        rules.trailing_zeros() as u8
    }

    #[inline(always)]
    fn verdict(&mut self, request: &OrderRequest, view: &MarketView, outcome: Outcome) -> Verdict {
        let accepted = outcome == Outcome::Accepted;
        self.counters.accepted += u64::from(accepted);
        self.counters.refused += u64::from(!accepted);
        let (state, reference) = (&self.state, view.reference.price);
        let age = state.now.saturating_sub(view.reference.at_ns).max(0);
        Verdict {
            sequence: self.counters.requests,
            event_ns: state.now,
            request_id: request.request_id,
            client_id: request.client_id,
            reference: if reference.raw() > 0 { reference } else { Price::ZERO },
            reference_age_ns: if reference.raw() > 0 { age } else { i64::MAX },
            limits_digest: state.digest,
            restricted_version: state.restricted.version,
            account: request.account,
            strategy: request.strategy,
            instrument: request.instrument,
            outcome: outcome as u8,
            rule: Verdict::NO_RULE,
            scope: LimitScope::Firm as u8,
            overridden: Verdict::NO_RULE,
            kind: request.kind,
            ..Verdict::zeroed()
        }
    }

    /// Account, strategy and instrument by number; for reports.
    pub fn names_of(&self, account: u16, strategy: u16, instrument: InstrumentId) -> [&str; 3] {
        let names = &self.state.names;
        [
            names.accounts.get(usize::from(account)).map_or("?", String::as_str),
            names.strategies.get(usize::from(strategy)).map_or("?", String::as_str),
            names.instruments.get(instrument.index()).map_or("?", String::as_str),
        ]
    }
}

/// Whether two persons excused the order from a rule. That the table of orders is full nobody can excuse.
#[inline(always)]
fn is_excused(state: &State, request: &OrderRequest, rule: u8) -> bool {
    state.overrides.excuses(request.account, request.client_id, rule, state.now)
        && RULES[usize::from(rule)].overridable
        && (rule != OPEN_ORDERS || state.open.len() < state.open.capacity())
}

type Lessened = (i64, Terms, i64, super::book::After);

/// The taker without what prevention took: the quantity to send, and what counts. What moves between accounts counts
/// until it has moved.
fn lessened(
    state: &State,
    c: &Candidate<'_>,
    prevented: Prevented,
    whole: (Terms, i64, super::book::After),
) -> Option<Lessened> {
    let total = c.request.qty.raw();
    let (terms, value, after) = match prevented.taken - prevented.moved {
        0 => whole,
        lost => c.lessened(state, total - lost)?,
    };
    Some((total - prevented.taken, terms, value, after))
}

/// An open order counts as the worse of what it is and what it will be.
fn replace(state: &mut State, place: u32, terms: Terms) {
    let order = *state.open.get(place);
    let price = match order.side {
        tidegate_wire::order::Side::Buy => order.price.max(terms.price),
        tidegate_wire::order::Side::Sell => order.price.min(terms.price),
    };
    state.open.reprice(place, price);
    let valuer = state.listed[usize::from(order.who.instrument)].valuer;
    let worst = Terms { price, unit: order.unit.max(terms.unit), total: order.total.max(terms.total) };
    let open = state.open.get_mut(place);
    (open.unit, open.total, open.pending) = (worst.unit, worst.total, Some(terms));
    let value = valuer.value(worst.unit, open.remaining(), super::amount::Rounding::Up);
    // The preview computed the same number, and it fitted.
    (open.value, open.counted) = (value.unwrap_or(i64::MAX), open.remaining());
}

/// An alert about a request.
fn alert(kind: AlertKind, event_ns: i64, request: &OrderRequest, rule: u8, breach: Breach) -> Alert {
    Alert {
        request_id: request.request_id,
        client_id: request.client_id,
        measured: breach.measured,
        limit: breach.limit,
        account: request.account,
        scope_id: breach.scope_id,
        rule,
        scope: breach.scope as u8,
        ..blank(kind, event_ns)
    }
}
