//! How far a model's advice may move thresholds: margin, envelope, slew limit, time to live.
//!
//! A model only advises. What it says is multiplied by a margin, held inside an envelope around the static profile (as
//! conditions have changed it), and approached no faster than the slew limit allows. Advice that is not renewed within
//! its time to live is dropped, and the static profile holds at once.

use serde::{Deserialize, Serialize};
use tidegate_wire::InstrumentId;
use tidegate_wire::advice::{ADVICE_UNITS, Adjustment, Advice, Clamp, Origin, TARGETS, Target};

use crate::profile::{Profile, Settings};
use crate::thresholds::{TUNED_RULES, ThresholdSet};

/// Bounds of a level, as factors on the static one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Smallest factor, above 0 and at most 1.
    pub lowest: f64,
    /// Largest factor, at least 1.
    pub highest: f64,
}

/// What a model may do to a profile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tuning {
    /// Whether models may move thresholds at all.
    pub enabled: bool,
    /// Factor on the predicted quantile, in [0.1, 10]; for the imbalance, which ends at 1, on what is left up to there.
    pub margin: f64,
    /// How fast a level may move towards more caution, part of the static level a second, above 0.
    pub tighten_per_s: f64,
    /// How fast it may move towards less, part of the static level a second, above 0.
    pub loosen_per_s: f64,
    /// How long advice holds unless it is renewed, ms, in [1, 3,600,000].
    pub ttl_ms: u64,
    /// Bounds of the volatility threshold.
    pub volatility: Envelope,
    /// Bounds of the spread threshold.
    pub spread: Envelope,
    /// Bounds of the imbalance threshold.
    pub imbalance: Envelope,
    /// Bounds of the latency threshold.
    pub latency: Envelope,
    /// Bounds of cooling periods.
    pub cooling: Envelope,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            enabled: true,
            margin: 1.5,
            tighten_per_s: 0.1,
            loosen_per_s: 0.02,
            ttl_ms: 5_000,
            volatility: Envelope { lowest: 0.25, highest: 1.5 },
            spread: Envelope { lowest: 0.4, highest: 1.5 },
            // A ratio ends at 1: a model may only be more careful than the profile.
            imbalance: Envelope { lowest: 0.9, highest: 1.0 },
            latency: Envelope { lowest: 0.2, highest: 1.5 },
            cooling: Envelope { lowest: 0.5, highest: 4.0 },
        }
    }
}

impl Tuning {
    /// Whether the settings make sense.
    ///
    /// # Errors
    /// The key, its value and what was expected.
    pub fn check(&self) -> Result<(), String> {
        if !(0.1..=10.0).contains(&self.margin) {
            return Err(format!("tuning.margin is {}, expected a number in [0.1, 10]", self.margin));
        }
        for (key, value) in [("tighten_per_s", self.tighten_per_s), ("loosen_per_s", self.loosen_per_s)] {
            if !(value > 0.0 && value <= 1e6) {
                return Err(format!("tuning.{key} is {value}, expected a number above 0"));
            }
        }
        if !(1..=3_600_000).contains(&self.ttl_ms) {
            return Err(format!("tuning.ttl_ms is {}, expected 1 to 3600000", self.ttl_ms));
        }
        for target in [Target::Volatility, Target::Spread, Target::Imbalance, Target::Latency, Target::Recovery] {
            let (Envelope { lowest, highest }, name) = (self.envelope(target), target.name());
            if !(lowest > 0.0 && lowest <= 1.0) {
                return Err(format!("tuning.{name}.lowest is {lowest}, expected above 0 and at most 1"));
            }
            if !(1.0..=100.0).contains(&highest) {
                return Err(format!("tuning.{name}.highest is {highest}, expected in [1, 100]"));
            }
        }
        Ok(())
    }

    /// The envelope of a target.
    pub fn envelope(&self, target: Target) -> Envelope {
        match target {
            Target::Volatility => self.volatility,
            Target::Spread => self.spread,
            Target::Imbalance => self.imbalance,
            Target::Latency => self.latency,
            Target::Recovery => self.cooling,
        }
    }

    /// Time to live, ns.
    pub(crate) const fn ttl_ns(&self) -> i64 {
        self.ttl_ms as i64 * 1_000_000
    }
}

