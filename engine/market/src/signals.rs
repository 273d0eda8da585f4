//! What a model of microstructure signals reads of one: names, units and definitions of its columns, and the hash that
//! binds models to them.
//!
//! Everything comes out of the signal's own record, so that a signal that was logged can be rated again.

use tidegate_wire::signal::{Action, FLAG_VOLATILITY, SCORE_PARTS, SignalBody};

use crate::columns::columns_hash;

/// What one column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SignalColumn {
    /// Name in files, models and reports.
    pub name: &'static str,
    /// Unit of its value.
    pub unit: &'static str,
    /// Moves whenever the definition does.
    pub version: u16,
    /// Definition, and when it is null.
    pub about: &'static str,
}

/// Number of columns.
pub const SIGNAL_COLUMN_COUNT: usize = 21;

const fn column(name: &'static str, unit: &'static str, about: &'static str) -> SignalColumn {
    SignalColumn { name, unit, version: 1, about }
}

/// All columns, by index. The first eight are the parts of the microstructure score, in its order.
pub const SIGNAL_COLUMNS: [SignalColumn; SIGNAL_COLUMN_COUNT] = [
    column(
        "book_imbalance",
        "points",
        "Part of the microstructure score, towards the signal; null where its feature is.",
    ),
    column("trade_flow", "points", "Part of the score, towards the signal; null where its feature is."),
    column("order_flow", "points", "Part of the score, towards the signal; null where its feature is."),
    column("micro_price", "points", "Part of the score, towards the signal; null where its feature is."),
    column("momentum", "points", "Part of the score, towards the signal; null where its feature is."),
    column("tight_spread", "points", "Part of the score; null where its feature is."),
    column("depth", "points", "Part of the score; null where its feature is."),
    column("calm_flow", "points", "Part of the score; null where its feature is."),
    column("score", "points", "Sum of the parts, in [0, 12]."),
    column("ratio_strength", "1", "How far the ratio is beyond its threshold, in [0, 0.25]."),
    column("market_boost", "1", "The formula's term for spread and volatility, in [-0.1, 0.13]."),
    column("timer_efficiency", "1", "The formula's factor for the timer window, in [0, 1]."),
    column("formula", "1", "The confidence that the formula states, in [0, 1]."),
    column("psc_ratio", "log10", "log10(price) - log10(reference) + 6."),
    column("side", "1", "+1 for LONG and for a candidate, -1 for SHORT."),
    column("spread_bp", "bp", "Best ask less best bid, over the mid."),
    column("volatility", "1", "Realised over the configured horizon, not annualised; null where it is not known."),
    column("volatility_covered", "1", "Part of that horizon that was observed, in [0, 1]."),
    column("recent_volatility", "1", "Realised over 300 s, annualised; null where it is not known."),
    column("minutes_left", "min", "From the signal to its timer's end."),
    column(
        "sigma_left_bp",
        "bp",
        "recent_volatility over minutes_left: one standard deviation of what may still happen.",
    ),
];

/// Minutes of a year of 365 days.
const YEAR_MINUTES: f64 = 525_600.0;
const NS_PER_MINUTE: f64 = 60e9;
const BP: f64 = 1e4;

/// A signal's row, by column; `None` where a value is not known. A neutral one, a candidate on its way up, is looked at
/// as a long one, as in its score. The signal must state the formula's confidence.
pub fn signal_row(signal: &SignalBody) -> [Option<f64>; SIGNAL_COLUMN_COUNT] {
    let side = if signal.action() == Action::Short { -1.0 } else { 1.0 };
    let left = (signal.timer_end_ns - signal.event_ns).max(0) as f64 / NS_PER_MINUTE;
    let recent = Some(f64::from(signal.recent_volatility)).filter(|recent| *recent > 0.0);
    let mut row = [None; SIGNAL_COLUMN_COUNT];
    for (place, (value, part)) in row.iter_mut().zip(signal.parts).enumerate().take(SCORE_PARTS) {
        *value = (signal.known >> place & 1 == 1).then_some(part);
    }
    row[SCORE_PARTS..].copy_from_slice(&[
        Some(signal.score),
        Some(signal.ratio_strength),
        Some(signal.market_boost),
        Some(signal.timer_efficiency),
        Some(signal.confidence),
        Some(signal.psc_ratio),
        Some(side),
        (signal.price > 0.0).then(|| (signal.ask - signal.bid) / signal.price * BP),
        signal.has(FLAG_VOLATILITY).then_some(signal.volatility),
        Some(signal.volatility_covered),
        recent,
        Some(left),
        recent.map(|recent| recent * libm::sqrt(left / YEAR_MINUTES) * BP),
    ]);
    // What is not finite is not known either: a model must never see it.
    row.map(|value| value.filter(|value| value.is_finite()))
}

/// SHA-256 over `index:name:unit:version` lines, in hexadecimal: models name the schema they were trained on by it.
pub fn signals_schema_hash_hex() -> String {
    hex::encode(columns_hash(SIGNAL_COLUMNS.iter().map(|column| (column.name, column.unit, column.version))))
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    #[test]
    fn names_are_unique_and_the_hash_is_pinned() {
        let mut names: Vec<_> = SIGNAL_COLUMNS.iter().map(|column| column.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SIGNAL_COLUMN_COUNT);
        // A change of this value means that every trained model must be trained anew: bump versions on purpose.
        assert_eq!(signals_schema_hash_hex(), PINNED);
    }

    const PINNED: &str = "75cc046aced0c89b5fd5812d1906e58d1161fc7e863badb0511ab1c4da081eb5";

    #[test]
    fn a_row_is_what_the_record_says() {
        let signal = SignalBody {
            action: Action::Short as u8,
            event_ns: 240_000_000_000,
            timer_end_ns: 600_000_000_000,
            price: 100.0,
            bid: 99.99,
            ask: 100.01,
            parts: [0.5; SCORE_PARTS],
            known: 0b1,
            score: 4.0,
            confidence: 0.4,
            recent_volatility: 0.5,
            ..SignalBody::zeroed()
        };
        let row = signal_row(&signal);
        let at = |name: &str| row[SIGNAL_COLUMNS.iter().position(|column| column.name == name).expect(name)];
        assert_eq!((at("book_imbalance"), at("trade_flow"), at("score")), (Some(0.5), None, Some(4.0)));
        assert_eq!((at("side"), at("minutes_left"), at("volatility")), (Some(-1.0), Some(6.0), None));
        assert!((at("spread_bp").expect("known") - 2.0).abs() < 1e-9);
        let sigma = at("sigma_left_bp").expect("known");
        assert!((sigma - 0.5 * (6.0f64 / 525_600.0).sqrt() * 1e4).abs() < 1e-6, "{sigma}");
        assert_eq!(signal_row(&SignalBody { action: Action::Neutral as u8, ..signal })[14], Some(1.0));
        let broken = SignalBody { psc_ratio: f64::NAN, recent_volatility: 0.0, ..signal };
        let row = signal_row(&broken);
        assert_eq!((row[13], row[18], row[20]), (None, None, None), "what is not finite is not known");
    }
}
