//! What the hot loop shows the session thread: when each connection and each book was last heard of, and which books
//! wait for a snapshot. Plain atomics: the hot side stores, the cold side looks every few milliseconds.

use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_wire::InstrumentId;

/// Connections at a time, redundant and rotating ones included.
pub const SLOTS: usize = 256;

/// One connection.
#[derive(Debug, Default)]
struct Slot {
    heard: AtomicU64,
    bytes: AtomicU64,
    frames: AtomicU64,
}

/// One book.
#[derive(Debug, Default)]
struct Book {
    heard: AtomicU64,
    waiting_since: AtomicU64,
}

/// The board. Times are ticks; 0 means never.
#[derive(Debug)]
pub struct Board {
    slots: Box<[Slot]>,
    books: Box<[Book]>,
    texts_lost: AtomicU64,
}

impl Board {
    /// A board for so many instruments; every book waits for its first snapshot.
    pub fn new(instruments: usize, now_ticks: u64) -> Self {
        let board = Self {
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            books: (0..instruments).map(|_| Book::default()).collect(),
            texts_lost: AtomicU64::new(0),
        };
        board.books.iter().for_each(|book| book.waiting_since.store(now_ticks, Ordering::Relaxed));
        board
    }

    /// Bytes have come on a connection.
    #[inline(always)]
    pub(super) fn hear(&self, slot: usize, ticks: u64) {
        self.slots[slot].heard.store(ticks, Ordering::Relaxed);
    }

    /// A frame of so many bytes has come on a connection. Only the hot loop writes: no read-modify-write is needed.
    #[inline(always)]
    pub(super) fn count(&self, slot: usize, bytes: usize) {
        let Slot { bytes: sum, frames, .. } = &self.slots[slot];
        sum.store(sum.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
        frames.store(frames.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Another connection takes a slot.
    pub(super) fn begin(&self, slot: usize, ticks: u64) {
        self.hear(slot, ticks);
        self.slots[slot].bytes.store(0, Ordering::Relaxed);
        self.slots[slot].frames.store(0, Ordering::Relaxed);
    }

    /// A depth frame of an instrument has come.
    #[inline(always)]
    pub(super) fn hear_book(&self, instrument: InstrumentId, ticks: u64) {
        if let Some(book) = self.books.get(instrument.index()) {
            book.heard.store(ticks, Ordering::Relaxed);
        }
    }

    /// A book waits for a snapshot, or no longer.
    pub(super) fn set_waiting(&self, instrument: InstrumentId, waiting: bool, ticks: u64) {
        let Some(book) = self.books.get(instrument.index()) else { return };
        match (waiting, book.waiting_since.load(Ordering::Relaxed)) {
            (true, 0) => book.waiting_since.store(ticks.max(1), Ordering::Release),
            (false, 1..) => book.waiting_since.store(0, Ordering::Release),
            _ => {}
        }
    }

    /// A text for the session thread was lost.
    #[cold]
    pub(super) fn lose_text(&self) {
        self.texts_lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Texts that were lost because the session thread did not take them in time.
    pub fn texts_lost(&self) -> u64 {
        self.texts_lost.load(Ordering::Relaxed)
    }

    /// When a connection was last heard of, ticks.
    pub fn heard(&self, slot: usize) -> u64 {
        self.slots[slot].heard.load(Ordering::Relaxed)
    }

    /// Frames and bytes of a connection.
    pub fn traffic(&self, slot: usize) -> (u64, u64) {
        let slot = &self.slots[slot];
        (slot.frames.load(Ordering::Relaxed), slot.bytes.load(Ordering::Relaxed))
    }

    /// When a depth frame of an instrument came last, ticks; 0 before its first.
    pub fn book_heard(&self, instrument: InstrumentId) -> u64 {
        self.books.get(instrument.index()).map_or(0, |book| book.heard.load(Ordering::Relaxed))
    }

    /// Since when a book waits for a snapshot, ticks; `None` if it does not.
    pub fn waiting_since(&self, instrument: InstrumentId) -> Option<u64> {
        let since = self.books.get(instrument.index())?.waiting_since.load(Ordering::Acquire);
        (since != 0).then_some(since)
    }
}
