//! Events, feature vectors and decisions through lossless rings: what joins stages that run on cores of their own.
//!
//! The writers implement the same traits as the stages themselves, so that a pipeline does not know whether its next
//! stage is a call or a core away. A full ring holds the writer back: it spins briefly, then yields its core to whoever
//! may be the reader, until there is room. A writer is never told to stop, so nothing is given up: a pipeline ends from
//! its front, and every reader outlives its writer and empties the ring.

use crossbeam::utils::Backoff;

use crate::advice::{Adjustment, Operated};
use crate::decimal::{Price, Qty};
use crate::decision::{Decision, DecisionSink};
use crate::event::{
    Bar, Depth, DepthIds, EventSink, FLAG_FIRST, FLAG_LAST, HEADER_WORDS, Header, Level, Mark, OptionMark, Quote,
    RecordKind, Status, Trade,
};
use crate::feature::{FeatureBody, FeatureRecord, FeatureSink, MinuteBody};
use crate::instrument::InstrumentId;
use crate::ring::{Full, RECORD_WORDS_MAX, RecordBuf, lossless};
use crate::signal::{OutcomeBody, SignalBody, TradingSink};
use crate::top::TopBody;

/// Words of [`DepthIds`].
const IDS_WORDS: usize = size_of::<DepthIds>() / 8;
/// Most levels in one record; frames with more travel in parts.
const PART_LEVELS: usize = (RECORD_WORDS_MAX - HEADER_WORDS - IDS_WORDS) / 2;

/// The writing end of a lossless ring with patience.
#[derive(Debug)]
pub struct RecordWriter {
    ring: lossless::Writer,
    scratch: Box<[u64; RECORD_WORDS_MAX]>,
    /// Times the ring was full.
    full: u64,
    /// Whether it waits for room; otherwise what does not fit is lost.
    is_patient: bool,
}

impl RecordWriter {
    /// A writer at the ring's position. The ring's reader must outlive it.
    pub fn new(ring: lossless::Writer) -> Self {
        Self { ring, scratch: Box::new([0; RECORD_WORDS_MAX]), full: 0, is_patient: true }
    }

    /// A writer that waits for nobody: what finds the ring full is lost and counted ([`Self::full`]). For readers that
    /// may not hold up a live market.
    pub fn hasty(ring: lossless::Writer) -> Self {
        Self { is_patient: false, ..Self::new(ring) }
    }

    /// Times the ring was full, so that the writer had to wait, or, where it does not wait, a record was lost.
    pub const fn full(&self) -> u64 {
        self.full
    }

    /// Records that were lost because the ring was full; none of a writer that waits.
    pub const fn lost(&self) -> u64 {
        if self.is_patient { 0 } else { self.full }
    }

    #[inline(always)]
    fn send(&mut self, words: usize) {
        if self.ring.push(&mut self.scratch[..words]).is_err() {
            self.send_patiently(words);
        }
    }

    #[cold]
    #[inline(never)]
    fn send_patiently(&mut self, words: usize) {
        self.full += 1;
        if !self.is_patient {
            return;
        }
        let backoff = Backoff::new();
        while let Err(Full) = self.ring.push(&mut self.scratch[..words]) {
            backoff.snooze();
        }
    }

    #[inline(always)]
    pub(crate) fn record<T: bytemuck::Pod>(&mut self, kind: RecordKind, header: &Header, body: &T) {
        let header = Header { kind: kind as u8, ..*header };
        let body_words = const { size_of::<T>() / 8 };
        self.scratch[..HEADER_WORDS].copy_from_slice(bytemuck::cast_slice(core::slice::from_ref(&header)));
        self.scratch[HEADER_WORDS..HEADER_WORDS + body_words]
            .copy_from_slice(bytemuck::cast_slice(core::slice::from_ref(body)));
        self.send(HEADER_WORDS + body_words);
    }

