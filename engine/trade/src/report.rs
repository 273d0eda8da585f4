//! What a run's signals come to: counts, rates, calibration, and profit by stated confidence, beside always-LONG and
//! always-SHORT on the same moments.

use std::collections::BTreeMap;

use serde::Serialize;
use tidegate_wire::signal::{Action, OutcomeBody, SideOutcome, SignalBody};

use crate::calibration::{BINS, Calibration, CalibrationReport};
use crate::signals::rating::{Rating, StatedBy};

/// Cases of a confidence bucket before its mean is called an edge.
const EDGE_CASES: u64 = 30;

/// Profit of one kind of trade over the signals whose timers were seen to the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Profit {
    /// Trades.
    pub count: u64,
    /// Of these, how many reached their profit after costs.
    pub reached: u64,
    /// Of these, how many moved by the profit without costs.
    pub touched: u64,
    /// Mean profit at the timer's end after costs, bp.
    pub mean_bp: f64,
    /// Sum of that, bp.
    pub sum_bp: f64,
}

impl Profit {
    fn add(&mut self, side: &SideOutcome) {
        self.count += 1;
        self.reached += u64::from(side.reached_ns != 0);
        self.touched += u64::from(side.touched_ns != 0);
        self.sum_bp += side.final_bp;
        self.mean_bp = self.sum_bp / self.count as f64;
    }
}

/// Profit of the signals that stated so much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bucket {
    /// From this confidence on.
    pub from: f64,
    /// Up to this one.
    pub to: f64,
    /// What they brought.
    pub profit: Profit,
}

/// How good a model's version was, beside the formula on the same signals.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelReport {
    /// Of what the version stated.
    pub calibration: CalibrationReport,
    /// Of what the formula stated of the same signals.
    pub formula: CalibrationReport,
}

/// Signals that acted on one statement: a side of an A/B comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmReport {
    /// Of what was acted on.
    pub calibration: CalibrationReport,
    /// What the signals brought.
    pub profit: Profit,
}

/// What a run's signals come to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SignalReport {
    /// LONG and SHORT signals.
    pub signals: u64,
    /// Neutral candidates.
    pub candidates: u64,
    /// Signals an hour of event time.
    pub per_hour: f64,
    /// Signals by coin and action.
    pub by_coin: BTreeMap<String, BTreeMap<&'static str, u64>>,
    /// Signals by timer window.
    pub by_window: BTreeMap<&'static str, u64>,
    /// Whether any price of the reference was made up.
    pub reference_simulated: bool,
    /// Signals whose timers ended while prices were seen.
    pub complete: u64,
    /// Signals whose timers did not, or of which too little was seen: they count nowhere below.
    pub incomplete: u64,
    /// Of the formula's confidence; `None` before any timer ended.
    pub calibration: Option<CalibrationReport>,
    /// Of what models stated, by name and version.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, ModelReport>,
    /// Signals by whose word they acted on: `formula`, `champion`, `challenger`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub arms: BTreeMap<&'static str, ArmReport>,
    /// What the signals brought.
    pub profit: Profit,
    /// What always-LONG would have brought at the same moments.
    pub always_long: Profit,
    /// What always-SHORT would have brought.
    pub always_short: Profit,
    /// What the signals brought by stated confidence; buckets that hold any.
    pub by_confidence: Vec<Bucket>,
}

/// What was stated of a signal that is open.
#[derive(Clone, Debug)]
struct Stated {
    action: Action,
    /// What it acts on.
    confidence: f64,
    rating: Option<Rating>,
}

/// Takes signals and outcomes as they come and says what they come to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Signals whose outcome is not known yet.
    open: BTreeMap<u64, Stated>,
    coins: Vec<String>,
    by_coin: BTreeMap<(u16, Action), u64>,
    by_window: BTreeMap<&'static str, u64>,
    simulated: bool,
    calibration: Calibration,
    models: BTreeMap<String, [Calibration; 2]>,
    arms: BTreeMap<StatedBy, (Calibration, Profit)>,
    complete: u64,
    incomplete: u64,
    profit: Profit,
    always_long: Profit,
    always_short: Profit,
    buckets: [Profit; BINS],
    candidates: u64,
    signals: u64,
}

