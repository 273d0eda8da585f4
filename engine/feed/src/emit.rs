//! From messages to events: the sequence rule of each book, and what it makes of a frame.

mod backlog;
mod bare;
mod place;

pub(crate) use place::Book;
use place::{Facts, Order, Streamed};
use tidegate_wire::event::{
    Bar, BookQuality, Depth, DepthIds, EventSink, FLAG_BUFFERED, FLAG_FIRST, FLAG_LAST, FLAG_SELL, FLAG_SESSION,
    FLAG_SPARE, Header, OptionMark, Status,
};
use tidegate_wire::{Price, RecordKind};

use crate::counters::{FeedCounters, Reason};
use crate::sync::{Lane, SnapshotVerdict, State, StreamVerdict, Synchroniser, Verdict};
use crate::venues::{Body, Levels, Message, StreamFrame};

/// Silence after which a source is taken to have ended when another one goes on, ns of event time: longer than any
/// stream in use pauses.
const SILENCE_NS: i64 = 5_000_000_000;
/// Silence after which another source's newer snapshot replaces a book, ns of event time.
const PAUSE_NS: i64 = 1_000_000_000;
/// Emits the events of one frame: a header that all of them share, counters and the consumer.
pub(crate) struct Emitter<'a, S> {
    pub(crate) header: Header,
    pub(crate) source: u16,
    /// Frames come from live connections, or from a capture of them: a new one goes on with the same book.
    pub(crate) live: bool,
    pub(crate) counters: &'a mut FeedCounters,
    pub(crate) sink: &'a mut S,
}

