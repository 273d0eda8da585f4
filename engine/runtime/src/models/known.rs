//! What an engine knows of its sidecar's process, so that the next one goes on where it ended.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidegate_sidecar::Resume;
use tidegate_sidecar::messages::Event;
use tidegate_sidecar::refusal::Reason;

/// What is known of a child: when anything was heard of it last, and where the next one would have to go on.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) heard: Instant,
    pub(super) resume: BTreeMap<String, Resume>,
    /// Versions that were in force before those that are, by model.
    before: BTreeMap<String, u32>,
    /// The version in the gate.
    judging: Option<(String, u32)>,
    /// Children in a row that did not live long.
    short_lives: u32,
}

/// A child that lived for so long did not die of its start.
pub(super) const LONG_LIFE: Duration = Duration::from_secs(5);
/// Children in a row that die young before the versions in force are held to be the reason.
const SHORT_LIVES: u32 = 3;

impl Known {
    pub(super) fn new() -> Self {
        let (resume, before) = (BTreeMap::new(), BTreeMap::new());
        Self { heard: Instant::now(), resume, before, judging: None, short_lives: 0 }
    }

    pub(super) fn hear(&mut self, event: &Event) {
        self.heard = Instant::now();
        match event {
            Event::Judging { name, version } => self.judging = Some((name.clone(), *version)),
            // A shadow is refused too, while another version is in the gate.
            Event::Refused { name, version, reason, .. } => {
                self.judging.take_if(|judging| (&judging.0, &judging.1) == (name, version));
                if *reason == Reason::Shadow {
                    // It had its time in shadow, and has no second one.
                    let resume = self.resume.entry(name.clone()).or_default();
                    resume.known = resume.known.max(*version);
                }
            }
            Event::Admitted { name, version, .. } => {
                self.judging.take_if(|judging| (&judging.0, &judging.1) == (name, version));
            }
            Event::Promoted { name, from, to, .. } => {
                let resume = self.resume.entry(name.clone()).or_default();
                (resume.in_force, resume.known) = (Some(*to), resume.known.max(*to));
                from.map(|from| self.before.insert(name.clone(), from));
            }
            Event::RolledBack { name, from, to, .. } => {
                let resume = self.resume.entry(name.clone()).or_default();
                (resume.in_force, resume.known) = (Some(*to), resume.known.max(*from));
                self.before.remove(name);
            }
            _ => {}
        }
    }

    /// The child has ended: a version that was being judged then is not judged again. Where one child after another
    /// dies young, the versions before those in force take their place.
    pub(super) fn lost(&mut self, lived: Duration) {
        if let Some((name, version)) = self.judging.take() {
            self.resume.entry(name).or_default().deadly.push(version);
            return;
        }
        self.short_lives = if lived < LONG_LIFE { self.short_lives + 1 } else { 0 };
        if self.short_lives < SHORT_LIVES {
            return;
        }
        self.short_lives = 0;
        for (name, before) in std::mem::take(&mut self.before) {
            let resume = self.resume.entry(name).or_default();
            let suspect = resume.in_force.replace(before);
            resume.deadly.extend(suspect);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YOUNG: Duration = Duration::from_secs(1);

    fn judging(version: u32) -> Event {
        Event::Judging { name: "tuner".into(), version }
    }

    fn refused(version: u32) -> Event {
        Event::Refused { name: "tuner".into(), version, reason: Reason::Shadow, text: String::new() }
    }

    fn promoted(from: Option<u32>, to: u32) -> Event {
        Event::Promoted { name: "tuner".into(), from, to, hash: String::new(), shadow: None, event_ns: 0 }
    }

    #[test]
    fn only_the_version_in_the_gate_is_blamed_for_a_death_there() {
        let mut known = Known::new();
        [judging(2), refused(2), judging(3), refused(2)].iter().for_each(|event| known.hear(event));
        known.lost(YOUNG);
        assert_eq!(known.resume["tuner"].deadly, [3]);
        // Nobody was in the gate.
        [judging(4), refused(4)].iter().for_each(|event| known.hear(event));
        known.lost(YOUNG);
        assert_eq!(known.resume["tuner"].deadly, [3]);
    }

    #[test]
    fn what_was_refused_in_shadow_has_no_second_time_there() {
        let mut known = Known::new();
        [promoted(None, 1), refused(3)].iter().for_each(|event| known.hear(event));
        assert_eq!(known.resume["tuner"], Resume { in_force: Some(1), known: 3, deadly: vec![] });
        // One that was refused in the gate may be mended.
        let (name, text) = ("tuner".to_owned(), String::new());
        known.hear(&Event::Refused { name, version: 4, reason: Reason::WrongHash, text });
        assert_eq!(known.resume["tuner"].known, 3);
    }

    #[test]
    fn a_version_that_kills_one_child_after_another_gives_way_to_the_one_before() {
        let mut known = Known::new();
        [promoted(None, 1), promoted(Some(1), 2)].iter().for_each(|event| known.hear(event));
        known.lost(YOUNG);
        known.lost(LONG_LIFE);
        (1..SHORT_LIVES).for_each(|_| known.lost(YOUNG));
        assert_eq!(known.resume["tuner"].in_force, Some(2), "not in a row");
        known.lost(YOUNG);
        assert_eq!(known.resume["tuner"], Resume { in_force: Some(1), known: 2, deadly: vec![2] });
        // There is nothing before the first one.
        (0..2 * SHORT_LIVES).for_each(|_| known.lost(YOUNG));
        assert_eq!(known.resume["tuner"].in_force, Some(1));
    }
}