impl Tally {
    /// For coins by these names.
    pub fn new(coins: &[String]) -> Self {
        Self { coins: coins.to_vec(), ..Self::default() }
    }

    /// A signal, and what was said of it where models are asked.
    pub fn signal(&mut self, signal: &SignalBody, rating: Option<&Rating>) {
        let action = signal.action();
        self.simulated |= signal.has(tidegate_wire::signal::FLAG_REFERENCE_SIMULATED);
        match action {
            Action::Neutral => self.candidates += 1,
            _ => {
                self.signals += 1;
                *self.by_window.entry(signal.window().name()).or_default() += 1;
                let (confidence, rating) = (signal.confidence, rating.cloned());
                self.open.insert(signal.sequence, Stated { action, confidence, rating });
            }
        }
        *self.by_coin.entry((signal.coin, action)).or_default() += 1;
    }

    /// What became of one. Signals that reached their profit before nobody looked any more count as incomplete too:
    /// those that did not would be missing beside them.
    pub fn outcome(&mut self, outcome: &OutcomeBody) {
        let Some(Stated { action, confidence, rating }) = self.open.remove(&outcome.sequence) else { return };
        let Some(side) = outcome.side(action).filter(|_| outcome.complete == 1) else {
            self.incomplete += 1;
            return;
        };
        self.complete += 1;
        let reached = side.reached_ns != 0;
        self.calibration.add(rating.as_ref().map_or(confidence, |rating| rating.formula), reached);
        if let Some(rating) = &rating {
            self.rated(rating, side, reached);
        }
        self.profit.add(side);
        self.always_long.add(&outcome.long);
        self.always_short.add(&outcome.short);
        self.buckets[bucket(confidence)].add(side);
    }

    fn rated(&mut self, rating: &Rating, side: &SideOutcome, reached: bool) {
        for said in rating.champion.iter().chain(&rating.challenger) {
            let [model, formula] = self.models.entry(format!("{} {}", rating.model, said.version)).or_default();
            model.add(said.probability, reached);
            formula.add(rating.formula, reached);
        }
        let (calibration, profit) = self.arms.entry(rating.stated_by).or_default();
        calibration.add(rating.confidence, reached);
        profit.add(side);
    }

    /// Mean profit after costs of the earlier signals of this confidence, bp; `None` before there were enough.
    pub fn edge_bp(&self, confidence: f64) -> Option<f64> {
        let bucket = &self.buckets[bucket(confidence)];
        (bucket.count >= EDGE_CASES).then_some(bucket.mean_bp)
    }

    /// What it comes to over so much event time, hours.
    pub fn report(&self, hours: f64) -> SignalReport {
        let mut by_coin: BTreeMap<String, BTreeMap<&'static str, u64>> = BTreeMap::new();
        for ((coin, action), count) in &self.by_coin {
            let name = self.coins.get(usize::from(*coin)).cloned().unwrap_or_else(|| coin.to_string());
            by_coin.entry(name).or_default().insert(action.name(), *count);
        }
        let edge = |place: usize| place as f64 / BINS as f64;
        let buckets = self.buckets.iter().enumerate().filter(|(_, profit)| profit.count > 0);
        SignalReport {
            signals: self.signals,
            candidates: self.candidates,
            per_hour: if hours > 0.0 { self.signals as f64 / hours } else { 0.0 },
            by_coin,
            by_window: self.by_window.clone(),
            reference_simulated: self.simulated,
            complete: self.complete,
            incomplete: self.incomplete + self.open.len() as u64,
            calibration: self.calibration.report(),
            models: self.models.iter().filter_map(model_report).collect(),
            arms: self.arms.iter().filter_map(arm_report).collect(),
            profit: self.profit,
            always_long: self.always_long,
            always_short: self.always_short,
            by_confidence: buckets
                .map(|(place, profit)| Bucket { from: edge(place), to: edge(place + 1), profit: *profit })
                .collect(),
        }
    }
}

fn model_report((name, [model, formula]): (&String, &[Calibration; 2])) -> Option<(String, ModelReport)> {
    Some((name.clone(), ModelReport { calibration: model.report()?, formula: formula.report()? }))
}

fn arm_report((by, (calibration, profit)): (&StatedBy, &(Calibration, Profit))) -> Option<(&'static str, ArmReport)> {
    Some((by.name(), ArmReport { calibration: calibration.report()?, profit: *profit }))
}

