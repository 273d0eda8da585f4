//! What happened, as log lines for people and collectors: books that lose and regain trust, breakers that change.
//!
//! Written on the scribe's thread from records, so that no hot thread formats. Faults are warnings, the rest is
//! information.

use std::time::{Duration, UNIX_EPOCH};

use tidegate_trade::lines::SignalLine;
use tidegate_wire::advice::Origin;
use tidegate_wire::decision::Decision;
use tidegate_wire::event::{BookQuality, FLAG_SESSION, Header, Status};
use tracing::{debug, info, warn};

use crate::lines::{DecisionLine, Names};
use crate::models::{AdjustmentLine, OperatedLine};

/// Event time as people read it: RFC 3339, UTC, nanoseconds.
fn at(event_ns: i64) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(event_ns.max(0) as u64))
}

/// A book changed its quality.
pub(crate) fn status(names: &Names, header: &Header, status: &Status) {
    let (at, frame, book) = (at(header.event_ns), header.frame, names.instrument(header.instrument));
    let quality = BookQuality::of_word(status.quality);
    match quality {
        BookQuality::Gapped => {
            let (expected, received) = (status.expected, status.received);
            warn!(%at, frame, book, expected, received, "gap: updates are missing, out of service until a snapshot");
        }
        BookQuality::Crossed => {
            warn!(%at, frame, book, "corrupt: crossed, or a price off the grid; out of service until a snapshot");
        }
        BookQuality::Mismatched => {
            warn!(%at, frame, book, "checksum: the book is not the venue's; out of service until a snapshot");
        }
        BookQuality::Stale => warn!(%at, frame, book, "stale: no depth frame for longer than the profile allows"),
        BookQuality::Building if header.flags & FLAG_SESSION != 0 => {
            info!(%at, frame, book, "session: the stream goes on after a break, the book begins anew");
        }
        BookQuality::Building => info!(%at, frame, book, "building: waits for a snapshot"),
        BookQuality::Good => info!(%at, frame, book, "good"),
    }
}

/// A breaker changed its state.
pub(crate) fn decision(names: &Names, decision: &Decision) {
    if !tracing::enabled!(tracing::Level::INFO) {
        return;
    }
    let line: DecisionLine = names.decision(decision);
    let (at, frame, scope, name, rule) = (at(line.event_ns), line.frame, line.scope, &*line.name, line.rule);
    let (from, to, cause, value) = (line.from, line.to, line.cause, line.value);
    info!(%at, frame, scope, name, rule, from, to, cause, value, "breaker");
}

/// Thresholds changed. Advice comes every second for every book: only what is not routine is worth a line by default.
pub(crate) fn adjustment(line: &AdjustmentLine) {
    let (at, event, book) = (at(line.event_ns), line.event, &*line.instrument);
    let conditions = line.conditions.join(",");
    match line.origin {
        Origin::Advised => debug!(%at, event, book, volatility = line.after.volatility, "thresholds: advised"),
        Origin::Expired => warn!(%at, event, book, "thresholds: advice expired, the static profile holds"),
        Origin::Conditions => info!(%at, event, book, conditions, "thresholds: other conditions"),
    }
}

/// The signal desk saw something.
pub(crate) fn signal(line: &SignalLine<'_>) {
    let (coin, action, window) = (line.symbol, line.action, line.timer_window);
    let (ratio, confidence, leverage, tradable) = (line.psc_ratio, line.confidence, line.leverage, line.tradable);
    info!(coin, action, window, ratio, confidence, leverage, tradable, "signal");
}

/// An operator's command reached the engine.
pub(crate) fn operated(line: &OperatedLine) {
    let (at, event, order) = (at(line.event_ns), line.event, &*line.operator);
    warn!(%at, event, order, "operator");
}
