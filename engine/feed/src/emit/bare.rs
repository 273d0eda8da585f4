//! Streams that begin without a snapshot although their venue used to send one: a snapshot from beside the stream is
//! joined to what was held back.

use tidegate_wire::event::{Depth, DepthIds, EventSink, FLAG_BUFFERED};

use super::Emitter;
use super::backlog::Kept;
use super::place::{Facts, Streamed};
use crate::counters::Reason;
use crate::sync::StreamVerdict;
use crate::venues::okx::BOOKS;
use crate::venues::{Levels, StreamFrame};

impl<S: EventSink> Emitter<'_, S> {
    /// A frame that a waiting book cannot use now: it is held back where a snapshot from beside the stream may join it.
    #[cold]
    pub(super) fn keep(&mut self, frame: &StreamFrame, streamed: &mut Streamed, levels: &Levels, known: bool) {
        let backlog = streamed.backlog.as_deref_mut().filter(|_| frame.ids.rank == BOOKS);
        let Some(backlog) = backlog else {
            self.counters.dropped += 1;
            return;
        };
        match backlog.hold(frame, (self.header.venue_ns, self.source), levels, known) {
            Kept::Held => self.counters.held_back += 1,
            Kept::Noted => self.counters.dropped += 1,
            Kept::Outdated => self.counters.outdated += 1,
        }
        self.counters.dropped += backlog.take_thrown();
    }

    /// What was held back is of no use any more.
    #[inline]
    pub(super) fn let_go(&mut self, streamed: &mut Streamed) {
        if let Some(backlog) = &mut streamed.backlog {
            backlog.clear();
            self.counters.dropped += backlog.take_thrown();
        }
    }

    /// A snapshot from beside a stream.
    #[cold]
    pub(super) fn beginning(&mut self, ids: &DepthIds, streamed: &mut Streamed, book: &mut Facts, levels: &mut Levels) {
        let Some(backlog) = streamed.backlog.as_deref() else {
            self.counters.skip(book.venue, Reason::BadField);
            return;
        };
        if !streamed.sync.is_waiting() || !streamed.sync.follows(BOOKS, false, false) {
            self.counters.snapshots_unneeded += 1;
            return;
        }
        let Some((end, source)) = backlog.end().filter(|_| backlog.joins(ids.last, self.header.venue_ns)) else {
            self.counters.snapshots_too_old += 1;
            return;
        };
        let begun = streamed.sync.begin(ids.last, BOOKS);
        if let Some(checksum) = &mut streamed.checksum {
            checksum.take(true, (levels.bids(), levels.asks()), levels.texts());
        }
        (book.applied, book.depth_source, book.carried_ns) = (source, source, self.header.event_ns);
        self.counters.snapshots += 1;
        self.counters.events += 1;
        self.emit_snapshot(&begun, levels, 0);
        let whole = self.release(ids.last, streamed, book, levels);
        if let Some(backlog) = &mut streamed.backlog {
            backlog.released();
            backlog.take_thrown();
        }
        if whole && end == ids.last {
            streamed.sync.joined();
        }
        if whole && !streamed.sync.is_unjoined() {
            self.became_good(book);
        }
    }

    /// Releases held frames behind a snapshot's number, in order; false where one of them took the book out of service.
    fn release(&mut self, id: u64, streamed: &mut Streamed, book: &mut Facts, levels: &mut Levels) -> bool {
        let mut index = 0;
        while let Some((frame, venue_ns)) = streamed.backlog.as_ref().and_then(|b| b.read(index, levels)) {
            index += 1;
            if frame.ids.last.is_none_or(|last| last <= id) {
                self.counters.outdated += 1;
                continue;
            }
            match streamed.sync.delta(&frame.ids, false) {
                StreamVerdict::Apply(ids) | StreamVerdict::KeepAlive(ids) => {
                    if !self.agrees(&frame, streamed, book, levels) {
                        return false;
                    }
                    self.header.venue_ns = venue_ns;
                    self.emit_delta(Depth { ids, bids: levels.bids(), asks: levels.asks() }, FLAG_BUFFERED);
                }
                // What is held is one chain: these cannot come.
                StreamVerdict::Outdated | StreamVerdict::Ahead | StreamVerdict::Waiting => self.counters.outdated += 1,
                StreamVerdict::Gap { expected, received } => {
                    self.gap(book, expected, received);
                    return false;
                }
            }
        }
        true
    }
}
