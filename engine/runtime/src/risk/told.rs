//! Who is told what happened: log lines, the file of alerts, the audit log; and how long that took.
//!
//! RTS 6 Art. 16(5) wants real-time alerts within 5 seconds of the event. The time from an alert's event to its line in
//! the file is kept in a histogram, and what took longer is counted.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tidegate_guard::risk::RiskLimits;
use tidegate_guard::risk::rules::{RULES, rule_name};
use tidegate_wire::order::{Alert, AlertKind, KillCause, LimitScope, Verdict};
use tidegate_wire::{Registry, Venue};

use super::{RiskDeskError, file_error};
use crate::audit::Trail;

/// Longest time from an event to its alert that is within RTS 6 Art. 16(5), ns.
pub(crate) const ALERT_NS: u64 = 5_000_000_000;

/// Lines that wait for room on the disk.
const PENDING: usize = 1 << 16;

/// A file of JSON lines, each on its way to the disk when it has been told; what cannot be written is tried again.
#[derive(Debug)]
pub(crate) struct Lines {
    path: PathBuf,
    file: File,
    pending: VecDeque<String>,
    /// The last write broke off within a line.
    torn: bool,
    retry_at: Instant,
    lost: u64,
}

impl Lines {
    pub(crate) fn create(path: &Path) -> Result<Self, RiskDeskError> {
        let file = File::options().create(true).append(true).open(path).map_err(|source| file_error(path, source))?;
        let (pending, retry_at) = (VecDeque::new(), Instant::now());
        Ok(Self { path: path.to_owned(), file, pending, torn: false, retry_at, lost: 0 })
    }

    pub(crate) fn write(&mut self, line: &Value) {
        if self.pending.len() >= PENDING {
            self.pending.pop_front();
            self.lost += 1;
        }
        self.pending.push_back(format!("{line}\n"));
        if self.pending.len() == 1 {
            self.flush();
        }
    }

    /// Writes what waits, a second after the last failure.
    pub(crate) fn retry(&mut self) {
        if !self.pending.is_empty() && Instant::now() >= self.retry_at {
            self.flush();
        }
    }

    fn flush(&mut self) {
        while let Some(line) = self.pending.front() {
            // A line that broke off is ended first, so that the next one is whole.
            let start = if self.torn { "\n" } else { "" };
            if let Err(error) = self.file.write_all(format!("{start}{line}").as_bytes()) {
                self.torn = true;
                self.retry_at = Instant::now() + Duration::from_secs(1);
                tracing::error!(path = %self.path.display(), %error, "risk: a line cannot be written; tried again");
                return;
            }
            self.torn = false;
            self.pending.pop_front();
        }
    }

    /// Lines that are not on their way to the disk.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    pub(crate) const fn lost(&self) -> u64 {
        self.lost
    }
}

/// Names of the numbers in alerts.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) accounts: Vec<String>,
    pub(crate) strategies: Vec<String>,
    pub(crate) instruments: Vec<String>,
    pub(crate) people: Vec<String>,
    pub(crate) protocols: Vec<String>,
}

impl Names {
    /// Names of a gate's numbers, without protocols.
    pub(crate) fn of(registry: &Registry, strategies: &[&str], limits: &RiskLimits) -> Self {
        Self {
            accounts: limits.accounts.keys().cloned().collect(),
            strategies: strategies.iter().map(|name| (*name).to_owned()).collect(),
            instruments: registry.iter().map(|(_, instrument)| instrument.name()).collect(),
            people: limits.people.keys().cloned().collect(),
            protocols: Vec::new(),
        }
    }

    /// A scope with its name, such as `strategy:carry`.
    pub(crate) fn scope(&self, scope: u8, id: u16) -> String {
        let named = |of: &[String]| of.get(usize::from(id)).cloned().unwrap_or_else(|| id.to_string());
        match LimitScope::from_repr(scope) {
            Some(LimitScope::Firm) => "engine".into(),
            Some(LimitScope::Venue) => {
                let venue = Venue::ALL.get(usize::from(id)).map_or("?", |venue| venue.name());
                format!("venue:{venue}")
            }
            Some(LimitScope::Instrument) => format!("instrument:{}", named(&self.instruments)),
            Some(LimitScope::Account) => format!("account:{}", named(&self.accounts)),
            Some(LimitScope::Strategy) => format!("strategy:{}", named(&self.strategies)),
            None => "?".into(),
        }
    }

    fn name(of: &[String], id: u16) -> Option<&str> {
        of.get(usize::from(id)).map(String::as_str)
    }

