//! The trade desk: what is done with signals, from the risk check to the money that a position brought.
//!
//! ```text
//! signal ─▶ size ─▶ margin locked ─▶ risk gate ─▶ gateway ─▶ fills ─▶ held until its timer ends, or its margin is lost
//!                    (ledger)                                              │
//!                        ▲                                                 ▼
//!                        └──────── gain or loss, never more than margin ◀─ close ─▶ fills
//! ```
//!
//! It runs on a cold thread and in event time: the same signals, books and trades give the same orders, fills and
//! balances. Balances are the balance ledger's ([`tidegate_guard::ledger`]): a position's margin is reserved before the
//! order is checked, posted with its first fill, and closed with what it brought. The risk gate's own copy of the
//! account hears of every fill. Whatever happens is told to a [`TradeLog`], in order.

mod config;
mod position;
mod steps;

use bytemuck::Zeroable;
use tidegate_guard::ledger::{Account, Balances, Command, Ledger, Limits};
use tidegate_guard::risk::{
    MarketView, Permits, Reference, ReferenceKind, RiskError, RiskGate, RiskLimits, Rounding, Valuer,
};
use tidegate_wire::event::{Header, Trade};
use tidegate_wire::instrument::FUNDING_PERIOD_NS;
use tidegate_wire::ledger::Name;
use tidegate_wire::order::{
    Execution, FLAG_REDUCE_ONLY, OrderRequest, OrderType, RequestKind, SelfTradeMode, Side, TimeInForce, Verdict,
};
use tidegate_wire::signal::SignalBody;
use tidegate_wire::top::TopBody;
use tidegate_wire::{Instrument, InstrumentId, Price, Qty, Registry, Venue};

use crate::gateway::Gateway;
use crate::paper::{BookTop, PaperCounters, PaperError, PaperExchange};

pub use config::{ACCOUNT, STRATEGY, Trading};
pub use position::{Ending, Fills, Position, SizeBound, Stage};

/// Millionths in a unit of money.
const MONEY: i64 = 1_000_000;
/// How long a reservation waits for its first fill before it expires by itself, ns.
const RESERVED_NS: u64 = 30_000_000_000;

/// What the desk counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct TradeCounters {
    /// Signals that asked for a position.
    pub asked: u64,
    /// Signals that were told not to be traded.
    pub not_tradable: u64,
    /// Positions that were opened.
    pub opened: u64,
    /// Positions that were closed.
    pub closed: u64,
    /// How positions ended, or why they never were.
    pub endings: std::collections::BTreeMap<Ending, u64>,
    /// Closes that had to be sent again.
    pub retried: u64,
    /// Orders that the risk gate refused.
    pub refused: u64,
    /// Millionths that positions brought.
    pub profit: i64,
    /// Millionths of losses beyond margins, which the product bore.
    pub borne: i64,
    /// Millionths of fees in that.
    pub fees: i64,
    /// Millionths of funding in that.
    pub funding: i64,
}

/// Whoever keeps what the desk does, in order.
pub trait TradeLog {
    /// An order is to be sent, for the position of a signal.
    fn order(&mut self, signal: u64, order: &OrderRequest);
    /// What the risk gate said to it.
    fn verdict(&mut self, verdict: &Verdict);
    /// It executed, wholly or in part.
    fn execution(&mut self, execution: &Execution);
    /// A position has ended, or never was: `settled` is what it brought and what the product bore, millionths.
    fn position(&mut self, now_ns: i64, position: &Position, settled: (i64, i64), balances: &Balances);
}

