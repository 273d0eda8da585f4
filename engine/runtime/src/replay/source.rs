//! Frames from the reader at the wanted pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tidegate_feed::Feed;
use tidegate_feed::replay::{Block, Reader};
use tidegate_wire::clock::Clock;
use tidegate_wire::event::EventSink;

use super::Speed;
use crate::pipeline::{Polled, Source};

/// Wall and event time of the loop, shared with whoever waits for it.
#[derive(Debug, Default)]
pub(crate) struct Spent(std::sync::Mutex<Option<(Instant, i64, i64)>>);

#[derive(Default)]
pub(super) struct Times {
    pub(super) wall_s: f64,
    pub(super) event_s: f64,
    /// Event time of the first frame, ns since the Unix epoch.
    pub(super) first_ns: i64,
}

impl Spent {
    /// The loop begins with a frame of this receive time.
    pub(crate) fn begin(&self, first_ns: i64) {
        let now = Instant::now();
        if let Ok(mut spent) = self.0.lock() {
            *spent = Some((now, first_ns, first_ns));
        }
    }

    /// The last frame was of this receive time.
    pub(crate) fn end(&self, last_ns: i64) {
        if let Ok(mut spent) = self.0.lock()
            && let Some((_, _, last)) = spent.as_mut()
        {
            *last = last_ns;
        }
    }

    pub(super) fn times(&self, end: Instant) -> Times {
        let spent = self.0.lock().map_or(None, |spent| *spent);
        let Some((start, first, last)) = spent else { return Times::default() };
        let (wall_s, event_s) = ((end - start).as_secs_f64(), (last - first) as f64 * 1e-9);
        Times { wall_s, event_s, first_ns: first }
    }
}

/// Frames from the reader at the wanted pace.
pub(super) struct ReplaySource {
    reader: Arc<std::sync::Mutex<Option<Reader>>>,
    own: Option<Reader>,
    speed: Speed,
    clock: Clock,
    block: Option<(Block, usize)>,
    /// Counter and receive time at which the replay began.
    origin: Option<(u64, i64)>,
    started: Option<Instant>,
    last_ns: i64,
    pub(super) spent: Arc<Spent>,
    /// Set when every frame has been fed.
    pub(super) ended: Arc<AtomicBool>,
}

/// The reader after the loop: it goes out with the source and comes back when that is dropped.
pub(super) type Returned = Arc<std::sync::Mutex<Option<Reader>>>;

pub(super) fn take_back(returned: Returned) -> Reader {
    match returned.lock().ok().and_then(|mut reader| reader.take()) {
        Some(reader) => reader,
        None => unreachable!("the source gives its reader back when it is dropped"),
    }
}

impl ReplaySource {
    pub(super) fn new(reader: Reader, speed: Speed, clock: Clock) -> Self {
        Self {
            reader: Arc::default(),
            own: Some(reader),
            speed,
            clock,
            block: None,
            origin: None,
            started: None,
            last_ns: 0,
            spent: Arc::default(),
            ended: Arc::default(),
        }
    }

    pub(super) fn reader(&self) -> Returned {
        self.reader.clone()
    }

    /// Counter at which a frame is due; `None` when that is still to come.
    #[inline(always)]
    fn due(&mut self, recv_ns: i64) -> Option<u64> {
        let now = self.clock.ticks();
        let Speed::Times(times) = self.speed else { return Some(now) };
        let (ticks, origin_ns) = *self.origin.get_or_insert((now, recv_ns));
        let after_ns = (recv_ns - origin_ns).max(0) as f64 / times;
        let due = ticks + self.clock.ticks_of(after_ns as u64);
        // A late frame's latency counts from when it was due, not from when the loop came round to it.
        (now >= due).then_some(due)
    }
}

impl Source for ReplaySource {
    /// At full speed the loop's rate must be its own: it starts when as much as possible is read.
    fn begin(&mut self) {
        if let (Speed::Max, Some(reader)) = (self.speed, &self.own) {
            reader.wait_until_ahead();
        }
    }

    #[inline]
    fn poll(&mut self, feed: &mut Feed, sink: &mut impl EventSink) -> Polled {
        let Some(reader) = &self.own else { return Polled::Ended };
        if self.block.is_none() {
            // Ask first: what is finished before it is found empty has nothing left.
            let finished = reader.is_finished();
            match reader.try_next() {
                Some(block) => self.block = Some((block, 0)),
                None if finished => {
                    self.ended.store(true, Ordering::Release);
                    return Polled::Ended;
                }
                None => return Polled::Idle,
            }
        }
        let Some((mut block, mut at)) = self.block.take() else { return Polled::Idle };
        if self.started.is_none() {
            self.started = Some(Instant::now());
            self.spent.begin(block.recv_ns(0).unwrap_or(0));
        }
        // A batch, so that the stop flag is looked at now and then and not for every frame.
        let end = block.len().min(at + 64);
        while at < end {
            let Some(recv_ns) = block.recv_ns(at) else { break };
            let Some(due) = self.due(recv_ns) else {
                self.block = Some((block, at));
                return Polled::Idle;
            };
            if let Some(mut next) = block.frame(at) {
                next.meta.arrive_ticks = due;
                self.last_ns = next.meta.recv_ns;
                next.read_by(feed, sink);
            }
            at += 1;
        }
        if at < block.len() {
            self.block = Some((block, at));
        } else if let Some(reader) = &self.own {
            reader.give_back(block);
        }
        Polled::Busy
    }
}

impl Drop for ReplaySource {
    fn drop(&mut self) {
        self.spent.end(self.last_ns);
        if let Ok(mut reader) = self.reader.lock() {
            *reader = self.own.take();
        }
    }
}
