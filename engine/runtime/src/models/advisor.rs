//! How advice comes to the guard: from cells as it arrives, in lockstep with a replay, or out of a record.
//!
//! Part of the hot loop: looks at one word an event, and allocates nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;
use crossbeam::utils::Backoff;
use tidegate_guard::{Command, GuardStage};
use tidegate_market::graph::Schedule;
use tidegate_sidecar::serve::{AdviceCells, Pace};
use tidegate_wire::advice::Advice;
use tidegate_wire::clock::Clock;
use tidegate_wire::decision::DecisionSink;
use tidegate_wire::event::Header;
use tidegate_wire::feature::{FeatureBody, FeatureSink, MinuteBody};
use tidegate_wire::latency::Recorder;
use tidegate_wire::relay::RecordWriter;
use tidegate_wire::{InstrumentId, RecordKind};

use crate::latency::{ADJUST_TOTAL, INFERENCE, PUBLISH, SIDECAR_WAIT};
use crate::pipeline::Guard;

/// Where advice comes from.
#[derive(Debug)]
pub(crate) enum Advisor {
    /// Nowhere: static profiles.
    None,
    /// A sidecar that answers when it can.
    Live(Mailbox),
    /// A sidecar that the replay waits for.
    Lockstep(Box<Lockstep>),
    /// A record of what was adopted before.
    Reenact(VecDeque<Recorded>),
}

/// What reached the guard from outside event time, before some event, at some event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Number of the guard's event from which it held.
    pub event: u64,
    /// Event time at which it was taken, ns since the Unix epoch.
    pub event_ns: i64,
    /// What it was.
    pub what: Taken,
}

/// What the guard took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Advice.
    Advice(Advice),
    /// An operator's command.
    Command(Command),
}

/// Commands of operators on their way to the hot loop.
#[derive(Debug)]
pub struct Inbox {
    bell: AtomicU64,
    queue: ArrayQueue<Command>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { bell: AtomicU64::new(0), queue: ArrayQueue::new(64) }
    }
}

impl Inbox {
    /// Hands a command over; `false` when the loop has not taken earlier ones.
    pub fn put(&self, command: Command) -> bool {
        let put = self.queue.push(command).is_ok();
        self.bell.fetch_add(1, Ordering::Release);
        put
    }
}

/// The hot loop's end of an [`Inbox`].
#[derive(Debug)]
pub(crate) struct Orders {
    inbox: Arc<Inbox>,
    heard: u64,
}

impl Orders {
    pub(crate) const fn new(inbox: Arc<Inbox>) -> Self {
        Self { inbox, heard: 0 }
    }

    /// Carries out what has come.
    #[inline(always)]
    pub(crate) fn poll(&mut self, guard: &mut Guard) {
        // Before the first event there is no time at which it could be carried out.
        if self.inbox.bell.load(Ordering::Acquire) != self.heard && guard.now() != 0 {
            self.carry_out(guard);
        }
    }

    #[cold]
    fn carry_out(&mut self, guard: &mut Guard) {
        self.heard = self.inbox.bell.load(Ordering::Acquire);
        while let Some(command) = self.inbox.queue.pop() {
            // It was resolved against the same registry: its scope exists.
            let _ = guard.operate(command, guard.now());
        }
    }
}

/// Cells with what has been read of them.
#[derive(Debug)]
pub(crate) struct Mailbox {
    cells: Arc<AdviceCells>,
    heard: u64,
    seen: Vec<u64>,
    /// Moment of the advice taken last, ns of event time, by instrument.
    taken: Vec<i64>,
    /// Least event time between two advices of an instrument, ns: whoever writes faster than it should does not load
    /// the hot loop.
    spacing_ns: i64,
}

/// A replay's side of a lockstep.
#[derive(Debug)]
pub(crate) struct Lockstep {
    mailbox: Mailbox,
    vectors: RecordWriter,
    pace: Arc<Pace>,
    schedule: Schedule,
    /// Event time from a moment to when its answer takes effect, ns.
    latency_ns: i64,
    /// Moments sent.
    sent: u64,
    /// When the answer to the last moment takes effect, ns of event time; `i64::MAX` when none is awaited.
    due: i64,
}

impl Mailbox {
    /// For advice that comes every `every_ns` of event time.
    pub(crate) fn new(cells: Arc<AdviceCells>, every_ns: i64) -> Self {
        let (seen, taken) = (vec![0; cells.len()], vec![i64::MIN; cells.len()]);
        Self { cells, heard: 0, seen, taken, spacing_ns: every_ns / 2 }
    }

    #[inline(always)]
    fn has_mail(&self) -> bool {
        self.cells.bell() != self.heard
    }

    /// Gives everything new to the guard at event time `now`.
    #[cold]
    #[inline(never)]
    fn deliver(&mut self, now: i64, guard: &mut Guard, clock: &Clock, recorder: &mut Recorder, waited: bool) {
        self.heard = self.cells.bell();
        for (index, seen) in self.seen.iter_mut().enumerate() {
            let Some(cell) = self.cells.cell(index).filter(|cell| cell.version() != *seen) else { continue };
            // One that is just being written rings the bell again.
            let Some((version, words)) = cell.load() else { continue };
            *seen = version;
            let advice = Advice::of_words(&words).canonical();
            // A cell of one instrument must not speak for another, whoever wrote it.
            let taken = &mut self.taken[index];
            let too_soon = advice.event_ns < taken.saturating_add(self.spacing_ns);
            if advice.instrument.index() != index || too_soon || !guard.adopt(&advice, now) {
                continue;
            }
            *taken = advice.event_ns;
            let stamps = &advice.stamps;
            if stamps.arrived == 0 || stamps.published == 0 {
                continue;
            }
            // In lockstep it takes effect at a time of the data; what it took is until it could have.
            let in_force = if waited { stamps.published } else { clock.ticks() };
            recorder.record(SIDECAR_WAIT, clock.between(stamps.features, stamps.taken));
            recorder.record(INFERENCE, clock.between(stamps.taken, stamps.inferred));
            recorder.record(PUBLISH, clock.between(stamps.inferred, in_force));
            recorder.record(ADJUST_TOTAL, clock.between(stamps.arrived, in_force));
        }
    }
}

