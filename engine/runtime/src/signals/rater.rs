//! What models say of signals, and which of them says it: champion, challenger, and the trial between them.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tidegate_market::signals::signal_row;
use tidegate_sidecar::messages::{Rated, Request};
use tidegate_trade::signals::rating::{ModelSaid, Rating, StatedBy, is_challengers, restate};
use tidegate_trade::signals::trial::{Standing, Trial, Verdict};
use tidegate_trade::signals::{ConfidenceSource, SignalConfig};
use tidegate_wire::signal::{OutcomeBody, SignalBody};
use tidegate_wire::{Instrument, Registry};

use crate::models::Desk;

/// How long a replay waits for an answer: as long as it takes, unless the sidecar is gone.
const REPLAY_PATIENCE: Duration = Duration::from_secs(30);

/// How long a live engine waits until an order is carried out: signals and prices wait meanwhile.
const LIVE_ORDERS: Duration = Duration::from_secs(1);
/// Answers without the challenger after which its trial is over.
const SILENT: u32 = 20;

/// What came of a model beside the formula.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LearningReport {
    /// Name of the model.
    pub model: String,
    /// The version in force, as far as it was asked; none before there is one.
    pub in_force: Option<u32>,
    /// Signals that a model said something of.
    pub rated: u64,
    /// Signals that acted on the formula although a model was to be asked.
    pub fallbacks: u64,
    /// Why, the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// The trial that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<Standing>,
    /// Challengers that won a trial.
    pub promoted: u64,
    /// Challengers that lost one.
    pub refused: u64,
    /// Versions that the trainer offered.
    pub offered: u64,
    /// Trainings whose model was no better on held-out rows: nothing was offered.
    pub declined: u64,
    /// Failures of the trainer.
    pub failures: u64,
    /// What the trainer said last, in words; absent where nothing is trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trainer: Option<String>,
}

/// Asks models, and tries challengers.
pub(super) struct Rater {
    config: SignalConfig,
    /// Where models are asked; `None` where the run has none.
    models: Option<Desk>,
    /// Name of the venue by instrument.
    venues: Vec<&'static str>,
    patience: Duration,
    /// How long an order to the sidecar may take.
    orders: Duration,
    trial: Option<Trial>,
    /// Answers in a row without the challenger of the trial.
    silent: u32,
    /// A trial that was broken off.
    over: Option<Value>,
    pub(super) report: LearningReport,
    /// The reason to fall back on the formula that was logged last: each once in a row.
    warned: Option<String>,
}

impl Rater {
    /// A rater where the configuration has a model state the confidence; `None` where the formula does.
    pub(super) fn new(config: &SignalConfig, registry: &Registry, models: Option<Desk>, live: bool) -> Option<Self> {
        let learning = &config.ml.learning;
        if config.ml.confidence == ConfidenceSource::Formula {
            return None;
        }
        let patience = if live { Duration::from_millis(learning.patience_ms) } else { REPLAY_PATIENCE };
        let orders = if live { LIVE_ORDERS } else { REPLAY_PATIENCE };
        let venue = |(_, instrument): (_, &Instrument)| instrument.venue.name();
        Some(Self {
            config: config.clone(),
            models,
            venues: registry.iter().map(venue).collect(),
            patience,
            orders,
            trial: None,
            silent: 0,
            over: None,
            report: LearningReport { model: learning.model.clone(), ..LearningReport::default() },
            warned: None,
        })
    }

    /// Whether a challenger is on trial.
    pub(super) const fn is_busy(&self) -> bool {
        self.trial.is_some()
    }

    /// The signal as it acts, and all that was said of it.
    pub(super) fn rate(&mut self, signal: &SignalBody) -> (SignalBody, Rating) {
        let asked = self.ask(signal);
        if let Ok((champion, challenger)) = &asked {
            self.attend(champion.as_ref().map(|said| said.version), challenger.as_ref().map(|said| said.version));
        }
        let (champion, challenger, fallback) = match asked {
            Ok((None, challenger)) => (None, challenger, Some("no version in force gives an answer".to_owned())),
            Ok((champion, challenger)) => (champion, challenger, None),
            Err(reason) => (None, None, Some(reason)),
        };
        let share = self.config.ml.learning.challenger_share;
        let formula = signal.confidence;
        let stated = match (&challenger, &champion) {
            (Some(said), _) if is_challengers(signal.sequence, share) => (StatedBy::Challenger, said.probability),
            (_, Some(said)) => (StatedBy::Champion, said.probability),
            _ => (StatedBy::Formula, formula),
        };
        // The challenger's word is no falling back.
        let fallback = fallback.filter(|_| stated.0 == StatedBy::Formula);
        self.count(&champion, &challenger, fallback.as_deref());
        let venue = self.venues.get(signal.instrument.index()).copied().unwrap_or_default();
        let acting = restate(signal, &self.config, venue, stated.1);
        let rating = Rating {
            sequence: signal.sequence,
            model: self.config.ml.learning.model.clone(),
            formula,
            champion,
            challenger,
            stated_by: stated.0,
            confidence: acting.confidence,
            leverage: acting.leverage,
            leverage_bound: acting.bound().name(),
            fallback,
        };
        (acting, rating)
    }

