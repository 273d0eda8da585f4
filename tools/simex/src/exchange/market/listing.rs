//! What trades where.

use crate::config::{AssetParams, InstrumentSpec};
use crate::defaults;
use crate::exchange::config::InstrumentConfig;
use crate::exchange::venue::{Category, Venue};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// Terms of an option.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OptionTerms {
    pub(crate) strike: f64,
    pub(crate) call: bool,
    /// 08:00 UTC of the day.
    pub(crate) expiry_ms: i64,
}

/// An instrument of a venue.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listing {
    pub(crate) config: InstrumentConfig,
    pub(crate) option: Option<OptionTerms>,
}

impl Listing {
    /// Price of one tick.
    pub(crate) fn tick_size(&self) -> f64 {
        self.config.tick_units as f64 / libm::pow(10.0, f64::from(self.config.price_decimals))
    }

    /// Quantity of one lot.
    pub(crate) fn lot_size(&self) -> f64 {
        self.config.lot_units as f64 / libm::pow(10.0, f64::from(self.config.qty_decimals))
    }

    /// The order flow of the built-in instrument that is most like it.
    pub(crate) fn spec(&self, asset: usize) -> InstrumentSpec {
        let row = match self.config.category {
            Category::Spot => 0,
            Category::Linear | Category::Option => 2,
            Category::Inverse => 4,
        };
        let column = usize::from(self.config.base != "BTC");
        let template = defaults::instruments().swap_remove(row + column);
        InstrumentSpec {
            asset,
            symbol: self.config.symbol.clone(),
            price_decimals: self.config.price_decimals,
            tick_units: self.config.tick_units,
            qty_decimals: self.config.qty_decimals,
            lot_units: self.config.lot_units,
            ..template
        }
    }

    /// The path of its underlying.
    pub(crate) fn asset(&self) -> AssetParams {
        let [btc, eth] = [0, 1].map(|index| defaults::assets().swap_remove(index));
        let like = if self.config.base == "ETH" { eth } else { btc };
        AssetParams { price: self.config.price, ..like }
    }
}

/// Price and quantity grids: price decimals, tick, quantity decimals, lot.
type Grid = (u32, i64, u32, i64);

fn listed(venue: Venue, category: Category, symbol: &str, quote: &str, contract: f64, grid: Grid) -> InstrumentConfig {
    let base = if symbol.starts_with("ETH") { "ETH" } else { "BTC" };
    let (price_decimals, tick_units, qty_decimals, lot_units) = grid;
    InstrumentConfig {
        venue,
        symbol: symbol.into(),
        category,
        base: base.into(),
        quote: quote.into(),
        price: if base == "ETH" { 2_682.0 } else { 61_800.0 },
        price_decimals,
        tick_units,
        qty_decimals,
        lot_units,
        contract,
        capture: None,
        repeat: false,
    }
}

