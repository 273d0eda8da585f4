//! The hot side: all connections of a loop, polled together without waiting.
//!
//! The loop owns its sockets. It reads what is ready, lets the feed decode frames where they lie in the receive buffer
//! and hands everything else (acknowledgements, errors, an account's data) as copies to the session thread, which
//! decides; what that wants sent comes back as orders. Nothing here allocates after a connection was adopted.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender};
use mio::{Events, Interest, Poll, Token};
use tidegate_wire::clock::{Clock, realtime_ns};
use tidegate_wire::event::EventSink;
use tidegate_wire::{InstrumentId, Venue};

use super::board::{Board, SLOTS};
use crate::Feed;
use crate::frame::{FrameMeta, FrameMut, Outcome, PADDING};
use crate::transport::websocket::Kind;
use crate::transport::{Connection, Ended, Read};

/// A connection to be read from now on.
#[derive(Debug)]
pub struct Adopted {
    /// The connection.
    pub connection: Box<Connection>,
    /// Which market's decoder reads it.
    pub venue: Venue,
    /// Its number among all connections of the run.
    pub source: u16,
    /// An account's connection: nothing on it is market data.
    pub private: bool,
    /// Books it carries.
    pub books: Vec<InstrumentId>,
}

/// What the session thread wants of the loop.
#[derive(Debug)]
pub enum Order {
    /// Read this connection, in this slot.
    Adopt(usize, Box<Adopted>),
    /// Send a text.
    Send(usize, Vec<u8>),
    /// Send a WebSocket ping.
    Ping(usize),
    /// Send a close frame and forget the connection.
    Close(usize, u16, &'static str),
    /// A frame that came another way (a REST snapshot): its bytes and [`PADDING`] more.
    Frame(Venue, InstrumentId, Vec<u8>),
    /// A book is known to be wrong.
    Resync(InstrumentId),
}

/// What the loop tells the session thread.
#[derive(Debug)]
pub enum Report {
    /// A text that is no market data came on the connection of this slot and source.
    Text(usize, u16, Vec<u8>),
    /// A connection ended.
    Ended(usize, u16, Ended, Box<Connection>),
    /// A buffer that is not needed any more.
    Spent(Vec<u8>),
}

/// All connections of a loop.
pub struct Hub {
    poll: Poll,
    events: Events,
    slots: Vec<Option<Box<Adopted>>>,
    /// Slots of which more may be read without being told, a bit each: an idle poll looks at no slot at all.
    more: [u64; SLOTS / 64],
    orders: Receiver<Order>,
    reports: Sender<Report>,
    /// Empty buffers for texts.
    slips: Receiver<Vec<u8>>,
    board: Arc<Board>,
    clock: Clock,
    /// Who records frames as they come.
    tap: Option<crate::capture::Tap>,
    waiting_changes: u64,
    waiting: Vec<bool>,
    next_beat: u64,
    beat: u64,
}

impl core::fmt::Debug for Hub {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let open = self.slots.iter().flatten().count();
        f.debug_struct("Hub").field("open", &open).finish_non_exhaustive()
    }
}

/// Bytes of a slip; texts longer than any venue's acknowledgement are lost, and counted.
pub const SLIP: usize = 64 * 1024;
/// Without frames, time passes for the books in steps of this.
const BEAT: Duration = Duration::from_millis(10);

/// The loop's ends of the channels to the session thread.
#[derive(Debug)]
pub struct HubEnds {
    /// What it shall do.
    pub orders: Receiver<Order>,
    /// What it tells.
    pub reports: Sender<Report>,
    /// Empty buffers of [`SLIP`] bytes.
    pub slips: Receiver<Vec<u8>>,
}