    fn ask(&self, signal: &SignalBody) -> Result<(Option<ModelSaid>, Option<ModelSaid>), String> {
        let models = self.models.as_ref().ok_or("this run has no models")?;
        let (name, row) = (&self.config.ml.learning.model, signal_row(signal));
        let (champion, challenger) = models.rate(name, signal.event_ns, &row, self.patience)?;
        Ok((champion.map(said), challenger.map(said)))
    }

    fn count(&mut self, champion: &Option<ModelSaid>, challenger: &Option<ModelSaid>, fallback: Option<&str>) {
        self.report.rated += u64::from(champion.is_some() || challenger.is_some());
        if let Some(champion) = champion {
            self.report.in_force = Some(champion.version);
        }
        match fallback {
            Some(reason) => {
                self.report.fallbacks += 1;
                if self.warned.as_deref() != Some(reason) {
                    tracing::warn!(reason, "signals: the formula states the confidence although a model was to");
                    self.warned = Some(reason.to_owned());
                }
                self.report.fallback = self.warned.clone();
            }
            None => self.warned = None,
        }
    }

    /// The sidecar answered: who is on trial beside whom.
    fn attend(&mut self, champion: Option<u32>, challenger: Option<u32>) {
        let begun = challenger.map(|challenger| Trial::new(challenger, champion));
        let Some(trial) = self.trial.take() else {
            self.trial = begun;
            return;
        };
        let over = match challenger {
            // A version in force that fails now and then is still the one to beat.
            Some(challenger) if trial.is_of(challenger, champion.or(trial.champion())) => {
                (self.silent, self.trial) = (0, Some(trial));
                return;
            }
            Some(challenger) if challenger == trial.challenger() => {
                "another version is in force: the trial begins anew"
            }
            Some(_) => "another version is on trial in its place",
            None if champion == Some(trial.challenger()) => "an operator put it in force",
            // One answer that is missing ends no trial; a sidecar that was started anew has no shadow any more.
            None => {
                self.silent += 1;
                if self.silent < SILENT {
                    self.trial = Some(trial);
                    return;
                }
                "the version on trial is not loaded any more"
            }
        };
        self.break_off(&trial, over);
        self.trial = begun;
    }

    /// The trial that the end of the run breaks off, as it is to be recorded.
    pub(super) fn end(&mut self) -> Option<Value> {
        let trial = self.trial.take()?;
        self.break_off(&trial, "the run has ended: load the version again for another trial");
        self.over.take()
    }

    fn break_off(&mut self, trial: &Trial, text: &str) {
        self.report.trial = None;
        self.silent = 0;
        self.over = Some(json!({
            "event": "broken-off",
            "by": "trial",
            "model": self.config.ml.learning.model,
            "version": trial.challenger(),
            "text": text,
            "standing": trial.standing(),
        }));
    }

    /// The trial that was broken off by the newest answer, as it is to be recorded.
    pub(super) fn broken_off(&mut self) -> Option<Value> {
        self.over.take()
    }

    /// What became of a signal; gives what is to be recorded when that decides a trial.
    pub(super) fn outcome(&mut self, rating: &Rating, signal: &SignalBody, outcome: &OutcomeBody) -> Option<Value> {
        let side = outcome.side(signal.action()).filter(|_| outcome.complete == 1)?;
        let (trial, challenger) = (self.trial.as_mut()?, rating.challenger.as_ref()?);
        if !trial.is_of(challenger.version, rating.champion.as_ref().map(|said| said.version)) {
            return None;
        }
        let incumbent = rating.champion.as_ref().map_or(rating.formula, |said| said.probability);
        trial.add(signal.timer_end_ns, incumbent, challenger.probability, side.reached_ns != 0);
        let standing = trial.standing();
        let verdict = trial.verdict(&self.config.ml.learning.trial());
        self.report.trial = Some(standing);
        self.decide(verdict?, &standing)
    }

