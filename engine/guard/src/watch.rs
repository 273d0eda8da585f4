//! What the guard keeps of one instrument.

use tidegate_wire::event::BookQuality;
use tidegate_wire::{InstrumentId, Venue};

use crate::breaker::{Breaker, Limits};
use crate::profile::Profile;
use crate::rules::{RULE_COUNT, RULES};
use crate::scopes::MANUAL_SETTINGS;
use crate::stage::Strategy;
use crate::tuning::Tuned;

/// One instrument's breakers.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) breakers: [Breaker; RULE_COUNT],
    pub(crate) manual: Breaker,
    pub(crate) limits: [Limits; RULE_COUNT],
    /// When each rule may trip first, ns; `i64::MAX` for rules that are off or before the first event.
    pub(crate) armed_from: [i64; RULE_COUNT],
    pub(crate) profile: usize,
    /// Thresholds in force, and where they come from.
    pub(crate) tuned: Tuned,
    /// From which volume ratio on volume is high.
    pub(crate) high_volume_ratio: f64,
    /// Until when volume counts as high, ns of event time; 0 while it does not.
    pub(crate) high_volume_until: i64,
    pub(crate) venue: usize,
    pub(crate) strategies: Vec<usize>,
    /// Quality of the book behind the last vector.
    pub(crate) quality: BookQuality,
    /// Breakers of this instrument that are open.
    pub(crate) open: u32,
    pub(crate) started: bool,
}

impl Watch {
    pub(crate) fn new(id: InstrumentId, venue: Venue, profiles: &[Profile], strategies: &[Strategy]) -> Self {
        let profile = &profiles[venue as usize];
        let member = |(_, s): &(usize, &Strategy)| s.instruments.contains(&id);
        Self {
            breakers: core::array::from_fn(|rule| Breaker::new(&profile.rules[rule])),
            manual: Breaker::new(&MANUAL_SETTINGS),
            limits: core::array::from_fn(|rule| Limits {
                direction: RULES[rule].direction,
                threshold: profile.rules[rule].threshold,
                release: profile.rules[rule].release,
                cooling_ns: profile.rules[rule].cooling_ms as i64 * 1_000_000,
            }),
            armed_from: [i64::MAX; RULE_COUNT],
            profile: venue as usize,
            tuned: Tuned::new(profile),
            high_volume_ratio: profile.conditions.high_volume_ratio,
            high_volume_until: 0,
            venue: venue as usize,
            strategies: strategies.iter().enumerate().filter(member).map(|(index, _)| index).collect(),
            quality: BookQuality::Building,
            open: 0,
            started: false,
        }
    }

    /// What was measured before says nothing about what comes: rules wait for their warm-up again, no breach goes on.
    #[cold]
    pub(crate) fn begin_session(&mut self) {
        self.started = false;
        self.breakers.iter_mut().for_each(Breaker::forget_breach);
    }

    /// The instrument's first event: rules arm when their warm-up is over.
    #[cold]
    pub(crate) fn start(&mut self, now: i64, profiles: &[Profile]) {
        self.started = true;
        for (armed, settings) in self.armed_from.iter_mut().zip(&profiles[self.profile].rules) {
            if settings.enabled {
                *armed = now.saturating_add(settings.warmup_ms as i64 * 1_000_000);
            }
        }
    }
}