impl Hub {
    /// A hub without connections.
    ///
    /// # Errors
    /// The system gives no poller.
    pub fn new(ends: HubEnds, board: Arc<Board>, instruments: usize, clock: Clock) -> io::Result<Self> {
        let HubEnds { orders, reports, slips } = ends;
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(SLOTS),
            slots: (0..SLOTS).map(|_| None).collect(),
            more: [0; SLOTS / 64],
            orders,
            reports,
            slips,
            board,
            clock,
            tap: None,
            waiting_changes: 0,
            waiting: vec![true; instruments],
            next_beat: 0,
            beat: clock.ticks_of(BEAT.as_nanos() as u64),
        })
    }

    /// Records every frame before it is decoded.
    pub fn record(&mut self, tap: crate::capture::Tap) {
        self.tap = Some(tap);
    }

    /// Looks at every socket once and reads those that have something. True when frames were fed.
    #[inline]
    pub fn poll(&mut self, feed: &mut Feed, sink: &mut impl EventSink) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            self.carry_out(order, feed, sink);
        }
        let mut busy = false;
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return false,
            // Nothing a loop could do about it; connections that bring nothing are noticed by their heartbeats.
            Err(_) => return false,
        }
        let events = core::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let Token(index) = event.token();
            // What has come goes first. Edges tell that a socket is writable with every arrival.
            let ended = event.is_read_closed() || event.is_error();
            if event.is_readable() || ended {
                busy |= self.read(index, feed, sink);
            }
            if ended {
                // Its last bytes and its end came as one edge: there will be no other.
                self.read_again(index);
            }
            if event.is_writable() && self.is_unsent(index) {
                self.flush(index, feed, sink);
            }
        }
        self.events = events;
        for word in 0..self.more.len() {
            // Taken off first: a slot that has still more sets its bit again, for the next poll.
            let mut bits = core::mem::take(&mut self.more[word]);
            while bits != 0 {
                busy |= self.read(word * 64 + bits.trailing_zeros() as usize, feed, sink);
                bits &= bits - 1;
            }
        }
        let ticks = self.clock.ticks();
        if busy {
            self.next_beat = ticks + self.beat;
        } else if ticks >= self.next_beat {
            self.next_beat = ticks + self.beat;
            self.pass_time(ticks, feed, sink);
        }
        self.note_waiting(ticks, feed);
        busy
    }

    fn pass_time(&mut self, ticks: u64, feed: &mut Feed, sink: &mut impl EventSink) {
        let now_ns = realtime_ns();
        if let Some(tap) = &mut self.tap {
            tap.beat(now_ns);
        }
        feed.heartbeat(now_ns, ticks, sink);
    }

    /// Shows the session thread which books wait.
    #[inline(always)]
    fn note_waiting(&mut self, ticks: u64, feed: &Feed) {
        if feed.waiting_changes() == self.waiting_changes {
            return;
        }
        self.waiting_changes = feed.waiting_changes();
        self.waiting.fill(false);
        for instrument in feed.waiting() {
            self.waiting[instrument.index()] = true;
        }
        for (index, waiting) in self.waiting.iter().enumerate() {
            self.board.set_waiting(InstrumentId(index as u16), *waiting, ticks);
        }
    }

    /// Reads a connection until nothing is left, but not more than a few times: others wait too.
    #[inline]
    fn read(&mut self, index: usize, feed: &mut Feed, sink: &mut impl EventSink) -> bool {
        let Some(Some(adopted)) = self.slots.get_mut(index) else { return false };
        let mut fed = false;
        for _ in 0..4 {
            let (kernel_ns, more) = match adopted.connection.read() {
                Ok(Read::Some { kernel_ns, more }) => (kernel_ns, more),
                Ok(Read::Nothing) => return fed,
                Err(ended) => {
                    self.end(index, ended, feed, sink);
                    return fed;
                }
            };
            let now = self.clock.ticks();
            let now_ns = realtime_ns();
            // A stamp from the future or of another epoch is none.
            let stamp = kernel_ns.filter(|stamp| (0..1_000_000_000).contains(&(now_ns - stamp)));
            let recv_ns = stamp.unwrap_or(now_ns);
            let arrive_ticks = now.saturating_sub(self.clock.ticks_of((now_ns - recv_ns) as u64));
            self.board.hear(index, now);
            let mut frames = Frames {
                meta: FrameMeta {
                    recv_ns,
                    arrive_ticks,
                    venue: adopted.venue,
                    source: adopted.source,
                    hint: InstrumentId::NONE,
                },
                index,
                private: adopted.private,
                now,
                reports: &self.reports,
                slips: &self.slips,
                board: &self.board,
                tap: self.tap.as_mut(),
            };
            let ended = frames.take_all(&mut adopted.connection, feed, sink);
            fed = true;
            if let Err(ended) = ended {
                self.end(index, ended, feed, sink);
                return fed;
            }
            // Behind the decision: nobody but the venue waits for it.
            adopted.connection.acknowledge();
            if !more {
                return fed;
            }
        }
        self.read_again(index);
        fed
    }

    fn read_again(&mut self, index: usize) {
        self.more[index / 64] |= 1 << (index % 64);
    }

    #[inline(always)]
    fn is_unsent(&self, index: usize) -> bool {
        self.slots.get(index).and_then(Option::as_ref).is_some_and(|adopted| adopted.connection.is_unsent())
    }

    #[cold]
    fn flush(&mut self, index: usize, feed: &mut Feed, sink: &mut impl EventSink) {
        let Some(Some(adopted)) = self.slots.get_mut(index) else { return };
        if let Err(ended) = adopted.connection.flush() {
            self.end(index, ended, feed, sink);
        }
    }

    #[cold]
    fn carry_out(&mut self, order: Order, feed: &mut Feed, sink: &mut impl EventSink) {
        match order {
            Order::Adopt(index, adopted) => self.adopt(index, adopted, feed, sink),
            Order::Send(index, text) => {
                self.with(index, feed, sink, |connection| connection.send(Kind::Text, &text));
                let _ = self.reports.try_send(Report::Spent(text));
            }
            Order::Ping(index) => self.with(index, feed, sink, |connection| connection.send(Kind::Ping, b"")),
            Order::Close(index, code, reason) => {
                self.with(index, feed, sink, |connection| {
                    connection.close(code, reason)?;
                    Err(Ended::Closed { code: Some(code) })
                });
            }
            Order::Frame(venue, hint, mut bytes) => {
                let recv_ns = realtime_ns();
                let meta = FrameMeta { recv_ns, arrive_ticks: self.clock.ticks(), venue, source: REST_SOURCE, hint };
                let length = bytes.len().saturating_sub(PADDING);
                if let Some(tap) = &mut self.tap {
                    tap.frame(&meta, &bytes[..length]);
                }
                if let Some(frame) = FrameMut::new(&mut bytes, length) {
                    feed.frame(&meta, frame, sink);
                }
                let _ = self.reports.try_send(Report::Spent(bytes));
            }
            Order::Resync(instrument) => self.resync(instrument, feed, sink),
        }
    }

    fn resync(&mut self, instrument: InstrumentId, feed: &mut Feed, sink: &mut impl EventSink) {
        if let Some(tap) = &mut self.tap {
            tap.resync(realtime_ns(), instrument);
        }
        feed.resync(instrument, sink);
    }

    fn adopt(&mut self, index: usize, mut adopted: Box<Adopted>, feed: &mut Feed, sink: &mut impl EventSink) {
        if index >= self.slots.len() {
            return;
        }
        adopted.connection.acknowledge();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry().register(adopted.connection.socket(), Token(index), interest);
        self.slots[index] = Some(adopted);
        // What came behind the handshake tells of itself no more.
        self.read_again(index);
        if let Err(error) = registered {
            self.end(index, Ended::Socket(error), feed, sink);
        }
    }

    #[cold]
    fn with(
        &mut self,
        index: usize,
        feed: &mut Feed,
        sink: &mut impl EventSink,
        act: impl FnOnce(&mut Connection) -> Result<(), Ended>,
    ) {
        let Some(Some(adopted)) = self.slots.get_mut(index) else { return };
        if let Err(ended) = act(&mut adopted.connection) {
            self.end(index, ended, feed, sink);
        }
    }

    /// A connection is over: books that no other connection carries are out of service from here.
    #[cold]
    fn end(&mut self, index: usize, ended: Ended, feed: &mut Feed, sink: &mut impl EventSink) {
        let Some(mut adopted) = self.slots.get_mut(index).and_then(Option::take) else { return };
        // Closing it removes it from the poller anyway.
        let _ = self.poll.registry().deregister(adopted.connection.socket());
        for instrument in core::mem::take(&mut adopted.books) {
            if !self.slots.iter().flatten().any(|other| other.books.contains(&instrument)) {
                self.resync(instrument, feed, sink);
            }
        }
        let Adopted { connection, source, .. } = *adopted;
        // Room was left for this; when the session thread is gone nobody wants to know.
        let _ = self.reports.try_send(Report::Ended(index, source, ended, connection));
    }
}

