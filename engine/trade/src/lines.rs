//! Signals and outcomes as people and programs read them: the files of the microstructure outputs.

use serde::Serialize;
use tidegate_wire::signal::{
    FLAG_BELOW_CONFIDENCE, FLAG_REARMED, FLAG_REFERENCE_SIMULATED, FLAG_STOPPED, FLAG_SUPERP, FLAG_VOLATILITY,
    OutcomeBody, SideOutcome, SignalBody,
};

use crate::signals::rating::{Rating, StatedBy};
use crate::signals::score::PARTS;

/// One line of `live_microstructure_signals.json`.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct SignalLine<'a> {
    /// Event time, ms since the Unix epoch.
    pub timestamp: f64,
    /// The coin.
    pub symbol: &'a str,
    /// `LONG`, `SHORT` or `NEUTRAL`.
    pub action: &'static str,
    /// `log10(price) - log10(reference) + 6`.
    pub psc_ratio: f64,
    /// Stated probability that the trade reaches its profit, in `[0, 1]`.
    pub confidence: f64,
    /// Times the margin.
    pub leverage: f64,
    /// `ENTRY_WINDOW`, `MID_TIMER` or `EXIT_WINDOW`.
    pub timer_window: &'static str,
    /// Whether leverage is that of the bounded-loss product.
    pub superp_enabled: bool,
    /// 100 times confidence, kept for compatibility: it is no profit.
    pub expected_profit_pct: f64,
    /// Calibrated net edge: mean profit after costs of earlier signals of this confidence, bp; absent before there were
    /// enough.
    pub expected_edge_bp: Option<f64>,
    /// Number of the signal, from 1.
    pub sequence: u64,
    /// What its price was taken from.
    pub instrument: &'a str,
    /// Frame that caused it.
    pub frame: u64,
    /// Digest of the feature vector it was taken on.
    pub features_digest: String,
    /// Whose confidence the signal acts on: `formula`, `champion` or `challenger`.
    pub confidence_source: &'static str,
    /// All that was said of it; absent where only the formula is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rating: Option<Rating>,
    /// What bounded the leverage: `formula`, `product`, `venue`, `risk` or `none`.
    pub leverage_bound: &'static str,
    /// Whether it may be traded: confidence is enough and no breaker is open.
    pub tradable: bool,
    /// Whether a breaker forbids trading the instrument.
    pub stopped: bool,
    /// Whether a crossing armed the coin again within the window.
    pub rearmed: bool,
    /// When the timer ends, ms since the Unix epoch.
    pub timer_end: f64,
    /// What went into it.
    pub inputs: InputsLine,
}

/// What went into a signal.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct InputsLine {
    /// Mid price of one coin, quote units.
    pub price: f64,
    /// Best bid.
    pub bid: f64,
    /// Best ask.
    pub ask: f64,
    /// Reference price.
    pub reference_price: f64,
    /// Age of the reference price, ms.
    pub reference_age_ms: f64,
    /// Whether the reference price is made up.
    pub reference_simulated: bool,
    /// Microstructure score, in `[0, 12]`.
    pub microstructure_score: f64,
    /// Parts of the score by name; absent where the feature was.
    pub score_parts: std::collections::BTreeMap<&'static str, Option<f64>>,
    /// In `[0, 0.25]`.
    pub ratio_strength: f64,
    /// In `[-0.1, 0.13]`.
    pub market_boost: f64,
    /// In `[0, 1]`.
    pub timer_efficiency: f64,
    /// Realised over the horizon, a fraction that is not annualised; absent where it is not known.
    pub volatility: Option<f64>,
    /// Part of the horizon that was observed, in `[0, 1]`.
    pub volatility_covered: f64,
}