/// Levels of one instrument and where they come from.
#[derive(Clone, Debug)]
pub(crate) struct Tuned {
    /// The profile's own set.
    profile: ThresholdSet,
    /// The same under the conditions in force.
    base: ThresholdSet,
    /// What is in force.
    pub(crate) current: ThresholdSet,
    /// Bits of the conditions.
    pub(crate) conditions: u64,
    /// When levels were moved last, ns of event time; slew counts from it.
    moved_ns: i64,
    /// Until when the advice in force holds, ns of event time; `i64::MAX` without one.
    pub(crate) until_ns: i64,
    /// Newest moment that advice was taken for.
    newest_ns: i64,
    /// Changes so far.
    pub(crate) version: u64,
}

/// Where and when a change happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) event: u64,
    pub(crate) event_ns: i64,
    pub(crate) instrument: InstrumentId,
}

impl Tuned {
    pub(crate) fn new(profile: &Profile) -> Self {
        let set = ThresholdSet::of_profile(profile);
        Self {
            profile: set,
            base: set,
            current: set,
            conditions: 0,
            moved_ns: 0,
            until_ns: i64::MAX,
            newest_ns: i64::MIN,
            version: 0,
        }
    }

    /// The set that holds without a model.
    #[cfg(test)]
    const fn base(&self) -> &ThresholdSet {
        &self.base
    }

    fn record(&mut self, at: Moment, origin: Origin, before: [i64; TARGETS], clamps: [u8; TARGETS]) -> Adjustment {
        self.version += 1;
        Adjustment {
            sequence: 0,
            event: at.event,
            event_ns: at.event_ns,
            until_ns: if self.until_ns == i64::MAX { 0 } else { self.until_ns },
            advice: bytemuck::Zeroable::zeroed(),
            before,
            after: self.current.tuned_fixed(),
            clamps,
            origin: origin as u8,
            instrument: at.instrument,
            conditions: self.conditions,
        }
    }

    /// Whether advice would be taken at event time `now`: neither too old, nor older than what is in force, nor of a
    /// moment to come.
    pub(crate) fn takes(&self, advice: &Advice, profile: &Profile, now: i64) -> bool {
        let until = advice.event_ns.saturating_add(profile.tuning.ttl_ns());
        profile.tuning.enabled && until > now && advice.event_ns > self.newest_ns && advice.event_ns <= now
    }

    /// Takes advice, if it is to be taken.
    pub(crate) fn advise(&mut self, advice: &Advice, profile: &Profile, at: Moment) -> Option<Adjustment> {
        if !self.takes(advice, profile, at.event_ns) {
            return None;
        }
        let tuning = &profile.tuning;
        let until = advice.event_ns.saturating_add(tuning.ttl_ns());
        let before = self.current.tuned_fixed();
        // Without an earlier move, advice may move levels as far as one time to live allows.
        let since = if self.moved_ns == 0 { i64::MAX } else { at.event_ns - self.moved_ns };
        let seconds = since.clamp(0, tuning.ttl_ns()) as f64 * 1e-9;
        let static_levels = self.base.tuned();
        let (mut levels, mut clamps) = (self.current.tuned(), [0; TARGETS]);
        for target in TARGETS_IN_ORDER {
            let index = target as usize;
            let base = static_levels[index];
            let wanted = wanted(advice, target, tuning, &profile.rules);
            (levels[index], clamps[index]) = step(levels[index], wanted, base, target, tuning, seconds);
        }
        self.put(levels);
        (self.moved_ns, self.newest_ns, self.until_ns) = (at.event_ns, advice.event_ns, until);
        Some(Adjustment { advice: *advice, ..self.record(at, Origin::Advised, before, clamps) })
    }

    /// The advice in force is too old.
    pub(crate) fn expire(&mut self, at: Moment) -> Adjustment {
        let before = self.current.tuned_fixed();
        (self.until_ns, self.moved_ns) = (i64::MAX, at.event_ns);
        self.current = self.base;
        self.record(at, Origin::Expired, before, [0; TARGETS])
    }

    /// Other conditions hold; `None` when they change nothing.
    pub(crate) fn conditions(&mut self, bits: u64, profile: &Profile, at: Moment) -> Option<Adjustment> {
        if bits == self.conditions {
            return None;
        }
        let before = self.current.tuned_fixed();
        self.conditions = bits;
        let base = profile.conditions.apply(&self.profile, bits);
        if base == self.base {
            return None;
        }
        let old_levels = self.base.tuned();
        self.base = base;
        let advised = self.current.tuned();
        self.current = self.base;
        let mut clamps = [0; TARGETS];
        if self.until_ns != i64::MAX {
            // Advice in force moves with the profile it was given for: who tightens the one tightens the other.
            let (mut levels, static_levels) = (advised, self.base.tuned());
            for target in TARGETS_IN_ORDER {
                let index = target as usize;
                let level = levels[index] * static_levels[index] / old_levels[index];
                (levels[index], clamps[index]) = hold(level, static_levels[index], target, &profile.tuning);
            }
            self.put(levels);
        }
        Some(self.record(at, Origin::Conditions, before, clamps))
    }

