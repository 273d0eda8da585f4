//! A pipeline driven by live venues.

mod opening;
mod source;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use tidegate_feed::capture::{self, CaptureError, Series, SeriesReport, SeriesSettings};
use tidegate_feed::session::board::Board;
use tidegate_feed::session::desk::{self, DeskHandle};
use tidegate_feed::session::hub::Hub;
use tidegate_feed::session::plan::{MarketPlan, SessionSettings};
use tidegate_feed::session::status::{SessionEvent, SessionStatus};
use tidegate_wire::Registry;
use tidegate_wire::clock::Clock;

use crate::audit::Trail;
use crate::control::Feeds;
use crate::screens::Teller;

pub(crate) use opening::learn_instruments;
pub(crate) use source::LiveSource;

/// Venues to be read live.
#[derive(Clone, Debug)]
pub struct LivePlan {
    /// The markets.
    pub markets: Vec<MarketPlan>,
    /// Times of all sessions.
    pub settings: SessionSettings,
    /// Where session events go, a JSON object a line.
    pub events: Option<PathBuf>,
    /// Where every frame is kept; none is without.
    pub capture: Option<SeriesSettings>,
    /// Where an account's positions, orders and balances go at their cadences, a JSON object a line.
    pub accounts: Option<PathBuf>,
}

/// Why there is no live run.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// A market cannot be set up.
    #[error("{0}")]
    Market(String),
    /// A venue does not tell what an instrument is.
    #[error("{venue}: instruments: {reason}")]
    Instruments {
        /// Which venue.
        venue: &'static str,
        /// Why.
        reason: String,
    },
    /// An output file cannot be made.
    #[error("{path}: {source}")]
    Output {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The capture cannot be begun.
    #[error("capture: {0}")]
    Capture(#[from] CaptureError),
    /// No poller.
    #[error("the system gives no poller: {0}")]
    Poller(std::io::Error),
}

/// The cold side of a live run.
pub(crate) struct Live {
    desk: DeskHandle,
    capture: Option<Series>,
}

/// What a live run leaves beside its pipeline.
#[derive(Debug)]
pub struct LiveReport {
    /// Where connections, clocks and accounts stood.
    pub session: SessionStatus,
    /// What was captured.
    pub capture: Option<SeriesReport>,
}

impl Live {
    /// Starts the session thread; the source goes to the loop.
    pub(crate) fn start(
        plan: &LivePlan,
        registry: &Registry,
        clock: Clock,
        (trail, screens): (Option<Trail>, Option<Teller>),
    ) -> Result<(Self, LiveSource), LiveError> {
        let mut events = plan.events.as_ref().map(lines).transpose()?;
        let mut accounts = plan.accounts.as_ref().map(lines).transpose()?;
        let tell = move |event: SessionEvent| {
            if let Some(trail) = &trail {
                trail.session(&event);
            }
            if let Some(screens) = &screens {
                screens.session(&event);
            }
            tell(&event, &mut events, &mut accounts);
        };
        let started = desk::start(plan.markets.clone(), plan.settings, registry, clock, tell);
        let (desk, ends, board): (DeskHandle, _, std::sync::Arc<Board>) = started.map_err(LiveError::Market)?;
        let mut hub = Hub::new(ends, board, registry.len(), clock).map_err(LiveError::Poller)?;
        let mut capture = None;
        if let Some(settings) = &plan.capture {
            let (tap, ends) = capture::tap(settings.flush_after());
            let tell = |outcome: Result<(), &CaptureError>| match outcome {
                Ok(()) => tracing::warn!("capture: a new file was begun after an error"),
                Err(error) => tracing::error!(%error, "capture: frames are not kept"),
            };
            capture = Some(Series::start(settings.clone(), registry, ends, tell)?);
            hub.record(tap);
        }
        Ok((Self { desk, capture }, LiveSource::new(hub)))
    }

    /// For operators.
    pub(crate) fn feeds(&self) -> Feeds {
        Feeds { commands: self.desk.commands.clone(), status: self.desk.status.clone() }
    }

    /// Ends the session thread and the capture, and gives where everything stood. The source has been dropped.
    pub(crate) fn finish(self) -> LiveReport {
        LiveReport { session: self.desk.finish(), capture: self.capture.map(Series::finish) }
    }
}

fn lines(path: &PathBuf) -> Result<BufWriter<File>, LiveError> {
    let wrong = |source| LiveError::Output { path: path.display().to_string(), source };
    File::create(path).map(BufWriter::new).map_err(wrong)
}

/// Writes an event where it belongs and says it in the log.
fn tell(event: &SessionEvent, events: &mut Option<BufWriter<File>>, accounts: &mut Option<BufWriter<File>>) {
    let SessionEvent { venue, connection, kind, detail, at_ns } = event;
    if *kind == "account" {
        let line = format!("{{\"at_ns\":{at_ns},\"venue\":\"{venue}\",\"push\":{detail}}}\n");
        return write(accounts, line.as_bytes());
    }
    match *kind {
        "state" | "snapshot" | "rotating" | "rotated" => {
            tracing::info!(venue = venue.name(), connection, kind, "{detail}");
        }
        _ => tracing::warn!(venue = venue.name(), connection, kind, "{detail}"),
    }
    if let Ok(mut line) = serde_json::to_vec(event) {
        line.push(b'\n');
        write(events, &line);
    }
}

/// Events are rare: each is on disk when it has been told. A full disk costs the file, not the session, and says
/// so once.
fn write(file: &mut Option<BufWriter<File>>, line: &[u8]) {
    let Some(open) = file else { return };
    if let Err(error) = open.write_all(line).and_then(|()| open.flush()) {
        tracing::error!(%error, "session events can no longer be written");
        *file = None;
    }
}
