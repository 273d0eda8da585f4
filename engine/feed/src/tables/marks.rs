//! Funding rates and volatility indices as mark messages.

use tidegate_wire::event::{MARK_DECIMALS, Mark, RATE_DECIMALS};
use tidegate_wire::instrument::FUNDING_PERIOD_NS;

use crate::counters::Reason;
use crate::numbers::rounded;
use crate::tables::fields::{columns, stamp_ns, time_ns};

/// Hours these funding series are ahead of UTC: the script that wrote them ran in Moscow time (checked against the
/// venue's own stamps, and every stamp less three hours is a funding time).
const FUNDING_AHEAD_NS: i64 = 3 * 3_600_000_000_000;
/// Largest funding rate there is, fraction: venues cap it at a few percent, anything above is in another unit.
const FUNDING_MAX: i64 = 10i64.pow(RATE_DECIMALS as u32 - 1);
/// A daily close is stamped with the begin of its day; nobody knew it before the day was over.
const DAY_NS: i64 = 86_400_000_000_000;
/// Decimals of a fraction that a percent has already.
const PERCENT: u8 = 2;

/// When a row `Symbol,Date,Funding Rate` was known, ns since the epoch.
pub(crate) fn funding_time(row: &[u8]) -> Option<i64> {
    let columns: [&[u8]; 3] = columns(row)?;
    time_ns(columns[1])?.checked_sub(FUNDING_AHEAD_NS).filter(|ns| *ns >= 0)
}

/// The symbol of such a row without its dash: `BTC-USDT` is `BTCUSDT`.
pub(crate) fn funding_symbol(row: &[u8]) -> impl Iterator<Item = char> + '_ {
    let symbol = row.split(|byte| *byte == b',').next().unwrap_or_default();
    symbol.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(|byte| char::from(*byte))
}

/// When an entry `ms,value` of a list was known, ns since the epoch.
pub(crate) fn list_time(row: &[u8], daily: bool) -> Option<i64> {
    let columns: [&[u8]; 2] = columns(row)?;
    let ns = stamp_ns(columns[0], 13, 1_000_000)?;
    if daily { ns.checked_add(DAY_NS) } else { Some(ns) }
}

/// The funding of a row, a fraction.
pub(super) fn funding(row: &[u8], at_ns: i64) -> Result<Mark, Reason> {
    let columns: [&[u8]; 3] = columns(row).ok_or(Reason::BadField)?;
    rate(rounded(columns[2], RATE_DECIMALS)?, at_ns)
}

/// The funding of a list's entry, percent.
pub(super) fn funding_percent(row: &[u8], at_ns: i64) -> Result<Mark, Reason> {
    let columns: [&[u8]; 2] = columns(row).ok_or(Reason::BadField)?;
    rate(rounded(columns[1], RATE_DECIMALS - PERCENT)?, at_ns)
}

/// A rate with the time at which the next one is due: without it a mark has no funding. No price comes with it.
fn rate(funding: i64, at_ns: i64) -> Result<Mark, Reason> {
    let sane = (-FUNDING_MAX..=FUNDING_MAX).contains(&funding);
    let next_funding_ns = at_ns.saturating_add(FUNDING_PERIOD_NS);
    if sane { Ok(Mark { mark: 0, index: 0, funding, next_funding_ns }) } else { Err(Reason::BadField) }
}

/// The index of a list's entry, as the index price of its instrument; percentage points of volatility a year.
pub(super) fn index(row: &[u8]) -> Result<Mark, Reason> {
    let columns: [&[u8]; 2] = columns(row).ok_or(Reason::BadField)?;
    let index = rounded(columns[1], MARK_DECIMALS)?;
    if index > 0 { Ok(Mark { index, ..Mark::default() }) } else { Err(Reason::BadField) }
}