/// Why there can be no desk.
#[derive(Debug, thiserror::Error)]
pub enum TradeDeskError {
    /// A setting.
    #[error("{key}: {reason}")]
    Config {
        /// Dotted key.
        key: String,
        /// The value and what was expected.
        reason: String,
    },
    /// Limits.
    #[error("trading.limits: {0}")]
    Limits(#[from] RiskError),
    /// The paper exchange.
    #[error("trading.paper: {0}")]
    Paper(#[from] PaperError),
    /// The balance cannot be deposited.
    #[error("trading.balance: {0}")]
    Balance(String),
}

/// What the desk knows of an instrument.
#[derive(Clone, Debug)]
struct Listed {
    instrument: Instrument,
    valuer: Option<Valuer>,
    /// Which exchange; `None` where it is not traded.
    exchange: Option<usize>,
    /// Largest value of an entry, millionths, and whose word that is.
    most: (i64, SizeBound),
    best_bid: i64,
    best_ask: i64,
    quality: tidegate_wire::event::BookQuality,
    at_ns: i64,
    funding: f64,
}

impl Listed {
    fn mid(&self) -> Option<i64> {
        (self.best_bid > 0 && self.best_ask > 0).then(|| (self.best_bid + self.best_ask) / 2)
    }
}

/// The trade desk; see the [module](self).
#[derive(Debug)]
pub struct TradeDesk {
    settings: Trading,
    listed: Vec<Listed>,
    exchanges: Vec<(Venue, PaperExchange)>,
    gate: RiskGate,
    ledger: Ledger,
    account: Account,
    /// Number of the account in the limits; the exchange knows one account, 0.
    number: u16,
    positions: Vec<Position>,
    counters: TradeCounters,
    /// Client ids and request ids given so far.
    given: u64,
    now_ns: i64,
    /// When positions must be looked at next, ns; `i64::MAX` when nothing is waited for.
    next_ns: i64,
    /// When funding is exchanged next, ns; `i64::MIN` before the first event.
    funding_ns: i64,
}

impl TradeDesk {
    /// A desk for these instruments of a registry. `limits` instead of its own, where a file names them.
    ///
    /// # Errors
    /// See [`TradeDeskError`].
    pub fn new(
        registry: &Registry,
        traded: &[InstrumentId],
        settings: &Trading,
        limits: Option<&RiskLimits>,
    ) -> Result<Self, TradeDeskError> {
        settings.check().map_err(|(key, reason)| TradeDeskError::Config { key, reason })?;
        let own = settings.own_limits();
        let limits = limits.unwrap_or(&own);
        let gate = RiskGate::new(registry, &[STRATEGY], limits)?;
        // Accounts are numbered in the order of their names.
        let number = limits.accounts.keys().position(|name| name == ACCOUNT).and_then(|at| u16::try_from(at).ok());
        let Some(number) = number else {
            let reason = format!("there is no account {ACCOUNT:?}, expected one that may trade strategy {STRATEGY:?}");
            return Err(TradeDeskError::Config { key: "trading.limits".into(), reason });
        };
        let mut exchanges: Vec<(Venue, PaperExchange)> = Vec::new();
        let mut listed = Vec::with_capacity(registry.len());
        for (id, instrument) in registry.iter() {
            let valuer = position::valuer(instrument).filter(|_| traded.contains(&id));
            let exchange = match valuer {
                None => None,
                Some(_) => match exchanges.iter().position(|(venue, _)| *venue == instrument.venue) {
                    Some(place) => Some(place),
                    None => {
                        let exchange = PaperExchange::new(registry, instrument.venue, &settings.paper)?;
                        exchanges.push((instrument.venue, exchange));
                        Some(exchanges.len() - 1)
                    }
                },
            };
            let quality = tidegate_wire::event::BookQuality::Building;
            let (best_bid, best_ask, at_ns, funding) = (0, 0, i64::MIN, 0.0);
            listed.push(Listed {
                instrument: instrument.clone(),
                valuer,
                exchange,
                most: most(settings, limits, instrument),
                best_bid,
                best_ask,
                quality,
                at_ns,
                funding,
            });
        }
        let name = |text: &str| Name::new(text).unwrap_or(Name::NONE);
        let account = Account { owner: name(ACCOUNT), asset: name("quote") };
        let mut ledger = Ledger::default();
        let amount = u128::from(settings.balance) * MONEY as u128;
        let deposit = Command::Deposit { account, amount };
        let limits = Limits { max_locked: settings.max_positions, ..Limits::default() };
        for command in [deposit, Command::Configure(limits)] {
            ledger.apply(0, &command, 0).map_err(|refusal| TradeDeskError::Balance(format!("{refusal:?}")))?;
        }
        Ok(Self {
            settings: settings.clone(),
            listed,
            exchanges,
            gate,
            ledger,
            account,
            number,
            positions: Vec::new(),
            counters: TradeCounters::default(),
            given: 0,
            now_ns: 0,
            next_ns: i64::MAX,
            funding_ns: i64::MIN,
        })
    }

    /// What was counted.
    pub const fn counters(&self) -> &TradeCounters {
        &self.counters
    }

    /// The account as the balance ledger knows it.
    pub fn balances(&self) -> Balances {
        self.ledger.balances(&self.account).unwrap_or_default()
    }

    /// Hash of the ledger's state, and digests of the exchanges: what a run led to.
    pub fn digest(&self) -> u64 {
        let digests = self.exchanges.iter().map(|(_, exchange)| exchange.digest());
        digests.fold(self.ledger.state_hash(), |sum, digest| {
            (sum.rotate_left(5) ^ digest).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        })
    }

    /// What the exchanges counted.
    pub fn exchanges(&self) -> impl Iterator<Item = (Venue, PaperCounters)> {
        self.exchanges.iter().map(|(venue, exchange)| (*venue, exchange.counters()))
    }

    /// Positions that are open or on their way.
    pub fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// Checks that balances add up: what was deposited and what positions brought is what there is.
    ///
    /// # Errors
    /// What does not add up.
    pub fn check(&self) -> Result<(), String> {
        self.ledger.check()?;
        let total = i128::try_from(self.balances().total()).map_err(|error| error.to_string())?;
        let expected = i128::from(self.settings.balance) * i128::from(MONEY) + i128::from(self.counters.profit);
        if total == expected { Ok(()) } else { Err(format!("the account has {total}, expected {expected}")) }
    }

    /// The best levels of a book after it changed.
    pub fn top(&mut self, header: &Header, top: &TopBody, log: &mut impl TradeLog) {
        self.advance(header.event_ns, log);
        let Some(listed) = self.listed.get_mut(header.instrument.index()) else { return };
        let best = |levels: &[tidegate_wire::Level]| levels.first().map_or(0, |level| level.price.raw());
        (listed.best_bid, listed.best_ask) = (best(top.bids()), best(top.asks()));
        (listed.quality, listed.at_ns, listed.funding) = (top.book_quality(), header.event_ns, top.funding);
        let Some(place) = listed.exchange else { return };
        let book =
            BookTop { quality: top.book_quality(), venue_ns: header.venue_ns, bids: top.bids(), asks: top.asks() };
        self.exchanges[place].1.book(header.instrument, header.event_ns, book);
        self.hear(place, log);
        self.watch_margins(header.instrument, log);
    }

    /// A trade.
    pub fn traded(&mut self, header: &Header, trade: &Trade, log: &mut impl TradeLog) {
        self.advance(header.event_ns, log);
        let Some(place) = self.listed.get(header.instrument.index()).and_then(|listed| listed.exchange) else { return };
        let sell = header.flags & tidegate_wire::event::FLAG_SELL != 0;
        self.exchanges[place].1.trade(header.instrument, header.event_ns, trade, sell);
        self.hear(place, log);
    }

    /// Time passed: requests and reports arrive, timers end.
    pub fn advance(&mut self, now_ns: i64, log: &mut impl TradeLog) {
        // Reports first, each at its own time: after a silence nobody must find that a fill came too late.
        for place in 0..self.exchanges.len() {
            if self.exchanges[place].1.next_ns() <= now_ns {
                self.exchanges[place].1.advance(now_ns);
                self.hear(place, log);
            }
        }
        self.now_ns = self.now_ns.max(now_ns);
        if now_ns >= self.funding_ns {
            self.fund();
        }
        if now_ns >= self.next_ns {
            self.end_timers(log);
        }
    }

    /// The data ended: what is open stays open and is told so.
    pub fn finish(&mut self, log: &mut impl TradeLog) {
        let balances = self.balances();
        for position in &mut self.positions {
            position.ending = Ending::Open;
            *self.counters.endings.entry(Ending::Open).or_default() += 1;
            log.position(self.now_ns, position, (0, 0), &balances);
        }
    }
}

/// Largest value of an entry, millionths, and whose word that is. An order that the gate would refuse for its value
/// alone is made smaller instead.
fn most(settings: &Trading, limits: &RiskLimits, instrument: &Instrument) -> (i64, SizeBound) {
    let own = i64::try_from(settings.max_order_value).unwrap_or(i64::MAX / MONEY).saturating_mul(MONEY);
    let account = limits.accounts.get(ACCOUNT).map(|account| &account.limits);
    let named = limits.instruments.get(&instrument.name()).unwrap_or(&limits.instrument_defaults);
    let scopes = [
        Some(&limits.firm),
        account,
        limits.strategies.get(STRATEGY),
        limits.venues.get(instrument.venue.name()),
        Some(&named.limits),
    ];
    let theirs = scopes.into_iter().flatten().filter_map(|scope| scope.max_order_value?.money().ok()).min();
    // The gate values a market order at the worst price of its collar, hundredths of a basis point.
    let collar = i128::from(named.collar_bp.at_scale(2).unwrap_or(1_000_000));
    let within = |limit: i64| (i128::from(limit) * 1_000_000 / (1_000_000 + collar)) as i64;
    match theirs.map(within) {
        Some(limit) if limit < own => (limit, SizeBound::Limits),
        _ => (own, SizeBound::MaxOrderValue),
    }
}

/// A request with what never changes filled in.
fn request(account: u16, strategy: u16, instrument: InstrumentId, venue: Venue) -> OrderRequest {
    OrderRequest {
        account,
        strategy,
        instrument,
        venue: venue as u8,
        kind: RequestKind::New as u8,
        order_type: OrderType::Market as u8,
        time_in_force: TimeInForce::ImmediateOrCancel as u8,
        self_trade: SelfTradeMode::ExpireTaker as u8,
        ..OrderRequest::zeroed()
    }
}
