//! Alerts on their way to whoever must know: a queue of fixed size.
//!
//! RTS 6 Art. 16(5) wants real-time alerts within 5 seconds of the event. The gate only says what happened when; the
//! runtime takes the alerts, delivers them and measures how long that took against their event time. A burst of
//! refusals cannot crowd out a kill: the last places are kept for everything else.

use bytemuck::Zeroable;
use tidegate_wire::order::{Alert, AlertKind, Verdict};

/// Places of the queue.
const PLACES: usize = 1_024;
/// Of these, kept for alerts that are no refusals.
const KEPT: usize = 128;

/// The queue, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Alerts {
    queue: Box<[Alert]>,
    head: usize,
    len: usize,
    sequence: u64,
    lost: u64,
}

impl Alerts {
    pub(crate) fn new() -> Self {
        Self { queue: vec![Alert::zeroed(); PLACES].into(), head: 0, len: 0, sequence: 0, lost: 0 }
    }

    /// Adds an alert; its number is given here. One that finds no place is counted.
    pub(crate) fn push(&mut self, alert: Alert) {
        self.sequence += 1;
        let room = if alert.kind == AlertKind::Refusal as u8 { PLACES - KEPT } else { PLACES };
        if self.len >= room {
            self.lost += 1;
            return;
        }
        self.queue[(self.head + self.len) % PLACES] = Alert { sequence: self.sequence, ..alert };
        self.len += 1;
    }

    pub(crate) fn take(&mut self) -> Option<Alert> {
        let alert = *self.queue.get(self.head).filter(|_| self.len > 0)?;
        self.head = (self.head + 1) % PLACES;
        self.len -= 1;
        Some(alert)
    }

    pub(crate) const fn lost(&self) -> u64 {
        self.lost
    }
}

/// An alert that concerns nobody yet.
pub(crate) fn blank(kind: AlertKind, event_ns: i64) -> Alert {
    let (rule, none) = (Verdict::NO_RULE, u16::MAX);
    Alert { kind: kind as u8, event_ns, rule, account: none, person: none, ..Alert::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_leave_room_for_kills() {
        let mut alerts = Alerts::new();
        (0..PLACES).for_each(|n| alerts.push(blank(AlertKind::Refusal, n as i64)));
        assert_eq!(alerts.lost(), KEPT as u64);
        alerts.push(blank(AlertKind::Kill, 7));
        let all: Vec<Alert> = core::iter::from_fn(|| alerts.take()).collect();
        assert_eq!(all.len(), PLACES - KEPT + 1);
        assert!(all.is_sorted_by_key(|alert| alert.sequence));
        assert_eq!(all.last().map(|alert| (alert.kind, alert.sequence)), Some((AlertKind::Kill as u8, 1_025)));
    }
}
