//! Faults that wait for their time, and those that wait for something to happen to.

use super::{Chaos, Fault, FaultKind};
use crate::exchange::venue::Venue;

/// What a kind of fault happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The next frames that match.
    Frame,
    /// Every connection that matches.
    Connection,
    /// The venue, for a while.
    Venue,
}

/// A fault with its number in `/faults`.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) id: u64,
    pub(crate) due_ns: i64,
    pub(crate) fault: Fault,
}

/// A frame about to be sent, as far as faults care.
pub(crate) struct Passing<'a> {
    pub(crate) venue: Venue,
    pub(crate) symbol: &'a str,
    /// Kind of channel: `book`, `trade`.
    pub(crate) channel: &'a str,
    /// The venue's name of it.
    pub(crate) name: &'a str,
    pub(crate) connection: u64,
}

/// Everything planned.
#[derive(Default)]
pub(crate) struct Board {
    last_id: u64,
    waiting: Vec<Planned>,
    frames: Vec<(Planned, u32)>,
    venues: Vec<(Planned, i64)>,
    chaos: Option<(Chaos, i64)>,
}

impl Board {
    /// Random faults from `start_ns` on.
    pub(crate) fn start_chaos(&mut self, chaos: Chaos, start_ns: i64) {
        self.chaos = Some((chaos, start_ns));
    }

    /// Plans a fault; the number is that of its records.
    pub(crate) fn plan(&mut self, due_ns: i64, fault: Fault) -> u64 {
        self.last_id += 1;
        self.waiting.push(Planned { id: self.last_id, due_ns, fault });
        self.last_id
    }

    /// Puts back a fault that found nobody; it is due again at once.
    pub(crate) fn wait(&mut self, planned: Planned) {
        self.waiting.push(planned);
    }

    /// Takes the faults whose time has come, in order.
    pub(crate) fn due(&mut self, now_ns: i64, venues: &[Venue]) -> Vec<Planned> {
        while let Some((chaos, start_ns)) = &mut self.chaos {
            let due_ns = *start_ns + chaos.next_at_ns();
            if due_ns > now_ns {
                break;
            }
            let fault = chaos.draw(venues);
            self.last_id += 1;
            self.waiting.push(Planned { id: self.last_id, due_ns, fault });
        }
        let mut due: Vec<_> = self.waiting.extract_if(.., |planned| planned.due_ns <= now_ns).collect();
        due.sort_by_key(|planned| (planned.due_ns, planned.id));
        due
    }

    /// Makes a fault wait for frames.
    pub(crate) fn arm(&mut self, planned: Planned) {
        let count = planned.fault.count;
        self.frames.push((planned, count));
    }

    /// How many faults wait for frames.
    pub(crate) fn armed(&self) -> usize {
        self.frames.len()
    }

    /// Makes a fault reign over its venue until a time.
    pub(crate) fn reign(&mut self, planned: Planned, until_ns: i64) {
        self.venues.push((planned, until_ns));
    }

    /// The fault that this frame falls to, if any; one of its count is used up.
    pub(crate) fn strike(&mut self, frame: &Passing<'_>) -> Option<Planned> {
        let index = self.frames.iter().position(|(planned, _)| hits(&planned.fault, frame))?;
        let (planned, left) = &mut self.frames[index];
        *left -= 1;
        if *left == 0 { Some(self.frames.remove(index).0) } else { Some(planned.clone()) }
    }

    /// The fault of a kind that reigns over a venue now.
    pub(crate) fn reigning(&mut self, kind: FaultKind, venue: Venue, now_ns: i64) -> Option<Planned> {
        self.venues.retain(|(_, until_ns)| *until_ns > now_ns);
        let ours = |fault: &Fault| fault.kind == kind && fault.venue.is_none_or(|wanted| wanted == venue);
        self.venues.iter().find(|(planned, _)| ours(&planned.fault)).map(|(planned, _)| planned.clone())
    }
}

fn hits(fault: &Fault, frame: &Passing<'_>) -> bool {
    let channel = match fault.channel.as_deref() {
        None => frame.channel == "book",
        Some("*") => true,
        Some(name) => name == frame.channel || name == frame.name,
    };
    let needs_ids = matches!(fault.kind, FaultKind::WrongChecksum | FaultKind::SequenceJump);
    channel
        && (!needs_ids || frame.channel == "book")
        && (fault.kind != FaultKind::WrongChecksum || frame.venue == Venue::Bitget)
        && fault.venue.is_none_or(|venue| venue == frame.venue)
        && fault.symbol.as_ref().is_none_or(|symbol| symbol == frame.symbol)
        && fault.connection.is_none_or(|connection| connection == frame.connection)
}
