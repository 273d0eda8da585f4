//! One session of an audit log, as a post-mortem needs it: what was decided, under which rules, and what was told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tidegate_feed::replay::SourceSpec;
use tidegate_guard::Profile;
use tidegate_guard::conditions::Calendar;
use tidegate_guard::profile::{Escalation, ProfileFile, RuleOverride};
use tidegate_guard::rules::DRAWDOWN_RULE;
use tidegate_record::entry::{BookChange, Entry, Kind};
use tidegate_record::log::{Archive, Severity, verify};
use tidegate_record::note::Verifier;
use tidegate_wire::Venue;
use tidegate_wire::advice::{Adjustment, Operated, Origin};
use tidegate_wire::decision::{BreakerState, Decision};
use tidegate_wire::order::{Execution, Verdict};

use super::PostmortemError;
use crate::audit::reading::Reading;
use crate::lines::Names;
use crate::models::{Recorded, Taken};
use crate::replay::ReplayPlan;

/// A record with the number of its entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Logged<T> {
    pub(crate) index: u64,
    pub(crate) time_ns: i64,
    pub(crate) record: T,
}

/// What is text in the log: connections, models, requests, what is missing.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) index: u64,
    pub(super) time_ns: i64,
    pub(super) kind: &'static str,
    pub(super) actor: Option<String>,
    pub(super) body: Value,
}

/// A source as the log names it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) sha256: String,
}

/// The configuration, as far as decisions depend on it.
#[derive(Clone, Debug, Deserialize)]
struct Configured {
    profiles: BTreeMap<String, ProfileFile>,
    escalation: Escalation,
    /// Older logs have none: nobody told a drawdown then.
    #[serde(default)]
    drawdown: RuleOverride,
    correlations: Vec<(String, String)>,
    strategies: Vec<(String, Vec<String>)>,
    orders: Vec<String>,
    calendar_sha256: String,
    check_bbo: bool,
}

/// What the run came to, as the log's last entry says.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Ending {
    pub(super) decisions: u64,
    pub(super) features_digest: String,
    pub(super) decisions_digest: String,
    #[serde(default)]
    pub(super) stopped: bool,
}

/// A session.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    pub(super) first: u64,
    pub(super) version: String,
    pub(super) purpose: String,
    pub(super) models: String,
    pub(super) sources: Vec<Source>,
    pub(super) instruments: Vec<String>,
    pub(super) strategies: Vec<String>,
    pub(super) configuration: String,
    pub(super) configuration_sha256: String,
    pub(super) decisions: Vec<Logged<Decision>>,
    pub(super) adjustments: Vec<Logged<Adjustment>>,
    pub(super) operated: Vec<Logged<Operated>>,
    pub(super) books: Vec<Logged<BookChange>>,
    pub(super) verdicts: Vec<Logged<Verdict>>,
    pub(super) executions: Vec<Logged<Execution>>,
    pub(super) told: Vec<Told>,
    pub(super) end: Option<Ending>,
}

/// What is known of the log as a whole.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    pub(super) origin: String,
    pub(super) size: u64,
    pub(super) root: String,
    /// What is not whole, though nothing was changed.
    pub(super) remarks: Vec<String>,
}

/// Verifies a log and reads the session that holds an entry; without one the newest in which a breaker tripped.
///
/// # Errors
/// The log cannot be read, was changed, or has no such session.
pub(super) fn read(
    folder: &Path,
    keys: &[Verifier],
    entry: Option<u64>,
) -> Result<(Verified, Session), PostmortemError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let report = verify(folder, keys, threads, &|_, _| {})?;
    if let Some(finding) = report.findings.iter().find(|finding| finding.severity == Severity::Tampered) {
        let (path, reason) = (finding.path.clone(), finding.reason.clone());
        return Err(PostmortemError::Changed { path, reason });
    }
    let remarks = report.findings.iter().map(|finding| format!("{}: {}", finding.path, finding.reason)).collect();
    let verified = Verified { origin: report.origin, size: report.size, root: report.root, remarks };
    let archive = Archive::open(folder, keys)?;
    let absent = |index| PostmortemError::NoEntry { index, size: archive.size(), minimum: archive.minimum() };
    if let Some(index) = entry.filter(|index| *index >= archive.size() || *index < archive.minimum()) {
        return Err(absent(index));
    }
    let mut finder = Finder { reading: Reading::default(), entry, current: Session::default(), best: None };
    archive.each(u64::MAX, PostmortemError::from, |index, bytes| finder.take(index, bytes))?;
    finder.finish().ok_or_else(|| PostmortemError::NoTrip { folder: folder.to_owned() }).map(|found| (verified, found))
}