/// The built-in instruments of a venue, on the grids of the real ones.
pub(crate) fn built_in(venue: Venue) -> Vec<InstrumentConfig> {
    use Category::{Inverse, Linear, Spot};
    let usdt = |category, symbol, contract, grid| listed(venue, category, symbol, "USDT", contract, grid);
    let usd = |symbol, contract, grid| listed(venue, Inverse, symbol, "USD", contract, grid);
    match venue {
        Venue::BinanceSpot => vec![
            usdt(Spot, "BTCUSDT", 1.0, (8, 1_000_000, 8, 1_000)),
            usdt(Spot, "ETHUSDT", 1.0, (8, 1_000_000, 8, 10_000)),
        ],
        Venue::BinanceUsdm => {
            vec![usdt(Linear, "BTCUSDT", 1.0, (2, 10, 3, 1)), usdt(Linear, "ETHUSDT", 1.0, (2, 1, 3, 1))]
        }
        Venue::BinanceCoinm => {
            vec![usd("BTCUSD_PERP", 100.0, (1, 1, 0, 1)), usd("ETHUSD_PERP", 10.0, (2, 1, 0, 1))]
        }
        Venue::Bybit => vec![
            usdt(Spot, "BTCUSDT", 1.0, (2, 1, 6, 10)),
            usdt(Linear, "BTCUSDT", 1.0, (2, 10, 3, 1)),
            usdt(Linear, "ETHUSDT", 1.0, (2, 1, 2, 1)),
            usd("BTCUSD", 1.0, (2, 10, 0, 1)),
        ],
        Venue::Okx => vec![
            usdt(Spot, "BTC-USDT", 1.0, (1, 1, 8, 1_000)),
            usdt(Linear, "BTC-USDT-SWAP", 0.01, (1, 1, 2, 1)),
            usdt(Linear, "ETH-USDT-SWAP", 0.1, (2, 1, 2, 1)),
            usd("BTC-USD-SWAP", 100.0, (1, 1, 0, 1)),
        ],
        Venue::Bitget => vec![
            usdt(Spot, "BTCUSDT", 1.0, (2, 1, 6, 10)),
            usdt(Linear, "BTCUSDT", 1.0, (1, 1, 4, 1)),
            usdt(Linear, "ETHUSDT", 1.0, (2, 1, 2, 1)),
            listed(venue, Linear, "BTCPERP", "USDC", 1.0, (1, 1, 4, 1)),
            usd("BTCUSD", 1.0, (1, 1, 3, 1)),
        ],
        Venue::Deribit => vec![usd("BTC-PERPETUAL", 10.0, (1, 5, 1, 100)), usd("ETH-PERPETUAL", 1.0, (2, 5, 1, 10))],
    }
}

/// A few options on each underlying of Deribit: two expiries, a call and a put near the money.
pub(crate) fn options(underlyings: &[InstrumentConfig], now_ms: i64) -> Vec<Listing> {
    let mut listings = Vec::new();
    for perpetual in underlyings.iter().filter(|config| config.category == Category::Inverse) {
        let step = if perpetual.price > 10_000.0 { 1_000.0 } else { 50.0 };
        let strike = libm::round(perpetual.price / step) * step;
        for days in [8, 36] {
            let expiry_ms = (now_ms / DAY_MS + days) * DAY_MS + DAY_MS / 3;
            for (strike, call) in [(strike + step, true), (strike - step, false)] {
                let letter = if call { 'C' } else { 'P' };
                let symbol = format!("{}-{}-{strike}-{letter}", perpetual.base, date_code(expiry_ms));
                let config = InstrumentConfig {
                    symbol,
                    category: Category::Option,
                    price: 0.02,
                    price_decimals: 4,
                    tick_units: 5,
                    qty_decimals: 1,
                    lot_units: 1,
                    contract: 1.0,
                    capture: None,
                    ..perpetual.clone()
                };
                listings.push(Listing { config, option: Some(OptionTerms { strike, call, expiry_ms }) });
            }
        }
    }
    listings
}

/// `7DEC26`: day without a leading zero, month, year.
fn date_code(ms: i64) -> String {
    const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
    let (year, month, day) = civil(ms);
    format!("{day}{}{:02}", MONTHS[month - 1], year % 100)
}

/// Year, month (1 to 12) and day of a time after 1970.
fn civil(ms: i64) -> (i64, usize, i64) {
    let mut days = ms / DAY_MS;
    let mut year = 1970;
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    while days >= 365 + i64::from(leap(year)) {
        days -= 365 + i64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    for (index, length) in lengths.into_iter().enumerate() {
        if days < length {
            return (year, index + 1, days + 1);
        }
        days -= length;
    }
    (year, 12, 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(1_709_164_800_000), (2024, 2, 29));
        assert_eq!(civil(1_735_689_599_999), (2024, 12, 31));
        assert_eq!(date_code(1_735_300_800_000), "27DEC24");
    }

    #[test]
    fn built_in_instruments_are_configurable_ones() {
        let all: Vec<_> = <Venue as strum::VariantArray>::VARIANTS.iter().flat_map(|venue| built_in(*venue)).collect();
        let config = crate::exchange::ExchangeConfig { instrument: all, ..Default::default() };
        config.validate().unwrap();
    }
}