    fn decide(&mut self, verdict: Verdict, standing: &Standing) -> Option<Value> {
        let learning = &self.config.ml.learning;
        let (name, version, margin) = (learning.model.clone(), standing.challenger, learning.margin);
        let asked = self.models.as_ref()?.ask_for(self.orders, |id| match verdict {
            Verdict::Promote => Request::Promote { id, name, version: Some(version) },
            Verdict::Refuse => {
                let (gain, outcomes) = (standing.gain, standing.outcomes);
                let text = format!("log loss better by {gain:.4} on {outcomes} outcomes, {margin} is asked for");
                Request::Dismiss { id, name, version, text }
            }
        });
        // A sidecar that is being started anew has no shadow any more: there is nothing to promote or to refuse.
        let error = asked.err();
        (self.trial, self.report.trial) = (None, None);
        if error.is_none() {
            match verdict {
                Verdict::Promote => {
                    self.report.promoted += 1;
                    self.report.in_force = Some(version);
                }
                Verdict::Refuse => self.report.refused += 1,
            }
        }
        let event = match (&error, verdict) {
            (Some(_), _) => "undecided",
            (None, Verdict::Promote) => "promoted",
            (None, Verdict::Refuse) => "refused",
        };
        Some(json!({
            "event": event,
            "by": "trial",
            "model": self.config.ml.learning.model,
            "version": version,
            "margin": margin,
            "standing": standing,
            "error": error,
        }))
    }

    /// Has a version loaded that the trainer offers: it is on trial from the next signal on.
    pub(super) fn load(&self, version: u32) -> Result<(), String> {
        let models = self.models.as_ref().ok_or("this run has no models")?;
        let name = self.config.ml.learning.model.clone();
        models.ask_for(self.orders, |id| Request::Load { id, name, version }).map(|_| ())
    }

    /// What it comes to.
    pub(super) fn finish(self) -> LearningReport {
        self.report
    }
}

