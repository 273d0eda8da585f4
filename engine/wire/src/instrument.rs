//! Venues, instruments and the registry that numbers them.

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};

use crate::decimal::{Price, Qty, Scale};

/// Time between two fundings of perpetuals, ns: at 00:00, 08:00 and 16:00 UTC on every venue here.
pub const FUNDING_PERIOD_NS: i64 = 8 * 3_600 * 1_000_000_000;

/// A market of a venue: prices, sequence rules and frames differ by it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, EnumString, IntoStaticStr,
)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Venue {
    /// Binance spot (and Binance US, which speaks the same protocol).
    BinanceSpot = 0,
    /// Binance USD-margined futures.
    BinanceUsdm = 1,
    /// Binance coin-margined futures.
    BinanceCoinm = 2,
    /// Coinbase spot (GDAX until 2018).
    Coinbase = 3,
    /// Bitstamp spot.
    Bitstamp = 4,
    /// BitMEX perpetuals and futures.
    Bitmex = 5,
    /// Deribit: options, futures, perpetuals and volatility indices, over one connection.
    Deribit = 6,
    /// Bybit linear contracts (margined in USDT or USDC).
    Bybit = 7,
    /// Bybit spot.
    BybitSpot = 8,
    /// Bybit inverse contracts (margined in coin).
    BybitInverse = 9,
    /// OKX: spot, swaps, futures and options, over one connection; the symbol tells.
    Okx = 10,
    /// Bitget spot.
    BitgetSpot = 11,
    /// Bitget USDT-margined futures (`USDT-FUTURES`; `UMCBL` in the old API).
    BitgetUsdt = 12,
    /// Bitget coin-margined futures (`COIN-FUTURES`).
    BitgetCoin = 13,
    /// Bitget USDC-margined futures (`USDC-FUTURES`).
    BitgetUsdc = 14,
}

impl Venue {
    /// Every venue, in the order of its number.
    pub const ALL: [Self; 15] = [
        Self::BinanceSpot,
        Self::BinanceUsdm,
        Self::BinanceCoinm,
        Self::Coinbase,
        Self::Bitstamp,
        Self::Bitmex,
        Self::Deribit,
        Self::Bybit,
        Self::BybitSpot,
        Self::BybitInverse,
        Self::Okx,
        Self::BitgetSpot,
        Self::BitgetUsdt,
        Self::BitgetCoin,
        Self::BitgetUsdc,
    ];

    /// The name in configuration, file prefixes and reports.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The venue of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

impl core::fmt::Display for Venue {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

/// Position of an instrument in its [`Registry`]; dense from 0, stable for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct InstrumentId(pub u16);

impl InstrumentId {
    /// No instrument: records that belong to a venue or to the engine.
    pub const NONE: Self = Self(u16::MAX);

    /// The id as an index; only meaningful unless it is [`Self::NONE`].
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a contract's quantity means.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Contract {
    /// Quantity in base units, price in quote units: spot and linear futures.
    #[default]
    Linear,
    /// Quantity in contracts of a fixed quote value (USD): inverse futures.
    Inverse {
        /// Quote value of one contract, in quote units (100 for BTCUSD, 10 for other pairs).
        quote_per_contract: f64,
    },
    /// Quantity in contracts of a fixed quantity of the base: linear contracts of OKX.
    Sized {
        /// Base units in one contract (0.01 for BTC-USDT-SWAP).
        base_per_contract: f64,
    },
}

/// What the engine must know of an instrument before it reads its first frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Instrument {
    /// Where it trades.
    pub venue: Venue,
    /// The venue's symbol, 1 to 24 bytes: upper-case ASCII letters, digits, `_`, `-`, and the `d` that Deribit writes
    /// for the decimal point of a strike (`DOGE_USDC-4OCT24-0d048-C`).
    pub symbol: String,
    /// Decimals of prices.
    pub price_scale: Scale,
    /// Decimals of quantities.
    pub qty_scale: Scale,
    /// Smallest price step, as a mantissa at `price_scale`, > 0.
    pub tick: Price,
    /// Smallest quantity step, as a mantissa at `qty_scale`, > 0.
    pub lot: Qty,
    /// What a quantity means.
    pub contract: Contract,
}

/// Why an instrument cannot be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The symbol is empty, longer than 24 bytes or not upper-case ASCII.
    #[error("symbol {0:?} must be 1 to 24 bytes of upper-case ASCII letters, digits, _ or -")]
    Symbol(String),
    /// A tick or a lot of zero or less.
    #[error("{0}: tick and lot must be above zero")]
    Step(String),
    /// The same venue and symbol twice.
    #[error("{0} is registered twice on {1}")]
    Twice(String, Venue),
    /// More than 65,534 instruments.
    #[error("more than 65,534 instruments")]
    Full,
}