    /// An alert as a line.
    pub(crate) fn alert(&self, alert: &Alert) -> Value {
        let kind = AlertKind::from_repr(alert.kind);
        let protocol = kind == Some(AlertKind::Emergency) || alert.cause == KillCause::Emergency as u8;
        let rule = match alert.rule {
            Verdict::NO_RULE => None,
            number if protocol && kind != Some(AlertKind::Refusal) => {
                self.protocols.get(usize::from(number)).map(String::as_str)
            }
            number => Some(rule_name(number)),
        };
        let cause = matches!(kind, Some(AlertKind::Kill | AlertKind::Reset))
            .then(|| KillCause::from_repr(alert.cause).map(KillCause::name));
        json!({
            "kind": kind.map_or("unknown", AlertKind::name),
            "sequence": alert.sequence,
            "event_ns": alert.event_ns,
            "scope": self.scope(alert.scope, alert.scope_id),
            "rule": rule,
            "unit": (!protocol).then(|| RULES.get(usize::from(alert.rule)).map(|rule| rule.unit)).flatten(),
            "measured": alert.measured,
            "limit": alert.limit,
            "cause": cause.flatten(),
            "account": Self::name(&self.accounts, alert.account),
            "client_id": (alert.client_id != 0).then_some(alert.client_id),
            "person": Self::name(&self.people, alert.person),
        })
    }

    /// A verdict as an answer.
    pub(crate) fn verdict(&self, verdict: &Verdict) -> Value {
        let refused = RULES.get(usize::from(verdict.rule));
        let excused = (verdict.overridden != Verdict::NO_RULE).then(|| rule_name(verdict.overridden));
        json!({
            "accepted": verdict.is_accepted(),
            "rule": refused.map(|rule| rule.name),
            "about": refused.map(|rule| rule.about),
            "unit": refused.map(|rule| rule.unit),
            "measured": verdict.measured,
            "limit": verdict.limit,
            "scope": refused.map(|_| self.scope(verdict.scope, verdict.scope_id)),
            "allowed_qty_raw": verdict.allowed_qty.raw(),
            "value_millionths": verdict.value,
            "reference_raw": verdict.reference.raw(),
            "reference_age_ns": verdict.reference_age_ns,
            "overridden": excused,
        })
    }
}

/// Where alerts go.
#[derive(Debug)]
pub(crate) struct Teller {
    lines: Lines,
    trail: Option<Trail>,
    screens: Option<crate::screens::Teller>,
    delays: Histogram<u64>,
    late: u64,
}

impl Teller {
    pub(crate) fn new(
        path: &Path,
        trail: Option<Trail>,
        screens: Option<crate::screens::Teller>,
    ) -> Result<Self, RiskDeskError> {
        // Up to an hour, two digits: what is later than that is as late.
        let delays =
            Histogram::new_with_bounds(1, 3_600_000_000_000, 2).unwrap_or_else(|_| unreachable!("good bounds"));
        Ok(Self { lines: Lines::create(path)?, trail, screens, delays, late: 0 })
    }

    /// Tells something that happened `delay_ns` ago.
    pub(crate) fn tell(&mut self, mut line: Value, time_ns: i64, delay_ns: i64) {
        let begun = Instant::now();
        let before = u64::try_from(delay_ns).unwrap_or(0);
        line["delay_ns"] = before.into();
        let kind = line["kind"].as_str().unwrap_or_default().to_owned();
        if kind == "refusal" {
            tracing::info!(%line, "risk: an order was refused");
        } else {
            tracing::warn!(%line, "risk: {kind}");
        }
        self.lines.retry();
        self.lines.write(&line);
        // Told when it is written, not when it is about to be.
        let delay = before.saturating_add(begun.elapsed().as_nanos() as u64);
        self.delays.saturating_record(delay.max(1));
        self.late += u64::from(delay > ALERT_NS);
        if let Some(screens) = &self.screens {
            screens.alert(time_ns, &kind, &line);
        }
        if let Some(trail) = &self.trail {
            // What took how long differs every time, and belongs to the histograms.
            line.as_object_mut().map(|line| line.remove("delay_ns"));
            trail.risk(time_ns, &line);
        }
    }

    pub(crate) fn figures(&self) -> Value {
        let us = |value: u64| value as f64 / 1e3;
        json!({
            "count": self.delays.len(),
            "p50_us": us(self.delays.value_at_quantile(0.5)),
            "p99_us": us(self.delays.value_at_quantile(0.99)),
            "max_us": us(self.delays.max()),
            "later_than_5_s": self.late,
            "lines_pending": self.lines.pending(),
            "lines_lost": self.lines.lost(),
        })
    }
}
