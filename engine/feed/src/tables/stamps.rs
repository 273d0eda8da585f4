//! When a row was known: the receive time of its frame.

use crate::replay::Format;
use crate::tables::{bars, bitstamp, fields, marks};

/// Receive time of a row, ns since the Unix epoch; `None` where it has none that can be read. The rows of an opening
/// snapshot have no time at all.
pub(crate) fn known_ns(format: Format, row: &[u8]) -> Option<i64> {
    let ns = match format {
        Format::CoinbaseUpdates => fields::time_ns(fields::columns::<4>(row)?[3]),
        Format::BitstampOrders => bitstamp::split(row).map(|(ns, ..)| ns),
        Format::BinanceKlines => bars::kline_times(row).map(|(_, end)| end),
        Format::BitmexBuckets => bars::bucket_times(row).map(|(_, end)| end),
        Format::Funding => marks::funding_time(row),
        Format::FundingPercent => marks::list_time(row, false),
        Format::VolatilityIndex => marks::list_time(row, true),
        Format::CoinbaseBook | Format::Stamped | Format::CryptofeedText | Format::CryptofeedJson | Format::Tidegate => {
            None
        }
    };
    // As for captures: a stamp beyond 2100 would carry event time away for good.
    ns.filter(|ns| *ns < crate::replay::LATEST_NS)
}

/// The format of a table by its first line; a list of pairs is a matter of its name.
pub(crate) fn format_of(line: &[u8]) -> Option<Format> {
    match line {
        b"side,price,size,time" => Some(Format::CoinbaseUpdates),
        b"side,price,size" => Some(Format::CoinbaseBook),
        b"open_time_s,open,high,low,close,volume_usd" => Some(Format::BitmexBuckets),
        b"Symbol,Date,Funding Rate" => Some(Format::Funding),
        _ if line.starts_with(b"open_time,open,high,low,close,volume,close_time,") => Some(Format::BinanceKlines),
        // Older files of Binance have no header.
        _ if bars::kline_times(line).is_some() => Some(Format::BinanceKlines),
        _ if bitstamp::split(line).is_some() => Some(Format::BitstampOrders),
        _ => None,
    }
}