    fn depth(&mut self, kind: RecordKind, header: &Header, depth: &Depth<'_>) {
        let total = depth.bids.len() + depth.asks.len();
        let mut sent = 0;
        loop {
            let count = (total - sent).min(PART_LEVELS);
            let bids = depth.bids.len().saturating_sub(sent).min(count);
            let first = if sent == 0 { FLAG_FIRST } else { 0 };
            let last = if sent + count == total { FLAG_LAST } else { 0 };
            let part = Header {
                kind: kind as u8,
                flags: header.flags & !(FLAG_FIRST | FLAG_LAST) | first | last,
                count: count as u16,
                aux: bids as u64,
                ..*header
            };
            self.scratch[..HEADER_WORDS].copy_from_slice(bytemuck::cast_slice(core::slice::from_ref(&part)));
            self.scratch[HEADER_WORDS..HEADER_WORDS + IDS_WORDS]
                .copy_from_slice(bytemuck::cast_slice(core::slice::from_ref(&depth.ids)));
            let asks_from = sent.saturating_sub(depth.bids.len());
            let bid_levels = &depth.bids[depth.bids.len().min(sent)..][..bids];
            let ask_levels = &depth.asks[asks_from..][..count - bids];
            let mut at = HEADER_WORDS + IDS_WORDS;
            for levels in [bid_levels, ask_levels] {
                let words: &[u64] = bytemuck::cast_slice(levels);
                self.scratch[at..at + words.len()].copy_from_slice(words);
                at += words.len();
            }
            self.send(at);
            sent += count;
            if sent == total {
                return;
            }
        }
    }
}

impl EventSink for RecordWriter {
    #[inline]
    fn delta(&mut self, header: &Header, depth: Depth<'_>) {
        self.depth(RecordKind::Delta, header, &depth);
    }

    fn snapshot(&mut self, header: &Header, depth: Depth<'_>) {
        self.depth(RecordKind::Snapshot, header, &depth);
    }

    #[inline]
    fn quote(&mut self, header: &Header, quote: &Quote) {
        self.record(RecordKind::Quote, header, quote);
    }

    #[inline]
    fn trade(&mut self, header: &Header, trade: &Trade) {
        self.record(RecordKind::Trade, header, trade);
    }

    fn mark(&mut self, header: &Header, mark: &Mark) {
        self.record(RecordKind::Mark, header, mark);
    }

    fn option(&mut self, header: &Header, option: &OptionMark) {
        self.record(RecordKind::Option, header, option);
    }

    fn bar(&mut self, header: &Header, bar: &Bar) {
        self.record(RecordKind::Bar, header, bar);
    }

    fn status(&mut self, header: &Header, status: &Status) {
        self.record(RecordKind::Status, header, status);
    }

    fn heartbeat(&mut self, header: &Header) {
        self.record(RecordKind::Heartbeat, header, &[0u64; 0]);
    }
}

impl FeatureSink for RecordWriter {
    #[inline]
    fn features(&mut self, header: &Header, body: &FeatureBody) {
        self.record(RecordKind::Features, header, body);
    }

    fn status(&mut self, header: &Header, status: &Status) {
        self.record(RecordKind::Status, header, status);
    }

    fn minute(&mut self, header: &Header, body: &MinuteBody) {
        self.record(RecordKind::Minute, header, body);
    }

    fn top(&mut self, header: &Header, top: &TopBody) {
        self.record(RecordKind::Top, header, top);
    }

    fn traded(&mut self, header: &Header, trade: &Trade) {
        self.record(RecordKind::Trade, header, trade);
    }

    fn heartbeat(&mut self, header: &Header) {
        self.record(RecordKind::Heartbeat, header, &[0u64; 0]);
    }
}

impl DecisionSink for RecordWriter {
    fn decision(&mut self, decision: &Decision) {
        let header = Header {
            frame: decision.frame,
            event_ns: decision.event_ns,
            ..Header::new(RecordKind::Decision, InstrumentId::NONE)
        };
        self.record(RecordKind::Decision, &header, decision);
    }

    fn adjustment(&mut self, adjustment: &Adjustment) {
        let header =
            Header { event_ns: adjustment.event_ns, ..Header::new(RecordKind::Adjustment, adjustment.instrument) };
        self.record(RecordKind::Adjustment, &header, adjustment);
    }

    fn operated(&mut self, operated: &Operated) {
        let header = Header { event_ns: operated.event_ns, ..Header::new(RecordKind::Operated, InstrumentId::NONE) };
        self.record(RecordKind::Operated, &header, operated);
    }

    fn status(&mut self, header: &Header, status: &Status) {
        self.record(RecordKind::Status, header, status);
    }
}

