//! The detector itself: when it speaks, what it says of holes, what it advises, that it allocates nothing.

#[path = "../../../feed/tests/common/counting.rs"]
mod counting;

use tidegate_market::traps::{CADENCE_NS, TrapDetector};
use tidegate_wire::event::BookQuality;
use tidegate_wire::look::{LookBody, LookRecord};
use tidegate_wire::order::Side;
use tidegate_wire::position::{PositionBody, PositionRecord};
use tidegate_wire::trap::{TrapCause, TrapPattern, TrapSignal};
use tidegate_wire::{Header, Instrument, InstrumentId, Level, Price, Qty, RecordKind, Registry, Venue};

use crate::rig::{OPEN, SECOND};

/// Time between two looks, ns.
const STEP: i64 = SECOND / 10;

/// Looks by hand.
struct Hand {
    detector: TrapDetector,
    now_ns: i64,
    last_ns: i64,
    signals: Vec<TrapSignal>,
}

impl Hand {
    fn new() -> Self {
        let mut registry = Registry::new();
        registry.add(Instrument::linear(Venue::BinanceUsdm, "BTCUSDT", 1, 3)).expect("an instrument");
        Self { detector: TrapDetector::new(&registry), now_ns: OPEN, last_ns: OPEN, signals: Vec::new() }
    }

    /// The next look: a book around a mid, and what aggressors bought and sold at it.
    fn look(&mut self, mid: i64, bought: i64, sold: i64) -> LookRecord {
        let level = |price: i64| Level { price: Price::from_raw(price), qty: Qty::from_raw(1_000) };
        let mut body = LookBody { bid_count: 40, ask_count: 40, quality: BookQuality::Good as u64, ..LookBody::EMPTY };
        body.begin(self.last_ns);
        for n in 0..40 {
            (body.bids[n], body.asks[n]) = (level(mid - 1 - n as i64), level(mid + 1 + n as i64));
        }
        for (qty, sell) in [(bought, false), (sold, true)].into_iter().filter(|(qty, _)| *qty > 0) {
            body.trade(Price::from_raw(mid), Qty::from_raw(qty), sell);
        }
        self.last_ns = self.now_ns;
        LookRecord { header: Header { event_ns: self.now_ns, ..Header::new(RecordKind::Look, InstrumentId(0)) }, body }
    }

    fn see(&mut self, mid: i64, bought: i64, sold: i64) -> Option<TrapSignal> {
        self.now_ns += STEP;
        let mut look = self.look(mid, bought, sold);
        let signal = self.detector.record(look.words_mut());
        self.signals.extend(signal);
        signal
    }

    /// Keeps what is said for later.
    fn hear(&mut self, mid: i64, bought: i64, sold: i64) {
        self.see(mid, bought, sold);
    }

    /// Quiet seconds around 10,000.
    fn quiet(&mut self, seconds: i64) {
        for n in 0..seconds * 10 {
            self.hear(10_000 + [0, 3, 1, -2, -3, 2][n as usize / 7 % 6], 50, 50);
        }
    }

    /// A stop hunt upwards: a second up on volume, a pause, two seconds down.
    fn hunt(&mut self) {
        (0..8).for_each(|n| self.hear(10_000 + n * 6, 3_000, 20));
        (0..4).for_each(|_| self.hear(10_042, 100, 200));
        (0..14).for_each(|n| self.hear(10_042 - n * 3, 20, 1_500));
    }

    fn named(&self, pattern: TrapPattern) -> Option<&TrapSignal> {
        self.signals.iter().find(|signal| signal.body.pattern() == pattern)
    }
}

