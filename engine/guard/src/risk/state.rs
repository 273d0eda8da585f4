//! The gate's memory: limits as integers, windows, lists, and everything that counts against them.

use tidegate_wire::order::LimitScope;
use tidegate_wire::{Instrument, InstrumentId, Registry, Venue};
use xxhash_rust::xxh3::xxh3_64;

use super::alerts::Alerts;
use super::amount::{Decimal, Valuer};
use super::book::{Book, SCOPES, Who};
use super::kill::{DeadMan, KillSwitch};
use super::limits::{InstrumentLimits, Rate, RestrictedFile, RiskLimits, ScopeLimits, Switches, known};
use super::market::Extremes;
use super::orders::OpenOrders;
use super::overrides::Overrides;
use super::people::People;
use super::window::{Recent, Window};

const MS: i64 = 1_000_000;
/// Open orders a gate has room for unless the configuration says otherwise.
const CAPACITY: usize = 4_096;
/// Largest number of cells (accounts x strategies x instruments): 80 bytes each.
const MOST_CELLS: usize = 1 << 20;

/// A scope's limits and what it has used of those that are counts.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) scope: LimitScope,
    pub(crate) id: u16,
    pub(crate) max_order_value: i64,
    pub(crate) max_gross_exposure: i64,
    pub(crate) capital: Option<i64>,
    /// Thousandths.
    pub(crate) leverage: Option<i64>,
    /// What was told of the funds behind it, millionths.
    pub(crate) credit: Option<i64>,
    pub(crate) max_daily_loss: i64,
    pub(crate) max_drawdown: i64,
    pub(crate) max_open_orders: u32,
    pub(crate) open_orders: u32,
    pub(crate) messages: Option<Window>,
    pub(crate) orders: Option<Window>,
    pub(crate) cancels: Option<Window>,
    pub(crate) refusals: Option<Window>,
    pub(crate) executions: Option<Window>,
}

impl Bounds {
    fn new(scope: LimitScope, id: u16, limits: &ScopeLimits) -> Result<Self, String> {
        let money = |limit: Option<Decimal>| limit.map_or(Ok(i64::MAX), Decimal::money);
        let window = |rate: Option<Rate>| rate.map(|rate| Window::new(rate.count, rate.window_ms as i64 * MS));
        Ok(Self {
            scope,
            id,
            max_order_value: money(limits.max_order_value)?,
            max_gross_exposure: money(limits.max_gross_exposure)?,
            capital: limits.capital.map(Decimal::money).transpose()?,
            leverage: limits.leverage.map(|leverage| leverage.at_scale(3)).transpose()?,
            credit: None,
            max_daily_loss: money(limits.max_daily_loss)?,
            max_drawdown: money(limits.max_drawdown)?,
            max_open_orders: limits.max_open_orders.unwrap_or(u32::MAX),
            open_orders: 0,
            messages: window(limits.messages),
            orders: window(limits.orders),
            cancels: window(limits.cancels),
            refusals: window(limits.refusals),
            executions: window(limits.executions),
        })
    }
}

/// Longest and shortest position, both >= 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) long: i64,
    pub(crate) short: i64,
}

/// What the gate knows of an instrument.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) venue: u8,
    pub(crate) tick: i64,
    pub(crate) lot: i64,
    pub(crate) valuer: Valuer,
    pub(crate) max_order_qty: i64,
    pub(crate) everybody: Range,
    pub(crate) account: Range,
    pub(crate) strategy: Range,
    /// Millionths of the reference.
    pub(crate) collar: i64,
    /// Millionths of the period's best reference.
    pub(crate) period_collar: i64,
    pub(crate) max_age_ns: i64,
    pub(crate) period: Extremes,
}

impl Listed {
    fn new(instrument: &Instrument, limits: &InstrumentLimits) -> Result<Self, String> {
        let qty = |limit: Option<Decimal>| {
            let scaled = limit.map_or(Ok(i64::MAX), |limit| limit.at_scale(instrument.qty_scale.decimals()))?;
            if scaled >= 0 { Ok(scaled) } else { Err("is below 0".to_owned()) }
        };
        let range = |long, short| Ok::<_, String>(Range { long: qty(long)?, short: qty(short)? });
        Ok(Self {
            venue: instrument.venue as u8,
            tick: instrument.tick.raw(),
            lot: instrument.lot.raw(),
            valuer: Valuer::new(instrument, limits.conversion)?,
            max_order_qty: qty(limits.max_order_qty)?,
            everybody: range(limits.max_long, limits.max_short)?,
            account: range(limits.account_max_long, limits.account_max_short)?,
            strategy: range(limits.strategy_max_long, limits.strategy_max_short)?,
            collar: limits.collar_bp.at_scale(2)?,
            period_collar: limits.period_collar_bp.at_scale(2)?,
            max_age_ns: limits.max_reference_age_ms as i64 * MS,
            period: Extremes::new(limits.period_ms as i64 * MS),
        })
    }
}

/// A set of pairs as bits.
#[derive(Clone, Debug)]
pub(crate) struct Pairs {
    columns: usize,
    bits: Box<[u64]>,
}

