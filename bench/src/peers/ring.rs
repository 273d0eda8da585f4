//! Rings and channels behind one pair of traits: 56 bytes a record, one cache line with its header.
//!
//! Records are seven words: word 0 is left to the ring (ours writes its line count there), word 1 carries the time of
//! sending and word 2 the record's number.

use std::sync::Arc;
use std::sync::mpsc as std_mpsc;

use crossbeam::channel;
use crossbeam::queue::ArrayQueue;
use disruptor::{Producer as _, SingleConsumerBarrier, SingleProducer, SingleProducerBarrier};
use tidegate_wire::ring::{LINE_WORDS, RecordBuf, Region, RegionKind, lossless, overwrite};

/// A record: the payload of one ring line.
pub type Record = [u64; LINE_WORDS];

/// A record on a line of its own, for libraries that store elements side by side.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub struct Aligned(pub Record);

/// The sending end.
pub trait Tx {
    /// Sends, or says that there is no room.
    fn send(&mut self, record: &mut Record) -> bool;
}

/// The receiving end.
pub trait Rx: Send {
    /// Hands whatever is there to `take`, in order; gives the number of records.
    fn drain(&mut self, take: &mut impl FnMut(&Record)) -> usize;

    /// Records overwritten before they were read; 0 for rings that lose nothing.
    fn lost(&self) -> u64 {
        0
    }
}

impl<R: Rx> Rx for &mut R {
    #[inline(always)]
    fn drain(&mut self, take: &mut impl FnMut(&Record)) -> usize {
        (**self).drain(take)
    }

    fn lost(&self) -> u64 {
        (**self).lost()
    }
}

/// Our lossless ring.
pub fn ours_lossless(lines: u64) -> (lossless::Writer, OurReader) {
    let region = Arc::new(Region::anonymous(RegionKind::Lossless, lines).expect("memory for a ring"));
    (lossless::Writer::resume(region.clone()), OurReader::new(region))
}

/// Reader of our lossless ring with its buffer.
#[derive(Debug)]
pub struct OurReader {
    reader: lossless::Reader,
    buf: RecordBuf,
}

impl OurReader {
    /// Attaches to a ring.
    pub fn new(region: Arc<Region>) -> Self {
        Self { reader: lossless::Reader::resume(region), buf: RecordBuf::default() }
    }
}

impl Tx for lossless::Writer {
    #[inline(always)]
    fn send(&mut self, record: &mut Record) -> bool {
        self.push(record).is_ok()
    }
}

impl Rx for OurReader {
    #[inline(always)]
    fn drain(&mut self, take: &mut impl FnMut(&Record)) -> usize {
        let Some(words) = self.reader.pop(&mut self.buf) else { return 0 };
        take(words.first_chunk().expect("a record has at least one line"));
        1
    }
}

/// Our overwrite ring.
pub fn ours_overwrite(lines: u64) -> (overwrite::Writer, OurObserver) {
    let region = Arc::new(Region::anonymous(RegionKind::Overwrite, lines).expect("memory for a ring"));
    let observer = OurObserver { reader: overwrite::Reader::newest(region.clone()), buf: RecordBuf::default() };
    (overwrite::Writer::resume(region), observer)
}

/// Reader of our overwrite ring with its buffer.
#[derive(Debug)]
pub struct OurObserver {
    reader: overwrite::Reader,
    buf: RecordBuf,
}

impl Tx for overwrite::Writer {
    #[inline(always)]
    fn send(&mut self, record: &mut Record) -> bool {
        self.push(record);
        true
    }
}

impl Rx for OurObserver {
    #[inline(always)]
    fn drain(&mut self, take: &mut impl FnMut(&Record)) -> usize {
        let Some(words) = self.reader.pop(&mut self.buf) else { return 0 };
        take(words.first_chunk().expect("a record has at least one line"));
        1
    }

    fn lost(&self) -> u64 {
        self.reader.lost_lines()
    }
}

/// rtrb, one record at a time.
pub fn rtrb(capacity: usize) -> (rtrb::Producer<Aligned>, rtrb::Consumer<Aligned>) {
    rtrb::RingBuffer::new(capacity)
}

impl Tx for rtrb::Producer<Aligned> {
    #[inline(always)]
    fn send(&mut self, record: &mut Record) -> bool {
        self.push(Aligned(*record)).is_ok()
    }
}

impl Rx for rtrb::Consumer<Aligned> {
    #[inline(always)]
    fn drain(&mut self, take: &mut impl FnMut(&Record)) -> usize {
        let Ok(record) = self.pop() else { return 0 };
        take(&record.0);
        1
    }
}

