//! The engine's side of its models: how advice reaches the guard, who runs the sidecar, what is recorded of it.

mod advisor;
mod companion;
mod desk;
mod record;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_sidecar::serve::Settings;
use tidegate_wire::Registry;

pub(crate) use advisor::{Advisor, Lockstep, Mailbox, Orders};
pub use advisor::{Inbox, Recorded, Taken};
use companion::{Companion, Outlet};
pub use companion::{CompanionError, serve_child};
use desk::DeskThread;
pub use desk::{Desk, DeskReport};
pub use record::{AdjustmentLine, OperatedLine, RecordError, read_record};

/// Who runs the models, and how the engine waits for them.
#[derive(Clone, Debug, Default)]
pub enum ModelsPlan {
    /// Nobody: static profiles.
    #[default]
    Off,
    /// A thread; the replay waits for each answer, which takes effect after a latency of event time.
    Lockstep {
        /// The sidecar's settings.
        settings: Box<Settings>,
        /// Event time from a moment to the effect of its answer; shorter than the time between adjustments.
        latency: Duration,
    },
    /// A thread that answers when it can.
    Inline(Box<Settings>),
    /// A process of its own that answers when it can.
    Process {
        /// The sidecar's settings.
        settings: Box<Settings>,
        /// The program that has `sidecar` as its command: the engine's own.
        program: PathBuf,
        /// Where its shared memory lies; made anew.
        memory: PathBuf,
    },
    /// A record of adopted advice.
    Reenact(PathBuf),
}

impl ModelsPlan {
    /// The sidecar's settings, if there is one.
    pub fn settings(&self) -> Option<&Settings> {
        match self {
            Self::Lockstep { settings, .. } | Self::Inline(settings) | Self::Process { settings, .. } => Some(settings),
            Self::Off | Self::Reenact(_) => None,
        }
    }

    /// Name of the way for reports.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Lockstep { .. } => "lockstep",
            Self::Inline(_) => "inline",
            Self::Process { .. } => "process",
            Self::Reenact(_) => "re-enacted",
        }
    }
}

/// A running sidecar with the desk that hears it.
pub(crate) struct Models {
    companion: Companion,
    desk: Desk,
    thread: DeskThread,
}

impl Models {
    /// Starts what a plan asks for; events go to `file`. Gives what the hot loop needs besides.
    pub(crate) fn start(
        plan: &ModelsPlan,
        registry: &Registry,
        file: Option<&Path>,
    ) -> Result<(Option<Self>, Outlet), CompanionError> {
        let (companion, outlet) = Companion::start(plan, registry)?;
        let Some(companion) = companion else { return Ok((None, outlet)) };
        let (requests, events) = (companion.requests.clone(), companion.events.clone());
        let opened = Desk::open(requests, events, file).map_err(|source| {
            let path = file.map_or_else(String::new, |path| path.display().to_string());
            CompanionError::Folder { path, source }
        });
        let (desk, thread) = opened?;
        Ok((Some(Self { companion, desk, thread }), outlet))
    }

    /// The desk, for whoever asks.
    pub(crate) fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// Ends the sidecar and gives what it told.
    pub(crate) fn finish(mut self) -> DeskReport {
        self.companion.stop();
        // Its last sender goes with it, and the desk ends.
        drop(self.companion);
        self.thread.finish();
        self.desk.report()
    }
}