fn said(rated: Rated) -> ModelSaid {
    let input_digest = format!("{:016x}", rated.input_digest);
    let probability = f64::from(rated.value).clamp(0.0, 1.0);
    ModelSaid { version: rated.version, hash: rated.hash, input_digest, probability }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use crossbeam::channel::unbounded;
    use tidegate_sidecar::messages::Event;
    use tidegate_trade::signals::Learning;
    use tidegate_wire::signal::Action;

    use super::*;

    /// What a made-up sidecar says of a signal: in force, in shadow; `None` when it says nothing in time.
    type Says = fn(u64) -> Option<(Option<(u32, f32)>, Option<(u32, f32)>)>;

    /// A rater with a made-up sidecar behind it, and what was ordered of that.
    fn rater(says: Says) -> (Rater, crossbeam::channel::Receiver<Request>) {
        let ((requests, requested), (told, events)) = (unbounded(), unbounded());
        let (ordered, orders) = unbounded();
        std::thread::spawn(move || {
            for request in requested {
                let said = |said: Option<(u32, f32)>| {
                    said.map(|(version, value)| Rated { version, hash: String::new(), input_digest: 7, value })
                };
                let event = match &request {
                    // The number of the signal is its event time.
                    Request::Rate { id, event_ns, .. } => match says(*event_ns as u64) {
                        Some((active, shadow)) => {
                            Event::Rated { id: *id, in_force: said(active), shadow: said(shadow) }
                        }
                        None => continue,
                    },
                    Request::Stop => return,
                    order => Event::Answer { id: order.id().unwrap_or(0), error: None, models: Vec::new() },
                };
                if !matches!(request, Request::Rate { .. }) {
                    let _ = ordered.send(request);
                }
                let _ = told.send(event);
            }
        });
        let (desk, _) = Desk::open(requests, events, None, (None, None)).expect("a thread");
        let mut config = SignalConfig::default();
        config.ml.confidence = ConfidenceSource::Model;
        config.ml.learning =
            Learning { trial_outcomes: 20, challenger_share: 0.5, patience_ms: 30, ..Learning::default() };
        let mut registry = Registry::new();
        let _ = registry.add(Instrument::linear(tidegate_wire::Venue::BinanceUsdm, "BTCUSDT", 1, 3));
        (Rater::new(&config, &registry, Some(desk), true).expect("a model is to be asked"), orders)
    }

    fn signal(sequence: u64) -> SignalBody {
        SignalBody {
            sequence,
            event_ns: sequence as i64,
            timer_end_ns: 1_000 + sequence as i64 / 3,
            action: Action::Long as u8,
            confidence: 0.6,
            ..SignalBody::zeroed()
        }
    }

    /// One signal in five reaches its profit.
    fn live(rater: &mut Rater, sequence: u64) -> (Rating, Option<Value>) {
        let (acting, rating) = rater.rate(&signal(sequence));
        let mut outcome = OutcomeBody { sequence, complete: 1, ..OutcomeBody::default() };
        outcome.long.reached_ns = i64::from(sequence.is_multiple_of(5));
        let decided = rater.outcome(&rating, &acting, &outcome);
        (rating, decided)
    }

    #[test]
    fn the_formula_asks_nobody() {
        assert!(Rater::new(&SignalConfig::default(), &Registry::new(), None, true).is_none());
    }

    #[test]
    fn a_better_challenger_is_promoted_by_its_number_and_acted_on_for_its_share_until_then() {
        let (mut rater, orders) = rater(|_| Some((Some((1, 0.6)), Some((2, 0.2)))));
        let mut by = std::collections::BTreeMap::new();
        let decided = (1..=20).find_map(|sequence| {
            let (rating, decided) = live(&mut rater, sequence);
            *by.entry(rating.stated_by).or_insert(0) += 1;
            let expected =
                if rating.stated_by == StatedBy::Challenger { f64::from(0.2_f32) } else { f64::from(0.6_f32) };
            assert!((rating.confidence - expected).abs() < 1e-12 && rating.fallback.is_none());
            assert!(decided.is_some() || rater.is_busy());
            decided
        });
        assert_eq!(decided.expect("twenty outcomes decide")["event"], "promoted");
        let order = orders.recv().expect("an order");
        assert!(matches!(order, Request::Promote { version: Some(2), .. }), "{order:?}");
        assert!(by[&StatedBy::Champion] > 4 && by[&StatedBy::Challenger] > 4, "{by:?}");
        assert_eq!((rater.report.promoted, rater.report.in_force, rater.is_busy()), (1, Some(2), false));
    }

    #[test]
    fn one_that_is_no_better_is_refused_against_the_formula_too() {
        let (mut rater, orders) = rater(|_| Some((None, Some((1, 0.95)))));
        let decided = (1..=20).find_map(|sequence| live(&mut rater, sequence).1).expect("a verdict");
        assert_eq!((decided["event"].as_str(), &decided["standing"]["champion"]), (Some("refused"), &Value::Null));
        assert!(matches!(orders.recv().expect("an order"), Request::Dismiss { version: 1, .. }));
    }

    #[test]
    fn a_champion_that_fails_now_and_then_begins_no_trial_anew() {
        let (mut rater, _) =
            rater(|sequence| Some(((!sequence.is_multiple_of(4)).then_some((1, 0.6)), Some((2, 0.2)))));
        let decided = (1..=40).find_map(|sequence| live(&mut rater, sequence).1);
        assert!(decided.is_some(), "{:?}", rater.report);
    }

    #[test]
    fn a_challenger_that_is_gone_keeps_nobody_from_being_trained() {
        // It answers three times; then the sidecar has neither, as after the first one of all was refused.
        let (mut rater, _) = rater(|sequence| Some((None, (sequence <= 3).then_some((1, 0.2)))));
        let mut ended = None;
        for sequence in 1..=3 + u64::from(SILENT) {
            assert!(ended.is_none());
            live(&mut rater, sequence);
            ended = rater.broken_off();
            assert_eq!(rater.is_busy(), ended.is_none());
        }
        assert_eq!(ended.expect("it is over")["event"], "broken-off");
    }

    #[test]
    fn a_trial_that_others_ended_says_how() {
        // Version 2 is on trial beside 1, then 3 in its place; an operator puts 3 in force, then 4 is loaded.
        let (mut rater, _) = rater(|sequence| {
            Some(match sequence {
                1..=3 => (Some((1, 0.6)), Some((2, 0.2))),
                4..=6 => (Some((1, 0.6)), Some((3, 0.2))),
                7..=9 => (Some((3, 0.2)), None),
                _ => (Some((3, 0.2)), Some((4, 0.2))),
            })
        });
        let mut told = Vec::new();
        for sequence in 1..=12 {
            live(&mut rater, sequence);
            told.extend(rater.broken_off().map(|event| (sequence, event["version"].clone(), event["text"].clone())));
            assert_eq!(rater.is_busy(), !(7..=9).contains(&sequence));
        }
        let expected = [
            (4, json!(2), json!("another version is on trial in its place")),
            (7, json!(3), json!("an operator put it in force")),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn where_nobody_answers_in_time_the_formula_holds_and_says_so() {
        let (mut rater, _) = rater(|_| None);
        let (acting, rating) = rater.rate(&signal(1));
        assert_eq!((rating.stated_by, acting.confidence), (StatedBy::Formula, 0.6));
        assert_eq!(rating.fallback.as_deref(), Some("the sidecar does not answer"));
        assert_eq!((rater.report.fallbacks, rater.report.rated), (1, 0));
    }
}
