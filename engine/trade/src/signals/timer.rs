//! Ten-minute timers and their windows.
//!
//! Timers follow each other on a grid of UTC from the epoch on, so that every run agrees on them: with ten minutes one
//! begins at every full ten minutes of the clock. A window holds its begin and not its end.

use tidegate_market::bars::MINUTE_NS;
use tidegate_wire::signal::TimerWindow;

/// The grid of timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    length_ns: i64,
    entry_ns: i64,
    exit_ns: i64,
}

/// A moment within its timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When the timer began, ns since the Unix epoch.
    pub start_ns: i64,
    /// When it ends, exclusive, ns since the Unix epoch.
    pub end_ns: i64,
    /// Which of its windows it is.
    pub window: TimerWindow,
}

impl Timers {
    /// Timers of `length` minutes whose entry window ends at minute `entry` and whose exit window begins at minute
    /// `exit`; `0 < entry < exit < length`.
    pub fn new(length: u32, entry: u32, exit: u32) -> Self {
        let ns = |minutes: u32| i64::from(minutes.max(1)) * MINUTE_NS;
        Self { length_ns: ns(length), entry_ns: ns(entry), exit_ns: ns(exit) }
    }

    /// Length of a timer, ns.
    pub const fn length_ns(&self) -> i64 {
        self.length_ns
    }

    /// Where in its timer a time lies.
    pub fn at(&self, now_ns: i64) -> Moment {
        let into = now_ns.rem_euclid(self.length_ns);
        let start_ns = now_ns - into;
        let window = if into < self.entry_ns {
            TimerWindow::EntryWindow
        } else if into < self.exit_ns {
            TimerWindow::MidTimer
        } else {
            TimerWindow::ExitWindow
        };
        Moment { start_ns, end_ns: start_ns.saturating_add(self.length_ns), window }
    }
}

/// What a signal of a window is worth, in `[0, 1]`.
pub const fn efficiency(window: TimerWindow) -> f64 {
    match window {
        TimerWindow::EntryWindow => 1.0,
        TimerWindow::MidTimer => 0.8,
        TimerWindow::ExitWindow => 0.6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_hold_their_begin_and_not_their_end() {
        let timers = Timers::new(10, 3, 7);
        let base = 1_700_000_400_000_000_000;
        assert_eq!(base % (10 * MINUTE_NS), 0);
        for (offset, window, factor) in [
            (0, TimerWindow::EntryWindow, 1.0),
            (3 * MINUTE_NS - 1, TimerWindow::EntryWindow, 1.0),
            (3 * MINUTE_NS, TimerWindow::MidTimer, 0.8),
            (7 * MINUTE_NS - 1, TimerWindow::MidTimer, 0.8),
            (7 * MINUTE_NS, TimerWindow::ExitWindow, 0.6),
            (10 * MINUTE_NS - 1, TimerWindow::ExitWindow, 0.6),
        ] {
            let moment = timers.at(base + offset);
            assert_eq!((moment.window, efficiency(moment.window)), (window, factor), "{offset}");
            assert_eq!((moment.start_ns, moment.end_ns), (base, base + 10 * MINUTE_NS));
        }
        assert_eq!(timers.at(base + 10 * MINUTE_NS).start_ns, base + 10 * MINUTE_NS);
        assert_eq!(timers.at(-1).end_ns, 0, "times before the epoch have timers too");
    }
}
