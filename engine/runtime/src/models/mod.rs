//! The engine's side of its models: how advice reaches the guard, who runs the sidecar, what is recorded of it.

mod advisor;
mod companion;
mod desk;
mod known;
mod record;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tidegate_guard::Strategy;
use tidegate_sidecar::contract::Label;
use tidegate_sidecar::serve::Settings;
use tidegate_trade::signals::SignalConfig;
use tidegate_wire::Registry;

use crate::audit::Trail;
use crate::screens::Teller;

pub(crate) use advisor::{Advisor, Lockstep, Mailbox, Orders, reenact};
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

    /// The same, with models of signals held to what the signals of a run are about.
    pub(crate) fn labelled(&self, signals: Option<&SignalConfig>) -> Self {
        let mut plan = self.clone();
        if let (
            Self::Lockstep { settings, .. } | Self::Inline(settings) | Self::Process { settings, .. },
            Some(config),
        ) = (&mut plan, signals)
        {
            settings.loader.gate.label = Some(label_of(config));
        }
        plan
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

/// What signals of these settings are about.
pub(crate) fn label_of(config: &SignalConfig) -> Label {
    let ml = &config.ml;
    Label { target_bp: ml.target_bp, fee_bp: ml.fee_bp, timer_minutes: ml.timer_limit_minutes }
}

/// A sidecar with the desk that hears it; or why there is none although one was wanted.
pub(crate) struct Models {
    running: Option<(Companion, DeskThread)>,
    desk: Option<Desk>,
    unavailable: Option<String>,
}

impl Models {
    /// Starts what a plan asks for; events go to `file` and to the
    /// audit log. Gives what the hot loop needs besides. A process that gets no
    /// memory to share is no reason to stop: the engine runs on its static profiles and says so.
    pub(crate) fn start(
        plan: &ModelsPlan,
        (registry, strategies): (&Registry, &[Strategy]),
        (file, trail, screens): (Option<&Path>, Option<Trail>, Option<Teller>),
        stop: &AtomicBool,
    ) -> Result<(Self, Outlet), CompanionError> {
        let nobody = |unavailable: Option<String>| Self { running: None, desk: None, unavailable };
        let (companion, outlet) = match Companion::start(plan, registry, strategies, stop) {
            Ok((Some(companion), outlet)) => (companion, outlet),
            Ok((None, outlet)) => return Ok((nobody(None), outlet)),
            Err(error @ (CompanionError::Memory(_) | CompanionError::Folder { .. }))
                if matches!(plan, ModelsPlan::Process { .. }) =>
            {
                let (_, outlet) = Companion::start(&ModelsPlan::Off, registry, strategies, stop)?;
                return Ok((nobody(Some(format!("no memory to share with a sidecar: {error}"))), outlet));
            }
            Err(error) => return Err(error),
        };
        let (requests, events) = (companion.requests.clone(), companion.events.clone());
        let opened = Desk::open(requests, events, file, (trail, screens)).map_err(|source| {
            let path = file.map_or_else(String::new, |path| path.display().to_string());
            CompanionError::Folder { path, source }
        });
        let (desk, thread) = opened?;
        Ok((Self { running: Some((companion, thread)), desk: Some(desk), unavailable: None }, outlet))
    }

    /// The desk, for whoever asks.
    pub(crate) fn desk(&self) -> Option<Desk> {
        self.desk.clone()
    }

    fn end(&mut self) {
        if let Some((mut companion, thread)) = self.running.take() {
            companion.stop();
            // Its last sender goes with it, and the desk ends.
            drop(companion);
            thread.finish();
        }
    }

    /// Ends the sidecar and gives what it told; `None` when none was wanted.
    pub(crate) fn finish(mut self) -> Option<DeskReport> {
        self.end();
        let unavailable = self.unavailable.take();
        let unavailable = unavailable.map(|reason| DeskReport { unavailable: Some(reason), ..Default::default() });
        self.desk.take().map(|desk| desk.report()).or(unavailable)
    }
}

/// A run that cannot begin after all leaves no sidecar behind.
impl Drop for Models {
    fn drop(&mut self) {
        self.end();
    }
}
