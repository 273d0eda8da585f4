//! The post-mortem: what an incident was, from the audit log, the recorded input and the histograms.
//!
//! The log is verified and read (`log`); trips close in event time are one incident (`incident`). The recorded input
//! runs through the same engine again (`rerun`), with a witness of the market (`market`) and guards with other
//! thresholds beside it. What comes out is compared with the log decision by decision (`reproduce`); causes are ranked
//! by their evidence (`causes`, `evidence`); `counterfactual` and `impact` say what other levels would have done and
//! what the incident did, `recommend` what follows for the configuration. [`Postmortem`] is all of it, as JSON; as
//! Markdown by [`markdown`], as a page by [`html`].

mod causes;
mod counterfactual;
mod evidence;
mod impact;
pub(crate) mod incident;
mod latency;
pub(crate) mod log;
mod market;
mod plots;
mod recommend;
mod report_html;
mod report_md;
mod reproduce;
mod rerun;
mod timeline;
mod traded;

use std::path::PathBuf;

use serde::Serialize;
use tidegate_feed::replay::SourceSpec;
use tidegate_guard::conditions::Calendar;
use tidegate_guard::rules::DRAWDOWN;
use tidegate_record::entry::EntryError;
use tidegate_record::log::LogError;
use tidegate_record::note::Verifier;

pub use causes::{CERTAIN, Ranked, RootCause};
pub use counterfactual::{Counterfactual, FACTORS, Row};
pub use evidence::Evidence;
pub use impact::{Impact, InstrumentImpact, Spared};
pub use incident::QUIET_NS;
pub use latency::LatencyReport;
pub use plots::{Curve, Plot};
pub use recommend::Recommendation;
pub use report_html::html;
pub use report_md::{clock, markdown};
pub use reproduce::{Difference, Digests, FieldDifference, Reproduction};
pub use timeline::Moment;
pub use traded::{OrdersImpact, Traded};

use crate::hlog::HlogError;
use crate::replay::RunError;
use causes::Scene;
use counterfactual::{Compared, variants};
use incident::Incident;
use latency::OwnLatency;
use log::Session;
use recommend::Advisor;
use rerun::{Profiles, Rerun};

/// Name and version of the JSON document.
pub const SCHEMA: &str = "tidegate.postmortem.v1";

/// Event time shown before an incident's first trip, ns.
const SHOWN_BEFORE_NS: i64 = 30_000_000_000;
/// Event time shown after its last trip, ns.
const SHOWN_AFTER_NS: i64 = 30_000_000_000;
/// Event time of which fine steps are kept at most, ns.
const FINE_MAX_NS: i64 = 900_000_000_000;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Folder of the audit log.
    pub log: PathBuf,
    /// Whose checkpoints are believed; the log's own key without.
    pub keys: Vec<Verifier>,
    /// What the engine was given.
    pub input: Vec<SourceSpec>,
    /// An entry of the log that belongs to the incident; without one the newest of the gravest incidents of the newest
    /// session in which a breaker tripped.
    pub entry: Option<u64>,
    /// Instead of an entry: the number of a decision of that session, as files and screens show it.
    pub decision: Option<u64>,
    /// The interval log of the run.
    pub hlog: Option<PathBuf>,
    /// The calendar that the run had, with its file.
    pub calendar: Option<(PathBuf, Calendar)>,
    /// Whether other thresholds are not to be tried.
    pub without_counterfactual: bool,
}