impl Pairs {
    fn new(rows: usize, columns: usize) -> Self {
        Self { columns, bits: vec![0; (rows * columns).div_ceil(64)].into() }
    }

    fn set(&mut self, row: usize, column: usize) {
        let bit = row * self.columns + column;
        self.bits[bit / 64] |= 1 << (bit % 64);
    }

    #[inline(always)]
    pub(crate) fn contains(&self, row: u16, column: u16) -> bool {
        let bit = usize::from(row) * self.columns + usize::from(column);
        self.bits[bit / 64] >> (bit % 64) & 1 != 0
    }
}

/// A restricted list in force, or ready to be.
#[derive(Clone, Debug)]
pub struct RestrictedList {
    pub(crate) version: u32,
    pub(crate) pairs: Pairs,
}

/// What may trade on what: the approvals of every account.
#[derive(Clone, Debug)]
pub(crate) struct Permissions {
    pub(crate) strategies: Pairs,
    pub(crate) instruments: Pairs,
    pub(crate) venues: Pairs,
}

/// Names by number, for lists that come later and for reports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) accounts: Vec<String>,
    pub(crate) strategies: Vec<String>,
    pub(crate) instruments: Vec<String>,
}

/// Everything.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) now: i64,
    pub(crate) firm: Bounds,
    pub(crate) venues: Box<[Bounds]>,
    pub(crate) instruments: Box<[Bounds]>,
    pub(crate) accounts: Box<[Bounds]>,
    pub(crate) strategies: Box<[Bounds]>,
    pub(crate) listed: Box<[Listed]>,
    /// Trade group of each account.
    pub(crate) groups: Box<[u32]>,
    pub(crate) permissions: Permissions,
    pub(crate) restricted: RestrictedList,
    pub(crate) book: Book,
    pub(crate) open: OpenOrders,
    pub(crate) kill: KillSwitch,
    pub(crate) dead_man: DeadMan,
    pub(crate) overrides: Overrides,
    pub(crate) ids: Recent,
    pub(crate) contents: Recent,
    pub(crate) alerts: Alerts,
    pub(crate) people: People,
    pub(crate) names: Names,
    pub(crate) switches: Switches,
    pub(crate) digest: u64,
}

impl State {
    pub(crate) fn new(registry: &Registry, strategies: &[&str], limits: &RiskLimits) -> Result<Self, String> {
        limits.check()?;
        limits.check_names(registry, strategies)?;
        let names = Names {
            accounts: limits.accounts.keys().cloned().collect(),
            strategies: strategies.iter().map(|name| (*name).to_owned()).collect(),
            instruments: registry.iter().map(|(_, instrument)| instrument.name()).collect(),
        };
        let (accounts, count) = (names.accounts.len(), names.instruments.len());
        let cells = accounts.saturating_mul(strategies.len()).saturating_mul(count);
        if cells == 0 || cells > MOST_CELLS {
            let sizes = format!("{accounts} accounts, {} strategies and {count} instruments", strategies.len());
            return Err(format!("{sizes} make {cells} cells, expected 1 to {MOST_CELLS}"));
        }
        let of = |name: &String| limits.instruments.get(name).unwrap_or(&limits.instrument_defaults);
        let named = |name: &String, error: String| format!("instruments.{name}: {error}");
        let pairs = registry.iter().zip(&names.instruments);
        let listed: Result<_, String> =
            pairs.map(|((_, i), name)| Listed::new(i, of(name)).map_err(|error| named(name, error))).collect();
        let bounds = |scope, each: &mut dyn Iterator<Item = ScopeLimits>| -> Result<Box<[Bounds]>, String> {
            each.enumerate().map(|(id, limits)| Bounds::new(scope, id as u16, &limits)).collect()
        };
        let strategy = |name: &&str| limits.strategies.get(*name).copied().unwrap_or_default();
        let venue = |venue: &Venue| limits.venues.get(venue.name()).copied().unwrap_or_default();
        let capacity = if limits.capacity == 0 { CAPACITY } else { limits.capacity as usize };
        let remembered = limits.duplicates.remembered as usize;
        let known_accounts: Vec<&str> = names.accounts.iter().map(String::as_str).collect();
        Ok(Self {
            now: i64::MIN,
            firm: Bounds::new(LimitScope::Firm, 0, &limits.firm)?,
            venues: bounds(LimitScope::Venue, &mut Venue::ALL.iter().map(venue))?,
            instruments: bounds(LimitScope::Instrument, &mut names.instruments.iter().map(|name| of(name).limits))?,
            accounts: bounds(LimitScope::Account, &mut limits.accounts.values().map(|account| account.limits))?,
            strategies: bounds(LimitScope::Strategy, &mut strategies.iter().map(strategy))?,
            listed: listed?,
            groups: limits.accounts.values().map(|account| account.trade_group).collect(),
            permissions: permissions(limits, &names),
            restricted: restricted(&limits.restricted, &names)?,
            book: Book::new(accounts, strategies.len(), count),
            open: OpenOrders::new(capacity, count),
            kill: KillSwitch::new(strategies, &known_accounts),
            dead_man: DeadMan::new(limits.switches.dead_man_ms as i64 * MS),
            overrides: Overrides::default(),
            ids: Recent::new(remembered, limits.duplicates.client_id_ms as i64 * MS),
            contents: Recent::new(limits.duplicates.contents as usize, limits.duplicates.content_ms as i64 * MS),
            alerts: Alerts::new(),
            people: People {
                names: limits.people.keys().cloned().collect(),
                roles: limits.people.values().cloned().collect(),
            },
            switches: limits.switches,
            // Serialised maps are sorted: the same limits have the same digest.
            digest: toml::to_string(limits).map(|text| xxh3_64(text.as_bytes())).map_err(|e| e.to_string())?,
            names,
        })
    }

