//! One-minute bars as venues publish them: Binance's kline files and BitMEX's buckets.

use tidegate_wire::event::Bar;
use tidegate_wire::{Price, Qty};

use crate::counters::Reason;
use crate::symbols::Entry;
use crate::tables::fields::{columns, integer, mantissa, stamp_ns};

/// Length of a BitMEX bucket of these files, ns.
const MINUTE_NS: i64 = 60_000_000_000;

/// Begin and end of a kline, ns since the epoch. Binance's files are in milliseconds; those of spot in microseconds
/// since 2025.
pub(crate) fn kline_times(row: &[u8]) -> Option<(i64, i64)> {
    let columns: [&[u8]; 12] = columns(row)?;
    let (digits, unit_ns) = match columns[0].len() {
        13 => (13, 1_000_000),
        16 => (16, 1_000),
        _ => return None,
    };
    let start = stamp_ns(columns[0], digits, unit_ns)?;
    // The last moment that belongs to the bar.
    let end = stamp_ns(columns[6], digits, unit_ns)?.checked_add(unit_ns)?;
    (start < end).then_some((start, end))
}

/// Begin and end of a BitMEX bucket, ns since the epoch; the file stamps its begin, in seconds.
pub(crate) fn bucket_times(row: &[u8]) -> Option<(i64, i64)> {
    let columns: [&[u8]; 6] = columns(row)?;
    let start = stamp_ns(columns[0], 10, 1_000_000_000)?;
    Some((start, start.checked_add(MINUTE_NS)?))
}

/// `open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore`.
pub(super) fn kline(row: &[u8], entry: &Entry) -> Result<Bar, Reason> {
    let columns: [&[u8]; 12] = columns(row).ok_or(Reason::BadField)?;
    let times = kline_times(row).ok_or(Reason::BadField)?;
    let bought = Qty::from_raw(mantissa(columns[9], entry.qty_scale)?);
    let trades = integer(columns[8]).ok_or(Reason::BadField)? as u64;
    bar(times, [columns[1], columns[2], columns[3], columns[4]], columns[5], bought, trades, entry)
}

/// `open_time_s,open,high,low,close,volume_usd`: no aggressors and no number of trades.
pub(super) fn bucket(row: &[u8], entry: &Entry) -> Result<Bar, Reason> {
    let columns: [&[u8]; 6] = columns(row).ok_or(Reason::BadField)?;
    let times = bucket_times(row).ok_or(Reason::BadField)?;
    let prices = [columns[1], columns[2], columns[3], columns[4]];
    bar(times, prices, columns[5], Bar::NOT_TOLD, Bar::NOT_COUNTED, entry)
}

fn bar(
    (start_ns, end_ns): (i64, i64),
    prices: [&[u8]; 4],
    volume: &[u8],
    bought: Qty,
    trades: u64,
    entry: &Entry,
) -> Result<Bar, Reason> {
    let price = |text: &[u8]| mantissa(text, entry.price_scale).map(Price::from_raw);
    let volume = Qty::from_raw(mantissa(volume, entry.qty_scale)?);
    let [open, high, low, close] = prices;
    let (open, high, low, close) = (price(open)?, price(high)?, price(low)?, price(close)?);
    // BitMEX opens a bar with the close of the one before it: only low, close and high are in order everywhere.
    let ordered = Price::ZERO < low && low <= close && close <= high && open > Price::ZERO;
    if !ordered || bought > volume {
        return Err(Reason::BadField);
    }
    Ok(Bar { start_ns, end_ns, open, high, low, close, volume, bought, trades })
}
