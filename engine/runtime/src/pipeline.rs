//! One pipeline definition, two topologies.
//!
//! ```text
//! fused    | reader |  ══blocks══▶  | feed → market → guard |
//! staged   | reader |  ══blocks══▶  | feed |  ══ring══▶  | market |  ══ring══▶  | guard |
//! ```
//!
//! Each box is a thread. Decisions leave through a lossless ring to the scribe, vectors through an overwrite ring to
//! whoever watches.

use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_feed::Feed;
use tidegate_guard::GuardStage;
use tidegate_market::MarketStage;
use tidegate_wire::event::EventSink;
use tidegate_wire::relay::{RecordReader, RecordWriter};

use crate::alloc::HotSection;
use crate::latency::Tail;
use crate::wait::{Wait, WaitStrategy, pin};

/// How many cores a pipeline takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Topology {
    /// Everything on one core, a frame at a time.
    #[default]
    Fused,
    /// A core a stage, rings between.
    Staged,
}

impl Topology {
    /// Hot loops it runs.
    pub const fn loops(self) -> usize {
        match self {
            Self::Fused => 1,
            Self::Staged => 3,
        }
    }
}

/// Where frames come from; the loop calls it until it ends.
pub trait Source: Send {
    /// Called once when everything is built, before the loop starts; it may block.
    fn begin(&mut self) {}

    /// Feeds what there is to `feed`; says whether there was anything, or that the end has come.
    fn poll(&mut self, feed: &mut Feed, sink: &mut impl EventSink) -> Polled;
}

/// What a poll came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Frames were fed.
    Busy,
    /// There were none.
    Idle,
    /// There will be no more.
    Ended,
}

/// Where loops run and how they wait.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Cores for the hot loops, in pipeline order; fewer than loops leaves the rest to the scheduler.
    pub cores: Vec<usize>,
    /// How they wait, resolved.
    pub wait: WaitStrategy,
}

/// The stages of a fused pipeline.
pub type FusedMarket = MarketStage<Tail>;
/// The market stage of a staged pipeline.
pub type StagedMarket = MarketStage<RecordWriter>;

/// What is left when a pipeline has ended.
#[derive(Debug)]
pub struct Finished<M> {
    /// The feed.
    pub feed: Feed,
    /// The market stage.
    pub market: M,
    /// The guard stage of a staged pipeline; inside the market stage of a fused one.
    pub tail: Option<Tail>,
    /// What could not be done as asked (pinning).
    pub warnings: Vec<String>,
}

/// Runs a fused pipeline on a thread of its own until the source ends or `stop` is set.
///
/// # Errors
/// The system gives no thread.
pub fn run_fused(
    mut feed: Feed,
    mut market: FusedMarket,
    mut source: impl Source,
    placement: &Placement,
    stop: &AtomicBool,
) -> std::io::Result<Finished<FusedMarket>> {
    std::thread::scope(|scope| {
        let run = move || {
            let warnings = place(placement, 0);
            let wait = Wait::new(placement.wait);
            let hot = HotSection::enter();
            while !stop.load(Ordering::Relaxed) {
                match source.poll(&mut feed, &mut market) {
                    Polled::Busy => wait.busy(),
                    Polled::Idle => {
                        market.sink_mut().idle();
                        wait.idle();
                    }
                    Polled::Ended => break,
                }
            }
            drop(hot);
            Finished { feed, market, tail: None, warnings }
        };
        let thread = std::thread::Builder::new().name("tide-fused".into()).spawn_scoped(scope, run)?;
        Ok(join(thread))
    })
}

/// Rings of a staged pipeline, as its ends.
#[derive(Debug)]
pub struct Rings {
    /// Feed to market.
    pub events: (RecordWriter, RecordReader),
    /// Market to guard; its writer is inside the market stage.
    pub vectors: RecordReader,
}

/// Runs a staged pipeline, a thread a stage, until the source ends or `stop` is set.
///
/// # Errors
/// The system gives no thread.
pub fn run_staged(
    mut feed: Feed,
    mut market: StagedMarket,
    mut tail: Tail,
    mut source: impl Source,
    rings: Rings,
    placement: &Placement,
    stop: &AtomicBool,
) -> std::io::Result<Finished<StagedMarket>> {
    let (feed_done, market_done) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut to_market, mut from_feed, mut from_market) = (rings.events.0, rings.events.1, rings.vectors);
    std::thread::scope(|scope| {
        let (feed_done, market_done) = (&feed_done, &market_done);
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        let feeding = thread("tide-feed").spawn_scoped(scope, move || {
            // Set whatever happens, so that the next stage ends too.
            let _done = SetOnDrop(feed_done);
            let warnings = place(placement, 0);
            let wait = Wait::new(placement.wait);
            let _hot = HotSection::enter();
            while !stop.load(Ordering::Relaxed) {
                match source.poll(&mut feed, &mut to_market) {
                    Polled::Busy => wait.busy(),
                    Polled::Idle => wait.idle(),
                    Polled::Ended => break,
                }
            }
            (feed, warnings)
        })?;
        let keeping = thread("tide-market").spawn_scoped(scope, move || {
            let _done = SetOnDrop(market_done);
            let warnings = place(placement, 1);
            drain(placement.wait, feed_done, || from_feed.poll_event(&mut market));
            (market, warnings)
        })?;
        let guarding = thread("tide-guard").spawn_scoped(scope, move || {
            let warnings = place(placement, 2);
            drain(placement.wait, market_done, || {
                let busy = from_market.poll_features(&mut tail);
                if !busy {
                    tail.idle();
                }
                busy
            });
            (tail, warnings)
        })?;
        let ((feed, mut warnings), (market, more), (tail, rest)) = (join(feeding), join(keeping), join(guarding));
        warnings.extend(more.into_iter().chain(rest));
        Ok(Finished { feed, market, tail: Some(tail), warnings })
    })
}

/// Polls until the stage before is done and nothing is left.
fn drain(strategy: WaitStrategy, before_done: &AtomicBool, mut poll: impl FnMut() -> bool) {
    let wait = Wait::new(strategy);
    let _hot = HotSection::enter();
    loop {
        // Read before polling: what was written before it was set is found by the poll after.
        let last = before_done.load(Ordering::Acquire);
        if poll() {
            wait.busy();
        } else if last {
            return;
        } else {
            wait.idle();
        }
    }
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn place(placement: &Placement, index: usize) -> Vec<String> {
    placement.cores.get(index).and_then(|core| pin(*core).err()).into_iter().collect()
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    // A panic in a loop is a bug: it goes on in whoever waits, and ends the process in release builds at once.
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Guard stages by topology.
pub(crate) type Guard = GuardStage<RecordWriter>;