    /// The scopes that an order belongs to, narrowest first: the first breach is the one that is named.
    #[inline(always)]
    pub(crate) fn scopes(&self, who: Who) -> [&Bounds; SCOPES] {
        [
            &self.instruments[usize::from(who.instrument)],
            &self.strategies[usize::from(who.strategy)],
            &self.accounts[usize::from(who.account)],
            &self.venues[usize::from(who.venue)],
            &self.firm,
        ]
    }

    /// The same, to be changed.
    #[inline(always)]
    pub(crate) fn scopes_mut(&mut self, who: Who) -> [&mut Bounds; SCOPES] {
        [
            &mut self.instruments[usize::from(who.instrument)],
            &mut self.strategies[usize::from(who.strategy)],
            &mut self.accounts[usize::from(who.account)],
            &mut self.venues[usize::from(who.venue)],
            &mut self.firm,
        ]
    }

    /// A scope's limits; `None` when there is no such member.
    pub(crate) fn bounds(&self, scope: LimitScope, id: u16) -> Option<&Bounds> {
        let index = usize::from(id);
        match scope {
            LimitScope::Firm => (id == 0).then_some(&self.firm),
            LimitScope::Venue => self.venues.get(index),
            LimitScope::Instrument => self.instruments.get(index),
            LimitScope::Account => self.accounts.get(index),
            LimitScope::Strategy => self.strategies.get(index),
        }
    }

    /// The same, to be changed.
    pub(crate) fn bounds_mut(&mut self, scope: LimitScope, id: u16) -> Option<&mut Bounds> {
        let index = usize::from(id);
        match scope {
            LimitScope::Firm => (id == 0).then_some(&mut self.firm),
            LimitScope::Venue => self.venues.get_mut(index),
            LimitScope::Instrument => self.instruments.get_mut(index),
            LimitScope::Account => self.accounts.get_mut(index),
            LimitScope::Strategy => self.strategies.get_mut(index),
        }
    }

    /// Whose an account's and strategy's orders in an instrument are; `None` when one of them is not configured.
    #[inline(always)]
    pub(crate) fn who(&self, account: u16, strategy: u16, instrument: InstrumentId) -> Option<Who> {
        let listed = self.listed.get(instrument.index())?;
        let known = usize::from(account) < self.accounts.len() && usize::from(strategy) < self.strategies.len();
        known.then_some(Who { account, strategy, instrument: instrument.0, venue: listed.venue })
    }
}

/// Names as slices.
pub(crate) fn texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn permissions(limits: &RiskLimits, names: &Names) -> Permissions {
    let accounts = names.accounts.len();
    let allowed = |list: fn(&super::AccountLimits) -> &Vec<String>, of: &[&str]| {
        let mut pairs = Pairs::new(accounts, of.len());
        for (row, account) in limits.accounts.values().enumerate() {
            let allows = |name: &str| list(account).iter().any(|known| known == "*" || known == name);
            of.iter().enumerate().filter(|(_, name)| allows(name)).for_each(|(column, _)| pairs.set(row, column));
        }
        pairs
    };
    Permissions {
        strategies: allowed(|account| &account.strategies, &texts(&names.strategies)),
        instruments: allowed(|account| &account.instruments, &texts(&names.instruments)),
        venues: allowed(|account| &account.venues, &Venue::ALL.map(Venue::name)),
    }
}

/// A list ready to be in force.
pub(crate) fn restricted(file: &RestrictedFile, names: &Names) -> Result<RestrictedList, String> {
    let mut pairs = Pairs::new(names.accounts.len(), names.instruments.len());
    let named = |name: &&String| *name != "*";
    let entries = &file.entries;
    known("restricted.entries", entries.iter().map(|e| &e.instrument).filter(named), &texts(&names.instruments))?;
    known("restricted.entries", entries.iter().map(|e| &e.account).filter(named), &texts(&names.accounts))?;
    for entry in entries {
        let of = |pattern: &str, name: &str| pattern == "*" || pattern == name;
        for (row, _) in names.accounts.iter().enumerate().filter(|(_, name)| of(&entry.account, name)) {
            let columns = names.instruments.iter().enumerate().filter(|(_, name)| of(&entry.instrument, name));
            columns.for_each(|(column, _)| pairs.set(row, column));
        }
    }
    Ok(RestrictedList { version: file.version, pairs })
}