/// The JSON schema of a line of `live_microstructure_signals.json` (2020-12).
pub fn signal_schema() -> serde_json::Value {
    schemars::schema_for!(SignalLine<'static>).to_value()
}

const NS_PER_MS: f64 = 1e6;

fn ms(ns: i64) -> f64 {
    ns as f64 / NS_PER_MS
}

impl<'a> SignalLine<'a> {
    /// A signal with its names, and its calibrated edge where that is known.
    pub fn new(signal: &SignalBody, symbol: &'a str, instrument: &'a str, expected_edge_bp: Option<f64>) -> Self {
        let parts = PARTS.iter().enumerate();
        let known = |place: usize| (signal.known >> place & 1 == 1).then_some(signal.parts[place]);
        Self {
            timestamp: ms(signal.event_ns),
            symbol,
            action: signal.action().name(),
            psc_ratio: signal.psc_ratio,
            confidence: signal.confidence,
            leverage: signal.leverage,
            timer_window: signal.window().name(),
            superp_enabled: signal.has(FLAG_SUPERP),
            expected_profit_pct: signal.confidence * 100.0,
            expected_edge_bp,
            sequence: signal.sequence,
            instrument,
            frame: signal.frame,
            features_digest: format!("{:016x}", signal.features_digest),
            confidence_source: StatedBy::Formula.name(),
            rating: None,
            leverage_bound: signal.bound().name(),
            tradable: !signal.has(FLAG_BELOW_CONFIDENCE) && !signal.has(FLAG_STOPPED) && signal.leverage > 0.0,
            stopped: signal.has(FLAG_STOPPED),
            rearmed: signal.has(FLAG_REARMED),
            timer_end: ms(signal.timer_end_ns),
            inputs: InputsLine {
                price: signal.price,
                bid: signal.bid,
                ask: signal.ask,
                reference_price: signal.reference,
                reference_age_ms: ms(signal.reference_age_ns),
                reference_simulated: signal.has(FLAG_REFERENCE_SIMULATED),
                microstructure_score: signal.score,
                score_parts: parts.map(|(place, part)| (part.name, known(place))).collect(),
                ratio_strength: signal.ratio_strength,
                market_boost: signal.market_boost,
                timer_efficiency: signal.timer_efficiency,
                volatility: signal.has(FLAG_VOLATILITY).then_some(signal.volatility),
                volatility_covered: signal.volatility_covered,
            },
        }
    }
}

/// The first line of `psc_signals.csv`.
pub const SIGNALS_HEADER: &str = "timestamp,symbol,action,psc_ratio,confidence,leverage,timer_window,superp_enabled,\
                                  expected_profit_pct,expected_edge_bp,price,reference_price,reference_simulated,\
                                  microstructure_score,volatility,tradable,sequence";

impl SignalLine<'_> {
    /// The same with all that was said of the signal; it must act on that already.
    pub fn rated(self, rating: Option<&Rating>) -> Self {
        let by = rating.map_or(StatedBy::Formula, |rating| rating.stated_by);
        Self { confidence_source: by.name(), rating: rating.cloned(), ..self }
    }
}

/// A line of `psc_signals.csv`.
pub fn signal_row(line: &SignalLine<'_>) -> String {
    let optional = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    format!(
        "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
        line.timestamp,
        line.symbol,
        line.action,
        line.psc_ratio,
        line.confidence,
        line.leverage,
        line.timer_window,
        line.superp_enabled,
        line.expected_profit_pct,
        optional(line.expected_edge_bp),
        line.inputs.price,
        line.inputs.reference_price,
        line.inputs.reference_simulated,
        line.inputs.microstructure_score,
        optional(line.inputs.volatility),
        line.tradable,
        line.sequence,
    )
}

/// The first line of `ml_predictions.csv`.
pub const PREDICTIONS_HEADER: &str = "timestamp,symbol,sequence,action,source,probability,known,complete,reached,\
                                      touched,best_bp,worst_bp,final_bp,long_final_bp,short_final_bp";

/// Lines of `ml_predictions.csv`: what the formula and each model stated, and what became of it. A neutral candidate is
/// followed as a long trade. `reached` is empty where it cannot be told.
pub fn prediction_rows(
    signal: &SignalBody,
    rating: Option<&Rating>,
    symbol: &str,
    outcome: &OutcomeBody,
) -> Vec<String> {
    let side: &SideOutcome = outcome.side(signal.action()).unwrap_or(&outcome.long);
    let reached = side.reached_ns != 0;
    let label = if reached || outcome.complete == 1 { reached.to_string() } else { String::new() };
    let row = |source: &str, probability: f64| {
        format!(
            "{},{symbol},{},{},{source},{probability},{},{},{label},{},{},{},{},{},{}",
            ms(signal.event_ns),
            signal.sequence,
            signal.action().name(),
            ms(outcome.event_ns),
            outcome.complete == 1,
            side.touched_ns != 0,
            side.best_bp,
            side.worst_bp,
            side.final_bp,
            outcome.long.final_bp,
            outcome.short.final_bp,
        )
    };
    let Some(rating) = rating else { return vec![row(StatedBy::Formula.name(), signal.confidence)] };
    let models = rating.champion.iter().chain(&rating.challenger);
    let models = models.map(|said| row(&format!("{} {}", rating.model, said.version), said.probability));
    [row(StatedBy::Formula.name(), rating.formula)].into_iter().chain(models).collect()
}