/// Looks for the session while entries pass.
struct Finder {
    reading: Reading,
    entry: Option<u64>,
    current: Session,
    best: Option<Session>,
}

impl Finder {
    fn take(&mut self, index: u64, bytes: &[u8]) -> Result<(), PostmortemError> {
        let failed = |source| PostmortemError::Entry { index, source };
        let entry = Entry::read(bytes).map_err(failed)?;
        if entry.kind == Kind::Session {
            self.begin(index);
        }
        if entry.kind.is_json() {
            let row = self.reading.row(index, bytes).map_err(failed)?;
            let told = Told { index, time_ns: row.time_ns, kind: row.kind, actor: row.actor, body: row.body };
            self.current.tell(entry.kind, told).map_err(|reason| PostmortemError::Unreadable { index, reason })
        } else {
            self.reading.pass(bytes).map_err(failed)?;
            self.current.record(index, &entry);
            Ok(())
        }
    }

    fn begin(&mut self, index: u64) {
        let ended = std::mem::replace(&mut self.current, Session { first: index, ..Session::default() });
        if self.wanted(&ended, index) {
            self.best = Some(ended);
        }
    }

    /// Whether a session that ended before an entry is the one; later ones win among those that tripped.
    fn wanted(&self, session: &Session, end: u64) -> bool {
        match self.entry {
            Some(entry) => (session.first..end).contains(&entry),
            None => session.trips().next().is_some(),
        }
    }

    fn finish(self) -> Option<Session> {
        if self.wanted(&self.current, u64::MAX) { Some(self.current) } else { self.best }
    }
}

impl Session {
    /// Decisions that tripped a breaker.
    pub(super) fn trips(&self) -> impl Iterator<Item = &Logged<Decision>> {
        self.decisions.iter().filter(|logged| logged.record.to == BreakerState::Tripped as u8)
    }

    /// Names for its numbers.
    pub(super) fn names(&self) -> Names {
        Names::of(self.instruments.clone(), self.strategies.clone())
    }

    fn record(&mut self, index: u64, entry: &Entry<'_>) {
        fn logged<T: bytemuck::Pod>(index: u64, entry: &Entry<'_>) -> Option<Logged<T>> {
            entry.record().map(|record| Logged { index, time_ns: entry.time_ns, record })
        }
        match entry.kind {
            Kind::Decision => self.decisions.extend(logged(index, entry)),
            Kind::Adjustment => self.adjustments.extend(logged(index, entry)),
            Kind::Operated => self.operated.extend(logged(index, entry)),
            Kind::Verdict => self.verdicts.extend(logged(index, entry)),
            Kind::Execution => self.executions.extend(logged(index, entry)),
            Kind::Book => self.books.extend(logged(index, entry)),
            _ => {}
        }
    }

