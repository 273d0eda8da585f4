//! Whose a table is: rows seldom name venue and symbol, so the user, the format and the file's name do.

use tidegate_wire::Venue;

use crate::replay::Format;
pub(crate) use crate::tables::marks::funding_symbol as row_symbol;

/// The only symbol of the recorded books of Coinbase (`BTC-USD`) and Bitstamp, in the registry's form.
const BOOK_SYMBOL: &str = "BTCUSD";

/// The kind of a list `[[ms, value], ...]`, which looks the same whatever it holds.
pub(crate) fn list_format(name: &str, venue: Option<Venue>) -> Option<Format> {
    match venue {
        Some(Venue::Deribit) => Some(Format::VolatilityIndex),
        Some(Venue::BinanceUsdm | Venue::Bybit) => Some(Format::FundingPercent),
        Some(_) => None,
        None if name.starts_with("dvol") => Some(Format::VolatilityIndex),
        None if name.starts_with("funding") => Some(Format::FundingPercent),
        None => None,
    }
}

/// The venue of a table; what the user says must fit its format.
///
/// # Errors
/// What does not fit, or what the user has to say.
pub(crate) fn venue(format: Format, name: &str, said: Option<Venue>, symbol: &str) -> Result<Venue, String> {
    let fitting: &[Venue] = match format {
        Format::CoinbaseBook | Format::CoinbaseUpdates => &[Venue::Coinbase],
        Format::BitstampOrders => &[Venue::Bitstamp],
        Format::BitmexBuckets => &[Venue::Bitmex],
        Format::VolatilityIndex => &[Venue::Deribit],
        Format::Funding | Format::FundingPercent => &[Venue::BinanceUsdm, Venue::Bybit],
        Format::BinanceKlines => &[Venue::BinanceUsdm, Venue::BinanceCoinm, Venue::BinanceSpot],
        Format::Stamped | Format::CryptofeedText | Format::CryptofeedJson | Format::Tidegate => &Venue::ALL,
    };
    let known = fitting.iter().map(|venue| venue.name()).collect::<Vec<_>>().join(" or ");
    match said {
        Some(venue) if fitting.contains(&venue) => return Ok(venue),
        Some(venue) => return Err(format!("this is a table of {known}, not of {venue}")),
        None => {}
    }
    match format {
        Format::Funding if name.contains("_binance_") => Ok(Venue::BinanceUsdm),
        Format::Funding if name.contains("_bybit_") => Ok(Venue::Bybit),
        // The series of other venues look alike but are stamped in other time zones.
        Format::Funding => Err(format!("funding of no venue that its name tells; say VENUE=FILE with {known}")),
        Format::BinanceKlines if symbol.split_once('_').is_some_and(|(pair, _)| pair.ends_with("USD")) => {
            Ok(Venue::BinanceCoinm)
        }
        _ => fitting.first().copied().ok_or(known),
    }
}

/// The symbol of a table whose rows do not name it.
///
/// # Errors
/// How the file should be named.
pub(crate) fn symbol(format: Format, name: &str) -> Result<String, String> {
    let symbol = match format {
        Format::CoinbaseBook | Format::CoinbaseUpdates | Format::BitstampOrders => BOOK_SYMBOL.into(),
        Format::BinanceKlines | Format::BitmexBuckets => leading(name),
        Format::FundingPercent => format!("{}USDT", base(name)?),
        Format::VolatilityIndex => format!("{}DVOL", base(name)?),
        // Each row names it.
        Format::Funding | Format::Stamped | Format::CryptofeedText | Format::CryptofeedJson | Format::Tidegate => {
            String::new()
        }
    };
    let needed = matches!(format, Format::BinanceKlines | Format::BitmexBuckets);
    if needed && symbol.is_empty() {
        return Err("rows do not name the symbol: the file's name must begin with it, as BTCUSDT-1m-2024-01.csv".into());
    }
    Ok(symbol)
}

/// What a name begins with in capitals and digits: `BTCUSD_PERP-1m-2024-01.csv`, `BTCUSDT_usdm_1m.csv`.
fn leading(name: &str) -> String {
    let legal = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let end = name.find(|c| !legal(c)).unwrap_or(name.len());
    name[..end].trim_matches('_').into()
}

/// The asset at the end of a name: `dvol_btc.json`.
fn base(name: &str) -> Result<String, String> {
    let stem = name.split('.').next().unwrap_or(name);
    let (_, base) = stem.rsplit_once('_').unwrap_or_default();
    let legal = !base.is_empty() && base.len() <= 8 && base.chars().all(|c| c.is_ascii_alphanumeric());
    let wrong = "entries do not name the asset: the file's name must end with it, as dvol_btc.json";
    if legal { Ok(base.to_ascii_uppercase()) } else { Err(wrong.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_symbols() {
        for (format, name, symbol) in [
            (Format::BinanceKlines, "ABCUSDT-1m-2024-01.csv.zst", "ABCUSDT"),
            (Format::BinanceKlines, "1000ABCUSDT_usdm_1m_2021.csv", "1000ABCUSDT"),
            (Format::BinanceKlines, "ABCUSD_PERP-1m-2021-05.csv", "ABCUSD_PERP"),
            (Format::BitmexBuckets, "XBTUSD-1m.csv.gz", "XBTUSD"),
            (Format::FundingPercent, "funding_rate_abc.json", "ABCUSDT"),
            (Format::VolatilityIndex, "dvol_abc.json", "ABCDVOL"),
            (Format::CoinbaseBook, "snapshot_bids.csv.gz", "BTCUSD"),
        ] {
            assert_eq!(super::symbol(format, name).as_deref(), Ok(symbol), "{name}");
        }
        assert!(symbol(Format::BinanceKlines, "klines.csv").is_err_and(|text| text.contains("BTCUSDT-1m")));
        assert!(symbol(Format::VolatilityIndex, "dvol.json").is_err_and(|text| text.contains("dvol_btc")));
    }

    #[test]
    fn venues_are_told_or_asked_for() {
        let of = |format, name, said| venue(format, name, said, "ABCUSD_PERP");
        assert_eq!(of(Format::BinanceKlines, "x", None), Ok(Venue::BinanceCoinm));
        assert_eq!(of(Format::BinanceKlines, "x", Some(Venue::BinanceSpot)), Ok(Venue::BinanceSpot));
        assert_eq!(venue(Format::BinanceKlines, "x", None, "ABCUSDT"), Ok(Venue::BinanceUsdm));
        assert_eq!(of(Format::Funding, "ABC_bybit_2021.csv", None), Ok(Venue::Bybit));
        assert_eq!(of(Format::Funding, "ABC_gate_2021.csv", Some(Venue::Bybit)), Ok(Venue::Bybit));
        assert!(
            of(Format::Funding, "ABC_gate_2021.csv", None).is_err_and(|text| text.contains("binance-usdm or bybit"))
        );
        let wrong = of(Format::CoinbaseUpdates, "x", Some(Venue::Bitstamp));
        assert!(wrong.is_err_and(|text| text.contains("a table of coinbase, not of bitstamp")));
        assert_eq!(list_format("dvol_abc.json", None), Some(Format::VolatilityIndex));
        assert_eq!(list_format("x.json", Some(Venue::BinanceUsdm)), Some(Format::FundingPercent));
        assert_eq!((list_format("x.json", None), list_format("x.json", Some(Venue::Coinbase))), (None, None));
    }
}
