//! What each kind of event does to the market stage.

use tidegate_wire::event::{
    Bar, BookQuality, Depth, EventSink, FLAG_SELL, FLAG_SESSION, FLAG_SPARE, Header, Mark, OptionMark, Quote, Status,
    Trade,
};
use tidegate_wire::feature::FeatureSink;

use super::{MarketStage, tell_minute};
use crate::bars::Finished;

impl<S: FeatureSink> EventSink for MarketStage<S> {
    #[inline]
    fn delta(&mut self, header: &Header, depth: Depth<'_>) {
        let taken = self.begin(header);
        self.alive(header);
        let index = header.instrument.index();
        let market = &mut self.markets[index];
        if market.corrupt {
            // Nothing is learnt from a book that is known to be wrong.
            market.repair.hold(&depth);
        }
        let before = market.book.last_id();
        // A snapshot that healed the book may be ahead of the stream: what it says already must not be put back.
        if market.corrupt || depth.ids.last < before {
            market.engine.message(header.event_ns, Self::latency(header));
            market.engine.depth_came(header.event_ns);
            self.publish(header, taken, taken);
            return;
        }
        let applied = market.book.apply(&depth);
        let book_ticks = self.clock.ticks();
        market.engine.message(header.event_ns, Self::latency(header));
        match applied {
            Ok(removed) if !market.book.is_crossed() => {
                market.engine.book(header.event_ns, &market.book, removed);
                if let Some(check) = market.check.as_mut().filter(|_| market.feed_quality == BookQuality::Good) {
                    check.book(depth.ids.last, market.book.best_bid(), market.book.best_ask());
                }
            }
            damage => {
                self.corrupt(header, damage.is_err(), before);
                self.markets[index].repair.hold(&depth);
            }
        }
        self.see_mid(header);
        self.publish(header, taken, book_ticks);
    }

    fn snapshot(&mut self, header: &Header, depth: Depth<'_>) {
        let index = header.instrument.index();
        let spare = header.flags & FLAG_SPARE != 0;
        if spare && !(self.markets[index].corrupt && self.markets[index].repair.joins(depth.ids.last)) {
            return EventSink::heartbeat(self, header);
        }
        let taken = self.begin(header);
        self.alive(header);
        if !self.markets[index].placed
            && let Some(best) = depth.bids.first().or(depth.asks.first())
        {
            self.place(header.instrument, best.price);
        }
        let market = &mut self.markets[index];
        let was_corrupt = core::mem::replace(&mut market.corrupt, false);
        let mut loaded = market.book.load(&depth);
        if spare {
            let mut behind = market.repair.behind(depth.ids.last);
            loaded = loaded.and_then(|()| behind.try_for_each(|held| market.book.apply(&held).map(drop)));
        }
        let book_ticks = self.clock.ticks();
        market.engine.message(header.event_ns, None);
        if loaded.is_err() || market.book.is_crossed() {
            let held = if spare { market.repair.newest() } else { 0 };
            self.corrupt(header, loaded.is_err(), held.max(depth.ids.last));
        } else {
            market.engine.snapshot(header.event_ns, &market.book);
            self.counters.healed += u64::from(was_corrupt);
            if was_corrupt && self.markets[index].quality() == BookQuality::Good {
                self.tell(header, BookQuality::Good);
            }
        }
        self.see_mid(header);
        self.publish(header, taken, book_ticks);
    }

    #[inline]
    fn quote(&mut self, header: &Header, quote: &Quote) {
        let taken = self.begin(header);
        let market = &mut self.markets[header.instrument.index()];
        market.engine.message(header.event_ns, Self::latency(header));
        market.engine.quote(header.event_ns, quote);
        if let Some(check) = &mut market.check {
            check.quote(quote);
        }
        let book_ticks = self.clock.ticks();
        self.publish(header, taken, book_ticks);
    }

    #[inline]
    fn trade(&mut self, header: &Header, trade: &Trade) {
        let taken = self.begin(header);
        let sell = header.flags & FLAG_SELL != 0;
        self.minutes.trade(header.instrument, header.event_ns, trade, sell);
        let market = &mut self.markets[header.instrument.index()];
        market.engine.message(header.event_ns, Self::latency(header));
        market.engine.trade(header.event_ns, trade, sell);
        if let Some(watch) = &mut self.watch {
            watch.trade(header, trade, sell);
        }
        if self.tops.as_ref().is_some_and(|tops| tops.wants(header.instrument)) {
            self.sink.traded(header, trade);
        }
        let book_ticks = self.clock.ticks();
        self.publish(header, taken, book_ticks);
    }

    fn mark(&mut self, header: &Header, mark: &Mark) {
        let taken = self.begin(header);
        let market = &mut self.markets[header.instrument.index()];
        market.engine.message(header.event_ns, Self::latency(header));
        market.engine.mark(mark);
        let (out, now) = (&mut self.sink, header.event_ns);
        let mut tell = |id, finished: &Finished| tell_minute(out, header, id, finished);
        self.minutes.mark(header.instrument, now, mark, &mut tell);
        let book_ticks = self.clock.ticks();
        self.publish(header, taken, book_ticks);
    }

    /// No feature is made of an option yet: it shows that time passes.
    fn option(&mut self, header: &Header, _: &OptionMark) {
        EventSink::heartbeat(self, header);
    }

    /// A bar belongs to no book: it shows that the source is alive, and what it says is for [`crate::bars`].
    fn bar(&mut self, header: &Header, bar: &Bar) {
        let taken = self.begin(header);
        self.counters.bars += 1;
        let out = &mut self.sink;
        let mut tell = |id, finished: &Finished| tell_minute(out, header, id, finished);
        self.minutes.bar(header.instrument, bar, &mut tell);
        self.markets[header.instrument.index()].engine.message(header.event_ns, None);
        self.publish(header, taken, taken);
    }

    #[cold]
    fn status(&mut self, header: &Header, status: &Status) {
        let taken = self.begin(header);
        let market = &mut self.markets[header.instrument.index()];
        let quality = u8::try_from(status.quality).ok().and_then(BookQuality::from_repr);
        if header.flags & FLAG_SESSION != 0 {
            market.engine.restart();
            market.engine.advance(header.event_ns, false);
            market.book.clear();
            (market.corrupt, market.stale) = (false, false);
        }
        market.feed_quality = quality.unwrap_or(BookQuality::Building);
        if market.feed_quality != BookQuality::Good {
            market.deadline = i64::MAX;
            if let Some(check) = &mut market.check {
                check.forget_book();
            }
        }
        let book_ticks = self.clock.ticks();
        // The sequence may be good again and the book still wrong: what heals it tells.
        self.see_mid(header);
        let wrong = self.markets[header.instrument.index()].quality() == BookQuality::Crossed;
        if !wrong {
            self.sink.status(header, status);
        }
        self.publish(header, taken, book_ticks);
    }

    fn heartbeat(&mut self, header: &Header) {
        if header.event_ns >= self.next_deadline {
            self.fire(header);
        }
        self.sink.heartbeat(header);
    }
}
