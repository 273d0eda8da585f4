//! The way from the venue to the recorder: latency, delays and outages.

use crate::config::NetworkParams;
use crate::draw::Draw;
use crate::script::{RegimeKind, RegimeSpan};

/// One connection. TCP keeps order, so a late frame holds up those behind it.
pub(super) struct Line {
    network: NetworkParams,
    /// Stalls and latency spikes of this instrument, by start.
    spans: Vec<RegimeSpan>,
    last_recv_ns: i64,
    draw: Draw,
}

impl Line {
    pub(super) fn new(network: NetworkParams, truth: &[RegimeSpan], instrument: usize, draw: Draw) -> Self {
        let relevant = |span: &&RegimeSpan| {
            let fault = matches!(span.kind, RegimeKind::FeedStall { .. } | RegimeKind::LatencySpike { .. });
            fault && span.instruments.contains(&instrument)
        };
        Self { network, spans: truth.iter().filter(relevant).cloned().collect(), last_recv_ns: 0, draw }
    }

    /// Receive time of a frame sent at `sent_ns`, ns since the epoch; `None` when it is lost.
    pub(super) fn deliver(&mut self, sent_ns: i64) -> Option<i64> {
        let wait_ms = self.draw.log_normal(self.network.median_ms - self.network.floor_ms, self.network.log_sd);
        let mut recv_ns = sent_ns + ((self.network.floor_ms + wait_ms.max(0.0)) * 1e6) as i64;
        for span in self.spans.iter().filter(|span| span.at(sent_ns)) {
            if let RegimeKind::LatencySpike { delay_ms } = span.kind {
                let progress = span.progress(sent_ns);
                let fade = (10.0 * progress.min(1.0 - progress)).min(1.0);
                recv_ns += (delay_ms * fade * 1e6) as i64;
            }
        }
        // Back-to-back frames leave the receiver's socket some microseconds apart.
        let spacing_ns = 2_000 + self.draw.below(9_000) as i64;
        recv_ns = recv_ns.max(self.last_recv_ns + spacing_ns);
        // A stall catches what is sent during it and what is still on its way when it begins.
        for span in &self.spans {
            if let RegimeKind::FeedStall { lossy } = span.kind
                && sent_ns < span.end_ns
                && span.start_ns <= recv_ns
            {
                if lossy {
                    // Nothing sent later overtakes what the broken connection swallowed.
                    self.last_recv_ns = self.last_recv_ns.max(span.start_ns);
                    return None;
                }
                recv_ns = recv_ns.max(span.end_ns);
            }
        }
        self.last_recv_ns = recv_ns;
        Some(recv_ns)
    }

    /// End of the first lossy stall that ends after `time_ns`: when the recorder connects again.
    pub(super) fn next_reconnect(&self, time_ns: i64) -> Option<i64> {
        let lossy = |span: &&RegimeSpan| matches!(span.kind, RegimeKind::FeedStall { lossy: true });
        self.spans.iter().filter(lossy).map(|span| span.end_ns).filter(|&end| end > time_ns).min()
    }
}