/// What a pipeline tells its recorder.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Thresholds changed.
    Adjustment(Box<Adjustment>),
    /// An operator's command reached the engine.
    Operated(Operated),
    /// A breaker changed its state.
    Decision(Decision),
    /// A book changed its quality.
    Status(Header, Status),
    /// The signal desk saw something.
    Signal(Box<SignalBody>),
    /// What became of a signal.
    Outcome(Box<OutcomeBody>),
}

/// The reading end: puts depth frames together again and calls the next stage.
#[derive(Debug)]
pub struct RecordReader {
    ring: lossless::Reader,
    buf: RecordBuf,
    bids: Vec<Level>,
    asks: Vec<Level>,
    /// Records of a kind or size that should not be there: another program wrote into the mapping.
    foreign: u64,
}

/// Levels a side a reassembled frame may have before its buffer grows.
const FRAME_LEVELS: usize = 8192;

impl RecordReader {
    /// A reader at the ring's position.
    pub fn new(ring: lossless::Reader) -> Self {
        let levels = || Vec::with_capacity(FRAME_LEVELS);
        Self { ring, buf: RecordBuf::default(), bids: levels(), asks: levels(), foreign: 0 }
    }

    /// Records that made no sense.
    pub const fn foreign(&self) -> u64 {
        self.foreign
    }

    /// Hands the next record to `sink`; `false` when there is none yet.
    #[inline]
    pub fn poll_event(&mut self, sink: &mut impl EventSink) -> bool {
        let Some(words) = self.ring.pop(&mut self.buf) else { return false };
        let (header, body) = split(words);
        match RecordKind::from_repr(header.kind) {
            Some(RecordKind::Quote) => sink.quote(&header, &read(body)),
            Some(RecordKind::Trade) => sink.trade(&header, &read(body)),
            Some(kind @ (RecordKind::Delta | RecordKind::Snapshot)) => {
                let Some(levels) = body.get(IDS_WORDS..) else {
                    self.foreign += 1;
                    return true;
                };
                let ids = read::<DepthIds>(body);
                let (count, bids) = (usize::from(header.count), header.aux as usize);
                if bids > count || count * 2 > levels.len() {
                    self.foreign += 1;
                    return true;
                }
                if header.flags & FLAG_FIRST != 0 {
                    self.bids.clear();
                    self.asks.clear();
                }
                let level =
                    |pair: &[u64]| Level { price: Price::from_raw(pair[0] as i64), qty: Qty::from_raw(pair[1] as i64) };
                self.bids.extend(levels[..bids * 2].chunks_exact(2).map(level));
                self.asks.extend(levels[bids * 2..count * 2].chunks_exact(2).map(level));
                if header.flags & FLAG_LAST != 0 {
                    let depth = Depth { ids, bids: &self.bids, asks: &self.asks };
                    if kind == RecordKind::Delta {
                        sink.delta(&header, depth);
                    } else {
                        sink.snapshot(&header, depth);
                    }
                    self.bids.clear();
                    self.asks.clear();
                }
            }
            Some(RecordKind::Mark) => sink.mark(&header, &read(body)),
            Some(RecordKind::Bar) => sink.bar(&header, &read(body)),
            Some(RecordKind::Option) => sink.option(&header, &read(body)),
            Some(RecordKind::Status) => sink.status(&header, &read(body)),
            Some(RecordKind::Heartbeat) => sink.heartbeat(&header),
            Some(
                RecordKind::Features
                | RecordKind::Minute
                | RecordKind::Decision
                | RecordKind::Adjustment
                | RecordKind::Operated
                | RecordKind::Look
                | RecordKind::Position
                | RecordKind::Trap
                | RecordKind::Signal
                | RecordKind::Outcome
                | RecordKind::Top,
            )
            | None => self.foreign += 1,
        }
        true
    }

