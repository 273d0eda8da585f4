//! Signal records: what the signal desk saw in a coin, with everything that went into it, and what became of it.
//!
//! | record | bytes | from | to |
//! |---|---|---|---|
//! | [`SignalBody`] | 240 | signal desk | recorder, audit log, trade desk |
//! | [`OutcomeBody`] | 128 | signal desk, when a signal's timer has ended | recorder, calibration, training |

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};
use strum::{EnumString, FromRepr, IntoStaticStr};

#[cfg(not(loom))]
use crate::event::RecordKind;
use crate::event::{Header, Trade};
use crate::instrument::InstrumentId;
use crate::named::named;
#[cfg(not(loom))]
use crate::relay::RecordWriter;
use crate::top::TopBody;

/// Room for the parts of a microstructure score.
pub const SCORE_PARTS: usize = 8;

named! {
    /// What a signal says to do.
    "SCREAMING_SNAKE_CASE" Action {
        /// Nothing: the coin is a candidate for a model.
        Neutral = 0,
        /// Buy.
        Long = 1,
        /// Sell.
        Short = 2,
    }
}

named! {
    /// Where in its timer a signal came.
    "SCREAMING_SNAKE_CASE" TimerWindow {
        /// Minutes 0 to 3 unless configured otherwise.
        EntryWindow = 0,
        /// Minutes 3 to 7.
        MidTimer = 1,
        /// Minutes 7 to 10.
        ExitWindow = 2,
    }
}

named! {
    /// What bounded a leverage: the lowest of all.
    "kebab-case" LeverageBound {
        /// Confidence times 10,000.
        Formula = 0,
        /// The product's own cap.
        Product = 1,
        /// The venue's cap.
        Venue = 2,
        /// The risk engine's cap.
        Risk = 3,
        /// There is none: the action is neutral.
        None = 4,
    }
}

/// The reference price is simulated.
pub const FLAG_REFERENCE_SIMULATED: u8 = 1;
/// Confidence is below the least that is traded.
pub const FLAG_BELOW_CONFIDENCE: u8 = 2;
/// A breaker forbids trading the instrument.
pub const FLAG_STOPPED: u8 = 4;
/// Leverage is that of the bounded-loss product.
pub const FLAG_SUPERP: u8 = 8;
/// The volatility is known.
pub const FLAG_VOLATILITY: u8 = 16;
/// The coin had a signal in this window already and was armed again by a crossing.
pub const FLAG_REARMED: u8 = 32;

/// One signal of one coin. Prices are in quote units of one coin, volatilities fractions that are not annualised.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct SignalBody {
    /// Number of the signal, from 1.
    pub sequence: u64,
    /// When, event time, ns since the Unix epoch.
    pub event_ns: i64,
    /// Frame that caused it.
    pub frame: u64,
    /// Digest of the feature vector it was taken on.
    pub features_digest: u64,
    /// When its timer began, ns since the Unix epoch.
    pub timer_start_ns: i64,
    /// When its timer ends, ns since the Unix epoch.
    pub timer_end_ns: i64,
    /// Age of the reference price, ns; 0 where it is simulated.
    pub reference_age_ns: i64,
    /// Mid price.
    pub price: f64,
    /// Best bid.
    pub bid: f64,
    /// Best ask.
    pub ask: f64,
    /// Reference price.
    pub reference: f64,
    /// `log10(price) - log10(reference) + 6`.
    pub psc_ratio: f64,
    /// Parts of the score, each in `[0, weight]`; 0 where its feature was absent.
    pub parts: [f64; SCORE_PARTS],
    /// Sum of the parts, in `[0, 12]`.
    pub score: f64,
    /// How far the ratio is beyond its threshold, in `[0, 0.25]`.
    pub ratio_strength: f64,
    /// Spread and volatility, in `[-0.1, 0.13]`.
    pub market_boost: f64,
    /// Of the timer window, in `[0, 1]`.
    pub timer_efficiency: f64,
    /// Stated probability that the trade reaches its profit, in `[0, 1]`.
    pub confidence: f64,
    /// Realised over the configured horizon; 0 where it is not known.
    pub volatility: f64,
    /// Part of that horizon that was observed, in `[0, 1]`.
    pub volatility_covered: f64,
    /// Times the margin, >= 0.
    pub leverage: f64,
    /// Bit `i` is set when part `i` of the score was known.
    pub known: u32,
    /// Realised over the last 300 s, annualised; 0 where it is not known.
    pub recent_volatility: f32,
    /// Position of the coin in the configuration.
    pub coin: u16,
    /// What its price was taken from.
    pub instrument: InstrumentId,
    /// An [`Action`].
    pub action: u8,
    /// A [`TimerWindow`].
    pub window: u8,
    /// A [`LeverageBound`].
    pub bound: u8,
    /// `FLAG_*` bits of this module.
    pub flags: u8,
}

impl SignalBody {
    /// What it says to do; neutral should a foreign byte be in it.
    pub fn action(&self) -> Action {
        Action::from_repr(self.action).unwrap_or(Action::Neutral)
    }