impl Instrument {
    /// Symbols are at most this long.
    pub const SYMBOL_MAX: usize = 24;

    /// A linear instrument whose tick and lot are one in the last decimal of its prices and quantities.
    pub fn linear(venue: Venue, symbol: &str, price_decimals: u8, qty_decimals: u8) -> Self {
        Self {
            venue,
            symbol: symbol.into(),
            price_scale: Scale::saturating(price_decimals),
            qty_scale: Scale::saturating(qty_decimals),
            tick: Price::from_raw(1),
            lot: Qty::from_raw(1),
            contract: Contract::Linear,
        }
    }

    /// Instrument name in reports: `BTCUSDT.binance-usdm`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.symbol, self.venue)
    }

    /// The base asset, by the venue's way of writing symbols; used to pair instruments of one asset.
    pub fn base(&self) -> &str {
        let symbol = self.symbol.split(['_', '-']).next().unwrap_or(&self.symbol);
        ["USDT", "USDC", "BUSD", "FDUSD", "TUSD", "USD", "PERP", "BTC", "ETH", "EUR"]
            .iter()
            .find_map(|quote| symbol.strip_suffix(quote).filter(|base| !base.is_empty()))
            .unwrap_or(symbol)
    }

    fn check(&self) -> Result<(), RegistryError> {
        let legal = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'd');
        if self.symbol.is_empty() || self.symbol.len() > Self::SYMBOL_MAX || !self.symbol.bytes().all(legal) {
            return Err(RegistryError::Symbol(self.symbol.clone()));
        }
        if self.tick.raw() <= 0 || self.lot.raw() <= 0 {
            return Err(RegistryError::Step(self.name()));
        }
        Ok(())
    }
}

/// All instruments of a run, numbered in the order they were added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registry {
    instruments: Vec<Instrument>,
    prices: Vec<Option<Price>>,
}

impl Registry {
    /// An empty registry.
    pub const fn new() -> Self {
        Self { instruments: Vec::new(), prices: Vec::new() }
    }

    /// Adds an instrument and gives its id.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn add(&mut self, instrument: Instrument) -> Result<InstrumentId, RegistryError> {
        instrument.check()?;
        if self.find(instrument.venue, &instrument.symbol).is_some() {
            return Err(RegistryError::Twice(instrument.symbol, instrument.venue));
        }
        let id = u16::try_from(self.instruments.len()).ok().filter(|id| *id < u16::MAX).ok_or(RegistryError::Full)?;
        self.instruments.push(instrument);
        self.prices.push(None);
        Ok(InstrumentId(id))
    }

    /// The instrument of an id.
    pub fn get(&self, id: InstrumentId) -> Option<&Instrument> {
        self.instruments.get(id.index())
    }

    /// Notes about where an instrument trades, > 0. Nothing is decided by it: it says how much room its book takes.
    pub fn set_price(&mut self, id: InstrumentId, price: Price) {
        if let Some(known) = self.prices.get_mut(id.index()).filter(|_| price.raw() > 0) {
            *known = Some(price);
        }
    }

    /// About where an instrument trades, where that is known.
    pub fn price(&self, id: InstrumentId) -> Option<Price> {
        self.prices.get(id.index()).copied().flatten()
    }

    /// The id of a venue's symbol; cold path (linear).
    pub fn find(&self, venue: Venue, symbol: &str) -> Option<InstrumentId> {
        self.iter().find(|(_, i)| i.venue == venue && i.symbol == symbol).map(|(id, _)| id)
    }

    /// All instruments with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (InstrumentId, &Instrument)> {
        self.instruments.iter().enumerate().map(|(index, i)| (InstrumentId(index as u16), i))
    }

    /// Number of instruments.
    pub fn len(&self) -> usize {
        self.instruments.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.instruments.is_empty()
    }
}