/// What became of a signal, as JSON; times that did not come are null.
pub fn outcome_json(outcome: &OutcomeBody) -> serde_json::Value {
    let side = |side: &SideOutcome| {
        let time = |ns: i64| (ns != 0).then_some(ns);
        serde_json::json!({
            "reached_ns": time(side.reached_ns),
            "touched_ns": time(side.touched_ns),
            "best_bp": side.best_bp,
            "worst_bp": side.worst_bp,
            "final_bp": side.final_bp,
        })
    };
    serde_json::json!({
        "sequence": outcome.sequence,
        "event_ns": outcome.event_ns,
        "seen_ns": outcome.seen_ns,
        "blind_ns": outcome.blind_ns,
        "complete": outcome.complete == 1,
        "long": side(&outcome.long),
        "short": side(&outcome.short),
    })
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use tidegate_wire::signal::{Action, LeverageBound, TimerWindow};

    use super::*;
    use crate::signals::rating::ModelSaid;

    fn signal() -> SignalBody {
        SignalBody {
            sequence: 3,
            event_ns: 1_700_000_000_123_456_000,
            psc_ratio: 10.25,
            confidence: 0.41,
            leverage: 125.0,
            known: 0b101,
            parts: [0.5, 0.0, 1.5, 0.0, 0.0, 0.0, 0.0, 0.0],
            action: Action::Long as u8,
            window: TimerWindow::MidTimer as u8,
            bound: LeverageBound::Venue as u8,
            flags: FLAG_SUPERP | FLAG_REFERENCE_SIMULATED,
            ..SignalBody::zeroed()
        }
    }

    #[test]
    fn a_line_has_every_member_of_the_format_and_says_what_went_into_it() {
        let line = SignalLine::new(&signal(), "BTC", "BTCUSDT.binance-usdm", None);
        let json = serde_json::to_value(&line).expect("json");
        for key in [
            "timestamp",
            "symbol",
            "action",
            "psc_ratio",
            "confidence",
            "leverage",
            "timer_window",
            "superp_enabled",
            "expected_profit_pct",
            "expected_edge_bp",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
        assert_eq!(json["timestamp"], 1_700_000_000_123.456);
        assert_eq!((json["action"].as_str(), json["timer_window"].as_str()), (Some("LONG"), Some("MID_TIMER")));
        assert_eq!(json["leverage_bound"], "venue");
        assert_eq!(json["inputs"]["score_parts"]["book_imbalance"], 0.5);
        assert!(json["inputs"]["score_parts"]["trade_flow"].is_null(), "absent is not zero");
        assert!(json["inputs"]["volatility"].is_null() && json["expected_edge_bp"].is_null());
        assert_eq!(json["inputs"]["reference_simulated"], true);
    }

    #[test]
    fn rows_have_a_field_for_each_heading() {
        let signal = signal();
        let line = SignalLine::new(&signal, "BTC", "BTCUSDT.binance-usdm", Some(-3.5));
        assert_eq!(signal_row(&line).split(',').count(), SIGNALS_HEADER.split(',').count());
        let mut outcome = OutcomeBody { sequence: 3, ..OutcomeBody::default() };
        let row = |outcome: &OutcomeBody| prediction_rows(&signal, None, "BTC", outcome).remove(0);
        assert_eq!(row(&outcome).split(',').count(), PREDICTIONS_HEADER.split(',').count());
        let reached = |row: &str| row.split(',').nth(8).map(str::to_owned);
        assert_eq!(reached(&row(&outcome)).as_deref(), Some(""), "it cannot be told");
        outcome.complete = 1;
        assert_eq!(reached(&row(&outcome)).as_deref(), Some("false"));
        outcome.long.reached_ns = 9;
        assert_eq!(reached(&row(&outcome)).as_deref(), Some("true"));
    }

    #[test]
    fn each_that_stated_something_has_a_row() {
        let said = |version, probability| {
            let (hash, input_digest) = (String::new(), String::new());
            Some(ModelSaid { version, hash, input_digest, probability })
        };
        let rating = Rating {
            sequence: 3,
            model: "confidence".into(),
            formula: 0.6,
            champion: said(4, 0.2),
            challenger: said(5, 0.3),
            stated_by: StatedBy::Champion,
            confidence: 0.2,
            leverage: 100.0,
            leverage_bound: "formula",
            fallback: None,
        };
        let rows = prediction_rows(&signal(), Some(&rating), "BTC", &OutcomeBody::default());
        let stated: Vec<(&str, &str)> =
            rows.iter().map(|row| (row.split(',').nth(4).unwrap_or(""), row.split(',').nth(5).unwrap_or(""))).collect();
        assert_eq!(stated, [("formula", "0.6"), ("confidence 4", "0.2"), ("confidence 5", "0.3")]);
        let line = SignalLine::new(&signal(), "BTC", "BTCUSDT.binance-usdm", None).rated(Some(&rating));
        let json = serde_json::to_value(&line).expect("json");
        assert_eq!(
            (json["confidence_source"].as_str(), &json["rating"]["champion"]["version"]),
            (Some("champion"), &4.into())
        );
    }
}
