//! A depth session that can be played again and again, later each time, from a receive buffer.
//!
//! Every pass is the same session shifted in time: the receive times and the venue's own stamps move by the same span,
//! so windows, timers and latencies of the stages behind see an ordinary day after the other.

use tidegate_feed::frame::PADDING;

use crate::corpus::{self, DepthMaker, Frames};
use crate::recorded::Recorded;
use crate::websocket::{HEADER_MAX, write_header};

/// Time between the last frame of a pass and the first of the next, ms.
const PAUSE_MS: i64 = 1_000;
/// What the way from the venue takes in generated sessions, ns.
const WAY_NS: i64 = 5_000_000;
/// Digits of a stamp in ms.
const DIGITS: usize = 13;

/// Where a frame says when it was made, and what it says, ms.
type Stamps = Vec<(usize, i64)>;

/// A snapshot and the depth frames that follow.
#[derive(Clone, Debug)]
pub struct Session {
    snapshot: Vec<u8>,
    snapshot_stamps: Stamps,
    frames: Frames,
    stamps: Vec<Stamps>,
    recv_ns: Vec<i64>,
    span_ms: i64,
}

impl Session {
    /// A snapshot of 900 levels a side and `count` frames of `changes` changes.
    pub fn generated(count: usize, changes: usize) -> Self {
        let mut snapshot = Frames::default();
        snapshot.push(DepthMaker::new(1).snapshot(900).as_bytes());
        let frames = corpus::depth(count, changes);
        let made = |i| stamps(frames.get(i)).first().map_or(0, |(_, ms)| *ms);
        let recv_ns = (0..frames.len()).map(|i| made(i) * 1_000_000 + WAY_NS).collect();
        Self::new(snapshot.get(0), frames, recv_ns)
    }

    /// The recorded session.
    pub fn recorded(all: Recorded) -> Self {
        Self::new(all.snapshot.get(0), all.depth, all.recv_ns)
    }

    fn new(snapshot: &[u8], frames: Frames, recv_ns: Vec<i64>) -> Self {
        let span_ns = recv_ns.last().zip(recv_ns.first()).map_or(0, |(last, first)| last - first);
        Self {
            snapshot: snapshot.to_vec(),
            snapshot_stamps: stamps(snapshot),
            stamps: (0..frames.len()).map(|i| stamps(frames.get(i))).collect(),
            frames,
            recv_ns,
            span_ms: span_ns / 1_000_000 + PAUSE_MS,
        }
    }

    /// Number of depth frames.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Mean payload, bytes.
    pub fn mean_bytes(&self) -> f64 {
        self.frames.mean_bytes()
    }

    /// The snapshot as one pass gets it.
    pub fn snapshot(&self, pass: usize) -> Frames {
        let mut bytes = self.snapshot.clone();
        shift(&mut bytes, &self.snapshot_stamps, self.span_ms * pass as i64);
        let mut frames = Frames::default();
        frames.push(&bytes);
        frames
    }

    /// When the frame is received in that pass, ns since the Unix epoch.
    #[inline(always)]
    pub fn recv_ns(&self, index: usize, pass: usize) -> i64 {
        self.recv_ns[index] + self.span_ms * pass as i64 * 1_000_000
    }
}

/// A receive buffer: one frame at a time, as a read from a socket leaves it in the caches of this core.
#[derive(Clone, Debug)]
pub struct Inbox {
    buffer: Vec<u8>,
    filled: usize,
}

impl Inbox {
    /// With room for every frame of the session.
    pub fn new(session: &Session) -> Self {
        let longest = (0..session.len()).map(|i| session.frames.get(i).len()).max().unwrap_or(0);
        Self { buffer: vec![0; HEADER_MAX + longest + PADDING], filled: 0 }
    }

    /// Puts a frame behind its WebSocket header into the buffer, with the stamps of that pass.
    pub fn fill(&mut self, session: &Session, index: usize, pass: usize) {
        let payload = session.frames.get(index);
        let mut header = [0; HEADER_MAX];
        let start = write_header(&mut header, payload.len());
        self.buffer[..start].copy_from_slice(&header[..start]);
        self.filled = start + payload.len();
        self.buffer[start..self.filled].copy_from_slice(payload);
        shift(&mut self.buffer[start..], &session.stamps[index], session.span_ms * pass as i64);
    }

    /// What was received.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    /// The buffer from `start` on, with the room behind what was received.
    #[inline(always)]
    pub fn from(&mut self, start: usize) -> &mut [u8] {
        &mut self.buffer[start..]
    }
}

/// Event and transaction time of a frame, in the order written.
fn stamps(frame: &[u8]) -> Stamps {
    let named = |at: &usize| matches!(&frame[*at..*at + 4], b"\"E\":" | b"\"T\":");
    let read = |at: usize| {
        let digits = frame.get(at + 4..at + 4 + DIGITS)?;
        Some((at + 4, std::str::from_utf8(digits).ok()?.parse().ok()?))
    };
    (0..frame.len().saturating_sub(4)).filter(named).filter_map(read).collect()
}

fn shift(bytes: &mut [u8], stamps: &Stamps, ms: i64) {
    for (at, value) in stamps {
        let mut rest = value + ms;
        for digit in bytes[*at..*at + DIGITS].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_pass_is_the_same_session_later() {
        let session = Session::generated(3, 54);
        let mut inbox = Inbox::new(&session);
        inbox.fill(&session, 2, 0);
        let first = inbox.bytes().to_vec();
        assert_eq!(&first[4..], session.frames.get(2));
        inbox.fill(&session, 2, 1);
        let (before, after) = (stamps(&first), stamps(inbox.bytes()));
        assert_eq!((before.len(), after.len()), (2, 2));
        let later = session.recv_ns(2, 1) - session.recv_ns(2, 0);
        for ((_, before), (_, after)) in before.iter().zip(&after) {
            assert_eq!((after - before) * 1_000_000, later);
        }
        assert_eq!(stamps(session.snapshot(1).get(0))[0].1 - stamps(session.snapshot(0).get(0))[0].1, session.span_ms);
    }
}