/// The source number of frames that came by REST: they belong to no connection.
pub const REST_SOURCE: u16 = u16::MAX;

/// Everything that the frames of one read need.
struct Frames<'h> {
    meta: FrameMeta,
    index: usize,
    private: bool,
    now: u64,
    reports: &'h Sender<Report>,
    slips: &'h Receiver<Vec<u8>>,
    board: &'h Board,
    tap: Option<&'h mut crate::capture::Tap>,
}

impl Frames<'_> {
    #[inline]
    fn take_all(
        &mut self,
        connection: &mut Connection,
        feed: &mut Feed,
        sink: &mut impl EventSink,
    ) -> Result<(), Ended> {
        while let Some(message) = connection.next_message()? {
            let length = message.length;
            self.board.count(self.index, length);
            if self.private {
                self.hand_over(&message.padded[..length]);
                continue;
            }
            if let Some(tap) = &mut self.tap {
                tap.frame(&self.meta, &message.padded[..length]);
            }
            // Reading a text with escapes undoes them where it stands; what the session is to read must keep them. No
            // market data has any.
            let escaped = memchr::memchr(b'\\', &message.padded[..length]).is_some();
            let copy = if escaped { self.copy(&message.padded[..length]) } else { None };
            let Some(frame) = FrameMut::new(&mut *message.padded, length) else { continue };
            match (feed.frame(&self.meta, frame, sink), copy) {
                (Outcome::Depth(instrument), _) => self.board.hear_book(instrument, self.now),
                (Outcome::Market(_), _) => {}
                (Outcome::Control, Some(copy)) => self.send(copy),
                (Outcome::Control, None) => self.hand_over(&message.padded[..length]),
                (Outcome::Skipped(_), Some(copy)) => _ = self.reports.try_send(Report::Spent(copy)),
                (Outcome::Skipped(_), None) => {}
            }
        }
        Ok(())
    }

    /// Copies a text for the session thread.
    #[cold]
    fn hand_over(&self, text: &[u8]) {
        match self.copy(text) {
            Some(copy) => self.send(copy),
            None => self.board.lose_text(),
        }
    }

    /// A text in one of the session thread's buffers, if one is free and large enough.
    #[cold]
    fn copy(&self, text: &[u8]) -> Option<Vec<u8>> {
        if self.private && text.len() > SLIP {
            // An account of many positions: rare, and not to be lost.
            return Some(text.to_vec());
        }
        let mut slip = self.slips.try_recv().ok().filter(|slip| slip.capacity() >= text.len())?;
        slip.clear();
        slip.extend_from_slice(text);
        Some(slip)
    }

    #[cold]
    fn send(&self, copy: Vec<u8>) {
        // Texts leave room for what matters more: that a connection has ended.
        let room = self.reports.len() < self.reports.capacity().unwrap_or(usize::MAX) / 2;
        if !room || self.reports.try_send(Report::Text(self.index, self.meta.source, copy)).is_err() {
            self.board.lose_text();
        }
    }
}
