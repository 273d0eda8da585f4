//! The level a protocol stands on: up at once (after `hold`), down one at a time, not before the cool-down, and only
//! below the release value.

use super::config::Protocol;

/// A level's borders, in the trigger's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Border {
    pub(crate) threshold: i64,
    pub(crate) release: i64,
    pub(crate) latched: bool,
}

/// Where a protocol stands.
#[derive(Clone, Debug)]
pub(crate) struct Ladder {
    borders: Vec<Border>,
    hold_ns: i64,
    cool_down_ns: i64,
    /// Levels reached, in `[0, borders.len()]`; 0 is quiet.
    level: usize,
    /// Since when the level holds, ns.
    since: i64,
    /// Since when a higher level is due, and which; `i64::MAX` while none is.
    rising: (i64, usize),
}

impl Ladder {
    /// A ladder at rest.
    ///
    /// # Errors
    /// A value that does not fit its unit.
    pub(crate) fn new(protocol: &Protocol) -> Result<Self, String> {
        let border = |level: &super::config::Level| {
            let (threshold, release) = (level.threshold, level.release);
            let (threshold, release) = (protocol.trigger.scaled(threshold)?, protocol.trigger.scaled(release)?);
            Ok::<_, String>(Border { threshold, release, latched: level.latched })
        };
        Ok(Self {
            borders: protocol.levels.iter().map(border).collect::<Result<_, _>>()?,
            hold_ns: protocol.hold_ms as i64 * 1_000_000,
            cool_down_ns: protocol.cool_down_ms as i64 * 1_000_000,
            level: 0,
            since: i64::MIN,
            rising: (i64::MAX, 0),
        })
    }

    /// The level, 0 when quiet.
    pub(crate) const fn level(&self) -> usize {
        self.level
    }

    /// The borders of a level from 1 on.
    pub(crate) fn border(&self, level: usize) -> Option<Border> {
        self.borders.get(level.checked_sub(1)?).copied()
    }

    /// A value was measured; the new level, if it is another.
    pub(crate) fn measure(&mut self, value: i64, now: i64) -> Option<usize> {
        let reached = self.borders.iter().take_while(|border| value >= border.threshold).count();
        if reached > self.level {
            // Longer at a high level than asked for is still only as long as the value stood there.
            if self.rising.0 == i64::MAX || reached < self.rising.1 {
                self.rising = (self.rising.0.min(now), reached);
            }
            if now.saturating_sub(self.rising.0) >= self.hold_ns {
                return self.go(reached.min(self.rising.1.max(self.level + 1)), now);
            }
            return None;
        }
        self.rising = (i64::MAX, 0);
        let border = self.border(self.level)?;
        let cooled = now.saturating_sub(self.since) >= self.cool_down_ns;
        if value < border.release && cooled && !border.latched { self.go(self.level - 1, now) } else { None }
    }

    /// A designated person ends it; whether there was anything to end.
    pub(crate) fn reset(&mut self, now: i64) -> bool {
        let was = self.level > 0;
        self.go(0, now);
        was
    }

    fn go(&mut self, level: usize, now: i64) -> Option<usize> {
        (self.level, self.since, self.rising) = (level, now, (i64::MAX, 0));
        Some(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emergency::EmergencyFile;
    use proptest::prelude::*;

    const MS: i64 = 1_000_000;

    fn ladder(hold_ms: u64, latched: bool) -> Ladder {
        let text = format!(
            "[protocols.x]\ntrigger = \"correlated-trips\"\nhold_ms = {hold_ms}\ncool_down_ms = 1000\n\
             levels = [{{ threshold = 10, release = 5, actions = [] }},\n\
             {{ threshold = 20, release = 15, actions = [], latched = {latched} }}]\n"
        );
        let file = EmergencyFile::from_toml(&text).expect("a good protocol");
        Ladder::new(&file.protocols["x"]).expect("fits")
    }

    #[test]
    fn borders_hysteresis_and_cool_down() {
        let mut ladder = ladder(0, false);
        let mut at = |ms: i64, value: i64| ladder.measure(value, ms * MS);
        assert_eq!([at(0, 9), at(1, 10), at(2, 19), at(3, 20)], [None, Some(1), None, Some(2)]);
        assert_eq!([at(900, 0), at(1_002, 14), at(1_003, 15)], [None, None, None], "cooling, then not below release");
        assert_eq!(at(1_004, 14), Some(1), "one at a time");
        assert_eq!([at(2_003, 0), at(2_004, 5)], [None, None]);
        assert_eq!(at(2_005, 4), Some(0));
        assert_eq!(at(2_006, 25), Some(2), "both at once");
    }

    #[test]
    fn a_level_must_hold_before_it_is_reached() {
        let mut ladder = ladder(100, false);
        let mut at = |ms: i64, value: i64| ladder.measure(value, ms * MS);
        assert_eq!([at(0, 30), at(50, 9), at(60, 12), at(159, 30)], [None; 4]);
        assert_eq!(at(160, 30), Some(1), "only the lower one stood long enough");
        assert_eq!([at(161, 30), at(261, 30)], [None, Some(2)]);
    }

    #[test]
    fn a_latched_level_waits_for_a_person() {
        let mut ladder = ladder(0, true);
        assert_eq!(ladder.measure(20, 0), Some(2));
        assert_eq!(ladder.measure(0, i64::MAX), None);
        assert!(ladder.reset(5) && !ladder.reset(6));
        assert_eq!(ladder.level(), 0);
    }

    proptest! {
        /// Never above what was measured, never left while the value is at or above release, never down by more than
        /// one, never twice within the cool-down downwards.
        #[test]
        fn edges(steps in prop::collection::vec((0i64..600, 0i64..30), 1..200)) {
            let (mut ladder, mut now, mut changed) = (ladder(0, false), 0, i64::MIN);
            for (pause, value) in steps {
                now += pause * MS;
                let before = ladder.level();
                if let Some(after) = ladder.measure(value, now) {
                    if after > before {
                        prop_assert!(value >= ladder.border(after).expect("a level").threshold);
                    } else {
                        prop_assert_eq!(after, before - 1);
                        prop_assert!(now - changed >= 1_000 * MS);
                    }
                    changed = now;
                }
            }
        }
    }
}
