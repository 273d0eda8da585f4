//! What really happened: faults, and what clients did wrong.

use serde::{Deserialize, Serialize};

use super::fault::FaultKind;
use super::venue::Venue;

/// Most entries of either list; a run that reaches it has long lost its meaning.
const MOST: usize = 200_000;

/// A fault at the moment it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRecord {
    /// Number of the planned fault; several records share it when it happened several times.
    pub id: u64,
    /// Wall time, ns since the epoch.
    pub at_ns: i64,
    /// Where.
    pub venue: Venue,
    /// Symbol, if it is about one.
    pub symbol: Option<String>,
    /// Connection, if it is about one.
    pub connection: Option<u64>,
    /// What.
    pub kind: FaultKind,
    /// Details, such as the ids of a lost frame.
    pub detail: String,
}

/// Something a client did that the venue does not allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Wall time, ns since the epoch.
    pub at_ns: i64,
    /// Where.
    pub venue: Venue,
    /// Connection; 0 for REST.
    pub connection: u64,
    /// Name of the rule.
    pub rule: String,
    /// What it was.
    pub detail: String,
}

/// Both lists.
#[derive(Default)]
pub(crate) struct Records {
    pub(crate) faults: Vec<FaultRecord>,
    pub(crate) violations: Vec<Violation>,
}

impl Records {
    pub(crate) fn fault(&mut self, record: FaultRecord) {
        if self.faults.len() < MOST {
            self.faults.push(record);
        }
    }

    pub(crate) fn violation(&mut self, violation: Violation) {
        if self.violations.len() < MOST {
            self.violations.push(violation);
        }
    }
}