#[test]
fn nothing_is_known_for_a_minute_and_then_signals_come_every_quarter_of_one() {
    let mut hand = Hand::new();
    hand.quiet(120);
    let patterns: Vec<TrapPattern> = hand.signals.iter().map(|signal| signal.body.pattern()).collect();
    let known = patterns.iter().position(|pattern| *pattern == TrapPattern::None).expect("a minute is over");
    assert!(patterns[..known].iter().all(|pattern| *pattern == TrapPattern::Unknown) && known >= 4, "{patterns:?}");
    assert!(patterns[known..].iter().all(|pattern| *pattern == TrapPattern::None), "{patterns:?}");
    let told = &hand.signals[known];
    assert_eq!((told.body.cause(), told.body.probability), (Some(TrapCause::Event), 0.0));
    let times: Vec<i64> = hand.signals[known + 1..].iter().map(|signal| signal.header.event_ns).collect();
    assert!(times.len() >= 3 && times.iter().all(|ns| ns % CADENCE_NS == 0), "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == CADENCE_NS), "{times:?}");
}

#[test]
fn a_stop_hunt_is_named_with_its_evidence_and_longs_that_followed_it_are_advised() {
    let mut hand = Hand::new();
    hand.quiet(90);
    let mut long = PositionBody::new(Side::Buy, Qty::from_raw(500), Price::from_raw(10_040));
    (long.known, long.stop_loss) = (PositionBody::KNOWN_STOP, Price::from_raw(9_900));
    hand.detector.position(&PositionRecord::new(InstrumentId(0), hand.now_ns, long));
    let short = PositionBody::new(Side::Sell, Qty::from_raw(500), Price::from_raw(9_990));
    let mut short = PositionRecord::new(InstrumentId(0), hand.now_ns, short);
    assert!(hand.detector.record(short.words_mut()).is_none(), "as it comes out of a ring");
    hand.hunt();
    let signal = hand.named(TrapPattern::StopHunt).expect("a stop hunt");
    let body = signal.body;
    assert_eq!((body.cause(), body.lure()), (Some(TrapCause::Event), Some(Side::Buy)));
    assert!(body.probability >= 0.8 && body.intensity > 0.3, "{body:?}");
    assert_eq!((body.reference.raw(), body.extreme.raw()), (10_003, 10_042));
    let evidence: Vec<_> = body.named_evidence().collect();
    assert!(evidence[0].0 == "retraced" && evidence[0].1 > 0.0 && evidence[2].1 > 0.3, "{evidence:?}");
    let (stop, take) = (body.stop_loss().expect("tighter"), body.take_profit().expect("nearer"));
    assert!(stop.raw() > 9_900 && stop.raw() < 10_042 && take.raw() <= 10_045 && take > stop, "{stop:?} {take:?}");
    // A stop that is tighter already stays, and a position that was closed gets no advice.
    let mut hand = Hand::new();
    hand.quiet(90);
    long.stop_loss = Price::from_raw(10_100);
    hand.detector.position(&PositionRecord::new(InstrumentId(0), hand.now_ns, long));
    hand.hunt();
    let body = hand.named(TrapPattern::StopHunt).expect("a stop hunt").body;
    assert!(body.stop_loss().is_none() && body.take_profit().is_some());
    let mut hand = Hand::new();
    hand.quiet(90);
    hand.detector.position(&PositionRecord::new(InstrumentId(0), hand.now_ns, long));
    let closed = PositionBody { qty: Qty::from_raw(0), ..long };
    hand.detector.position(&PositionRecord::new(InstrumentId(0), hand.now_ns, closed));
    hand.hunt();
    let body = hand.named(TrapPattern::StopHunt).expect("a stop hunt").body;
    assert!(body.stop_loss().is_none() && body.take_profit().is_none());
}

#[test]
fn what_was_not_seen_is_unknown() {
    let mut hand = Hand::new();
    hand.quiet(90);
    // A book out of service.
    hand.now_ns += STEP;
    let mut look = hand.look(10_000, 0, 0);
    look.body.quality = BookQuality::Gapped as u64;
    let signal = hand.detector.look(&look).expect("a change");
    assert_eq!((signal.body.pattern(), signal.body.probabilities), (TrapPattern::Unknown, [0.0; 5]));
    assert_eq!(hand.see(10_000, 0, 0).map(|signal| signal.body.pattern()), Some(TrapPattern::None));
    // Looks that were missed.
    hand.now_ns += 5 * STEP;
    hand.last_ns = hand.now_ns - STEP;
    assert_eq!(hand.see(10_000, 0, 0).map(|signal| signal.body.pattern()), Some(TrapPattern::Unknown));
    assert_eq!(hand.see(10_000, 0, 0).map(|signal| signal.body.pattern()), Some(TrapPattern::None));
    // Nothing at all.
    let mut silent = Vec::new();
    hand.detector.advance(hand.now_ns + CADENCE_NS, |signal| silent.push(signal.body.pattern()));
    hand.detector.advance(hand.now_ns + 3 * CADENCE_NS, |signal| silent.push(signal.body.pattern()));
    hand.detector.advance(hand.now_ns + 3 * CADENCE_NS, |signal| silent.push(signal.body.pattern()));
    assert_eq!(silent, [TrapPattern::None, TrapPattern::Unknown]);
    // A silence ends what was seen, whether or not somebody asked for signals meanwhile.
    let mut other = Hand::new();
    other.quiet(90);
    for silent in [&mut hand, &mut other] {
        silent.now_ns += 4 * CADENCE_NS;
        silent.hear(10_000, 0, 0);
        silent.quiet(50);
        assert_eq!(silent.signals.last().map(|signal| signal.body.pattern()), Some(TrapPattern::Unknown));
        silent.quiet(20);
        assert_eq!(silent.signals.last().map(|signal| signal.body.pattern()), Some(TrapPattern::None));
    }
    // A foreign instrument.
    let mut look = hand.look(10_000, 0, 0);
    look.header.instrument = InstrumentId(7);
    assert!(hand.detector.look(&look).is_none());
}

#[test]
fn a_look_costs_no_allocation() {
    let mut hand = Hand::new();
    hand.quiet(90);
    hand.signals.reserve(1_000);
    let before = counting::calls();
    hand.hunt();
    hand.quiet(60);
    assert_eq!(counting::calls() - before, 0);
    assert!(hand.named(TrapPattern::StopHunt).is_some());
}
