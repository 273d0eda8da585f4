//! What operators order, at once or at a time of the data.

use std::collections::VecDeque;

use tidegate_wire::advice::Operated;
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
    /// What a strategy or the engine has lost since its highest equity, over that equity, in millionths: whoever keeps
    /// the positions tells it, and the scope's [drawdown](crate::rules::DRAWDOWN_RULE) breaker judges it.
    Drawdown(Scope, u16, u32),
}

impl Command {
    /// As a record holds it.
    pub const fn operated(self, event: u64, event_ns: i64) -> Operated {
        let (command, scope, scope_id, value) = match self {
            Self::Trip(scope, id) => (0, scope as u8, id, 0),
            Self::Reset(scope, id) => (1, scope as u8, id, 0),
            Self::News(true) => (2, 0, 0, 0),
            Self::News(false) => (3, 0, 0, 0),
            Self::Drawdown(scope, id, value) => (4, scope as u8, id, value),
        };
        Operated { event, event_ns, command, scope, scope_id, value }
    }

    /// From a record; `None` when it makes no sense.
    pub fn of_record(operated: &Operated) -> Option<Self> {
        let (scope, id) = (Scope::from_repr(operated.scope), operated.scope_id);
        match operated.command {
            0 => scope.map(|scope| Self::Trip(scope, id)),
            1 => scope.map(|scope| Self::Reset(scope, id)),
            2 => Some(Self::News(true)),
            3 => Some(Self::News(false)),
            4 => scope.map(|scope| Self::Drawdown(scope, id, operated.value)),
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
