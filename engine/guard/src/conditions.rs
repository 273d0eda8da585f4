//! What changes the static profile: weekends, funding times, scheduled events, news, high volume.
//!
//! Conditions are functions of event time, of what an operator said, and (high volume) of the instrument's own
//! features, so that a replay meets them at the same events. Each has factors on thresholds and cooling periods;
//! factors of conditions that hold together multiply.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use strum::{EnumCount, IntoStaticStr, VariantArray};
use tidegate_wire::instrument::FUNDING_PERIOD_NS;

use crate::rules::{Direction, RULES};
use crate::thresholds::ThresholdSet;

/// Something that changes the static profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[repr(u8)]
pub enum Condition {
    /// Saturday or Sunday, UTC.
    Weekend = 0,
    /// Around a funding time.
    Funding = 1,
    /// Around an event of the calendar.
    ScheduledEvent = 2,
    /// An operator says that there is news.
    News = 3,
    /// The instrument trades far more than usual.
    HighVolume = 4,
}

impl Condition {
    /// Its bit in records.
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// Names of the conditions in a record, for reports.
    pub fn names(bits: u64) -> Vec<&'static str> {
        Self::VARIANTS.iter().filter(|c| bits & c.bit() != 0).map(Into::into).collect()
    }
}

/// What a condition does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Effect {
    /// Factor on how far a measurement may go before a rule trips, in [0.1, 10]; below 1 trips earlier.
    pub thresholds: f64,
    /// Factor on cooling periods, in [0.1, 10].
    pub cooling: f64,
}

impl Default for Effect {
    fn default() -> Self {
        Self { thresholds: 1.0, cooling: 1.0 }
    }
}

/// Conditions of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// Saturdays and Sundays, UTC: books are thinner and few are at work.
    pub weekend: Effect,
    /// Around 00:00, 08:00 and 16:00 UTC.
    pub funding: Effect,
    /// How long before and after a funding time, s, at most 3,600.
    pub funding_window_s: u32,
    /// Around events of the calendar.
    pub scheduled_event: Effect,
    /// While an operator says that there is news.
    pub news: Effect,
    /// While an instrument's volume ratio (10 s against 300 s) is high.
    pub high_volume: Effect,
    /// From which volume ratio on, > 0.
    pub high_volume_ratio: f64,
    /// How long after the last such moment, s, at most 3,600.
    pub high_volume_hold_s: u32,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            weekend: Effect { thresholds: 0.9, cooling: 1.5 },
            funding: Effect::default(),
            funding_window_s: 60,
            scheduled_event: Effect { thresholds: 0.8, cooling: 2.0 },
            news: Effect { thresholds: 0.8, cooling: 2.0 },
            high_volume: Effect { thresholds: 0.9, cooling: 1.5 },
            high_volume_ratio: 20.0,
            high_volume_hold_s: 30,
        }
    }
}

/// Rules whose measure has no upper end, so that a factor on their threshold means something.
const SCALED: [&str; 5] = ["volatility", "price_move", "latency_spike", "spread", "volume_spike"];

impl Conditions {
    /// Whether the settings make sense.
    ///
    /// # Errors
    /// The key, its value and what was expected.
    pub fn check(&self) -> Result<(), String> {
        for condition in Condition::VARIANTS {
            let (name, effect): (&str, _) = (condition.into(), self.effect(*condition));
            for (key, value) in [("thresholds", effect.thresholds), ("cooling", effect.cooling)] {
                if !(0.1..=10.0).contains(&value) {
                    return Err(format!("conditions.{name}.{key} is {value}, expected a number in [0.1, 10]"));
                }
            }
        }
        for (key, value) in
            [("funding_window_s", self.funding_window_s), ("high_volume_hold_s", self.high_volume_hold_s)]
        {
            if value > 3_600 {
                return Err(format!("conditions.{key} is {value}, expected at most 3600"));
            }
        }
        let ratio = self.high_volume_ratio;
        if !(ratio.is_finite() && ratio > 0.0) {
            return Err(format!("conditions.high_volume_ratio is {ratio}, expected a number above 0"));
        }
        Ok(())
    }

