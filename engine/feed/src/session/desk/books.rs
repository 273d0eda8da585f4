//! Books that need something: a snapshot, a new subscription, a new connection.

use std::time::Duration;

use tidegate_wire::InstrumentId;

use super::super::dialect::{Bootstrap, Channel};
use super::super::hub::Order;
use super::super::link::LinkState;
use super::super::rest_desk::{Done, Job};
use super::{Asked, Desk, Entry};
use crate::frame::PADDING;

/// A book that was just subscribed gets its snapshot within this; else it is asked for anew.
const FIRST_SNAPSHOT: Duration = Duration::from_secs(3);
/// REST snapshots are asked for when the stream has begun, or after this.
const STREAM_BEGINS: Duration = Duration::from_millis(500);

/// REST is some way behind the stream (OKX: 50 ms): asked sooner after a gap it would answer with a book from before.
const REST_LAG: Duration = Duration::from_millis(100);
/// A book that REST does not heal in this time is subscribed anew as well: its stream may send snapshots after all.
const REST_PATIENCE: Duration = Duration::from_secs(15);
/// Longest pause between two subscriptions of a book that brings nothing.
const IDLE_PAUSE_MAX: Duration = Duration::from_secs(3600);

/// When things happened to a book that waits for a snapshot.
#[derive(Clone, Copy)]
struct Times {
    /// It was subscribed.
    since: Duration,
    /// A frame of it came last.
    heard: Duration,
    /// It began to wait.
    waiting: Duration,
    now: Duration,
}

/// What such a book needs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    /// A snapshot from REST.
    snapshot: bool,
    /// A new subscription.
    subscription: bool,
    /// Its subscription has just been found to have begun without a snapshot.
    found_bare: bool,
}

impl Times {
    /// `bare`: whether this subscription is known to have begun without a snapshot, and whether any of its market has.
    fn needs(self, bootstrap: Bootstrap, bare: (bool, bool)) -> Needs {
        let Self { since, heard, waiting, now } = self;
        let (broke, begun) = (waiting > since, heard > since);
        let (snapshot, anew) = (Needs { snapshot: true, ..Needs::default() }, now > since + FIRST_SNAPSHOT);
        let subscription = Needs { subscription: true, ..Needs::default() };
        match bootstrap {
            Bootstrap::Rest if begun || now > since + STREAM_BEGINS => snapshot,
            Bootstrap::StreamElseRest if bare.0 => {
                let subscription = now > waiting.max(since) + REST_PATIENCE;
                Needs { snapshot: now > waiting + REST_LAG, subscription, ..Needs::default() }
            }
            // A snapshot would have been the first frame. One of another connection may have come before it.
            Bootstrap::StreamElseRest if !broke && begun && (bare.1 || now > since + STREAM_BEGINS) => {
                Needs { found_bare: true, ..snapshot }
            }
            // The first frame comes with the first change: subscribing anew would not bring it sooner.
            Bootstrap::StreamElseRest if !broke && bare.1 => Needs::default(),
            // It broke after it was subscribed, or its first snapshot does not come.
            Bootstrap::Stream | Bootstrap::StreamElseRest if broke || anew => subscription,
            _ => Needs::default(),
        }
    }
}

impl Desk {
    pub(super) fn books_good(&self, index: usize) -> bool {
        let mut books = self.entries[index].plan.topics.iter().filter(|topic| topic.channel == Some(Channel::Book));
        books.all(|topic| self.board.waiting_since(topic.instrument).is_none())
    }

