//! What is to be shown: a slot a key, and what of it Redis has.

use std::collections::VecDeque;

use super::Key;

const KEYS: usize = Key::ALL.len();

/// Values and history, with how much of them was written.
#[derive(Debug)]
pub(super) struct Slots {
    values: [Option<String>; KEYS],
    /// Grows with each change of a value; for the history: positions that were ever put into it.
    versions: [u64; KEYS],
    /// Version that Redis has.
    written: [u64; KEYS],
    /// Newest first, at most `bound`.
    history: VecDeque<String>,
    bound: usize,
    /// Whether it is known what Redis had of it before.
    adopted: bool,
    /// Whether the list in Redis must be made anew.
    anew: bool,
}

/// What is to be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    /// Values by key.
    pub(super) values: Vec<(Key, String)>,
    /// Positions for the history, newest first.
    pub(super) history: Vec<String>,
    /// Whether they are all there is: the list is made anew.
    pub(super) anew: bool,
    pub(super) bound: usize,
    versions: [u64; KEYS],
}

const HISTORY: usize = Key::PositionHistory as usize;

impl Slots {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            values: [const { None }; KEYS],
            versions: [0; KEYS],
            written: [0; KEYS],
            history: VecDeque::new(),
            bound,
            adopted: false,
            anew: false,
        }
    }

    pub(super) fn set(&mut self, key: Key, json: String) {
        self.versions[key as usize] += 1;
        if key == Key::PositionHistory {
            self.history.push_front(json);
            self.history.truncate(self.bound);
        } else {
            self.values[key as usize] = Some(json);
        }
    }

    /// Sets it where it is not that already; a list takes everything.
    pub(super) fn set_if_other(&mut self, key: Key, json: String) {
        if key == Key::PositionHistory || self.values[key as usize].as_ref() != Some(&json) {
            self.set(key, json);
        }
    }

    /// Whether there is something that Redis does not have.
    pub(super) fn is_new(&self) -> bool {
        self.versions != self.written || self.anew
    }

    /// Whether the history goes on from what Redis had, or from nothing because it was reset.
    pub(super) const fn knows_history(&self) -> bool {
        self.adopted
    }

    /// What Redis had of the history, newest first, lies behind what is new.
    pub(super) fn adopt(&mut self, found: Vec<String>) {
        self.history.extend(found);
        self.history.truncate(self.bound);
        (self.adopted, self.anew) = (true, true);
    }

    /// The history begins anew.
    pub(super) fn forget_history(&mut self) {
        self.history.clear();
        (self.adopted, self.anew) = (true, true);
    }

    /// Nothing is known of what Redis has.
    pub(super) fn write_all_again(&mut self) {
        self.written = [0; KEYS];
        self.anew = true;
    }

    /// What Redis does not have.
    pub(super) fn news(&self) -> News {
        let is_new = |key: &Key| self.versions[*key as usize] != self.written[*key as usize];
        let values = Key::ALL.into_iter().filter(|key| *key != Key::PositionHistory && is_new(key));
        let values = values.filter_map(|key| Some((key, self.values[key as usize].clone()?)));
        let fresh = (self.versions[HISTORY] - self.written[HISTORY]).min(self.history.len() as u64) as usize;
        let taken = if self.anew { self.history.len() } else { fresh };
        News {
            values: values.collect(),
            history: self.history.iter().take(taken).cloned().collect(),
            anew: self.anew,
            bound: self.bound,
            versions: self.versions,
        }
    }

    /// Redis has these.
    pub(super) fn written(&mut self, news: &News) {
        self.written = news.versions;
        // A reset that came meanwhile wants another list.
        if news.anew && self.history.len() >= news.history.len() {
            self.anew = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(slots: &Slots) -> (Vec<String>, bool) {
        let news = slots.news();
        (news.history, news.anew)
    }

    #[test]
    fn the_newest_counts_and_is_written_once() {
        let mut slots = Slots::new(3);
        assert!(!slots.is_new());
        slots.set(Key::WsStatus, "1".into());
        slots.set(Key::WsStatus, "2".into());
        let news = slots.news();
        assert_eq!(news.values, [(Key::WsStatus, "2".to_owned())]);
        // What changes while it is written is new still.
        slots.set(Key::WsStatus, "3".into());
        slots.written(&news);
        assert_eq!(slots.news().values, [(Key::WsStatus, "3".to_owned())]);
        slots.written(&slots.news());
        slots.set_if_other(Key::WsStatus, "3".into());
        assert!(!slots.is_new());
        slots.write_all_again();
        assert_eq!(slots.news().values.len(), 1);
    }

    #[test]
    fn the_history_keeps_what_was_there_within_its_bound() {
        let mut slots = Slots::new(3);
        let put = |slots: &mut Slots, text: &str| slots.set(Key::PositionHistory, text.into());
        put(&mut slots, "c");
        slots.adopt(vec!["b".into(), "a".into(), "0".into()]);
        assert_eq!(history(&slots), (["c", "b", "a"].map(str::to_owned).to_vec(), true));
        slots.written(&slots.news());
        assert!(!slots.is_new() && slots.knows_history());
        put(&mut slots, "d");
        put(&mut slots, "e");
        assert_eq!(history(&slots), (["e", "d"].map(str::to_owned).to_vec(), false));
        slots.written(&slots.news());
        slots.forget_history();
        assert_eq!(history(&slots), (Vec::new(), true));
        let news = slots.news();
        put(&mut slots, "f");
        slots.written(&news);
        assert_eq!(history(&slots), (vec!["f".to_owned()], false));
    }
}