/// Why there is no post-mortem.
#[derive(Debug, thiserror::Error)]
pub enum PostmortemError {
    /// The log cannot be read.
    #[error("the audit log: {0}")]
    Log(#[from] LogError),
    /// The log was changed: nothing that it says is explained.
    #[error(
        "the audit log was changed: {path}: {reason}; nothing it says can be explained (see `tidegate audit verify`)"
    )]
    Changed {
        /// Which file.
        path: String,
        /// What was found.
        reason: String,
    },
    /// An entry that this program does not know.
    #[error("entry {index}: {source}")]
    Entry {
        /// Its number.
        index: u64,
        /// What is wrong with it.
        source: EntryError,
    },
    /// An entry whose text is not what its kind says.
    #[error("entry {index}: {reason}")]
    Unreadable {
        /// Its number.
        index: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such entry.
    #[error("there is no entry {index}: the log has {size}, retention begins at {minimum}")]
    NoEntry {
        /// What was asked for.
        index: u64,
        /// Entries in the log.
        size: u64,
        /// First entry that was not removed.
        minimum: u64,
    },
    /// No breaker ever tripped.
    #[error("{folder}: no breaker tripped in any session of this log: there is no incident", folder = .folder.display())]
    NoTrip {
        /// The log.
        folder: PathBuf,
    },
    /// No such decision.
    #[error("decision {0} is not in the log's newest session with trips; it may not be durable yet")]
    NoDecision(u64),
    /// The entry tells of no moment.
    #[error("entry {0} tells of no moment of event time; expected an entry from the first event on")]
    NoMoment(u64),
    /// The configuration in the log cannot be used.
    #[error("the configuration of the session that begins with entry {first}: {reason}")]
    Configuration {
        /// First entry of the session.
        first: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The run had another calendar.
    #[error("{said}: the run had another calendar; expected the file that it was configured with (--calendar)",
        said = .path.as_ref().map_or("no calendar was given".to_owned(), |path| path.display().to_string()))]
    Calendar {
        /// What was given.
        path: Option<PathBuf>,
    },
    /// The input cannot be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The input holds other instruments than the log.
    #[error("the input holds {found}; the log is of {expected}: expected the captures of that run, all of them")]
    Instruments {
        /// In the input.
        found: String,
        /// In the log.
        expected: String,
    },
    /// The interval log cannot be read.
    #[error(transparent)]
    Hlog(#[from] HlogError),
}

/// The log, as far as it matters.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct LogReport {
    /// Name of the log.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// Root over them, as hex: every hash, tile and checkpoint was recomputed.
    pub root: String,
    /// What is not whole although nothing was changed.
    pub remarks: Vec<String>,
    /// First entry of the session.
    pub session: u64,
    /// What the session was: `run` or `replay`.
    pub purpose: String,
    /// Version of the program that wrote it.
    pub version: String,
    /// Who moved thresholds.
    pub models: String,
}

/// The incident.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct IncidentReport {
    /// Number among the session's incidents, from 1; 0 for a moment in which nothing tripped.
    pub number: usize,
    /// Incidents of the session.
    pub of: usize,
    /// First trip, ns since the Unix epoch.
    pub start_ns: i64,
    /// Last trip, ns since the Unix epoch.
    pub last_trip_ns: i64,
    /// When trading was allowed again everywhere, ns since the Unix epoch; absent where it was not when the log ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_ns: Option<i64>,
    /// Trips in it.
    pub trips: usize,
    /// Rules that tripped, in the order of their first trips.
    pub rules: Vec<&'static str>,
    /// Instruments that tripped themselves.
    pub instruments: Vec<String>,
    /// Seconds of the recording that count as usual: what the market did is not judged with fewer than five.
    pub usual_seconds: usize,
    /// The first trip as a sentence; absent for a moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_trip: Option<String>,
}

/// A post-mortem. Times are ns since the Unix epoch (UTC) of event time.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Postmortem {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The log it is from.
    pub log: LogReport,
    /// The incident.
    pub incident: IncidentReport,
    /// Every cause, the likeliest first. Those with a score of at least [`CERTAIN`] are causes; several of them are a
    /// compound one.
    pub causes: Vec<Ranked>,
    /// Whether the re-run came to the same decisions.
    pub reproduction: Reproduction,
    /// What it did.
    pub impact: Impact,
    /// What other thresholds would have done.
    pub counterfactuals: Vec<Counterfactual>,
    /// What follows for the configuration.
    pub recommendations: Vec<Recommendation>,
    /// The engine's own latency; absent without an interval log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyReport>,
    /// What happened, in order.
    pub timeline: Vec<Moment>,
    /// Moments that were left out of the timeline.
    pub timeline_left_out: usize,
    /// The market around the incident.
    pub plots: Vec<Plot>,
}

