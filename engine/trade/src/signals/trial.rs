//! Champion and challenger: which of two stated probabilities is the better one, on outcomes that neither had seen.
//!
//! Both say something of every signal while the trial lasts, whoever's word is acted on, so they are compared on the
//! same cases. A challenger has to win by a margin of log loss and by more than chance would, or it goes: a tie is no
//! reason to change what runs.

use serde::{Deserialize, Serialize};

use crate::calibration::loss;

/// What a challenger has to show.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialTerms {
    /// Outcomes that decide.
    pub outcomes: u32,
    /// Log loss that it must be better by, nats a case.
    pub margin: f64,
    /// Standard errors of the gain that the gain must exceed.
    pub sigmas: f64,
}

/// A trial that is under way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trial {
    challenger: u32,
    champion: Option<u32>,
    count: u32,
    loss: [f64; 2],
    brier: [f64; 2],
    /// Sums of differences by timer, for an error that knows that signals of one timer move together.
    timer: (i64, f64, u32),
    timers: Vec<(f64, u32)>,
}

/// How a trial stands. The incumbent is the version in force, or the formula where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// The version on trial.
    pub challenger: u32,
    /// The version in force; the formula where there is none.
    pub champion: Option<u32>,
    /// Outcomes so far.
    pub outcomes: u32,
    /// Mean log loss of the incumbent, nats.
    pub champion_log_loss: f64,
    /// Of the challenger.
    pub challenger_log_loss: f64,
    /// Mean Brier score of the incumbent.
    pub champion_brier: f64,
    /// Of the challenger.
    pub challenger_brier: f64,
    /// Log loss that the challenger is better by; negative when it is worse.
    pub gain: f64,
    /// Standard error of the gain, with signals of one timer as one witness.
    pub gain_error: f64,
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The challenger takes over.
    Promote,
    /// It goes.
    Refuse,
}

impl Trial {
    /// A trial of a version beside the one in force, or beside the formula.
    pub fn new(challenger: u32, champion: Option<u32>) -> Self {
        Self { challenger, champion, ..Self::default() }
    }

    /// The version on trial.
    pub const fn challenger(&self) -> u32 {
        self.challenger
    }

    /// The version in force when it began; the formula without one.
    pub const fn champion(&self) -> Option<u32> {
        self.champion
    }

    /// Whether it is about these two.
    pub fn is_of(&self, challenger: u32, champion: Option<u32>) -> bool {
        (self.challenger, self.champion) == (challenger, champion)
    }

    /// A signal's timer, which ended at `timer_end_ns`, has shown whether the profit was reached.
    pub fn add(&mut self, timer_end_ns: i64, champion: f64, challenger: f64, reached: bool) {
        let losses = [champion, challenger].map(|stated| loss(stated, reached));
        for ((sum, brier), loss) in self.loss.iter_mut().zip(&mut self.brier).zip(losses) {
            *sum += loss.log;
            *brier += loss.brier;
        }
        self.count += 1;
        if self.timer.2 > 0 && self.timer.0 != timer_end_ns {
            self.timers.push((self.timer.1, self.timer.2));
            self.timer = (timer_end_ns, 0.0, 0);
        }
        self.timer = (timer_end_ns, self.timer.1 + losses[0].log - losses[1].log, self.timer.2 + 1);
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let mean = |sum: f64| if self.count == 0 { 0.0 } else { sum / f64::from(self.count) };
        let [champion_log_loss, challenger_log_loss] = self.loss.map(mean);
        let [champion_brier, challenger_brier] = self.brier.map(mean);
        Standing {
            challenger: self.challenger,
            champion: self.champion,
            outcomes: self.count,
            champion_log_loss,
            challenger_log_loss,
            champion_brier,
            challenger_brier,
            gain: champion_log_loss - challenger_log_loss,
            gain_error: self.gain_error(),
        }
    }

    fn gain_error(&self) -> f64 {
        let mean = self.loss[0] - self.loss[1];
        let mean = if self.count == 0 { return 0.0 } else { mean / f64::from(self.count) };
        let of_timer = |(sum, count): &(f64, u32)| {
            let beyond = sum - mean * f64::from(*count);
            beyond * beyond
        };
        let last = (self.timer.1, self.timer.2);
        let squares: f64 = self.timers.iter().chain([&last]).map(of_timer).sum();
        libm::sqrt(squares) / f64::from(self.count)
    }