    /// Puts tuned levels over the static set, rounded to what records hold.
    fn put(&mut self, levels: [f64; TARGETS]) {
        let levels = levels.map(|level| (level * ADVICE_UNITS).round() / ADVICE_UNITS);
        self.current = self.base;
        TUNED_RULES.iter().for_each(|(target, rule)| self.current.set(*rule, levels[*target as usize]));
        self.current.cooling_factor = levels[Target::Recovery as usize];
    }
}

const TARGETS_IN_ORDER: [Target; TARGETS] =
    [Target::Volatility, Target::Spread, Target::Imbalance, Target::Latency, Target::Recovery];

/// The level that advice asks for, before any bound.
fn wanted(advice: &Advice, target: Target, tuning: &Tuning, rules: &[Settings]) -> f64 {
    let advised = advice.levels[target as usize] as f64 / ADVICE_UNITS;
    let level = advised * tuning.margin;
    match target {
        // A ratio ends at 1: the margin is on what is left up to there.
        Target::Imbalance => 1.0 - (1.0 - advised) / tuning.margin,
        // Cooling should last as long as stress does: seconds over the volatility rule's own.
        Target::Recovery => level * 1e3 / (rules[TUNED_RULES[0].1].cooling_ms.max(1) as f64),
        _ => level,
    }
}

/// Holds a level inside the envelope around its static one; also gives the bits of what held it.
fn hold(level: f64, base: f64, target: Target, tuning: &Tuning) -> (f64, u8) {
    let Envelope { lowest, highest } = tuning.envelope(target);
    if level < base * lowest {
        (base * lowest, Clamp::Lowest as u8)
    } else if level > base * highest {
        (base * highest, Clamp::Highest as u8)
    } else {
        (level, 0)
    }
}

