//! Thresholds that move: advice, its end, conditions.

use tidegate_market::features::schema as f;
use tidegate_wire::InstrumentId;
use tidegate_wire::advice::{Adjustment, Advice, Origin};
use tidegate_wire::decision::DecisionSink;
use tidegate_wire::feature::FeatureBody;
use xxhash_rust::xxh3::xxh3_64;

use super::GuardStage;
use crate::conditions::{Calendar, Condition, of_time};
use crate::tuning::Moment;
use crate::watch::Watch;

/// Bits of conditions that follow from time.
const TIMED: u64 = Condition::Weekend.bit() | Condition::Funding.bit() | Condition::ScheduledEvent.bit();

impl<D: DecisionSink> GuardStage<D> {
    /// Scheduled events that count as conditions; before the first event.
    pub fn set_calendar(&mut self, calendar: Calendar) {
        self.calendar = calendar;
    }

    /// Number of the event that comes next, from 1: what is adopted now holds from it on.
    #[inline(always)]
    pub const fn next_event(&self) -> u64 {
        self.events + 1
    }

    /// Event time of the newest event or timer, ns since the Unix epoch; 0 before the first.
    #[inline(always)]
    pub const fn now(&self) -> i64 {
        self.now
    }

    /// Levels in force of an instrument, by [`Target`](tidegate_wire::advice::Target).
    pub fn tuned(&self, instrument: InstrumentId) -> Option<[f64; tidegate_wire::advice::TARGETS]> {
        self.watches.get(instrument.index()).map(|watch| watch.tuned.current.tuned())
    }

    /// Takes a model's advice at event time `now`, before the next event; whether it moved levels or renewed them.
    ///
    /// Advice that is too old, not newer than what was taken before, from the future or for nobody is counted and
    /// changes nothing.
    pub fn adopt(&mut self, advice: &Advice, now: i64) -> bool {
        let index = advice.instrument.index();
        // First, so that advice that changes nothing moves no time either: nobody records it.
        let takes = |watch: &&Watch| {
            watch.started && {
                let profile = &self.profiles[watch.profile];
                watch.tuned.takes(advice, profile, now.max(self.now))
            }
        };
        if self.watches.get(index).filter(takes).is_none() {
            self.counters.refused_advice += 1;
            return false;
        }
        self.advance_between(now);
        let (event, event_ns) = (self.next_event(), self.now);
        let moment = Moment { event, event_ns, instrument: advice.instrument };
        let taken = self.watches.get_mut(index).filter(|watch| watch.started).and_then(|watch| {
            let profile = &self.profiles[watch.profile];
            watch.tuned.advise(advice, profile, moment)
        });
        let Some(adjustment) = taken else {
            self.counters.refused_advice += 1;
            return false;
        };
        self.next_deadline = self.next_deadline.min(adjustment.until_ns);
        self.adjusted(index, adjustment);
        true
    }

    pub(super) fn expire(&mut self, index: usize, deadline: i64) {
        let (event, instrument) = (self.event_of_timer(), InstrumentId(index as u16));
        let adjustment = self.watches[index].tuned.expire(Moment { event, event_ns: deadline, instrument });
        self.adjusted(index, adjustment);
    }

    /// Timers fire before the event that passes them. That one is counted already, unless time moves between events.
    const fn event_of_timer(&self) -> u64 {
        self.events + self.between as u64
    }

    /// Moves event time between two events.
    pub(super) fn advance_between(&mut self, now: i64) {
        self.between = true;
        self.advance(now);
        self.between = false;
    }

    /// Conditions that follow from time may have changed.
    pub(super) fn time_passed(&mut self, now: i64) {
        self.timed_until = i64::MAX;
        for index in 0..self.watches.len() {
            let settings = &self.profiles[self.watches[index].profile].conditions;
            let (bits, until) = of_time(settings, &self.calendar, now);
            self.timed_until = self.timed_until.min(until);
            self.set_conditions(index, TIMED, bits, now);
        }
    }

    pub(super) fn news(&mut self, there_is: bool) {
        let bits = if there_is { Condition::News.bit() } else { 0 };
        for index in 0..self.watches.len() {
            self.set_conditions(index, Condition::News.bit(), bits, self.now);
        }
    }

    #[inline(always)]
    pub(super) fn see_volume(&mut self, index: usize, body: &FeatureBody, now: i64) {
        let watch = &mut self.watches[index];
        let high = body.get(f::VOLUME_RATIO).is_some_and(|ratio| ratio >= watch.high_volume_ratio);
        if high || watch.high_volume_until != 0 {
            self.volume_is_high(index, high, now);
        }
    }

    #[cold]
    fn volume_is_high(&mut self, index: usize, high: bool, now: i64) {
        let watch = &mut self.watches[index];
        let hold_s = self.profiles[watch.profile].conditions.high_volume_hold_s;
        if high {
            watch.high_volume_until = now + i64::from(hold_s) * 1_000_000_000;
        } else if now >= watch.high_volume_until {
            watch.high_volume_until = 0;
        }
        let bits = if watch.high_volume_until != 0 { Condition::HighVolume.bit() } else { 0 };
        self.set_conditions(index, Condition::HighVolume.bit(), bits, now);
    }

    fn set_conditions(&mut self, index: usize, mask: u64, bits: u64, now: i64) {
        let (event, instrument) = (self.event_of_timer(), InstrumentId(index as u16));
        let watch = &mut self.watches[index];
        let all = watch.tuned.conditions & !mask | bits;
        let moment = Moment { event, event_ns: now, instrument };
        let profile = &self.profiles[watch.profile];
        if let Some(adjustment) = watch.tuned.conditions(all, profile, moment) {
            self.adjusted(index, adjustment);
        }
    }

    /// Thresholds have changed: puts them in force and records it.
    #[cold]
    fn adjusted(&mut self, index: usize, mut adjustment: Adjustment) {
        self.load_limits(index);
        let counters = &mut self.counters;
        counters.adjustments += 1;
        match Origin::from_repr(adjustment.origin) {
            Some(Origin::Advised) => counters.advised += 1,
            Some(Origin::Expired) => counters.expired_advice += 1,
            _ => {}
        }
        adjustment.sequence = counters.adjustments;
        // What it took differs from run to run; what was decided must not.
        let timeless = Adjustment { advice: adjustment.advice.timeless(), ..adjustment };
        self.digest_more(xxh3_64(bytemuck::bytes_of(&timeless)));
        self.sink.adjustment(&adjustment);
    }
}
