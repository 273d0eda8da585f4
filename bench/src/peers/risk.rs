//! Pre-trade risk as it is usually written first: maps by name, floats, a list of boxed rules.
//!
//! It refuses what the gate refuses in the rig's traffic, with the same limits; it neither remembers everything (only
//! what its rules ask for) nor knows worst cases of replacements.

use std::collections::{HashMap, VecDeque};

/// An order as applications hold it.
#[derive(Clone, Debug)]
pub struct NaiveOrder {
    /// Client order id.
    pub client_id: String,
    /// Account.
    pub account: String,
    /// Strategy.
    pub strategy: String,
    /// Instrument.
    pub symbol: String,
    /// Buys, or sells.
    pub buys: bool,
    /// Price, quote units.
    pub price: f64,
    /// Quantity, base units.
    pub qty: f64,
    /// When, s.
    pub at: f64,
    /// Reference price, quote units.
    pub reference: f64,
    /// Its age, s.
    pub reference_age: f64,
}

/// What rules look at.
#[derive(Debug, Default)]
pub struct Books {
    positions: HashMap<(String, String), f64>,
    open: HashMap<String, NaiveOrder>,
    exposure: HashMap<String, f64>,
    recent: HashMap<String, f64>,
    messages: HashMap<String, VecDeque<f64>>,
    permitted: HashMap<String, Vec<String>>,
}

/// One rule.
pub trait NaiveRule {
    /// Why not, if not.
    fn check(&self, order: &NaiveOrder, books: &Books) -> Result<(), String>;
}

macro_rules! naive_rules {
    ($($(#[$doc:meta])* $name:ident($order:ident, $books:ident) $body:block)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        struct $name;
        impl NaiveRule for $name {
            fn check(&self, $order: &NaiveOrder, $books: &Books) -> Result<(), String> $body
        }
    )*};
}

fn within(what: &str, value: f64, limit: f64) -> Result<(), String> {
    if value <= limit { Ok(()) } else { Err(format!("{what} {value} is above {limit}")) }
}

naive_rules! {
    Permission(order, books) {
        let permitted = books.permitted.get(&order.account).is_some_and(|list| list.contains(&order.symbol));
        if permitted { Ok(()) } else { Err(format!("{} may not trade {}", order.account, order.symbol)) }
    }
    Reference(order, _books) { within("age", order.reference_age, 2.0) }
    Grid(order, _books) {
        let off = |value: f64, step: f64| ((value / step).round() * step - value).abs() > 1e-9;
        if off(order.price, 0.1) || off(order.qty, 0.001) { Err("off the grid".into()) } else { Ok(()) }
    }
    Collar(order, _books) {
        let side = if order.buys { 1.0 } else { -1.0 };
        within("distance", side * (order.price / order.reference - 1.0), 0.02)
    }
    Quantity(order, _books) { within("quantity", order.qty, 5.0) }
    Value(order, _books) { within("value", order.qty * order.price.max(order.reference), 250_000.0) }
    Position(order, books) {
        let held = books.positions.get(&(order.account.clone(), order.symbol.clone())).copied().unwrap_or(0.0);
        let open = books.open.values().filter(|o| o.account == order.account && o.symbol == order.symbol);
        let same: f64 = open.filter(|o| o.buys == order.buys).map(|o| o.qty).sum();
        let signed = if order.buys { held } else { -held };
        within("position", signed + same + order.qty, 100.0)
    }
    Exposure(order, books) {
        let value = order.qty * order.price.max(order.reference);
        ["firm", &order.account, &order.strategy].iter().try_for_each(|scope| {
            within("exposure", books.exposure.get(*scope).copied().unwrap_or(0.0) + value, 5_000_000.0)
        })
    }
    Duplicate(order, books) {
        let key = format!("{}{}{}{}{}", order.account, order.symbol, order.buys, order.price, order.qty);
        let again = books.recent.get(&key).is_some_and(|at| order.at - at < 0.5);
        if again || books.open.contains_key(&order.client_id) { Err("again".into()) } else { Ok(()) }
    }
    Rate(order, books) {
        ["firm", &order.account, &order.strategy].iter().try_for_each(|scope| {
            let recent = books.messages.get(*scope).map_or(0, |times| {
                times.iter().filter(|at| order.at - **at < 1.0).count()
            });
            within("messages", recent as f64 + 1.0, 500.0)
        })
    }
    SelfTrade(order, books) {
        let mine = books.open.values().filter(|o| o.account == order.account && o.symbol == order.symbol);
        let mut crossed = mine.filter(|o| {
            o.buys != order.buys && if order.buys { order.price >= o.price } else { order.price <= o.price }
        });
        crossed.next().map_or(Ok(()), |other| Err(format!("meets {}", other.client_id)))
    }
}

/// The whole of it.
pub struct NaiveGate {
    rules: Vec<Box<dyn NaiveRule>>,
    books: Books,
}

impl std::fmt::Debug for NaiveGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NaiveGate").field("rules", &self.rules.len()).finish()
    }
}

impl NaiveGate {
    /// A gate that permits an account some symbols.
    pub fn new(account: &str, symbols: &[&str]) -> Self {
        let mut books = Books::default();
        books.permitted.insert(account.into(), symbols.iter().map(|symbol| (*symbol).to_owned()).collect());
        let rules: Vec<Box<dyn NaiveRule>> = vec![
            Box::new(Permission),
            Box::new(Reference),
            Box::new(Grid),
            Box::new(Collar),
            Box::new(Quantity),
            Box::new(Value),
            Box::new(Position),
            Box::new(Exposure),
            Box::new(Duplicate),
            Box::new(Rate),
            Box::new(SelfTrade),
        ];
        Self { rules, books }
    }

    /// Judges an order and counts it when it passes.
    ///
    /// # Errors
    /// The first rule's reason.
    pub fn check(&mut self, order: &NaiveOrder) -> Result<(), String> {
        self.rules.iter().try_for_each(|rule| rule.check(order, &self.books))?;
        let value = order.qty * order.price.max(order.reference);
        for scope in ["firm", &order.account, &order.strategy] {
            *self.books.exposure.entry(scope.into()).or_default() += value;
            let times = self.books.messages.entry(scope.into()).or_default();
            times.push_back(order.at);
            while times.front().is_some_and(|at| order.at - at >= 1.0) {
                times.pop_front();
            }
        }
        let key = format!("{}{}{}{}{}", order.account, order.symbol, order.buys, order.price, order.qty);
        self.books.recent.insert(key, order.at);
        self.books.open.insert(order.client_id.clone(), order.clone());
        Ok(())
    }

    /// An order ended.
    pub fn cancelled(&mut self, client_id: &str) {
        let Some(order) = self.books.open.remove(client_id) else { return };
        let value = order.qty * order.price.max(order.reference);
        for scope in ["firm", &order.account, &order.strategy] {
            *self.books.exposure.entry(scope.into()).or_default() -= value;
        }
    }
}