    /// Books of a connection that wait for a snapshot, or that bring nothing.
    pub(super) fn realign(&mut self, index: usize, now: Duration) {
        let entry = &self.entries[index];
        let market = entry.plan.market;
        let bootstrap = self.markets[market].plan.dialect.bootstrap();
        let idle_after = self.settings.idle_after;
        let (mut anew, mut idle, mut ask, mut found) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (topic, what, since) in entry.link.subscribed() {
            if what.channel != Some(Channel::Book) {
                continue;
            }
            let heard_ticks = self.board.book_heard(what.instrument);
            let heard = if heard_ticks == 0 { Duration::ZERO } else { self.time_of(heard_ticks) };
            if !idle_after.is_zero() && now > heard.max(since) + idle_after {
                idle.push((topic, what.instrument, what.key.clone()));
            } else if self.idle.get(&what.instrument).is_some_and(|(not_before, pause)| now > *not_before + 4 * *pause)
            {
                // It has come for long: the next silence is taken seriously at once.
                self.idle.remove(&what.instrument);
            }
            let Some(waiting) = self.board.waiting_since(what.instrument) else { continue };
            let waiting = self.time_of(waiting);
            let times = Times { since, heard, waiting, now };
            let bare = (entry.bare.get(&topic) == Some(&since), self.markets[market].bare);
            let Needs { snapshot, subscription, found_bare } = times.needs(bootstrap, bare);
            anew.extend(subscription.then_some(topic));
            ask.extend(snapshot.then_some(what.instrument));
            found.extend(found_bare.then(|| (topic, since, what.key.clone())));
        }
        for (topic, since, key) in found {
            self.markets[market].bare = true;
            self.entries[index].bare.insert(topic, since);
            self.event(index, "no_snapshot", key);
        }
        for instrument in ask {
            self.ask_snapshot(market, instrument, now);
        }
        for (topic, instrument, key) in idle {
            // Some books are quiet for hours: what was subscribed anew in vain is left alone twice as long.
            let (not_before, pause) = self.idle.get(&instrument).copied().unwrap_or((Duration::ZERO, idle_after));
            if now < not_before {
                continue;
            }
            self.idle.insert(instrument, (now + pause, (2 * pause).min(IDLE_PAUSE_MAX)));
            let entry = &mut self.entries[index];
            let before = entry.link.state();
            entry.link.resync(now, topic);
            if before != entry.link.state() {
                self.event(index, "idle", key);
            }
        }
        for topic in anew {
            // One copy is enough: its snapshot is the others' too.
            if self.is_first_copy(index, topic) {
                self.entries[index].link.resync(now, topic);
            }
        }
        self.act(index);
    }

    /// Whether no earlier connection has this topic, subscribed or about to be.
    fn is_first_copy(&self, index: usize, topic: usize) -> bool {
        let key = &self.entries[index].plan.topics[topic].key;
        let market = self.entries[index].plan.market;
        let has = |entry: &Entry| entry.plan.market == market && entry.link.carries(key);
        !self.entries[..index].iter().any(has)
    }

    fn ask_snapshot(&mut self, market: usize, instrument: InstrumentId, now: Duration) {
        let plan = &self.markets[market].plan;
        let first = Asked { pause: Duration::from_secs(1), ..Asked::default() };
        let asked = self.snapshots.entry(instrument).or_insert(first);
        if asked.under_way || now < asked.not_before {
            return;
        }
        // Twice in a row for one book means that the first did not join: the pause grows, and shrinks with time.
        let again = now < asked.not_before + 4 * asked.pause && asked.not_before > Duration::ZERO;
        asked.pause = if again { (asked.pause * 2).min(Duration::from_secs(30)) } else { first.pause };
        let symbol = self.symbols.get(instrument.index());
        let requests = symbol.map(|symbol| plan.dialect.snapshots(symbol)).unwrap_or_default();
        if !requests.is_empty() {
            asked.under_way = self.markets[market].rest.ask(Job::Snapshot(instrument, requests));
        }
    }

    /// An answer of the REST thread.
    pub(super) fn answered(&mut self, market: usize, done: Done) {
        match done {
            Done::Time { sent_ns, answered_ns, venue_ns } => {
                self.markets[market].skew.add(sent_ns, answered_ns, venue_ns);
                self.check_clock(market);
            }
            Done::Snapshot(instrument, mut body) => {
                let now = self.now();
                if let Some(asked) = self.snapshots.get_mut(&instrument) {
                    (asked.under_way, asked.not_before) = (false, now + asked.pause);
                }
                self.market_event(market, "snapshot", format!("{} bytes", body.len()));
                body.resize(body.len() + PADDING, 0);
                let _ = self.orders.send(Order::Frame(self.markets[market].plan.venue, instrument, body));
            }
            Done::Failed(Job::Time, reason) => self.market_event(market, "clock_failed", reason),
            Done::Failed(Job::Snapshot(instrument, _), reason) => {
                let now = self.now();
                if let Some(asked) = self.snapshots.get_mut(&instrument) {
                    (asked.under_way, asked.not_before) = (false, now + asked.pause);
                }
                self.market_event(market, "snapshot_failed", reason);
            }
        }
    }

