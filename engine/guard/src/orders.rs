//! What operators order, at once or at a time of the data.

use std::collections::VecDeque;

use tidegate_wire::decision::Scope;

/// What an operator orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Stop a scope until it is reset.
    Trip(Scope, u16),
    /// Close every open breaker of a scope. One whose condition still holds will trip again at its next event.
    Reset(Scope, u16),
    /// There is news, or there is no more.
    News(bool),
}

impl Command {
    /// As a record holds it: what, scope, which one.
    pub const fn numbers(self) -> (u8, u8, u16) {
        match self {
            Self::Trip(scope, id) => (0, scope as u8, id),
            Self::Reset(scope, id) => (1, scope as u8, id),
            Self::News(true) => (2, 0, 0),
            Self::News(false) => (3, 0, 0),
        }
    }

    /// From a record; `None` when it makes no sense.
    pub fn of_numbers(command: u8, scope: u8, id: u16) -> Option<Self> {
        match command {
            0 => Scope::from_repr(scope).map(|scope| Self::Trip(scope, id)),
            1 => Scope::from_repr(scope).map(|scope| Self::Reset(scope, id)),
            2 => Some(Self::News(true)),
            3 => Some(Self::News(false)),
            _ => None,
        }
    }
}

/// A command for a scope that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {scope} with number {id}", scope = .0.name(), id = .1)]
pub struct CommandError(pub Scope, pub u16);

/// Commands with the event time they are due at, earliest first.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Due times in ns: after the first event until there was one, since the Unix epoch from then on.
    queue: VecDeque<(i64, Command)>,
    begun: bool,
}

impl Orders {
    /// Commands by nanoseconds after the first event; equal times keep their order.
    pub(crate) fn new(mut orders: Vec<(i64, Command)>) -> Self {
        orders.sort_by_key(|(after_ns, _)| *after_ns);
        Self { queue: orders.into(), begun: false }
    }

    /// How many are left.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The first event has come; later calls do nothing.
    pub(crate) fn begin(&mut self, now: i64) {
        if !core::mem::replace(&mut self.begun, true) {
            self.queue.iter_mut().for_each(|(at, _)| *at = at.saturating_add(now));
        }
    }

    /// When the next one is due, ns of event time; `i64::MAX` when there is none.
    pub(crate) fn deadline(&self) -> i64 {
        self.queue.front().map_or(i64::MAX, |(at, _)| *at)
    }

    /// The next one, if it is due.
    pub(crate) fn take(&mut self, now: i64) -> Option<(i64, Command)> {
        if self.deadline() <= now { self.queue.pop_front() } else { None }
    }
}
