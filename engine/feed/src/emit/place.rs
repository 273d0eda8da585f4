//! One book's place in the feed: its sequence rule, its connections, what is counted of it.

use tidegate_wire::Venue;
use tidegate_wire::event::BookQuality;

use super::backlog::Backlog;
use crate::arbiter::{Arbiter, Copies};
use crate::checksum::Checksum;
use crate::ladder::Ladder;
use crate::sync::{Rule, State, StreamRule, StreamSync, Synchroniser};
use crate::venues::LEVELS_MAX;

/// Most levels a side of a stream that shows a window of its book.
const WINDOW_MAX: usize = 1000;

/// What stands in front of a book.
#[derive(Debug)]
pub(super) enum Order {
    /// Snapshots are fetched beside the stream and joined to it.
    Joined(Synchroniser),
    /// The stream brings its snapshots.
    Streamed(Box<Streamed>),
}

/// The sequence rule of a stream with snapshots, and what the feed must keep of the book for it.
#[derive(Debug)]
pub(super) struct Streamed {
    pub(super) sync: StreamSync,
    /// For venues with checksums.
    pub(super) checksum: Option<Checksum>,
    /// For venues that show a window of their book.
    pub(super) window: Option<Ladder<()>>,
    /// For venues whose stream may begin without a snapshot.
    pub(super) backlog: Option<Box<Backlog>>,
}

impl Order {
    fn of(venue: Venue) -> Self {
        let streamed = |rule, checksum: Option<Checksum>, window| {
            let backlog = (rule == StreamRule::Okx).then(|| Box::new(Backlog::new()));
            Self::Streamed(Box::new(Streamed { sync: StreamSync::new(rule), checksum, window, backlog }))
        };
        match venue {
            Venue::BinanceSpot => Self::Joined(Synchroniser::new(Rule::Contiguous)),
            Venue::BinanceUsdm | Venue::BinanceCoinm => Self::Joined(Synchroniser::new(Rule::Chained)),
            // Their recorded books number nothing: the reader counts frames, and leaves out what it could not read.
            Venue::Coinbase | Venue::Bitstamp | Venue::Bitmex => Self::Joined(Synchroniser::new(Rule::Contiguous)),
            Venue::Deribit => streamed(StreamRule::Deribit, None, None),
            Venue::Bybit | Venue::BybitSpot | Venue::BybitInverse => {
                // A frame may put as many levels in front of the window as it can carry.
                streamed(StreamRule::Bybit, None, Some(Ladder::new(WINDOW_MAX + LEVELS_MAX)))
            }
            Venue::Okx => streamed(StreamRule::Okx, Some(Checksum::new()), None),
            Venue::BitgetSpot | Venue::BitgetUsdt | Venue::BitgetCoin | Venue::BitgetUsdc => {
                streamed(StreamRule::Bitget, Some(Checksum::new()), None)
            }
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        match self {
            Self::Joined(sync) => sync.state() == State::Waiting,
            Self::Streamed(streamed) => streamed.sync.is_waiting(),
        }
    }
}

/// One book's place in the feed.
#[derive(Debug)]
pub(crate) struct Book {
    pub(super) order: Order,
    pub(super) facts: Facts,
}

/// What is known of a book beside its sequence.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) venue: Venue,
    pub(super) quality: BookQuality,
    /// Whether it was good before: the next time counts as a resync.
    pub(super) was_good: bool,
    /// Whether it was among the books that need a snapshot when they were counted last.
    pub(super) waiting: bool,
    /// When the last frame of the source that carries the book came, ns of event time; 0 before the first.
    pub(super) carried_ns: i64,
    /// Source of the last depth frame, and of the last trade.
    pub(super) depth_source: u16,
    pub(super) trade_source: u16,
    /// Source of the depth frame that was applied last.
    pub(super) applied: u16,
    pub(super) arbiter: Arbiter,
    pub(super) copies: Copies,
    /// Last raw trade id; 0 before the first.
    pub(super) trade_id: u64,
    pub(super) gaps: u64,
    pub(super) resyncs: u64,
}

impl Book {
    /// A book of a venue that waits for its first snapshot.
    pub(crate) fn new(venue: Venue) -> Self {
        let facts = Facts {
            venue,
            quality: BookQuality::Building,
            was_good: false,
            waiting: true,
            carried_ns: 0,
            depth_source: 0,
            trade_source: 0,
            applied: 0,
            arbiter: Arbiter::default(),
            copies: Copies::default(),
            trade_id: 0,
            gaps: 0,
            resyncs: 0,
        };
        Self { order: Order::of(venue), facts }
    }

    /// Whether it needs a snapshot.
    pub(crate) fn is_waiting(&self) -> bool {
        self.order.is_waiting()
    }

    /// Gaps and resyncs.
    pub(crate) const fn counts(&self) -> (u64, u64) {
        (self.facts.gaps, self.facts.resyncs)
    }

    /// Source of its last depth frame.
    pub(crate) const fn source(&self) -> u16 {
        self.facts.depth_source
    }

    /// Held-back frames thrown away.
    pub(crate) fn overflows(&self) -> u64 {
        match &self.order {
            Order::Joined(sync) => sync.overflows(),
            Order::Streamed(streamed) => streamed.backlog.as_ref().map_or(0, |backlog| backlog.overflows()),
        }
    }
}