    /// Hands the next vector to `sink`; `false` when there is none yet.
    #[inline]
    pub fn poll_features(&mut self, sink: &mut impl FeatureSink) -> bool {
        let Some(words) = self.ring.pop(&mut self.buf) else { return false };
        let (header, body) = split(words);
        match RecordKind::from_repr(header.kind) {
            Some(RecordKind::Features) if words.len() * 8 == size_of::<FeatureRecord>() => {
                sink.features(&header, bytemuck::from_bytes(bytemuck::cast_slice(body)));
            }
            Some(RecordKind::Minute) => sink.minute(&header, &read(body)),
            Some(RecordKind::Heartbeat) => sink.heartbeat(&header),
            Some(RecordKind::Status) => sink.status(&header, &read(body)),
            Some(RecordKind::Top) => sink.top(&header, &read(body)),
            Some(RecordKind::Trade) => sink.traded(&header, &read(body)),
            _ => self.foreign += 1,
        }
        true
    }

    /// Hands the next record that those who trade on paper want to `sink`; `false` when there is none yet.
    pub fn poll_trading(&mut self, sink: &mut impl TradingSink) -> bool {
        let Some(words) = self.ring.pop(&mut self.buf) else { return false };
        let (header, body) = split(words);
        match RecordKind::from_repr(header.kind) {
            Some(RecordKind::Top) => sink.top(&header, &read(body)),
            Some(RecordKind::Trade) => sink.traded(&header, &read(body)),
            Some(RecordKind::Signal) => sink.signal(&read(body)),
            Some(RecordKind::Outcome) => sink.outcome(&read(body)),
            Some(RecordKind::Heartbeat) => sink.heartbeat(&header),
            _ => self.foreign += 1,
        }
        true
    }

    /// The next decision or change of a book's quality, if there is one.
    pub fn poll_told(&mut self) -> Option<Told> {
        loop {
            let words = self.ring.pop(&mut self.buf)?;
            let (header, body) = split(words);
            match RecordKind::from_repr(header.kind) {
                Some(RecordKind::Decision) => return Some(Told::Decision(read(body))),
                Some(RecordKind::Adjustment) => return Some(Told::Adjustment(Box::new(read(body)))),
                Some(RecordKind::Operated) => return Some(Told::Operated(read(body))),
                Some(RecordKind::Status) => return Some(Told::Status(header, read(body))),
                Some(RecordKind::Signal) => return Some(Told::Signal(Box::new(read(body)))),
                Some(RecordKind::Outcome) => return Some(Told::Outcome(Box::new(read(body)))),
                _ => self.foreign += 1,
            }
        }
    }
}

fn split(words: &[u64]) -> (Header, &[u64]) {
    let (header, body) = words.split_at(HEADER_WORDS.min(words.len()));
    (read(header), body)
}

