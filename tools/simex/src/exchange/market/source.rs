//! What moves a book.

use super::capture::Capture;
use super::options::Quoter;
use crate::market::flow::Flow;
use crate::market::{Conditions, MarketEvent};

/// The three kinds of sources.
pub(crate) enum Source {
    /// Simulated order flow.
    Flow(Box<Flow>),
    /// A recording.
    Capture(Box<Capture>),
    /// An option's quoter.
    Quoter(Box<Quoter>),
}

/// What a source needs to know about the present.
pub(crate) struct Present {
    /// Market time to go to, ns.
    pub(crate) to_ns: i64,
    /// Wall time, ms.
    pub(crate) now_ms: i64,
    /// Efficient price in ticks.
    pub(crate) ticks: f64,
    /// Price of the underlying.
    pub(crate) underlying: f64,
    /// Price of one tick.
    pub(crate) tick_size: f64,
    /// Multiplies the rates of the flow.
    pub(crate) activity: f64,
}

impl Source {
    /// Appends everything that happens until `present.to_ns`.
    pub(crate) fn advance(&mut self, present: &Present, events: &mut Vec<MarketEvent>) {
        match self {
            Source::Flow(flow) => {
                let activity = present.activity;
                let conditions = Conditions { orders: activity, quotes: activity, ..Conditions::default() };
                flow.set_step(present.ticks, conditions);
                while flow.next(present.to_ns, events).is_some() {}
            }
            Source::Capture(capture) => while capture.next(present.to_ns, events) {},
            Source::Quoter(quoter) => {
                quoter.next(present.to_ns, present.now_ms, present.underlying, present.tick_size, events);
            }
        }
    }
}