/// rtrb, reading everything there is as one chunk.
#[derive(Debug)]
pub struct RtrbChunks(rtrb::Consumer<Aligned>);

/// rtrb with chunked reads.
pub fn rtrb_chunks(capacity: usize) -> (rtrb::Producer<Aligned>, RtrbChunks) {
    let (tx, rx) = rtrb::RingBuffer::new(capacity);
    (tx, RtrbChunks(rx))
}

impl Rx for RtrbChunks {
    #[inline(always)]
    fn drain(&mut self, take: &mut impl FnMut(&Record)) -> usize {
        let slots = self.0.slots();
        let Ok(chunk) = self.0.read_chunk(slots) else { return 0 };
        let (first, second) = chunk.as_slices();
        for record in first.iter().chain(second) {
            take(&record.0);
        }
        chunk.commit_all();
        slots
    }
}

/// The disruptor's single producer.
pub struct DisruptorTx(SingleProducer<Aligned, SingleConsumerBarrier>);

/// The disruptor's poller.
pub struct DisruptorRx(disruptor::EventPoller<Aligned, SingleProducerBarrier>);

/// disruptor with a single producer and a poller that takes whatever is there.
pub fn disruptor(capacity: usize) -> (DisruptorTx, DisruptorRx) {
    let builder = disruptor::build_single_producer(capacity, Aligned::default, disruptor::BusySpin);
    let (poller, builder) = builder.new_event_poller();
    (DisruptorTx(builder.build()), DisruptorRx(poller))
}

impl Tx for DisruptorTx {
    #[inline(always)]
    fn send(&mut self, record: &mut Record) -> bool {
        self.0.try_publish(|slot| slot.0 = *record).is_ok()
    }
}

impl Rx for DisruptorRx {
    #[inline(always)]
    fn drain(&mut self, take: &mut impl FnMut(&Record)) -> usize {
        let Ok(mut events) = self.0.poll() else { return 0 };
        let mut count = 0;
        for record in &mut events {
            take(&record.0);
            count += 1;
        }
        count
    }
}

/// crossbeam's bounded queue.
pub fn array_queue(capacity: usize) -> (Arc<ArrayQueue<Record>>, Arc<ArrayQueue<Record>>) {
    let queue = Arc::new(ArrayQueue::new(capacity));
    (queue.clone(), queue)
}

impl Tx for Arc<ArrayQueue<Record>> {
    #[inline(always)]
    fn send(&mut self, record: &mut Record) -> bool {
        self.push(*record).is_ok()
    }
}

impl Rx for Arc<ArrayQueue<Record>> {
    #[inline(always)]
    fn drain(&mut self, take: &mut impl FnMut(&Record)) -> usize {
        let Some(record) = self.pop() else { return 0 };
        take(&record);
        1
    }
}

impl Tx for channel::Sender<Record> {
    #[inline(always)]
    fn send(&mut self, record: &mut Record) -> bool {
        self.try_send(*record).is_ok()
    }
}

impl Rx for channel::Receiver<Record> {
    #[inline(always)]
    fn drain(&mut self, take: &mut impl FnMut(&Record)) -> usize {
        let Ok(record) = self.try_recv() else { return 0 };
        take(&record);
        1
    }
}

impl Tx for std_mpsc::SyncSender<Record> {
    #[inline(always)]
    fn send(&mut self, record: &mut Record) -> bool {
        self.try_send(*record).is_ok()
    }
}

impl Rx for std_mpsc::Receiver<Record> {
    #[inline(always)]
    fn drain(&mut self, take: &mut impl FnMut(&Record)) -> usize {
        let Ok(record) = self.try_recv() else { return 0 };
        take(&record);
        1
    }
}

/// Sends `count` records through a ring on this thread and checks that each arrives once, whole and in order.
///
/// # Errors
/// What went wrong.
pub fn works(mut tx: impl Tx, mut rx: impl Rx, count: u64) -> Result<(), String> {
    let mut expected = 0;
    let mut wrong = None;
    for n in 0..count {
        let mut record = [0, n * 3, n, !n, n, n ^ 7, n];
        if !tx.send(&mut record) {
            return Err(format!("no room for record {n}"));
        }
        if n % 7 == 6 || n + 1 == count {
            let mut take = |got: &Record| {
                if got[1..] != [expected * 3, expected, !expected, expected, expected ^ 7, expected] {
                    wrong.get_or_insert(expected);
                }
                expected += 1;
            };
            while rx.drain(&mut take) > 0 {}
        }
    }
    match wrong {
        Some(n) => Err(format!("record {n} arrived damaged or out of order")),
        None if expected != count => Err(format!("{expected} of {count} records arrived")),
        None => Ok(()),
    }
}
