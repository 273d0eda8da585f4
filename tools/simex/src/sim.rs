//! The run: steps of the latent prices, order flow in between, frames in order of arrival.

use crate::conditions;
use crate::config::{InstrumentSpec, SimConfig};
use crate::draw::Draw;
use crate::error::SimError;
use crate::frame::Frame;
use crate::market::MarketEvent;
use crate::market::flow::Flow;
use crate::market::latent::Latent;
use crate::script::RegimeSpan;
use crate::venue::feed::Feed;

/// Step of the latent prices and of scripted conditions, ns.
const STEP_NS: i64 = 10_000_000;

/// Streams of draws: the latent prices have the first one, each instrument the next few.
const STREAMS_PER_INSTRUMENT: u64 = 4;

/// A running market. Frames come out in order of their receive time over all instruments.
///
/// ```
/// use std::time::Duration;
/// use tidegate_simex::{Frame, SimConfig, Simulator};
///
/// let mut simulator = Simulator::new(SimConfig::demo(7, Duration::from_millis(200)))?;
/// let (mut frame, mut count) = (Frame::default(), 0);
/// while simulator.next_frame(&mut frame) {
///     assert!(frame.bytes.starts_with(b"{"));
///     count += 1;
/// }
/// assert!(count > 50);
/// # Ok::<(), tidegate_simex::SimError>(())
/// ```
pub struct Simulator {
    specs: Vec<InstrumentSpec>,
    truth: Vec<RegimeSpan>,
    latent: Latent,
    flows: Vec<Flow>,
    feeds: Vec<Feed>,
    /// Venue time up to which the market has been simulated; later frames arrive after it.
    clock_ns: i64,
    end_ns: i64,
    events: Vec<MarketEvent>,
}

impl Simulator {
    /// Seeds the books; no frame is made before the first call of [`Simulator::next_frame`].
    ///
    /// # Errors
    /// The first setting outside its range.
    pub fn new(config: SimConfig) -> Result<Self, SimError> {
        config.validate()?;
        let start_ns = config.start_ns;
        let end_ns = start_ns + i64::try_from(config.duration.as_nanos()).unwrap_or(i64::MAX / 4);
        let labels: Vec<_> = config.instruments.iter().map(InstrumentSpec::label).collect();
        let truth = config.script.spans(start_ns, end_ns, &labels);
        let draw = Draw::new(config.seed, 0);
        let latent = Latent::new(&config.assets, config.asset_correlation, &config.instruments, draw);
        let mut flows = Vec::with_capacity(labels.len());
        let mut feeds = Vec::with_capacity(labels.len());
        for (index, spec) in config.instruments.iter().enumerate() {
            let mut stream = 1 + index as u64 * STREAMS_PER_INSTRUMENT;
            let mut draws = || {
                stream += 1;
                Draw::new(config.seed, stream)
            };
            flows.push(Flow::new(spec.flow.clone(), latent.ticks(index), start_ns, draws()));
            feeds.push(Feed::new(spec, index, start_ns, config.agg_trades, &config.network, &truth, draws));
        }
        Ok(Self { specs: config.instruments, truth, latent, flows, feeds, clock_ns: start_ns, end_ns, events: vec![] })
    }

    /// Replaces `frame` by the next one in order of receive time (ties: by instrument). False at the end of the run,
    /// and then `frame` is unchanged.
    pub fn next_frame(&mut self, frame: &mut Frame) -> bool {
        loop {
            let heads = self.feeds.iter().enumerate().filter_map(|(index, feed)| Some((feed.next_recv_ns()?, index)));
            let next = heads.min();
            let ended = self.clock_ns >= self.end_ns;
            match next {
                // Every later frame is sent, and so received, at or after the clock.
                Some((recv_ns, index)) if ended || recv_ns < self.clock_ns => {
                    let Some(sent) = self.feeds[index].pop(std::mem::take(&mut frame.bytes)) else { return false };
                    *frame = Frame { recv_ns, instrument: index, bytes: sent.bytes, kind: sent.kind };
                    return true;
                }
                _ if ended => return false,
                _ => self.step(),
            }
        }
    }

    /// Scripted regimes in order of their start, in venue time: the ground truth for scoring.
    pub fn truth(&self) -> &[RegimeSpan] {
        &self.truth
    }

    /// Instruments in the order of [`Frame::instrument`].
    pub fn instruments(&self) -> &[InstrumentSpec] {
        &self.specs
    }

    /// Advances every market by one step. Instruments meet only in the latent prices, which move first.
    fn step(&mut self) {
        let (from, to) = (self.clock_ns, (self.clock_ns + STEP_NS).min(self.end_ns));
        let (truth, specs) = (&self.truth, &self.specs);
        self.latent.step(
            (to - from) as f64 * 1e-9,
            |asset| conditions::of_asset(truth, specs, asset, from, to),
            |instrument| conditions::decoupled(truth, instrument, from),
        );
        for (index, (flow, feed)) in self.flows.iter_mut().zip(&mut self.feeds).enumerate() {
            let ticks = self.latent.ticks(index);
            let mut now = conditions::of_instrument(truth, specs, index, from);
            now.orders *= self.latent.activity(index);
            flow.set_step(ticks, now);
            feed.set_prices(ticks * specs[index].tick_size(), self.latent.index_price(index));
            while let Some(time_ns) = flow.next(to, &mut self.events) {
                feed.advance(time_ns);
                feed.apply(time_ns, &self.events, flow.book());
                self.events.clear();
            }
            feed.advance(to);
        }
        self.clock_ns = to;
    }
}