/// The JSON schema of a [`Postmortem`] (2020-12).
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Postmortem).to_value()
}

/// An incident as lists show it: number, first trip and end in ns since the Unix epoch, entry of its first trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Number, from 1.
    pub number: usize,
    /// First trip.
    pub start_ns: i64,
    /// Last trip.
    pub last_trip_ns: i64,
    /// When trading was allowed again everywhere, if it was.
    pub end_ns: Option<i64>,
    /// Entry of its first trip.
    pub entry: u64,
    /// Widest scope that was stopped.
    pub scope: &'static str,
    /// Trips in it.
    pub trips: usize,
}

/// The incidents of the newest session in which a breaker tripped, or of the one that holds an entry.
///
/// # Errors
/// As [`explain`], as far as the log is concerned.
pub fn list(log: &std::path::Path, keys: &[Verifier], entry: Option<u64>) -> Result<Vec<Listed>, PostmortemError> {
    let (_, session) = log::read(log, keys, entry)?;
    let listed = |incident: &Incident| Listed {
        number: incident.number,
        start_ns: incident.start_ns,
        last_trip_ns: incident.last_trip_ns,
        end_ns: incident.end_ns,
        entry: incident.trips.first().map_or(0, |trip| trip.index),
        scope: incident.gravity().name(),
        trips: incident.trips.len(),
    };
    Ok(incident::incidents(&session).iter().map(listed).collect())
}

/// Explains an incident.
///
/// # Errors
/// See [`PostmortemError`]. A re-run that comes to other decisions is no error: the report says where.
pub fn explain(request: &Request) -> Result<Postmortem, PostmortemError> {
    let (verified, session) = log::read(&request.log, &request.keys, request.entry)?;
    let found = incident::incidents(&session);
    let entry = match request.decision {
        Some(number) => {
            let entry = session.decisions.iter().find(|logged| logged.record.sequence == number);
            Some(entry.ok_or(PostmortemError::NoDecision(number))?.index)
        }
        None => request.entry,
    };
    let chosen = incident::choose(&session, &found, entry);
    let incident = chosen.ok_or_else(|| match entry {
        Some(entry) => PostmortemError::NoMoment(entry),
        None => PostmortemError::NoTrip { folder: request.log.clone() },
    })?;
    let plan = session.plan(request.input.clone(), request.calendar.clone())?;
    let shown = shown(&incident);
    let tried = if request.without_counterfactual { Vec::new() } else { variants(&incident, &plan.profiles) };
    let profiles: Vec<Profiles> = tried.iter().map(|variant| (*variant.profiles).clone()).collect();
    let rerun = rerun::run(&plan, &session.recorded(), &profiles, shown)?;
    check_instruments(&session, &rerun)?;
    let remarks = input_remarks(&session, request, &rerun);
    let end_ns = rerun.witness.last_ns;
    let span = (incident.start_ns, incident.end_ns.unwrap_or(end_ns));
    let own = request.hlog.as_ref().map(|path| OwnLatency::read(path, session.purpose == "run")).transpose()?;
    let scene = Scene {
        session: &session,
        incident: &incident,
        witness: &rerun.witness,
        references: &rerun.references,
        profiles: &plan.profiles,
        own: own.as_ref(),
    };
    let (causes, usual_seconds) = (scene.rank(), scene.usual_seconds());
    let compared = Compared { incident: &incident, witness: &rerun.witness, profiles: &plan.profiles, end_ns };
    let counterfactuals = compared.tables(&tried, &rerun.others, &rerun.kept.decisions);
    let advisor = Advisor {
        session: &session,
        incident: &incident,
        causes: &causes,
        tables: &counterfactuals,
        profiles: &plan.profiles,
        witness: &rerun.witness,
    };
    let recommendations = advisor.recommend();
    let (timeline, timeline_left_out) = timeline::timeline(&session, shown.0, shown.1, incident.start_ns);
    Ok(Postmortem {
        schema: SCHEMA,
        log: log_report(verified, &session),
        incident: incident_report(&incident, (found.len(), usual_seconds), &session),
        reproduction: reproduce::compare(&session, &rerun, span, remarks),
        impact: impact::impact(&session, &incident, &rerun, end_ns),
        latency: own.map(|own| own.report()).transpose()?,
        plots: plots::plots(&rerun.witness, &incident, &causes),
        causes,
        counterfactuals,
        recommendations,
        timeline,
        timeline_left_out,
    })
}

