//! Reports on their way to their owners, and those nobody has read.

use std::collections::VecDeque;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::latency::Line;
use crate::gateway::Report;

/// A line of reports, first in, first out.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    reports: VecDeque<Report>,
    capacity: usize,
    line: Line,
    numbered: u64,
    digest: u64,
}

impl Outbox {
    pub(super) fn new(capacity: usize, line: Line) -> Self {
        Self { reports: VecDeque::with_capacity(capacity), capacity, line, numbered: 0, digest: 0 }
    }

    /// Sends a report. There is room: the exchange keeps some for whatever must be told.
    pub(super) fn send(&mut self, mut report: Report) {
        debug_assert!(self.reports.len() < self.capacity, "room was reserved");
        self.numbered += 1;
        report.sequence = self.numbered;
        report.event_ns = self.line.arrives(report.venue_ns, report.request_id, self.numbered);
        self.digest = xxh3_64_with_seed(bytemuck::bytes_of(&report), self.digest);
        self.reports.push_back(report);
    }

    /// The next one that has arrived by `now_ns`.
    pub(super) fn next(&mut self, now_ns: i64) -> Option<Report> {
        if self.due_ns() <= now_ns { self.reports.pop_front() } else { None }
    }

    /// When the next one arrives; `i64::MAX` when there is none.
    pub(super) fn due_ns(&self) -> i64 {
        self.reports.front().map_or(i64::MAX, |report| report.event_ns)
    }

    /// How many more there is room for.
    pub(super) fn room(&self) -> usize {
        self.capacity - self.reports.len().min(self.capacity)
    }

    /// Over all that was ever sent.
    pub(super) const fn digest(&self) -> u64 {
        self.digest
    }
}
