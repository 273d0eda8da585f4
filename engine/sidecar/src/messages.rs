//! What the engine asks of its sidecar, and what the sidecar tells: JSON lines over pipes, or values between threads.

use serde::{Deserialize, Serialize};

use crate::gate::GateReport;
use crate::refusal::Reason;

/// A request. Every request but [`Request::Stop`] is answered by one event with its number: [`Event::Rated`] to
/// [`Request::Rate`], where there is a sidecar to say it, else [`Event::Answer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "request")]
pub enum Request {
    /// What is loaded.
    List {
        /// Number of the request.
        id: u64,
    },
    /// Load a version now and put it in shadow, whatever its number.
    Load {
        /// Number of the request.
        id: u64,
        /// Name of the model.
        name: String,
        /// Version.
        version: u32,
    },
    /// Put the version in shadow in force now, without waiting for the rest of its time.
    Promote {
        /// Number of the request.
        id: u64,
        /// Name of the model.
        name: String,
        /// The version that is meant; whichever is in shadow without.
        #[serde(default)]
        version: Option<u32>,
    },
    /// Put the version before this one in force again.
    Rollback {
        /// Number of the request.
        id: u64,
        /// Name of the model.
        name: String,
    },
    /// Refuse the version in shadow: it has not shown what it had to.
    Dismiss {
        /// Number of the request.
        id: u64,
        /// Name of the model.
        name: String,
        /// Version.
        version: u32,
        /// Why, in words.
        text: String,
    },
    /// What a model of signals says of one. Answered by [`Event::Rated`].
    Rate {
        /// Number of the request.
        id: u64,
        /// Name of the model.
        name: String,
        /// Event time of the signal, ns since the Unix epoch.
        event_ns: i64,
        /// Its columns; nothing where one is not known.
        row: Vec<Option<f64>>,
    },
    /// End.
    Stop,
}

impl Request {
    /// Its number, if it is answered.
    pub const fn id(&self) -> Option<u64> {
        match self {
            Self::List { id }
            | Self::Load { id, .. }
            | Self::Promote { id, .. }
            | Self::Rollback { id, .. }
            | Self::Dismiss { id, .. }
            | Self::Rate { id, .. } => Some(*id),
            Self::Stop => None,
        }
    }
}

/// A version's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum State {
    /// In force.
    Active,
    /// Runs beside the version in force; its answers are only recorded.
    Shadow,
    /// Was in force before; kept loaded for a roll-back.
    Previous,
}

/// A loaded version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// Name of the model.
    pub name: String,
    /// Version.
    pub version: u32,
    /// SHA-256 of its file, hexadecimal.
    pub hash: String,
    /// Its state.
    pub state: State,
    /// Runs in that state.
    pub runs: u64,
    /// What the gate measured.
    pub report: GateReport,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// The sidecar runs; models in force follow as [`Event::Promoted`].
    Ready {
        /// Instructions of the kernel.
        kernel: String,
        /// Release of ONNX Runtime, as its build says.
        runtime: String,
    },
    /// The sidecar ended and is started again; static profiles hold meanwhile.
    Lost {
        /// How it ended.
        reason: String,
    },
    /// The sidecar has ended because it was told to: nothing follows.
    Ended,
    /// The repository holds no model; static profiles hold.
    Empty {
        /// Where it is.
        directory: String,
    },
    /// The repository holds a version that is newer than the one that it points to. A start takes up none of those: an
    /// operator may have chosen the older one.
    Newer {
        /// Name of the model.
        name: String,
        /// The newest version.
        version: u32,
        /// The one that is pointed to.
        pointed: u32,
    },
    /// Nothing can be loaded; static profiles hold.
    Unavailable {
        /// Why.
        reason: String,
    },
    /// A version goes through the gate now. Should the sidecar end before the verdict, it was this one's doing.
    Judging {
        /// Name of the model.
        name: String,
        /// Version.
        version: u32,
    },
    /// A version passed the gate.
    Admitted {
        /// Name of the model.
        name: String,
        /// Version.
        version: u32,
        /// SHA-256 of its file, hexadecimal.
        hash: String,
        /// What was measured.
        report: GateReport,
    },
    /// A version is refused; the one in force stays.
    Refused {
        /// Name of the model.
        name: String,
        /// Version.
        version: u32,
        /// Why, as a word.
        reason: Reason,
        /// Why, in words.
        text: String,
    },
    /// A version is in force from the next adjustment on.
    Promoted {
        /// Name of the model.
        name: String,
        /// The version that was in force before.
        from: Option<u32>,
        /// The version in force.
        to: u32,
        /// SHA-256 of its file, hexadecimal.
        hash: String,
        /// What it showed in shadow.
        shadow: Option<ShadowReport>,
        /// Event time of the newest vector, ns since the Unix epoch.
        event_ns: i64,
    },
    /// The version before is in force again.
    RolledBack {
        /// Name of the model.
        name: String,
        /// The version that was in force.
        from: u32,
        /// The version in force.
        to: u32,
        /// Event time of the newest vector, ns since the Unix epoch.
        event_ns: i64,
    },
    /// A version in force failed; the one before, or the static profile, holds.
    Fault {
        /// Name of the model.
        name: String,
        /// Version.
        version: u32,
        /// What went wrong.
        text: String,
    },
    /// A model's answer that is no advice on thresholds.
    Prediction {
        /// Name of the model.
        name: String,
        /// Version.
        version: u32,
        /// Number of the instrument.
        instrument: u16,
        /// Event time it was made for, ns since the Unix epoch.
        event_ns: i64,
        /// XXH3 of its input.
        input_digest: u64,
        /// Its outputs, in the contract's order.
        values: Vec<f32>,
    },
    /// Answer to [`Request::Rate`].
    Rated {
        /// Number of the request.
        id: u64,
        /// What the version in force says; nothing where there is none or it failed.
        in_force: Option<Rated>,
        /// What the version in shadow says.
        shadow: Option<Rated>,
    },
    /// Answer to a request.
    Answer {
        /// Number of the request.
        id: u64,
        /// Why it was not done; absent when it was.
        error: Option<String>,
        /// What is loaded now.
        models: Vec<Listed>,
    },
}

/// What a version says of a signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rated {
    /// Version.
    pub version: u32,
    /// SHA-256 of its file, hexadecimal.
    pub hash: String,
    /// XXH3 of its input.
    pub input_digest: u64,
    /// Its first output.
    pub value: f32,
}

/// What a version showed in shadow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShadowReport {
    /// Adjustments it ran beside.
    pub runs: u64,
    /// Mean absolute difference of its outputs to those in force.
    pub divergence: f64,
    /// Longest run, us.
    pub longest_us: f64,
}