fn bucket(confidence: f64) -> usize {
    ((confidence.clamp(0.0, 1.0) * BINS as f64) as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    fn signal(sequence: u64, action: Action, confidence: f64) -> SignalBody {
        SignalBody { sequence, action: action as u8, confidence, ..SignalBody::zeroed() }
    }

    fn outcome(sequence: u64, complete: u64, long_bp: f64) -> OutcomeBody {
        let mut outcome = OutcomeBody { sequence, complete, ..OutcomeBody::default() };
        (outcome.long.final_bp, outcome.short.final_bp) = (long_bp, -long_bp - 20.0);
        outcome.long.reached_ns = i64::from(long_bp >= 10.0);
        outcome
    }

    #[test]
    fn only_what_was_seen_to_the_end_counts() {
        let mut tally = Tally::new(&["BTC".into()]);
        for (sequence, action, confidence) in
            [(1, Action::Long, 0.35), (2, Action::Short, 0.35), (3, Action::Long, 0.75), (4, Action::Neutral, 0.5)]
        {
            tally.signal(&signal(sequence, action, confidence), None);
        }
        tally.outcome(&outcome(1, 1, 12.0));
        tally.outcome(&outcome(2, 1, 12.0));
        tally.outcome(&outcome(3, 0, 99.0));
        tally.outcome(&outcome(4, 1, 99.0));
        tally.outcome(&outcome(77, 1, 99.0));
        let report = tally.report(2.0);
        assert_eq!((report.signals, report.candidates, report.complete, report.incomplete), (3, 1, 2, 1));
        assert!((report.per_hour - 1.5).abs() < 1e-12);
        assert_eq!((report.profit.count, report.profit.reached), (2, 1));
        assert!((report.profit.sum_bp - (12.0 - 32.0)).abs() < 1e-12);
        assert!((report.always_long.sum_bp - 24.0).abs() < 1e-12 && (report.always_short.sum_bp + 64.0).abs() < 1e-12);
        assert_eq!(report.by_coin["BTC"]["LONG"], 2);
        assert_eq!(report.by_confidence.len(), 1, "the one that was not seen has no bucket");
        assert_eq!(report.calibration.map(|c| c.count), Some(2));
    }

    #[test]
    fn an_edge_needs_cases() {
        let mut tally = Tally::default();
        for sequence in 0..EDGE_CASES {
            assert_eq!(tally.edge_bp(0.35), None);
            tally.signal(&signal(sequence, Action::Long, 0.32), None);
            tally.outcome(&outcome(sequence, 1, 4.0));
        }
        assert_eq!((tally.edge_bp(0.35), tally.edge_bp(0.45)), (Some(4.0), None));
    }
    #[test]
    fn models_stand_beside_the_formula_on_their_own_signals() {
        use crate::signals::rating::ModelSaid;
        let mut tally = Tally::default();
        for sequence in 0..20 {
            let by_model = sequence >= 10;
            let said = |version| {
                let (hash, input_digest) = (String::new(), String::new());
                Some(ModelSaid { version, hash, input_digest, probability: 0.2 })
            };
            let rating = Rating {
                sequence,
                model: "confidence".into(),
                formula: 0.6,
                champion: by_model.then(|| said(1)).flatten(),
                challenger: None,
                stated_by: if by_model { StatedBy::Champion } else { StatedBy::Formula },
                confidence: if by_model { 0.2 } else { 0.6 },
                leverage: 1.0,
                leverage_bound: "formula",
                fallback: None,
            };
            tally.signal(&signal(sequence, Action::Long, rating.confidence), Some(&rating));
            tally.outcome(&outcome(sequence, 1, if sequence % 5 == 0 { 12.0 } else { -5.0 }));
        }
        let report = tally.report(1.0);
        assert_eq!(report.calibration.as_ref().map(|c| (c.count, (c.stated * 10.0).round())), Some((20, 6.0)));
        let model = &report.models["confidence 1"];
        assert_eq!((model.calibration.count, model.formula.count), (10, 10));
        assert!(model.calibration.brier < model.formula.brier);
        assert_eq!((report.arms["formula"].profit.count, report.arms["champion"].profit.reached), (10, 2));
    }
}