    fn tell(&mut self, kind: Kind, told: Told) -> Result<(), String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| -> Vec<String> { value.as_array().into_iter().flatten().map(text).collect() };
        let body = &told.body;
        match kind {
            Kind::Session => {
                (self.version, self.purpose) = (text(&body["version"]), text(&body["purpose"]));
                self.models = text(&body["models"]);
                // Other programs write sessions too; one without sources has no input that could be run again.
                self.sources = serde_json::from_value(body["sources"].clone()).unwrap_or_default();
            }
            Kind::Names if body["strategies"].is_array() => self.strategies = list(&body["strategies"]),
            // Other names, such as those of coins, are nothing to a post-mortem.
            Kind::Names if body["instruments"].is_array() => {
                self.instruments.truncate(body["first"].as_u64().unwrap_or(0) as usize);
                self.instruments.extend(list(&body["instruments"]));
            }
            Kind::Configuration => {
                self.configuration.push_str(body["text"].as_str().unwrap_or_default());
                self.configuration_sha256 = text(&body["sha256"]);
            }
            Kind::Names => {}
            // The end of something else than a run says nothing of decisions.
            Kind::End => self.end = serde_json::from_value(body.clone()).unwrap_or_default(),
            _ => self.told.push(told),
        }
        Ok(())
    }

    /// Advice and commands in the order in which the guard took them.
    pub(super) fn recorded(&self) -> Vec<Recorded> {
        let advice = self.adjustments.iter().filter(|logged| logged.record.origin == Origin::Advised as u8);
        let advice = advice.map(|logged| {
            let Adjustment { event, event_ns, advice, .. } = logged.record;
            (logged.index, Recorded { event, event_ns, what: Taken::Advice(advice) })
        });
        let commands = self.operated.iter().filter_map(|logged| {
            let Operated { event, event_ns, .. } = logged.record;
            let command = tidegate_guard::Command::of_record(&logged.record)?;
            Some((logged.index, Recorded { event, event_ns, what: Taken::Command(command) }))
        });
        let mut all: Vec<_> = advice.chain(commands).collect();
        all.sort_by_key(|(index, _)| *index);
        all.into_iter().map(|(_, recorded)| recorded).collect()
    }

    /// The replay that this session's decisions must come out of.
    ///
    /// # Errors
    /// The log's configuration cannot be read, or was made with another calendar.
    pub(super) fn plan(
        &self,
        sources: Vec<SourceSpec>,
        calendar: Option<(PathBuf, Calendar)>,
    ) -> Result<ReplayPlan, PostmortemError> {
        let wrong = |reason: String| PostmortemError::Configuration { first: self.first, reason };
        if hex::encode(Sha256::digest(&self.configuration)) != self.configuration_sha256 {
            return Err(wrong("it is not whole: its SHA-256 is another one".into()));
        }
        let configured: Configured =
            serde_json::from_str(&self.configuration).map_err(|error| wrong(error.to_string()))?;
        let mut profiles = Venue::ALL.map(Profile::builtin);
        for (name, file) in &configured.profiles {
            let venue = Venue::from_name(name).ok_or_else(|| wrong(format!("there is no venue {name:?}")))?;
            profiles[venue as usize] = Profile::from_file(file).map_err(|error| wrong(format!("{name}: {error}")))?;
        }
        let (path, calendar) = calendar.map_or_else(Default::default, |(path, calendar)| (Some(path), calendar));
        if hex::encode(Sha256::digest(format!("{calendar:?}"))) != configured.calendar_sha256 {
            return Err(PostmortemError::Calendar { path });
        }
        let orders = configured.orders.iter().map(|order| order.parse().map_err(wrong)).collect::<Result<_, _>>()?;
        Ok(ReplayPlan {
            profiles,
            escalation: configured.escalation,
            drawdown: configured.drawdown.over(DRAWDOWN_RULE.defaults),
            correlations: configured.correlations,
            strategies: configured.strategies,
            orders,
            calendar,
            check_bbo: configured.check_bbo,
            ..ReplayPlan::new(sources)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_coins_are_no_instruments() {
        let mut session = Session::default();
        let names = |body: Value| Told { index: 0, time_ns: 0, kind: "names", actor: None, body };
        for body in [
            json!({ "first": 0, "instruments": ["BTCUSDT.binance-spot"] }),
            json!({ "strategies": ["grid"] }),
            json!({ "coins": ["BTC", "ETH"] }),
        ] {
            session.tell(Kind::Names, names(body)).expect("names");
        }
        assert_eq!((session.instruments.len(), session.strategies.len()), (1, 1));
    }
}