    /// Where in its timer it came.
    pub fn window(&self) -> TimerWindow {
        TimerWindow::from_repr(self.window).unwrap_or(TimerWindow::ExitWindow)
    }

    /// What bounded its leverage.
    pub fn bound(&self) -> LeverageBound {
        LeverageBound::from_repr(self.bound).unwrap_or(LeverageBound::None)
    }

    /// Whether a flag is set.
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// What would have become of a trade to one side: entered at the signal's bid or ask, left at the other one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct SideOutcome {
    /// Event time at which the profit after costs was reached first, ns since the Unix epoch; 0 when it was not.
    pub reached_ns: i64,
    /// Event time at which the mid had moved by the profit without costs, ns since the Unix epoch; 0 when it had not.
    pub touched_ns: i64,
    /// Best profit after costs until the timer's end, bp.
    pub best_bp: f64,
    /// Worst profit after costs until the timer's end, bp.
    pub worst_bp: f64,
    /// Profit after costs at the timer's end, bp.
    pub final_bp: f64,
}

/// The timer of a signal has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct OutcomeBody {
    /// Which signal.
    pub sequence: u64,
    /// When it was known, event time, ns since the Unix epoch: the timer's end, or when the data ended.
    pub event_ns: i64,
    /// When the last price that it is made of was seen, ns since the Unix epoch.
    pub seen_ns: i64,
    /// A long trade.
    pub long: SideOutcome,
    /// A short trade.
    pub short: SideOutcome,
    /// Longest time without a good book meanwhile, ns.
    pub blind_ns: i64,
    /// 1 when prices were seen up to the timer's end: only then "not reached" means something.
    pub complete: u64,
    /// The instrument of the signal, as a word.
    pub instrument: u64,
}

impl OutcomeBody {
    /// The side of an action; `None` for neutral ones.
    pub const fn side(&self, action: Action) -> Option<&SideOutcome> {
        match action {
            Action::Neutral => None,
            Action::Long => Some(&self.long),
            Action::Short => Some(&self.short),
        }
    }

    /// Whether a trade of this action reached its profit: `None` where that cannot be told, because prices were not
    /// seen to the end.
    pub fn label(&self, action: Action) -> Option<bool> {
        let reached = self.side(action)?.reached_ns != 0;
        (reached || self.complete == 1).then_some(reached)
    }
}

/// Whoever consumes signals: a ring to the recorder, a file, a test.
pub trait SignalSink {
    /// A signal, in event order.
    fn signal(&mut self, signal: &SignalBody);
    /// The timer of an earlier signal has ended.
    fn outcome(&mut self, outcome: &OutcomeBody);
}

/// Whoever trades on what a pipeline sees: signals with the books and trades around them, in event order.
pub trait TradingSink: SignalSink {
    /// The best levels of a book after it changed.
    fn top(&mut self, header: &Header, top: &TopBody);
    /// A trade.
    fn traded(&mut self, header: &Header, trade: &Trade);
    /// Time passed.
    fn heartbeat(&mut self, header: &Header);
}

#[cfg(not(loom))]
impl SignalSink for RecordWriter {
    fn signal(&mut self, signal: &SignalBody) {
        let header = Header {
            frame: signal.frame,
            event_ns: signal.event_ns,
            ..Header::new(RecordKind::Signal, signal.instrument)
        };
        self.record(RecordKind::Signal, &header, signal);
    }

    fn outcome(&mut self, outcome: &OutcomeBody) {
        let header = Header { event_ns: outcome.event_ns, ..Header::new(RecordKind::Outcome, InstrumentId::NONE) };
        self.record(RecordKind::Outcome, &header, outcome);
    }
}

const _: () = {
    assert!(size_of::<SignalBody>() == 240 && align_of::<SignalBody>() == 8);
    assert!(size_of::<OutcomeBody>() == 128 && align_of::<OutcomeBody>() == 8);
    assert!(core::mem::offset_of!(SignalBody, parts) == 96);
    assert!(core::mem::offset_of!(OutcomeBody, long) == 24);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_files() {
        assert_eq!(Action::Long.name(), "LONG");
        assert_eq!(TimerWindow::EntryWindow.name(), "ENTRY_WINDOW");
        assert_eq!(TimerWindow::MidTimer.name(), "MID_TIMER");
        assert_eq!(TimerWindow::ExitWindow.name(), "EXIT_WINDOW");
        assert_eq!("SHORT".parse(), Ok(Action::Short));
        assert_eq!(LeverageBound::Venue.name(), "venue");
    }

    #[test]
    fn a_label_needs_the_profit_or_the_whole_timer() {
        let mut outcome = OutcomeBody::default();
        assert_eq!(outcome.label(Action::Long), None, "nobody saw the end");
        outcome.long.reached_ns = 5;
        assert_eq!(outcome.label(Action::Long), Some(true), "reached is reached");
        assert_eq!(outcome.label(Action::Short), None);
        outcome.complete = 1;
        assert_eq!(outcome.label(Action::Short), Some(false));
        assert_eq!(outcome.label(Action::Neutral), None, "nothing is to be reached");
    }
}
