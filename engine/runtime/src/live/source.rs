//! Frames from live connections.

use std::sync::Arc;

use tidegate_feed::Feed;
use tidegate_feed::session::hub::Hub;
use tidegate_wire::clock::realtime_ns;
use tidegate_wire::event::EventSink;

use crate::pipeline::{Polled, Source};
use crate::replay::Spent;

/// Frames from live connections; it ends when the run is stopped.
#[derive(Debug)]
pub(crate) struct LiveSource {
    hub: Hub,
    pub(crate) spent: Arc<Spent>,
}

impl LiveSource {
    pub(super) fn new(hub: Hub) -> Self {
        Self { hub, spent: Arc::default() }
    }
}

impl Source for LiveSource {
    fn begin(&mut self) {
        self.spent.begin(realtime_ns());
    }

    #[inline]
    fn poll(&mut self, feed: &mut Feed, sink: &mut impl EventSink) -> Polled {
        if self.hub.poll(feed, sink) { Polled::Busy } else { Polled::Idle }
    }
}

impl Drop for LiveSource {
    fn drop(&mut self) {
        self.spent.end(realtime_ns());
    }
}
