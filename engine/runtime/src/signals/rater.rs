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
    pub(super) report: LearningReport,
    /// Reasons to fall back on the formula that were logged: each once in a row.
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
        let Some(challenger) = challenger else {
            // One answer that is missing ends no trial; a sidecar that was started anew has no shadow any more.
            self.silent += u32::from(self.trial.is_some());
            return;
        };
        self.silent = 0;
        match &self.trial {
            // A version in force that fails now and then is still the one to beat.
            Some(trial) if trial.is_of(challenger, champion.or(trial.champion())) => {}
            _ => self.trial = Some(Trial::new(challenger, champion)),
        }
    }

    /// The trial whose challenger says nothing any more, as it is to be recorded: it is over, and another may begin.
    pub(super) fn ended(&mut self) -> Option<Value> {
        if self.silent < SILENT {
            return None;
        }
        self.silent = 0;
        let trial = self.trial.take()?;
        self.report.trial = None;
        Some(json!({
            "event": "broken-off",
            "by": "trial",
            "model": self.config.ml.learning.model,
            "text": "the version on trial is not loaded any more",
            "standing": trial.standing(),
        }))
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
        Some(json!({
            "event": match verdict { Verdict::Promote => "promoted", Verdict::Refuse => "refused" },
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