/// The next level on the way from `now` to `wanted`, and the bits of what held it back.
fn step(now: f64, wanted: f64, base: f64, target: Target, tuning: &Tuning, seconds: f64) -> (f64, u8) {
    let (goal, clamps) = hold(wanted, base, target, tuning);
    // More caution is a lower threshold, and a longer cooling period.
    let tightens = (goal < now) != (target == Target::Recovery);
    let rate = if tightens { tuning.tighten_per_s } else { tuning.loosen_per_s };
    let reach = rate * base.abs() * seconds;
    let far = (goal - now).abs() > reach;
    if far { (now + reach.copysign(goal - now), clamps | Clamp::Slew as u8) } else { (goal, clamps) }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use proptest::prelude::*;

    use super::*;

    const S: i64 = 1_000_000_000;

    fn advice(second: i64, levels: [f64; TARGETS]) -> Advice {
        let levels = levels.map(|level| (level * ADVICE_UNITS) as i64);
        Advice { event_ns: second * S, levels, ..Advice::zeroed() }
    }

    fn at(second: i64) -> Moment {
        Moment { event: second as u64, event_ns: second * S, instrument: InstrumentId(3) }
    }

    fn profile() -> Profile {
        Profile::default()
    }

    #[test]
    fn advice_moves_levels_within_envelope_and_slew() {
        let (profile, mut tuned) = (profile(), Tuned::new(&profile()));
        let base = tuned.base().tuned();
        // Volatility far below, spread far above, imbalance above 1, latency as it is, recovery of 26 s.
        let wanted = [0.1, 1e3, 2.0, base[3] / 1.5, 26.0];
        let first = tuned.advise(&advice(100, wanted), &profile, at(100)).expect("taken");
        assert_eq!((first.instrument, first.origin, first.event), (InstrumentId(3), Origin::Advised as u8, 100));
        let held = first.clamps.map(|bits| Clamp::of_bits(bits).collect::<Vec<_>>());
        let [volatility, spread, imbalance, latency, recovery] = &held;
        assert_eq!(
            (&volatility[..], &spread[..]),
            (&[Clamp::Lowest, Clamp::Slew][..], &[Clamp::Highest, Clamp::Slew][..])
        );
        assert_eq!((&imbalance[..], latency.is_empty(), recovery.is_empty()), (&[Clamp::Highest][..], true, true));
        let after = first.after.map(|level| level as f64 / ADVICE_UNITS);
        assert!((after[0] - base[0] * 0.5).abs() < 1e-9, "five seconds of a tenth each");
        assert!((after[1] - base[1] * 1.1).abs() < 1e-9, "loosening is slower");
        assert_eq!(after[2], base[2]);
        assert!((after[4] - 1.3).abs() < 1e-9, "1.5 x 26 s over 30 s");
        let second = tuned.advise(&advice(101, wanted), &profile, at(101)).expect("taken");
        assert!((second.after[0] as f64 / ADVICE_UNITS - base[0] * 0.4).abs() < 1e-9);
        assert_eq!(second.before, first.after);
        let last = (102..110).filter_map(|s| tuned.advise(&advice(s, wanted), &profile, at(s))).last().expect("taken");
        assert_eq!((last.clamps[0], last.after[0] as f64 / ADVICE_UNITS), (Clamp::Lowest as u8, base[0] * 0.25));
        let proportion = |set: &ThresholdSet| set.release[0] / set.threshold[0];
        assert!((proportion(&tuned.current) - proportion(tuned.base())).abs() < 1e-12);
        assert_eq!(tuned.current.check(), Ok(()));
    }

    #[test]
    fn stale_repeated_and_future_advice_is_not_taken() {
        let (profile, mut tuned) = (profile(), Tuned::new(&profile()));
        let levels = [1.0, 5.0, 0.9, 1e5, 10.0];
        assert!(tuned.advise(&advice(100, levels), &profile, at(105)).is_none(), "as old as its time to live");
        assert!(tuned.advise(&advice(106, levels), &profile, at(105)).is_none(), "of a moment to come");
        assert!(tuned.advise(&advice(104, levels), &profile, at(105)).is_some());
        assert!(tuned.advise(&advice(104, levels), &profile, at(105)).is_none(), "again");
        assert_eq!(tuned.until_ns, 109 * S);
        let expired = tuned.expire(at(109));
        assert_eq!((expired.until_ns, expired.after), (0, tuned.base().tuned_fixed()));
        let off = Profile { tuning: Tuning { enabled: false, ..Tuning::default() }, ..profile };
        assert!(tuned.advise(&advice(110, levels), &off, at(110)).is_none());
    }

    #[test]
    fn conditions_move_the_envelope_with_the_profile() {
        let (profile, mut tuned) = (profile(), Tuned::new(&profile()));
        let news = crate::conditions::Condition::News.bit();
        let base = tuned.base().tuned();
        tuned.advise(&advice(100, [1e3, 1e3, 1.0, 1e9, 1e3]), &profile, at(100)).expect("taken");
        tuned.advise(&advice(150, [1e3, 1e3, 1.0, 1e9, 1e3]), &profile, at(150)).expect("taken");
        let advised = tuned.current.tuned();
        let change = tuned.conditions(news, &profile, at(151)).expect("other levels");
        assert_eq!(change.conditions, news);
        assert!((tuned.current.tuned()[0] - advised[0] * 0.8).abs() < 1e-8, "advice tightens with its profile");
        assert!(tuned.current.tuned()[0] <= base[0] * 0.8 * 1.5 + 1e-9);
        assert!(tuned.current.cooling_factor >= advised[4], "and cooling is no shorter");
        assert!(tuned.conditions(news, &profile, at(152)).is_none(), "no change");
        assert_eq!(tuned.expire(at(160)).after[0], (base[0] * 0.8 * ADVICE_UNITS).round() as i64);
    }

    proptest! {
        /// Whatever a model says: levels stay inside the envelope and can be in force.
        #[test]
        fn no_advice_leaves_the_envelope(
            steps in prop::collection::vec((1i64..20, prop::array::uniform5(-1e12f64..1e12)), 1..50),
        ) {
            let (profile, mut tuned) = (profile(), Tuned::new(&profile()));
            let base = tuned.base().tuned();
            let mut second = 1_000;
            for (pause, levels) in steps {
                second += pause;
                let wild = Advice { levels: levels.map(|l| l as i64), ..advice(second, [0.0; TARGETS]) };
                let _ = tuned.advise(&wild, &profile, at(second));
                prop_assert_eq!(tuned.current.check(), Ok(()));
                for target in TARGETS_IN_ORDER {
                    let Envelope { lowest, highest } = profile.tuning.envelope(target);
                    let (level, base) = (tuned.current.tuned()[target as usize], base[target as usize]);
                    prop_assert!(level >= base * lowest - 1e-8 && level <= base * highest + 1e-8, "{target:?} {level}");
                }
            }
        }
    }
}
