//! Looks at books and tapes for whoever is slow, see [`tidegate_wire::look`].

use tidegate_wire::event::{BookQuality, Header, Trade};
use tidegate_wire::feature::FeatureSink;
use tidegate_wire::look::{LookBody, LookRecord};
use tidegate_wire::ring::overwrite;
use tidegate_wire::{Level, RecordKind};

use super::MarketStage;
use crate::book::Book;

/// Event time between two looks at an instrument unless somebody wants another, ns: what a screen can show.
pub const LOOK_EVERY_NS: i64 = 100_000_000;

/// The tape of one instrument since its last look.
#[derive(Clone, Copy, Debug)]
struct Watched {
    /// Event time from which the next look is due, ns.
    due_ns: i64,
    /// Its tape, in a look without levels.
    tape: LookBody,
}

/// Who looks at the books.
#[derive(Debug)]
pub(super) struct Watch {
    writer: overwrite::Writer,
    /// The grid of event time, ns, > 0.
    every_ns: i64,
    watched: Vec<Watched>,
    /// Room for the record that is pushed.
    record: LookRecord,
}

impl Watch {
    /// Adds a trade to the tape of its instrument.
    #[inline(always)]
    pub(super) fn trade(&mut self, header: &Header, trade: &Trade, sell: bool) {
        self.watched[header.instrument.index()].tape.trade(trade.price, trade.qty, sell);
    }

    /// Shows a book; the next look is due at the next point of the grid.
    #[inline(never)]
    fn show(&mut self, header: &Header, quality: BookQuality, book: &Book) {
        let watched = &mut self.watched[header.instrument.index()];
        if watched.due_ns == i64::MIN {
            watched.tape.start_ns = header.event_ns;
        }
        let LookRecord { header: shown, body } = &mut self.record;
        *shown = Header { kind: RecordKind::Look as u8, ..*header };
        *body = watched.tape;
        body.quality = quality as u64;
        if quality == BookQuality::Good {
            body.update_id = book.last_id();
            body.bid_count = levels(&mut body.bids, book.iter_bids());
            body.ask_count = levels(&mut body.asks, book.iter_asks());
        }
        self.writer.push(self.record.words_mut());
        watched.tape.begin(header.event_ns);
        watched.due_ns = header.event_ns.div_euclid(self.every_ns).saturating_add(1).saturating_mul(self.every_ns);
    }
}

/// Copies the best levels of a side; gives their number.
#[inline(always)]
pub(super) fn levels<const N: usize>(to: &mut [Level; N], side: impl Iterator<Item = Level>) -> u32 {
    let copied = to.iter_mut().zip(side).map(|(to, level)| *to = level).count();
    copied as u32
}

impl<S: FeatureSink> MarketStage<S> {
    /// Lets somebody look at books and tapes: a look at an instrument is pushed at its first event at or behind each
    /// multiple of `every_ns` of event time ([`LOOK_EVERY_NS`]; less than 1 counts as 1), after that event's vector was
    /// handed on. When that is depends on the events alone, so looks are the same on any topology and at any pace.
    #[must_use]
    pub fn watched_by(mut self, writer: overwrite::Writer, every_ns: i64) -> Self {
        let watched = vec![Watched { due_ns: i64::MIN, tape: LookBody::EMPTY }; self.markets.len()];
        let header = Header::new(RecordKind::Look, tidegate_wire::InstrumentId::NONE);
        let record = LookRecord { header, body: LookBody::EMPTY };
        self.watch = Some(Box::new(Watch { writer, every_ns: every_ns.max(1), watched, record }));
        self
    }

    /// A look, if it is due.
    #[inline(always)]
    pub(super) fn look(&mut self, header: &Header) {
        let (index, Some(watch)) = (header.instrument.index(), &mut self.watch) else { return };
        if header.event_ns >= watch.watched[index].due_ns {
            let market = &self.markets[index];
            watch.show(header, market.quality(), &market.book);
        }
    }
}