    /// Closes connections whose replacement is good, and forgets those that ended.
    pub(super) fn replace(&mut self, now: Duration) {
        let done: Vec<(u64, u64)> = (self.entries.iter())
            .filter(|entry| entry.link.state() == LinkState::Connected && self.carries(entry, now))
            .filter_map(|entry| Some((entry.id, entry.replaces?)))
            .collect();
        for (new, old) in done {
            if let Some(index) = self.entries.iter().position(|entry| entry.id == new) {
                self.entries[index].replaces = None;
                self.event(index, "rotated", "the new connection has taken over".into());
            }
            if let Some(index) = self.entries.iter().position(|entry| entry.id == old) {
                let entry = self.entries.swap_remove(index);
                if let Some((slot, _)) = entry.slot {
                    let _ = self.orders.send(Order::Close(slot, 1000, "replaced"));
                }
            }
        }
        // One that has used up its attempts replaces nothing: the old one asks for another.
        while let Some(index) =
            self.entries.iter().position(|entry| entry.replaces.is_some() && entry.link.state() == LinkState::Error)
        {
            self.event(index, "rotation_failed", "the old connection stays and asks for another".into());
            let failed = self.entries.swap_remove(index);
            if let Some(old) = self.entries.iter_mut().find(|entry| Some(entry.id) == failed.replaces) {
                old.link.not_replaced();
            }
        }
        // What was to be replaced and has been lost first needs no attempts of its own.
        let replaced: Vec<u64> = self.entries.iter().filter_map(|entry| entry.replaces).collect();
        let gone = |entry: &Entry| entry.slot.is_none() && replaced.contains(&entry.id);
        let lost: Vec<u64> = self.entries.iter().filter(|entry| gone(entry)).map(|entry| entry.id).collect();
        self.entries.retain(|entry| !lost.contains(&entry.id));
        for entry in &mut self.entries {
            entry.replaces = entry.replaces.filter(|old| !lost.contains(old));
        }
    }

    /// Whether a connection has brought frames for a while.
    fn carries(&self, entry: &Entry, now: Duration) -> bool {
        let settled = |since: Duration| now.saturating_sub(since) > Duration::from_secs(2);
        entry.slot.is_some_and(|(slot, _)| self.board.traffic(slot).0 > entry.plan.topics.len() as u64)
            && entry.link.subscribed().all(|(_, _, since)| settled(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a book needs that was subscribed after 10 s; times in ms.
    fn needs(bootstrap: Bootstrap, [heard, waiting, now]: [u64; 3], bare: (bool, bool)) -> &'static str {
        let ms = Duration::from_millis;
        let times = Times { since: ms(10_000), heard: ms(heard), waiting: ms(waiting), now: ms(now) };
        match times.needs(bootstrap, bare) {
            Needs { snapshot: true, subscription: true, .. } => "both",
            Needs { snapshot: true, found_bare: true, .. } => "found",
            Needs { snapshot: true, .. } => "snapshot",
            Needs { subscription: true, .. } => "subscription",
            _ => "",
        }
    }

    #[test]
    fn books_get_what_their_venue_begins_them_with() {
        let no = (false, false);
        for bootstrap in [Bootstrap::Stream, Bootstrap::StreamElseRest] {
            assert_eq!(needs(bootstrap, [9_000, 1, 10_400], no), "", "its snapshot is under way");
            assert_eq!(needs(bootstrap, [9_000, 1, 13_001], no), "subscription", "it does not come");
            assert_eq!(needs(bootstrap, [10_900, 11_000, 11_001], no), "subscription", "it broke");
        }
        assert_eq!(needs(Bootstrap::Stream, [10_100, 1, 12_000], no), "");
        assert_eq!(needs(Bootstrap::Rest, [9_000, 1, 10_400], no), "");
        assert_eq!(needs(Bootstrap::Rest, [10_001, 1, 10_002], no), "snapshot");
        assert_eq!(needs(Bootstrap::Rest, [0, 1, 10_501], no), "snapshot");
    }

    #[test]
    fn a_stream_that_begins_without_a_snapshot_is_found_out() {
        let of = |times, bare| needs(Bootstrap::StreamElseRest, times, bare);
        let (no, this, other) = ((false, false), (true, true), (false, true));
        assert_eq!(of([10_100, 1, 10_200], no), "", "the frame may be of another connection");
        assert_eq!(of([10_100, 1, 10_501], no), "found");
        assert_eq!(of([10_100, 1, 10_101], other), "found", "as others of this market");
        assert_eq!(of([10_100, 1, 10_101], this), "snapshot");
        assert_eq!(of([20_000, 20_000, 20_099], this), "", "a gap that REST does not know of yet");
        assert_eq!(of([20_000, 20_000, 20_101], this), "snapshot");
        assert_eq!(of([20_000, 20_000, 20_001], other), "subscription", "a gap of one that had a snapshot");
        assert_eq!(of([50_000, 20_000, 35_001], this), "both", "REST does not help");
        assert_eq!(of([9_000, 1, 60_000], other), "", "its first change has not come yet");
    }
}