/// The body at the start of `words`; zeros where a foreign record is too short.
#[inline(always)]
fn read<T: bytemuck::Pod>(words: &[u64]) -> T {
    let mut value = T::zeroed();
    let bytes: &[u8] = bytemuck::cast_slice(words);
    let length = size_of::<T>().min(bytes.len());
    bytemuck::bytes_of_mut(&mut value)[..length].copy_from_slice(&bytes[..length]);
    value
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ring::{Region, RegionKind};

    #[derive(Default)]
    struct Log(Vec<String>);

    impl EventSink for Log {
        fn delta(&mut self, header: &Header, depth: Depth<'_>) {
            let sums: Vec<i64> = [depth.bids, depth.asks].map(|s| s.iter().map(|l| l.qty.raw()).sum()).to_vec();
            self.0.push(format!(
                "{} d{} {} {} {sums:?}",
                header.frame,
                depth.ids.last,
                depth.bids.len(),
                depth.asks.len()
            ));
        }
        fn snapshot(&mut self, header: &Header, depth: Depth<'_>) {
            self.0.push(format!("{} s{}", header.frame, depth.ids.last));
        }
        fn quote(&mut self, header: &Header, quote: &Quote) {
            self.0.push(format!("{} q{}", header.frame, quote.update_id));
        }
        fn trade(&mut self, header: &Header, trade: &Trade) {
            self.0.push(format!("{} t{} {}", header.frame, trade.trade_id, header.flags));
        }
        fn mark(&mut self, header: &Header, mark: &Mark) {
            self.0.push(format!("{} m{}", header.frame, mark.mark));
        }
        fn option(&mut self, header: &Header, option: &OptionMark) {
            self.0.push(format!("{} o{option:?}", header.frame));
        }
        fn bar(&mut self, header: &Header, bar: &Bar) {
            self.0.push(format!("{} b{bar:?}", header.frame));
        }
        fn status(&mut self, header: &Header, status: &Status) {
            self.0.push(format!("{} u{}", header.frame, status.quality));
        }
        fn heartbeat(&mut self, header: &Header) {
            self.0.push(format!("{} h", header.frame));
        }
    }

    /// One event told twice: to the writer and to the log.
    type Tell<'a> = dyn FnMut(&mut dyn FnMut(&mut RecordWriter), &mut dyn FnMut(&mut Log)) + 'a;

    #[test]
    fn a_relay_is_invisible() {
        let levels: Vec<Level> =
            (1..3000).map(|i| Level { price: Price::from_raw(i), qty: Qty::from_raw(i * 7) }).collect();
        let mut frame = 0;
        let mut play = |sink: &mut Tell<'_>| {
            for (bids, asks) in [(0, 0), (1, 0), (443, 0), (0, 443), (444, 1), (442, 3), (1000, 1200), (5, 900)] {
                frame += 1;
                let header = Header { frame, flags: 64, ..Header::new(RecordKind::Delta, InstrumentId(3)) };
                let ids = DepthIds { first: 1, last: frame, prev: 0 };
                let depth = Depth { ids, bids: &levels[..bids], asks: &levels[bids..bids + asks] };
                sink(&mut |w| w.delta(&header, depth), &mut |l| l.delta(&header, depth));
                let trade = Trade { trade_id: frame, ..Trade::default() };
                sink(&mut |w| w.trade(&header, &trade), &mut |l| l.trade(&header, &trade));
                let quote = Quote { update_id: frame, ..Quote::default() };
                sink(&mut |w| w.quote(&header, &quote), &mut |l| l.quote(&header, &quote));
                let (high, bought) = (Price::from_raw(frame as i64), Bar::NOT_TOLD);
                let bar = Bar { start_ns: 60, end_ns: 120, high, bought, trades: Bar::NOT_COUNTED, ..Bar::default() };
                sink(&mut |w| w.bar(&header, &bar), &mut |l| l.bar(&header, &bar));
                let option = OptionMark { mark: frame as i64, rho: -7, ..OptionMark::UNKNOWN };
                sink(&mut |w| w.option(&header, &option), &mut |l| l.option(&header, &option));
                sink(&mut |w| EventSink::heartbeat(w, &header), &mut |l| l.heartbeat(&header));
            }
        };
        let region = Arc::new(Region::anonymous(RegionKind::Lossless, 4096).expect("a ring"));
        let mut writer = RecordWriter::new(lossless::Writer::resume(region.clone()));
        let mut reader = RecordReader::new(lossless::Reader::resume(region));
        let (mut direct, mut relayed) = (Log::default(), Log::default());
        play(&mut |write, log| {
            write(&mut writer);
            log(&mut direct);
            while reader.poll_event(&mut relayed) {}
        });
        assert_eq!(direct.0, relayed.0);
        assert_eq!((direct.0.len(), reader.foreign(), writer.full()), (48, 0, 0));
    }

    #[test]
    fn a_full_ring_holds_the_writer_until_there_is_room() {
        let region = Arc::new(Region::anonymous(RegionKind::Lossless, Region::MIN_LINES).expect("a ring"));
        let mut writer = RecordWriter::new(lossless::Writer::resume(region.clone()));
        let mut reader = RecordReader::new(lossless::Reader::resume(region));
        let trades = Region::MIN_LINES * 4;
        let relayed = std::thread::scope(|scope| {
            let reading = scope.spawn(move || {
                // Late on purpose: the ring is full long before.
                std::thread::sleep(std::time::Duration::from_millis(20));
                let mut relayed = Log::default();
                while (relayed.0.len() as u64) < trades {
                    if !reader.poll_event(&mut relayed) {
                        std::thread::yield_now();
                    }
                }
                relayed.0
            });
            for trade_id in 0..trades {
                let trade = Trade { trade_id, ..Trade::default() };
                writer.trade(&Header::new(RecordKind::Trade, InstrumentId(0)), &trade);
            }
            reading.join().expect("the reader ends")
        });
        assert!(writer.full() > 0);
        let all: Vec<String> = (0..trades).map(|trade_id| format!("0 t{trade_id} 0")).collect();
        assert_eq!(relayed, all, "nothing is given up");
    }
}
