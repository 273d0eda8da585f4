//! Looks at rows of unknown instruments: on which grid their numbers lie.

use crate::numbers::rounded;
use crate::replay::Format;
use crate::tables::bitstamp;
use crate::tables::fields::{DECIMALS, columns};
use crate::venues::survey::Survey;

/// Adds the rows of one frame; what cannot be read is counted when it is replayed.
pub(crate) fn see(format: Format, symbol: &str, rows: &[u8], survey: &mut Survey) {
    // A table without prices has an instrument too.
    let mut number = |price: Option<&[u8]>, qty: Option<&[u8]>| {
        let read = |text: Option<&[u8]>| text.and_then(|text| rounded(text, DECIMALS).ok()).filter(|n| *n >= 0);
        survey.see_row(symbol, read(price), read(qty));
    };
    number(None, None);
    match format {
        Format::CoinbaseBook | Format::CoinbaseUpdates => {
            for row in rows.split(|byte| *byte == b'\n') {
                let mut columns = row.split(|byte| *byte == b',').skip(1);
                number(columns.next(), columns.next());
            }
        }
        Format::BitstampOrders => bitstamp::numbers(rows, |price, qty| number(Some(price), Some(qty))),
        Format::BinanceKlines => {
            if let Some(row) = columns::<12>(rows) {
                (1..=4).for_each(|column| number(Some(row[column]), None));
                [5, 9].into_iter().for_each(|column| number(None, Some(row[column])));
            }
        }
        Format::BitmexBuckets => {
            if let Some(row) = columns::<6>(rows) {
                (1..=4).for_each(|column| number(Some(row[column]), None));
                number(None, Some(row[5]));
            }
        }
        Format::Funding | Format::FundingPercent | Format::VolatilityIndex => {}
        Format::Stamped | Format::CryptofeedText | Format::CryptofeedJson | Format::Tidegate => {}
    }
}

/// Which sides the rows of an opening snapshot hold: bids, asks.
pub(crate) fn sides(rows: &[u8]) -> (bool, bool) {
    let any = |side: &[u8]| rows.split(|byte| *byte == b'\n').any(|row| row.starts_with(side));
    (any(b"buy,"), any(b"sell,"))
}
