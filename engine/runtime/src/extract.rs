//! Events of captures to any consumer, on the calling thread: for files and statistics, where speed is no matter.
//!
//! The same readers, decoders and sequence rules as in a replay; only the loop around them is plain.

use tidegate_feed::replay::{SourceReport, SourceSpec};
use tidegate_feed::{Feed, discover};
use tidegate_wire::Registry;
use tidegate_wire::clock::Clock;
use tidegate_wire::event::EventSink;

use crate::replay::RunError;

/// Read-ahead of an extraction, bytes.
const READ_AHEAD: usize = 64 << 20;

/// What an extraction left.
#[derive(Debug)]
pub struct Extracted<S> {
    /// The consumer.
    pub sink: S,
    /// The feed with its counters.
    pub feed: Feed,
    /// What became of each capture.
    pub sources: Vec<SourceReport>,
}

/// Feeds all captures to the consumer that `make` builds for their instruments; `progress` is told the frames so far.
///
/// # Errors
/// A capture cannot be used, there is no instrument in it, or `make` says no.
pub fn extract<S: EventSink>(
    sources: &[SourceSpec],
    mut registry: Registry,
    make: impl FnOnce(&Registry, Clock) -> Result<S, RunError>,
    mut progress: impl FnMut(u64),
) -> Result<Extracted<S>, RunError> {
    let discovery = discover::discover(sources, &mut registry)?;
    let clock = Clock::monotonic();
    let mut feed = Feed::new(&registry, clock)?.of_live_frames(discovery.is_own);
    let mut sink = make(&registry, clock)?;
    let reader = tidegate_feed::replay::start(discovery.sources, READ_AHEAD)?;
    let mut frames = 0;
    while let Some(mut block) = reader.wait_next() {
        for index in 0..block.len() {
            if let Some(next) = block.frame(index) {
                next.read_by(&mut feed, &mut sink);
            }
        }
        frames += block.len() as u64;
        progress(frames);
        reader.give_back(block);
    }
    Ok(Extracted { sink, feed, sources: reader.finish() })
}