    /// The verdict, once there are enough outcomes.
    pub fn verdict(&self, terms: &TrialTerms) -> Option<Verdict> {
        if self.count < terms.outcomes.max(1) {
            return None;
        }
        let standing = self.standing();
        // Of a single timer nothing is known but one number: it has no error, and is no evidence.
        let known = self.timers.len() > 1;
        let won = known && standing.gain >= terms.margin && standing.gain > terms.sigmas * standing.gain_error;
        Some(if won { Verdict::Promote } else { Verdict::Refuse })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: TrialTerms = TrialTerms { outcomes: 100, margin: 0.01, sigmas: 2.0 };

    /// A fifth of a hundred signals reach their profit.
    fn trial(champion: f64, challenger: f64) -> Trial {
        let mut trial = Trial::new(2, Some(1));
        for case in 0..100 {
            assert_eq!(trial.verdict(&TERMS), None, "it is too early");
            trial.add(case / 4, champion, challenger, case % 5 == 0);
        }
        trial
    }

    #[test]
    fn the_better_one_wins_by_the_margin_or_not_at_all() {
        assert_eq!(trial(0.5, 0.2).verdict(&TERMS), Some(Verdict::Promote));
        assert_eq!(trial(0.2, 0.5).verdict(&TERMS), Some(Verdict::Refuse));
        assert_eq!(trial(0.2, 0.2).verdict(&TERMS), Some(Verdict::Refuse), "a tie changes nothing");
        assert_eq!(trial(0.22, 0.2).verdict(&TERMS), Some(Verdict::Refuse), "better by less than the margin");
    }

    #[test]
    fn luck_is_no_win() {
        // Two models that say the opposite by turns: one is better by chance alone, by far more than the margin.
        let mut trial = Trial::new(2, Some(1));
        for case in 0..100_i64 {
            let (champion, challenger) = if case / 10 % 2 == 0 { (0.6, 0.1) } else { (0.1, 0.6) };
            trial.add(case / 10, champion, challenger, case / 10 == 4);
        }
        let standing = trial.standing();
        assert!(standing.gain.abs() > TERMS.margin && standing.gain.abs() < 2.0 * standing.gain_error, "{standing:?}");
        assert_eq!(trial.verdict(&TERMS), Some(Verdict::Refuse));
        let lenient = TrialTerms { sigmas: 0.0, ..TERMS };
        let expected = if standing.gain > 0.0 { Verdict::Promote } else { Verdict::Refuse };
        assert_eq!(trial.verdict(&lenient), Some(expected));
        // As good as can be, and all of one timer.
        let mut single = Trial::new(2, Some(1));
        (0..100).for_each(|_| single.add(0, 0.5, 0.01, false));
        assert_eq!(single.verdict(&TERMS), Some(Verdict::Refuse));
    }

    #[test]
    fn scores_are_those_of_the_cases() {
        let standing = trial(0.5, 0.2).standing();
        assert!((standing.champion_log_loss - libm::log(2.0)).abs() < 1e-12);
        let expected = -(0.2 * libm::log(0.2) + 0.8 * libm::log(0.8));
        assert!((standing.challenger_log_loss - expected).abs() < 1e-12);
        assert!((standing.champion_brier - 0.25).abs() < 1e-12 && (standing.challenger_brier - 0.16).abs() < 1e-12);
        assert!(standing.gain_error > 0.0 && standing.gain_error < standing.gain, "{standing:?}");
    }

    #[test]
    fn signals_of_one_timer_are_one_witness() {
        let (mut together, mut apart) = (Trial::new(2, None), Trial::new(2, None));
        for case in 0..40 {
            // Four signals of a timer end the same way.
            let reached = case / 4 % 3 == 0;
            together.add(case / 4, 0.5, 0.3, reached);
            apart.add(case, 0.5, 0.3, reached);
        }
        assert!(together.standing().gain_error > 1.5 * apart.standing().gain_error);
    }

    #[test]
    fn certainty_that_was_wrong_is_finite() {
        let mut trial = Trial::new(1, None);
        trial.add(0, 0.0, f64::NAN, true);
        assert!(trial.standing().champion_log_loss.is_finite() && trial.standing().challenger_log_loss < 1.0);
    }
}