impl Lockstep {
    pub(crate) fn new(
        cells: Arc<AdviceCells>,
        vectors: RecordWriter,
        pace: Arc<Pace>,
        every_ns: i64,
        latency_ns: i64,
    ) -> Self {
        let (mailbox, schedule) = (Mailbox::new(cells, every_ns), Schedule::new(every_ns));
        Self { mailbox, vectors, pace, schedule, latency_ns, sent: 0, due: i64::MAX }
    }

    #[inline(always)]
    fn before(&mut self, header: &Header, guard: &mut Guard, clock: &Clock, recorder: &mut Recorder) -> u64 {
        let mut stood = 0;
        // What is due at or before this event was asked for earlier, unless this event makes both.
        if header.event_ns >= self.due {
            stood += self.take(guard, clock, recorder);
        }
        if let Some(moment) = self.schedule.due(header.event_ns) {
            self.ask(moment, header, clock);
            if header.event_ns >= self.due {
                stood += self.take(guard, clock, recorder);
            }
        }
        stood
    }

    #[cold]
    fn ask(&mut self, moment: i64, header: &Header, clock: &Clock) {
        if self.pace.ended.load(Ordering::Acquire) {
            return;
        }
        self.pace.asked.store(clock.ticks(), Ordering::Release);
        let ask = Header {
            event_ns: moment,
            arrive_ticks: header.arrive_ticks,
            frame: header.frame,
            ..Header::new(RecordKind::Heartbeat, InstrumentId::NONE)
        };
        FeatureSink::heartbeat(&mut self.vectors, &ask);
        self.sent += 1;
        self.due = moment + self.latency_ns;
    }

    #[cold]
    fn take(&mut self, guard: &mut Guard, clock: &Clock, recorder: &mut Recorder) -> u64 {
        let (backoff, start) = (Backoff::new(), clock.ticks());
        while self.pace.answered.load(Ordering::Acquire) < self.sent {
            if self.pace.ended.load(Ordering::Acquire) {
                break;
            }
            backoff.snooze();
        }
        let stood = clock.ticks().saturating_sub(start);
        let due = std::mem::replace(&mut self.due, i64::MAX);
        self.mailbox.deliver(due, guard, clock, recorder, true);
        stood
    }
}

/// However a replay ends, its sidecar must not wait for it.
impl Drop for Lockstep {
    fn drop(&mut self) {
        self.pace.done.store(true, Ordering::Release);
    }
}

impl Advisor {
    /// Before the guard takes an event. Gives the ticks that a replay stood still for an answer, which are no latency
    /// of the event.
    #[inline(always)]
    pub(crate) fn before(&mut self, header: &Header, guard: &mut Guard, clock: &Clock, recorder: &mut Recorder) -> u64 {
        match self {
            Self::Live(mailbox) if mailbox.has_mail() => {
                mailbox.deliver(guard.now(), guard, clock, recorder, false);
            }
            Self::Lockstep(lockstep) => return lockstep.before(header, guard, clock, recorder),
            Self::Reenact(recorded) => reenact(recorded, guard),
            Self::None | Self::Live(_) => {}
        }
        0
    }

    /// After the guard has taken a vector.
    #[inline(always)]
    pub(crate) fn after(&mut self, header: &Header, body: &FeatureBody) {
        if let Self::Lockstep(lockstep) = self
            && !lockstep.pace.ended.load(Ordering::Relaxed)
        {
            lockstep.vectors.features(header, body);
        }
    }

    /// A bar has ended.
    pub(crate) fn minute(&mut self, header: &Header, body: &MinuteBody) {
        if let Self::Lockstep(lockstep) = self
            && !lockstep.pace.ended.load(Ordering::Relaxed)
        {
            lockstep.vectors.minute(header, body);
        }
    }

    /// While there is no event.
    #[inline(always)]
    pub(crate) fn idle(&mut self, guard: &mut Guard, clock: &Clock, recorder: &mut Recorder) {
        if let Self::Live(mailbox) = self
            && mailbox.has_mail()
        {
            mailbox.deliver(guard.now(), guard, clock, recorder, false);
        }
    }

    /// There will be no more events: what was taken after the last one is taken again. Gives what was recorded but
    /// never came to its turn.
    pub(crate) fn finish(self, guard: &mut Guard) -> usize {
        match self {
            Self::Reenact(mut recorded) => {
                reenact(&mut recorded, guard);
                recorded.len()
            }
            Self::None | Self::Live(_) | Self::Lockstep(_) => 0,
        }
    }
}

/// Before the guard takes its next event: what was taken before that one then is taken again.
#[inline(always)]
pub(crate) fn reenact<D: DecisionSink>(recorded: &mut VecDeque<Recorded>, guard: &mut GuardStage<D>) {
    let next = guard.next_event();
    while let Some(front) = recorded.front().filter(|front| front.event <= next) {
        match front.what {
            Taken::Advice(advice) => {
                guard.adopt(&advice, front.event_ns);
            }
            // It was carried out then: its scope exists.
            Taken::Command(command) => drop(guard.operate(command, front.event_ns)),
        }
        recorded.pop_front();
    }
}