    fn effect(&self, condition: Condition) -> Effect {
        match condition {
            Condition::Weekend => self.weekend,
            Condition::Funding => self.funding,
            Condition::ScheduledEvent => self.scheduled_event,
            Condition::News => self.news,
            Condition::HighVolume => self.high_volume,
        }
    }

    /// The static set under the conditions of `bits`.
    pub(crate) fn apply(&self, base: &ThresholdSet, bits: u64) -> ThresholdSet {
        let mut set = *base;
        for condition in Condition::VARIANTS.iter().filter(|c| bits & c.bit() != 0) {
            let effect = self.effect(*condition);
            for (index, rule) in RULES.iter().enumerate() {
                if SCALED.contains(&rule.name) && rule.direction == Direction::Above {
                    set.set(index, set.threshold[index] * effect.thresholds);
                }
            }
            set.cooling_factor *= effect.cooling;
        }
        set
    }
}

/// An event of the calendar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduledEvent {
    /// Its name, such as `FOMC`.
    pub name: String,
    /// When, RFC 3339 with time zone, such as `2026-12-09T19:00:00Z`.
    pub at: String,
    /// From how long before, such as `5m`.
    #[serde(default = "five_minutes")]
    pub before: String,
    /// Until how long after, such as `45m`.
    #[serde(default = "half_an_hour")]
    pub after: String,
}

fn five_minutes() -> String {
    "5m".into()
}

fn half_an_hour() -> String {
    "30m".into()
}

/// A calendar file: `[[event]]` tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct CalendarFile {
    #[serde(default)]
    event: Vec<ScheduledEvent>,
}

/// Spans of event time in which scheduled events matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    /// Begin and end, ns since the Unix epoch.
    spans: Vec<(i64, i64)>,
}

impl Calendar {
    /// Reads a calendar file.
    ///
    /// # Errors
    /// What is wrong with which event.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let table = toml::Deserializer::parse(text).map_err(|error| error.to_string())?;
        let file: CalendarFile =
            serde_path_to_error::deserialize(table).map_err(|error| format!("{}: {}", error.path(), error.inner()))?;
        let spans = file.event.iter().enumerate().map(|(index, event)| {
            let key = |name: &str| format!("event.{index}.{name} ({})", event.name);
            let at = humantime::parse_rfc3339_weak(&event.at)
                .map_err(|e| format!("{}: {:?}: {e}, expected such as 2026-12-09T19:00:00Z", key("at"), event.at))?;
            let length = |name: &str, text: &str| {
                humantime::parse_duration(text)
                    .map_err(|e| format!("{}: {text:?}: {e}, expected such as 5m", key(name)))
            };
            let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let nanoseconds = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
            let begin = at.saturating_sub(length("before", &event.before)?);
            let end = at.saturating_add(length("after", &event.after)?);
            Ok((nanoseconds(begin), nanoseconds(end)))
        });
        Ok(Self { spans: spans.collect::<Result<_, String>>()? })
    }
}

/// Nanoseconds of a second and a day.
const SECOND_NS: i64 = 1_000_000_000;
const DAY_NS: i64 = 86_400 * SECOND_NS;
/// The first Saturday of Unix time: the epoch was a Thursday.
const SATURDAY_NS: i64 = 2 * DAY_NS;