/// What of the time around an incident is shown, ns since the Unix epoch.
fn shown(incident: &Incident) -> (i64, i64) {
    let from = incident.start_ns - SHOWN_BEFORE_NS;
    let to = incident.end_ns.unwrap_or(incident.last_trip_ns).max(incident.last_trip_ns + SHOWN_AFTER_NS);
    (from, to.min(from + FINE_MAX_NS))
}

fn check_instruments(session: &Session, rerun: &Rerun) -> Result<(), PostmortemError> {
    let found: Vec<String> = rerun.registry.iter().map(|(_, instrument)| instrument.name()).collect();
    if found == session.instruments {
        return Ok(());
    }
    let (found, expected) = (found.join(", "), session.instruments.join(", "));
    Err(PostmortemError::Instruments { found, expected })
}

/// Files that are not those of the log, and files that are damaged.
fn input_remarks(session: &Session, request: &Request, rerun: &Rerun) -> Vec<String> {
    let digest = |spec: &SourceSpec| crate::audit::file_digest(&spec.path).ok().map(|(_, digest)| digest);
    let given: Vec<_> = request.input.iter().map(|spec| (spec.path.display().to_string(), digest(spec))).collect();
    let missing = session
        .sources
        .iter()
        .filter(|source| !given.iter().any(|(_, digest)| digest.as_deref() == Some(source.sha256.as_str())));
    let mut remarks: Vec<String> = missing
        .map(|source| format!("{} (SHA-256 {}) is of the log's input and was not given", source.name, source.sha256))
        .collect();
    if !session.sources.is_empty() {
        let known = |digest: &Option<String>| session.sources.iter().any(|s| Some(&s.sha256) == digest.as_ref());
        let strange = given.iter().filter(|(_, digest)| !known(digest));
        remarks
            .extend(strange.map(|(path, _)| format!("{path} is none of the log's input: its SHA-256 is another one")));
    }
    remarks.extend(rerun.sources.iter().filter_map(|source| source.damaged.clone()));
    remarks
}

fn log_report(verified: log::Verified, session: &Session) -> LogReport {
    LogReport {
        origin: verified.origin,
        size: verified.size,
        root: verified.root,
        remarks: verified.remarks,
        session: session.first,
        purpose: session.purpose.clone(),
        version: session.version.clone(),
        models: session.models.clone(),
    }
}

fn incident_report(incident: &Incident, (of, usual_seconds): (usize, usize), session: &Session) -> IncidentReport {
    let names = session.names();
    let lost = incident.trips.iter().any(|trip| trip.record.rule == DRAWDOWN).then_some(DRAWDOWN);
    let name = |index: &u16| session.instruments.get(usize::from(*index)).cloned().unwrap_or_default();
    IncidentReport {
        number: incident.number,
        of,
        start_ns: incident.start_ns,
        last_trip_ns: incident.last_trip_ns,
        end_ns: incident.end_ns,
        trips: incident.trips.len(),
        rules: incident.rules().into_iter().chain(lost).map(tidegate_guard::rules::rule_name).collect(),
        instruments: incident.instruments().iter().map(name).collect(),
        usual_seconds,
        first_trip: incident.trips.first().map(|trip| timeline::decision(&names, &trip.record)),
    }
}
