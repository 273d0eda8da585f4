//! Settings of models that state a confidence: who states it, how a challenger is tried, how models are trained anew.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::config::SignalConfigError;
use super::trial::TrialTerms;

/// Who states the confidence that signals act on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConfidenceSource {
    /// The formula. A model is not even asked.
    #[default]
    Formula,
    /// The model in force; the formula where there is none yet or it gives no answer, and every record says so.
    Model,
}

/// `[ml_microstructure.learning]`: the model beside the formula, its challengers, and its training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Learning {
    /// Name of the model in the repository.
    pub model: String,
    /// How long a live engine waits for the model's answer to a signal before the formula's holds, ms.
    pub patience_ms: u64,
    /// Part of the signals that act on the challenger's word while it is on trial.
    pub challenger_share: f64,
    /// Outcomes that decide a trial.
    pub trial_outcomes: u32,
    /// Log loss that a challenger must be better by than the version in force, nats a case; the trainer asks for it on
    /// its held-out rows, the engine on live outcomes.
    pub margin: f64,
    /// Standard errors of that gain, signals of one timer counted as one witness, that a challenger's gain on live
    /// outcomes must exceed: 2 lets one challenger in forty through that is no better.
    pub trial_sigmas: f64,
    /// Whether models are trained anew while the engine runs.
    pub training: bool,
    /// The program that trains, and arguments before its own.
    pub program: Vec<String>,
    /// Ed25519 private key that the trainer signs versions with; needed where unsigned models are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Event time between two looks at new outcomes, minutes.
    pub look_minutes: u32,
    /// Event time between two trainings without drift, hours.
    pub every_hours: u32,
    /// How far back outcomes are trained on, days.
    pub window_days: u32,
    /// Fewest outcomes for a first training.
    pub least_outcomes: u32,
    /// Part of the outcomes, the newest, that decides in training.
    pub test_share: f64,
    /// Population stability index from which a column has drifted.
    pub population_limit: f64,
    /// Difference of stated and observed frequency that counts as drift, where it is significant.
    pub calibration_limit: f64,
    /// Newest outcomes that drift is looked for in.
    pub drift_outcomes: u32,
    /// The trainer's core; where it is not named, the highest that is not a hot loop's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core: Option<usize>,
    /// How long a training may take, s: a replay waits for it so long, a live engine ends the trainer after it.
    pub training_patience_s: u64,
}

impl Default for Learning {
    fn default() -> Self {
        Self {
            model: "confidence".into(),
            patience_ms: 50,
            challenger_share: 0.2,
            trial_outcomes: 200,
            margin: 0.005,
            trial_sigmas: 2.0,
            training: false,
            program: vec!["tidegate-models".into()],
            key: None,
            look_minutes: 60,
            every_hours: 24,
            window_days: 30,
            least_outcomes: 500,
            test_share: 0.25,
            population_limit: 0.25,
            calibration_limit: 0.1,
            drift_outcomes: 300,
            core: None,
            training_patience_s: 600,
        }
    }
}

const KEY: &str = "ml_microstructure.learning";

impl Learning {
    /// What a challenger has to show.
    pub const fn trial(&self) -> TrialTerms {
        TrialTerms { outcomes: self.trial_outcomes, margin: self.margin, sigmas: self.trial_sigmas }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first that makes no sense, with key, value and what was expected.
    pub fn check(&self) -> Result<(), SignalConfigError> {
        let within = |key: &str, value: f64, low: f64, high: f64| match (low..=high).contains(&value) {
            true => Ok(()),
            false => {
                let reason = format!("{value}: expected a number in [{low}, {high}]");
                Err(SignalConfigError { key: format!("{KEY}.{key}"), reason })
            }
        };
        within("patience_ms", self.patience_ms as f64, 1.0, 60_000.0)?;
        within("challenger_share", self.challenger_share, 0.0, 1.0)?;
        within("trial_outcomes", f64::from(self.trial_outcomes), 10.0, 1e6)?;
        within("margin", self.margin, 0.0, 1.0)?;
        within("trial_sigmas", self.trial_sigmas, 0.0, 10.0)?;
        within("look_minutes", f64::from(self.look_minutes), 1.0, 10_080.0)?;
        within("every_hours", f64::from(self.every_hours), 1.0, 8_760.0)?;
        within("window_days", f64::from(self.window_days), 1.0, 3_650.0)?;
        within("least_outcomes", f64::from(self.least_outcomes), 50.0, 1e7)?;
        within("test_share", self.test_share, 0.05, 0.5)?;
        within("population_limit", self.population_limit, 0.01, 100.0)?;
        within("calibration_limit", self.calibration_limit, 0.001, 1.0)?;
        within("drift_outcomes", f64::from(self.drift_outcomes), 30.0, 1e6)?;
        within("training_patience_s", self.training_patience_s as f64, 1.0, 86_400.0)?;
        if self.model.is_empty() || self.program.first().is_none_or(String::is_empty) {
            let key = if self.model.is_empty() { "model" } else { "program" };
            let reason = "is empty: expected a name".into();
            return Err(SignalConfigError { key: format!("{KEY}.{key}"), reason });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_key_value_and_what_was_expected() {
        assert_eq!(Learning::default().check(), Ok(()));
        let wrong = Learning { challenger_share: 1.5, ..Learning::default() };
        let error = wrong.check().expect_err("above one").to_string();
        assert_eq!(error, "ml_microstructure.learning.challenger_share: 1.5: expected a number in [0, 1]");
        let wrong = Learning { program: Vec::new(), ..Learning::default() };
        assert!(wrong.check().expect_err("no program").to_string().contains("learning.program: is empty"));
        let wrong = Learning { margin: f64::NAN, ..Learning::default() };
        assert!(wrong.check().expect_err("no number").to_string().contains("learning.margin: NaN: expected"));
    }
}