/// Conditions that follow from event time, and until when they stay as they are.
pub(crate) fn of_time(settings: &Conditions, calendar: &Calendar, now: i64) -> (u64, i64) {
    let mut bits = 0;
    let mut until = i64::MAX;
    let mut span = |condition: Condition, begin: i64, end: i64| {
        if (begin..end).contains(&now) {
            bits |= condition.bit();
        }
        for edge in [begin, end] {
            if edge > now {
                until = until.min(edge);
            }
        }
    };
    let week = (now - SATURDAY_NS).div_euclid(7 * DAY_NS) * 7 * DAY_NS + SATURDAY_NS;
    for begin in [week, week + 7 * DAY_NS] {
        span(Condition::Weekend, begin, begin + 2 * DAY_NS);
    }
    let window = i64::from(settings.funding_window_s) * SECOND_NS;
    let before = now.div_euclid(FUNDING_PERIOD_NS) * FUNDING_PERIOD_NS;
    for at in [before, before + FUNDING_PERIOD_NS] {
        span(Condition::Funding, at - window, at + window);
    }
    for (begin, end) in &calendar.spans {
        span(Condition::ScheduledEvent, *begin, *end);
    }
    (bits, until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    fn at(text: &str) -> i64 {
        let time = humantime::parse_rfc3339(text).expect("a time");
        time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos() as i64
    }

    #[test]
    fn times_begin_and_end_where_they_should() {
        let settings = Conditions::default();
        let text = "[[event]]\nname = \"FOMC\"\nat = \"2026-12-09T19:00:00Z\"\nafter = \"1h\"";
        let calendar = Calendar::from_toml(text).expect("a calendar");
        let names = |time: &str| {
            let (bits, until) = of_time(&settings, &calendar, at(time));
            (Condition::names(bits), until)
        };
        assert_eq!(names("2026-11-20T23:58:59Z"), (vec![], at("2026-11-20T23:59:00Z")), "a Friday");
        assert_eq!(names("2026-11-20T23:59:00Z"), (vec!["funding"], at("2026-11-21T00:00:00Z")));
        assert_eq!(names("2026-11-21T00:00:30Z"), (vec!["weekend", "funding"], at("2026-11-21T00:01:00Z")));
        assert_eq!(names("2026-11-22T20:00:00Z"), (vec!["weekend"], at("2026-11-22T23:59:00Z")));
        assert_eq!(names("2026-11-23T00:30:00Z"), (vec![], at("2026-11-23T07:59:00Z")), "Monday");
        assert_eq!(names("2026-12-09T18:54:59Z"), (vec![], at("2026-12-09T18:55:00Z")));
        assert_eq!(names("2026-12-09T19:59:59Z"), (vec!["scheduled_event"], at("2026-12-09T20:00:00Z")));
        assert_eq!(names("2026-12-09T20:00:00Z").0, Vec::<&str>::new());
    }

    #[test]
    fn factors_multiply_and_leave_bounded_measures_alone() {
        let settings = Conditions::default();
        let base = ThresholdSet::of_profile(&Profile::default());
        let set = settings.apply(&base, Condition::News.bit() | Condition::Weekend.bit());
        let rule = |name: &str| usize::from(crate::rules::rule_index(name).expect("a rule"));
        let (move_, imbalance) = (rule("price_move"), rule("imbalance"));
        assert!((set.threshold[move_] / base.threshold[move_] - 0.72).abs() < 1e-12);
        assert!((set.release[move_] / base.release[move_] - 0.72).abs() < 1e-12);
        assert_eq!(set.threshold[imbalance], base.threshold[imbalance]);
        assert_eq!(set.cooling_factor, 3.0);
        assert_eq!(settings.apply(&base, 0), base);
    }

    #[test]
    fn wrong_calendars_say_where() {
        let error = |text: &str| Calendar::from_toml(text).expect_err(text);
        assert!(error("[[event]]\nname = \"CPI\"\nat = \"soon\"").contains("event.0.at (CPI)"));
        let text = "[[event]]\nname = \"CPI\"\nat = \"2026-12-09T19:00:00Z\"\nbefore = \"a bit\"";
        assert!(error(text).contains("event.0.before (CPI)"));
        assert!(error("[[evnt]]").contains("evnt"));
        assert_eq!(Calendar::from_toml(""), Ok(Calendar::default()));
    }
}