impl<S: EventSink> Emitter<'_, S> {
    /// Emits a message with what the decoder keeps beside it.
    #[inline(always)]
    pub(crate) fn message(&mut self, message: &Message, book: &mut Book, levels: &mut Levels) {
        let Book { order, facts } = book;
        match (&message.body, &mut *order) {
            (Body::Delta(ids), Order::Joined(sync)) => self.delta(ids, sync, facts, levels),
            (Body::Snapshot(ids), Order::Joined(sync)) => self.snapshot(ids, sync, facts, levels),
            (Body::Stream(frame), Order::Streamed(streamed)) => self.stream(frame, streamed, facts, levels),
            (Body::Snapshot(ids), Order::Streamed(streamed)) => self.beginning(ids, streamed, facts, levels),
            (Body::Delta(_) | Body::Stream(_), _) => {
                self.counters.skip(facts.venue, Reason::BadField);
            }
            (body, _) => return self.plain(body, facts),
        }
        let waiting = order.is_waiting();
        if waiting != facts.waiting {
            facts.waiting = waiting;
            self.counters.waiting_changes += 1;
        }
    }

    /// Emits a message of a batch.
    pub(crate) fn one_of_many(&mut self, message: &Message, book: &mut Book) {
        (self.header.instrument, self.header.venue_ns, self.header.flags) = (message.instrument, message.venue_ns, 0);
        self.plain(&message.body, &mut book.facts);
    }

    /// A message that has nothing to do with the sequence of depth frames.
    #[inline(always)]
    fn plain(&mut self, body: &Body, book: &mut Facts) {
        match body {
            Body::Quote { quote, order } => {
                if book.copies.is_quote(*order, quote, self.source, self.header.event_ns) {
                    self.counters.copies += 1;
                    return;
                }
                self.counters.quotes += 1;
                self.counters.events += 1;
                self.header.kind = RecordKind::Quote as u8;
                self.sink.quote(&self.header, quote);
            }
            Body::Trade { trade, sell, raw } => {
                if book.copies.is_trade(trade.trade_id, self.source) {
                    self.counters.copies += 1;
                    return;
                }
                if *raw {
                    let same = core::mem::replace(&mut book.trade_source, self.source) == self.source;
                    let jumped = same && book.trade_id != 0 && trade.trade_id != book.trade_id + 1;
                    self.counters.trade_id_gaps += u64::from(jumped);
                    book.trade_id = trade.trade_id;
                }
                self.counters.trades += 1;
                self.counters.events += 1;
                self.header.kind = RecordKind::Trade as u8;
                self.header.flags = if *sell { FLAG_SELL } else { 0 };
                self.sink.trade(&self.header, trade);
            }
            Body::Mark(mark) => {
                if book.copies.is_mark(self.header.venue_ns, self.source) {
                    self.counters.copies += 1;
                    return;
                }
                self.counters.marks += 1;
                self.counters.events += 1;
                self.header.kind = RecordKind::Mark as u8;
                self.sink.mark(&self.header, mark);
            }
            // Depth frames come alone, and a batch holds no batch.
            Body::Delta(_) | Body::Snapshot(_) | Body::Stream(_) | Body::Batch => {}
        }
    }

    /// Emits what a venue says of an option.
    pub(crate) fn option(&mut self, option: &OptionMark) {
        self.counters.options += 1;
        self.counters.events += 1;
        (self.header.kind, self.header.flags) = (RecordKind::Option as u8, 0);
        self.sink.option(&self.header, option);
    }

    /// Takes a book out of service until its next snapshot.
    pub(crate) fn resync(&mut self, book: &mut Book) {
        match &mut book.order {
            Order::Joined(sync) => sync.restart(),
            Order::Streamed(streamed) => {
                streamed.sync.restart();
                self.let_go(streamed);
            }
        }
        if !core::mem::replace(&mut book.facts.waiting, true) {
            self.counters.waiting_changes += 1;
        }
        self.status(&mut book.facts, BookQuality::Building, 0, 0, 0);
    }

    /// A depth frame of a stream that brings its snapshots.
    fn stream(&mut self, frame: &StreamFrame, streamed: &mut Streamed, book: &mut Facts, levels: &mut Levels) {
        let silent = book.carried_ns != 0 && self.header.event_ns - book.carried_ns > SILENCE_NS;
        if !streamed.sync.follows(frame.ids.rank, frame.whole, silent) {
            self.counters.shadowed += 1;
            return;
        }
        let goes_on = !self.begins_anew(book);
        let (other, paused) = (book.applied != self.source, self.takes_over(book, PAUSE_NS));
        (book.depth_source, book.carried_ns) = (self.source, self.header.event_ns);
        let (have, last) = (streamed.sync.last(), frame.ids.last);
        if let Some(last) = last {
            book.arbiter.note(self.source, self.header.event_ns, last);
        }
        if frame.whole {
            // Another connection begins with a snapshot: one that is no newer than the book is a copy of its past.
            let begun = have.is_some() && !streamed.sync.is_unjoined();
            if other && !paused && begun && last.is_some() && last <= have {
                self.counters.outdated += 1;
                return;
            }
            book.arbiter.goes_on();
            book.applied = self.source;
            if !goes_on {
                self.session(book);
            }
            return self.stream_snapshot(frame, streamed, book, levels);
        }
        let empty = levels.bids().is_empty() && levels.asks().is_empty();
        let may_heal = have.is_some_and(|have| book.arbiter.may_heal(self.source, self.header.event_ns, have));
        let lags = other && book.arbiter.lives(book.applied, self.header.event_ns);
        let joins = streamed.sync.is_unjoined();
        let ids = match streamed.sync.delta_of(&frame.ids, empty, Lane { other, lags, may_heal }) {
            StreamVerdict::Apply(ids) => ids,
            StreamVerdict::KeepAlive(ids) => {
                self.counters.keep_alives += 1;
                ids
            }
            StreamVerdict::Outdated => {
                self.counters.outdated += 1;
                return;
            }
            StreamVerdict::Ahead => {
                self.counters.ahead += 1;
                book.arbiter.wait(self.header.event_ns);
                return;
            }
            StreamVerdict::Waiting => return self.keep(frame, streamed, levels, false),
            StreamVerdict::Gap { expected, received } => {
                self.keep(frame, streamed, levels, goes_on);
                book.arbiter.forget();
                return if goes_on { self.gap(book, expected, received) } else { self.session(book) };
            }
        };
        self.went_on(book);
        if self.agrees(frame, streamed, book, levels) {
            self.trim(frame, streamed, levels);
            self.emit_delta(Depth { ids, bids: levels.bids(), asks: levels.asks() }, 0);
            if joins {
                self.became_good(book);
            }
        }
    }

    /// The book goes on by a frame of this connection.
    #[inline(always)]
    fn went_on(&mut self, book: &mut Facts) {
        book.applied = self.source;
        self.counters.healed += u64::from(book.arbiter.goes_on());
    }

    /// A snapshot of the stream replaces whatever the book was, and ends a gap.
    fn stream_snapshot(&mut self, frame: &StreamFrame, streamed: &mut Streamed, book: &mut Facts, levels: &mut Levels) {
        let ids = streamed.sync.snapshot(&frame.ids);
        self.let_go(streamed);
        if !self.agrees(frame, streamed, book, levels) {
            return;
        }
        if let Some(window) = &mut streamed.window {
            window.load(levels.bids(), levels.asks(), |_, _| ());
        }
        self.counters.snapshots += 1;
        self.counters.events += 1;
        self.emit_snapshot(&ids, levels, 0);
        self.became_good(book);
    }

    /// Whether the book after a frame has the checksum that the frame names; if not, it is out of service at once, and
    /// the frame is not passed on.
    fn agrees(&mut self, frame: &StreamFrame, streamed: &mut Streamed, book: &mut Facts, levels: &Levels) -> bool {
        let Some(checksum) = &mut streamed.checksum else { return true };
        checksum.take(frame.whole, (levels.bids(), levels.asks()), levels.texts());
        if frame.checksum == 0 {
            return true;
        }
        let agrees = checksum.value() == frame.checksum;
        let venue = &mut self.counters.venues[book.venue as usize];
        venue.checksums_verified += 1;
        venue.checksum_failures += u64::from(!agrees);
        self.counters.checksums_verified += 1;
        self.counters.checksum_failures += u64::from(!agrees);
        if !agrees {
            streamed.sync.restart();
            self.status(book, BookQuality::Mismatched, 0, 0, 0);
        }
        agrees
    }

    /// Removes the levels that fell out of the window a stream shows: the venue may change them unseen from then on,
    /// and need not say that they are gone.
    fn trim(&mut self, frame: &StreamFrame, streamed: &mut Streamed, levels: &mut Levels) {
        let Some(window) = streamed.window.as_mut().filter(|_| frame.window > 0) else { return };
        window.apply(levels.bids(), levels.asks(), |_, _| ());
        for bids in [true, false] {
            window.trim(bids, usize::from(frame.window), |price| {
                self.counters.trimmed += 1;
                levels.remove(bids, Price::from_raw(price));
            });
        }
    }

    pub(crate) fn bar(&mut self, bar: &Bar) {
        self.counters.bars += 1;
        self.counters.events += 1;
        self.header.kind = RecordKind::Bar as u8;
        self.sink.bar(&self.header, bar);
    }

    #[inline(always)]
    fn delta(&mut self, ids: &DepthIds, sync: &mut Synchroniser, book: &mut Facts, levels: &Levels) {
        if ids.first > ids.last {
            self.counters.skip(book.venue, Reason::BadField);
            return;
        }
        let goes_on = !self.begins_anew(book);
        if !goes_on && sync.state() == State::Waiting {
            // What was held back belongs to a recording that has ended.
            sync.restart();
            self.session(book);
        }
        let now_ns = self.header.event_ns;
        let other = book.applied != self.source;
        let lags = other && book.arbiter.lives(book.applied, now_ns);
        let may_heal = book.arbiter.may_heal(self.source, now_ns, sync.last());
        let verdict = sync.delta_of(ids, Lane { other, lags, may_heal });
        book.arbiter.note(self.source, now_ns, ids.last);
        // A second capture of the same stream lags behind: only what carries the book on names its source.
        if !matches!(verdict, Verdict::Outdated | Verdict::Ahead) {
            book.depth_source = self.source;
        }
        if book.depth_source == self.source {
            book.carried_ns = self.header.event_ns;
        }
        match verdict {
            Verdict::Apply => {
                self.went_on(book);
                self.emit_delta(Depth { ids: *ids, bids: levels.bids(), asks: levels.asks() }, 0);
            }
            Verdict::Ahead => {
                self.counters.ahead += 1;
                book.arbiter.wait(now_ns);
            }
            Verdict::Join => {
                self.went_on(book);
                self.emit_delta(Depth { ids: *ids, bids: levels.bids(), asks: levels.asks() }, 0);
                self.became_good(book);
            }
            Verdict::Outdated => self.counters.outdated += 1,
            Verdict::Held => {
                self.counters.held_back += 1;
                sync.hold(*ids, self.header.venue_ns, levels.bids(), levels.asks());
            }
            Verdict::Gap { expected, received } => {
                book.arbiter.goes_on();
                if goes_on {
                    self.gap(book, expected, received);
                } else {
                    self.session(book);
                }
                self.counters.held_back += 1;
                sync.hold(*ids, self.header.venue_ns, levels.bids(), levels.asks());
            }
        }
    }

    #[inline(always)]
    fn emit_delta(&mut self, depth: Depth<'_>, flags: u8) {
        self.counters.deltas += 1;
        self.counters.events += 1;
        self.counters.level_changes += (depth.bids.len() + depth.asks.len()) as u64;
        self.header.kind = RecordKind::Delta as u8;
        self.header.flags = FLAG_FIRST | FLAG_LAST | flags;
        self.sink.delta(&self.header, depth);
    }

    fn emit_snapshot(&mut self, ids: &DepthIds, levels: &Levels, flags: u8) {
        self.header.kind = RecordKind::Snapshot as u8;
        self.header.flags = FLAG_FIRST | FLAG_LAST | flags;
        self.sink.snapshot(&self.header, Depth { ids: *ids, bids: levels.bids(), asks: levels.asks() });
    }

    #[cold]
    fn snapshot(&mut self, ids: &DepthIds, sync: &mut Synchroniser, book: &mut Facts, levels: &Levels) {
        // A recording often begins with its snapshot: one from a new source that is newer than the book replaces it
        // when the old source has paused; after a longer silence that is a session. While the old source goes on it is
        // an answer that was recorded apart from its stream. One that is no newer begins nothing.
        let newer = ids.last > sync.last() || sync.state() == State::Waiting;
        if newer && self.begins_anew(book) {
            sync.restart();
            self.session(book);
        } else if newer && self.takes_over(book, PAUSE_NS) && sync.state() != State::Waiting {
            sync.restart();
        }
        match sync.snapshot(ids.last) {
            SnapshotVerdict::TooOld => {
                self.counters.snapshots_too_old += 1;
                return;
            }
            SnapshotVerdict::Unneeded => {
                self.counters.snapshots_unneeded += 1;
                self.emit_snapshot(ids, levels, FLAG_SPARE);
                return;
            }
            SnapshotVerdict::Load => (book.depth_source, book.carried_ns) = (self.source, self.header.event_ns),
        }
        self.counters.snapshots += 1;
        self.counters.events += 1;
        self.emit_snapshot(ids, levels, 0);
        let (held, emitted) = (sync.held(), self.counters.deltas);
        let mut joined = false;
        let gap = sync.release(|verdict, venue_ns, depth| {
            self.header.venue_ns = venue_ns;
            self.emit_delta(depth, FLAG_BUFFERED);
            joined |= verdict == Verdict::Join;
        });
        // What was released without being emitted came before the snapshot: no depth frame goes uncounted.
        self.counters.outdated += (held - sync.held()) as u64 - (self.counters.deltas - emitted);
        if joined {
            self.became_good(book);
        }
        if let Some(Verdict::Gap { expected, received }) = gap {
            self.gap(book, expected, received);
        }
    }

    /// Whether this frame is of another source than the one that carried the book, which has been silent for so long: a
    /// hole after that lies between two recordings, one before it in the stream itself.
    #[inline(always)]
    fn takes_over(&self, book: &Facts, silence_ns: i64) -> bool {
        let silence = self.header.event_ns - book.carried_ns;
        book.depth_source != self.source && book.carried_ns != 0 && silence > silence_ns
    }

    /// Whether this frame belongs to another recording than the one that carried the book.
    #[inline(always)]
    fn begins_anew(&self, book: &Facts) -> bool {
        !self.live && self.takes_over(book, SILENCE_NS)
    }

    fn became_good(&mut self, book: &mut Facts) {
        if book.quality == BookQuality::Good {
            return;
        }
        self.counters.resyncs += u64::from(book.was_good);
        self.counters.venues[book.venue as usize].resyncs += u64::from(book.was_good);
        book.resyncs += u64::from(book.was_good);
        book.was_good = true;
        self.status(book, BookQuality::Good, 0, 0, 0);
    }

    /// The stream goes on elsewhere: the book starts anew, and so does everything derived from it.
    #[cold]
    fn session(&mut self, book: &mut Facts) {
        self.counters.sessions += 1;
        book.was_good = false;
        self.status(book, BookQuality::Building, FLAG_SESSION, 0, 0);
    }

    #[cold]
    fn gap(&mut self, book: &mut Facts, expected: u64, received: u64) {
        self.counters.gaps += 1;
        self.counters.venues[book.venue as usize].gaps += 1;
        book.gaps += 1;
        self.status(book, BookQuality::Gapped, 0, expected, received);
    }

    fn status(&mut self, book: &mut Facts, quality: BookQuality, flags: u8, expected: u64, received: u64) {
        book.quality = quality;
        self.counters.events += 1;
        self.header.kind = RecordKind::Status as u8;
        self.header.flags = flags;
        self.sink.status(&self.header, &Status { quality: quality as u64, expected, received });
    }
}
