//! What the desk tells: clocks that are off, an account's state, where everything stands.

use std::time::Duration;

use tidegate_wire::clock::realtime_ns;

use super::super::clock::HostClock;
use super::super::dialect::AccountData;
use super::super::link::Note;
use super::super::status::{AccountStatus, LinkStatus, SessionEvent, SessionStatus, cadence_s};
use super::{Desk, name};

impl Desk {
    pub(super) fn account(&mut self, index: usize, data: AccountData) {
        let venue = self.markets[self.entries[index].plan.market].plan.venue;
        let AccountData { channel, rows, venue_ns } = data;
        let now = self.now();
        let known = self.accounts.remove(&(venue, channel));
        let (pushes, due) = known.map_or((0, now), |(status, _, due)| (status.pushes, due));
        let status = AccountStatus { rows, venue_ns, age_ms: 0, pushes: pushes + 1 };
        self.accounts.insert((venue, channel), (status, now, due));
    }

    pub(super) fn check_clock(&mut self, market: usize) {
        let bound = i64::try_from(self.settings.clock_bound.as_nanos()).unwrap_or(i64::MAX);
        let Some(skew) = self.markets[market].skew.skew() else { return };
        let off = skew.offset_ns.abs().saturating_sub(skew.bound_ns) > bound;
        let changed = core::mem::replace(&mut self.markets[market].clock_told, off) != off;
        let moved = (skew.offset_ns - self.markets[market].told_ns).abs().saturating_sub(skew.bound_ns) > bound;
        if changed || off && moved {
            self.markets[market].told_ns = skew.offset_ns;
            let (offset, error) = (skew.offset_ns as f64 / 1e6, skew.bound_ns as f64 / 1e6);
            let what = if off { "is off by" } else { "is back within its bound:" };
            self.market_event(market, "clock", format!("the venue's clock {what} {offset:.3} ms (+-{error:.3})"));
        }
    }

    /// Tells the account's channels at their cadence, with the age of the last push.
    pub(super) fn report_accounts(&mut self, now: Duration) {
        let mut events = Vec::new();
        for ((venue, channel), (status, pushed, due)) in &mut self.accounts {
            if now < *due {
                continue;
            }
            *due = now + Duration::from_secs(cadence_s(*channel));
            status.age_ms = now.saturating_sub(*pushed).as_millis() as u64;
            let name: &'static str = (*channel).into();
            let rows = serde_json::to_string(&status.rows).unwrap_or_default();
            let detail = format!("{{\"channel\":\"{name}\",\"age_ms\":{},\"rows\":{rows}}}", status.age_ms);
            let (at_ns, connection) = (realtime_ns(), "private".to_owned());
            events.push(SessionEvent { at_ns, venue: *venue, connection, kind: "account", detail });
        }
        events.into_iter().for_each(|event| self.emit(event));
    }

    pub(super) fn renew_status(&mut self) {
        let (now, now_ticks) = (self.now(), self.clock.ticks());
        let mut status = SessionStatus { host: HostClock::read(), events: self.events.clone(), ..Default::default() };
        status.texts_lost = self.board.texts_lost();
        for entry in &self.entries {
            let slot = entry.slot.map(|(slot, _)| slot);
            let (frames, bytes) = slot.map_or((0, 0), |slot| self.board.traffic(slot));
            let heard_ms = slot.map(|slot| self.clock.between(self.board.heard(slot), now_ticks) / 1_000_000);
            status.links.push(LinkStatus {
                venue: self.markets[entry.plan.market].plan.venue,
                name: name(&entry.plan),
                state: entry.link.state(),
                failed_attempts: entry.link.failed_attempts(),
                heard_ms,
                frames,
                bytes,
                topics: entry.plan.topics.len(),
                connections: entry.connections,
            });
        }
        for market in &self.markets {
            status.clocks.extend(market.skew.skew().map(|skew| (market.plan.venue, skew)));
        }
        for ((venue, channel), (account, pushed, _)) in &self.accounts {
            let age_ms = now.saturating_sub(*pushed).as_millis() as u64;
            let account = AccountStatus { age_ms, ..account.clone() };
            status.accounts.entry(*venue).or_default().insert(*channel, account);
        }
        if let Ok(mut shared) = self.status.lock() {
            *shared = status;
        }
    }
}

/// Kind and words of a note.
pub(super) fn words(note: Note) -> (&'static str, String) {
    match note {
        Note::Lost { reason, retry_in: Some(wait) } => ("lost", format!("{reason}; next attempt in {wait:.1?}")),
        Note::Lost { reason, retry_in: None } => ("lost", format!("{reason}; no attempt is left")),
        Note::Refused { code, text } => ("refused", format!("{code} {text}")),
        Note::Dropped(key) => ("dropped", format!("{key}: the venue does not have it")),
        Note::Unacknowledged(key) => ("unacknowledged", key),
        Note::Silent(since) => ("silent", format!("nothing for {since:.1?}")),
        Note::Idle(key) => ("idle", key),
        Note::Resubscribed(key) => ("resubscribed", key),
    }
}
