//! The market as it is shown: newest vectors and looks at books, at a screen's pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tidegate_guard::rules::{Direction, RULES};
use tidegate_market::features::schema::{FEATURES, MID, SPREAD, SPREAD_BP};
use tidegate_market::traps::TrapDetector;
use tidegate_serve::Topic;
use tidegate_serve::metrics::family;
use tidegate_serve::redis::{Key, MirrorHandle};
use tidegate_wire::decision::BreakerState;
use tidegate_wire::event::{BookQuality, Level};
use tidegate_wire::feature::FeatureRecord;
use tidegate_wire::look::{LookBody, LookRecord};
use tidegate_wire::ring::{RecordBuf, Region, overwrite};
use tidegate_wire::trap::{TRAP_PATTERNS, TrapBody, TrapCause, TrapPattern, TrapSignal};
use tidegate_wire::{Price, Scale};

use super::{Attached, PriceWatch, Screens};

/// How often the rings are looked at.
const TURN: Duration = Duration::from_millis(10);
/// Records that are read at once: the rings are emptied in a few turns, and nobody waits behind a loop that is faster.
const MOST: usize = 1 << 14;
/// How often values are put, where they have changed: a screen's frame is 16 ms, an eye's is longer.
const PACE: Duration = Duration::from_millis(50);
/// How often they are put where nobody watches.
const CALM: Duration = Duration::from_secs(1);

/// What was seen last of an instrument.
#[derive(Debug)]
struct Seen {
    name: String,
    venue: &'static str,
    record: Option<Box<FeatureRecord>>,
    look: Option<Box<LookRecord>>,
    /// The tape since the look that was shown.
    tape: Tape,
    /// Trades, bought and sold since the run began.
    traded: (u64, f64, f64),
    price_unit: f64,
    qty_unit: f64,
    fresh_look: bool,
    vectors: u64,
    told: u64,
    /// Its breakers' state when it was shown.
    state: BreakerState,
    /// Its flow as it was put, and after how many vectors.
    flow: (Option<(BookQuality, BreakerState)>, u64),
    at: Instant,
    shown: Instant,
}

/// Reads the rings and puts what it sees.
pub(super) struct Watcher {
    screens: Arc<Screens>,
    vectors: overwrite::Reader,
    looks: Option<overwrite::Reader>,
    positions: overwrite::Reader,
    traps: TrapDetector,
    buf: RecordBuf,
    prices: PriceWatch,
    mirror: Option<MirrorHandle>,
    seen: Vec<Seen>,
    newest_ns: i64,
    started: Instant,
    first_ns: i64,
    lost: u64,
    /// When vectors were counted last, and how many there were.
    counted: (Instant, u64),
}

impl Watcher {
    pub(super) fn new(screens: &Arc<Screens>, run: &Attached<'_>, positions: Arc<Region>) -> Self {
        let now = Instant::now();
        let seen = run.registry.iter().map(|(_, instrument)| Seen {
            name: instrument.name(),
            venue: instrument.venue.name(),
            record: None,
            look: None,
            tape: Tape::default(),
            traded: (0, 0.0, 0.0),
            price_unit: unit(instrument.price_scale),
            qty_unit: unit(instrument.qty_scale),
            fresh_look: false,
            vectors: 0,
            told: 0,
            state: BreakerState::Closed,
            flow: (None, 0),
            at: now,
            shown: now,
        });
        let (seen, vectors) = (seen.collect(), overwrite::Reader::newest(run.vectors.clone()));
        let looks = run.looks.clone().map(overwrite::Reader::newest);
        let (prices, screens, buf) = (PriceWatch::new(&screens.prices), screens.clone(), RecordBuf::default());
        let (positions, traps) = (overwrite::Reader::newest(positions), TrapDetector::new(run.registry));
        let mirror = run.stream.mirror.clone();
        Self {
            screens,
            vectors,
            looks,
            positions,
            traps,
            buf,
            prices,
            mirror,
            seen,
            newest_ns: 0,
            started: now,
            first_ns: 0,
            lost: 0,
            counted: (now, 0),
        }
    }

    pub(super) fn run(mut self, over: &AtomicBool) {
        let (mut put, mut counted) = (Instant::now(), Instant::now());
        while !over.load(Ordering::Relaxed) {
            self.read();
            if put.elapsed() >= PACE {
                put = Instant::now();
                self.show(false);
            }
            if counted.elapsed() >= CALM {
                counted = Instant::now();
                self.count();
            }
            std::thread::sleep(TURN);
        }
        self.read();
        self.show(true);
        self.count();
    }

    fn read(&mut self) {
        for _ in 0..MOST {
            let Some(words) = self.vectors.pop(&mut self.buf) else { break };
            let Some(record) = FeatureRecord::of_words(words) else { continue };
            let Some(seen) = self.seen.get_mut(record.header.instrument.index()) else { continue };
            match &mut seen.record {
                Some(place) => **place = *record,
                place => *place = Some(Box::new(*record)),
            }
            seen.vectors += 1;
            if let Some(mid) = record.body.get(MID) {
                for (above, level) in self.prices.look(&seen.name, mid) {
                    let way = if above { "rose to" } else { "fell to" };
                    let text = format!("{} {way} {mid} (level {level})", seen.name);
                    let data = json!({ "instrument": seen.name, "mid": mid, "level": level, "above": above });
                    self.screens.alarms.alert("price", text, Some(record.header.event_ns), data);
                    self.screens.metrics.add(family::ALERTS, &[("kind", "price")], 1.0);
                }
            }
            seen.at = Instant::now();
            self.newest_ns = self.newest_ns.max(record.header.event_ns);
            if self.first_ns == 0 {
                self.first_ns = self.newest_ns;
            }
        }
        while let Some(words) = self.positions.pop(&mut self.buf) {
            self.traps.record(words);
        }
        let mut signals = Vec::new();
        let Some(looks) = &mut self.looks else { return };
        for _ in 0..MOST {
            let Some(words) = looks.pop(&mut self.buf) else { break };
            let Some(record) = LookRecord::of_words(words) else { continue };
            signals.extend(self.traps.look(record));
            let Some(seen) = self.seen.get_mut(record.header.instrument.index()) else { continue };
            seen.tape.add(&record.body);
            match &mut seen.look {
                Some(place) => **place = *record,
                place => *place = Some(Box::new(*record)),
            }
            seen.fresh_look = true;
        }
        self.traps.advance(self.newest_ns, |signal| signals.push(signal));
        signals.iter().for_each(|signal| self.trap(signal));
    }

    /// A signal of the trap detector: state, and news where it is an alarm.
    fn trap(&self, signal: &TrapSignal) {
        let Some(seen) = self.seen.get(signal.header.instrument.index()) else { return };
        let (body, event_ns) = (&signal.body, Some(signal.header.event_ns));
        let shown = trap(body, seen.price_unit);
        if let Some(mirror) = &self.mirror {
            let mut told = shown.clone();
            told["instrument"] = seen.name.as_str().into();
            told["time_ns"] = signal.header.event_ns.into();
            mirror.set(Key::MmTrapProbability, told.to_string());
        }
        self.screens.hub().put(Topic::Trap, &seen.name, event_ns, &shown);
        let label = |(pattern, probability): (&TrapPattern, &f64)| {
            let labels = [("instrument", seen.name.as_str()), ("pattern", pattern.name())];
            self.screens.metrics().set(family::TRAP, &labels, *probability);
        };
        TRAP_PATTERNS.iter().zip(&body.probabilities).for_each(label);
        let is_alarm = body.cause() == Some(TrapCause::Event) && TRAP_PATTERNS.contains(&body.pattern());
        if is_alarm {
            let mut news = shown;
            news["instrument"] = seen.name.as_str().into();
            self.screens.hub().tell(Topic::TrapAlarm, event_ns, &news);
            let text = format!("{}: {} ({:.2})", seen.name, body.pattern().name(), body.probability);
            self.screens.alarms.send("trap", text, event_ns, news);
        }
    }

    /// Puts what has changed.
    fn show(&mut self, all: bool) {
        let hub = self.screens.hub();
        self.screens.breakers().show(hub);
        let watched = [Topic::Price, Topic::Features].map(|topic| hub.is_watched(topic));
        let books = hub.is_watched(Topic::Book);
        for seen in &mut self.seen {
            if seen.fresh_look
                && (all || books || seen.tape.since.elapsed() >= CALM)
                && let Some(look) = &seen.look
            {
                seen.fresh_look = false;
                let tape = std::mem::take(&mut seen.tape);
                seen.traded.0 += tape.trades;
                seen.traded.1 += tape.bought as f64 * seen.qty_unit;
                seen.traded.2 += tape.sold as f64 * seen.qty_unit;
                let mut shown = book(look, &tape, seen.price_unit, seen.qty_unit);
                // A client that does not get every look takes differences of these.
                let (trades, bought, sold) = seen.traded;
                shown["traded"] = json!({ "trades": trades, "bought": bought, "sold": sold });
                hub.put(Topic::Book, &seen.name, Some(look.header.event_ns), &shown);
            }
            let due = all || seen.shown.elapsed() >= CALM;
            let Some(record) = seen.record.as_ref() else { continue };
            let state = self.screens.breakers().state(&seen.name, seen.venue);
            if seen.vectors == seen.told && seen.state == state {
                continue;
            }
            if !(due || watched[0] || watched[1]) {
                continue;
            }
            (seen.told, seen.shown, seen.state) = (seen.vectors, Instant::now(), state);
            let breakers = self.screens.breakers();
            if due || watched[0] {
                hub.put(Topic::Price, &seen.name, Some(record.header.event_ns), &price(record, state));
            }
            if due || watched[1] {
                let threshold = |rule: &str| breakers.threshold(&seen.name, rule);
                hub.put(Topic::Features, &seen.name, Some(record.header.event_ns), &features(record, threshold));
            }
        }
    }

    /// Metrics, flow states, queues.
    fn count(&mut self) {
        let (hub, metrics) = (self.screens.hub(), self.screens.metrics());
        for seen in &mut self.seen {
            let Some(record) = &seen.record else { continue };
            let label = [("instrument", seen.name.as_str())];
            let quality = record.body.book_quality();
            metrics.set(family::VECTORS, &label, seen.vectors as f64);
            metrics.set(family::DATA_AGE, &label, seen.at.elapsed().as_secs_f64());
            metrics.set(family::BOOK_GOOD, &label, f64::from(u8::from(quality == BookQuality::Good)));
            if let Some(mid) = record.body.get(MID) {
                metrics.set(family::MID, &label, mid);
            }
            let state = self.screens.breakers().state(&seen.name, seen.venue);
            // What has not been heard of grows old.
            if seen.flow == (Some((quality, state)), seen.vectors) {
                continue;
            }
            seen.flow = (Some((quality, state)), seen.vectors);
            let flow = json!({ "state": flow(quality, state), "quality": quality.name(), "breaker": state.name() });
            hub.put(Topic::Flow, &seen.name, Some(record.header.event_ns), &flow);
        }
        self.lost = self.vectors.lost_lines() + self.looks.as_ref().map_or(0, overwrite::Reader::lost_lines);
        metrics.set(family::OBSERVERS_LOST, &[], self.lost as f64);
        metrics.set(family::EVENT_TIME, &[], self.newest_ns as f64 * 1e-9);
        let (wall_s, event_s) = (self.started.elapsed().as_secs_f64(), (self.newest_ns - self.first_ns) as f64 * 1e-9);
        let vectors: u64 = self.seen.iter().map(|seen| seen.vectors).sum();
        let counts = json!({
            "vectors": vectors,
            "vectors_per_s": (vectors - self.counted.1) as f64 / self.counted.0.elapsed().as_secs_f64().max(1e-9),
            "event_s": event_s,
            "wall_s": wall_s,
            "observer_lost_lines": self.lost,
        });
        self.counted = (Instant::now(), vectors);
        hub.put(Topic::Engine, "counts", (self.newest_ns > 0).then_some(self.newest_ns), &counts);
    }
}

/// Trades between two looks that were shown.
#[derive(Debug)]
struct Tape {
    since: Instant,
    bought: i64,
    sold: i64,
    trades: u64,
    largest: i64,
    high: i64,
    low: i64,
    last: i64,
}

impl Default for Tape {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            bought: 0,
            sold: 0,
            trades: 0,
            largest: 0,
            high: i64::MIN,
            low: i64::MAX,
            last: 0,
        }
    }
}

impl Tape {
    fn add(&mut self, look: &LookBody) {
        if look.trades == 0 {
            return;
        }
        self.bought = self.bought.saturating_add(look.bought.raw());
        self.sold = self.sold.saturating_add(look.sold.raw());
        self.trades += look.trades;
        self.largest = self.largest.max(look.largest.raw());
        (self.high, self.low) = (self.high.max(look.high.raw()), self.low.min(look.low.raw()));
        self.last = look.last.raw();
    }
}

/// What one raw unit of a scale is.
fn unit(scale: Scale) -> f64 {
    1.0 / scale.units() as f64
}

/// A look: best levels first, and the tape since the one that was shown before.
fn book(look: &LookRecord, tape: &Tape, price_unit: f64, qty_unit: f64) -> Value {
    let side = |levels: &[Level]| -> Vec<[f64; 2]> {
        // The decimal nearest to the level, not the product's: a price reads as the venue writes it.
        let value = |raw: i64, unit: f64| raw as f64 / (1.0 / unit).round();
        levels.iter().map(|l| [value(l.price.raw(), price_unit), value(l.qty.raw(), qty_unit)]).collect()
    };
    let body = &look.body;
    let traded = (tape.trades > 0).then(|| {
        json!({
            "trades": tape.trades,
            "bought": tape.bought as f64 * qty_unit,
            "sold": tape.sold as f64 * qty_unit,
            "largest": tape.largest as f64 * qty_unit,
            "high": tape.high as f64 * price_unit,
            "low": tape.low as f64 * price_unit,
            "last": tape.last as f64 * price_unit,
        })
    });
    json!({
        "quality": body.book_quality().name(),
        "update_id": body.update_id,
        "bids": side(body.bids()),
        "asks": side(body.asks()),
        "tape": traded,
    })
}

/// What the detector says, with names; prices in quote units.
fn trap(body: &TrapBody, price_unit: f64) -> Value {
    let price = |price: Price| price.raw() as f64 / (1.0 / price_unit).round();
    let levels = body.known & TrapBody::KNOWN_LEVELS != 0;
    let evidence: Map<String, Value> =
        body.named_evidence().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    let probabilities: Map<String, Value> = TRAP_PATTERNS
        .iter()
        .zip(body.probabilities)
        .map(|(pattern, probability)| (pattern.name().to_owned(), Value::from(probability)))
        .collect();
    json!({
        "pattern": body.pattern().name(),
        "probability": body.probability,
        "intensity": body.intensity,
        "probabilities": probabilities,
        "evidence": evidence,
        "lure": body.lure().filter(|_| levels).map(|side| side.name()),
        "reference": levels.then(|| price(body.reference)),
        "extreme": levels.then(|| price(body.extreme)),
        "stop_loss": body.stop_loss().map(price),
        "take_profit": body.take_profit().map(price),
        "cause": body.cause().map(<&str>::from),
        "since_ns": (body.since_ns != 0).then_some(body.since_ns),
    })
}

/// Whether an instrument's flow is active, disrupted (its book is not good), paused (a breaker stops it) or
/// synchronised (its book is good again, and a breaker still cools or is on probation).
fn flow(quality: BookQuality, breaker: BreakerState) -> &'static str {
    match (quality, breaker) {
        (BookQuality::Good, BreakerState::Closed) => "active",
        (BookQuality::Good, BreakerState::Tripped) => "paused",
        (BookQuality::Good, BreakerState::Cooling | BreakerState::HalfOpen) => "synchronised",
        _ => "disrupted",
    }
}

fn price(record: &FeatureRecord, state: BreakerState) -> Value {
    let (mid, spread) = (record.body.get(MID), record.body.get(SPREAD));
    let half = spread.map(|spread| spread / 2.0);
    let quality = record.body.book_quality();
    json!({
        "mid": mid,
        "bid": mid.zip(half).map(|(mid, half)| mid - half),
        "ask": mid.zip(half).map(|(mid, half)| mid + half),
        "spread_bp": record.body.get(SPREAD_BP),
        "quality": quality.name(),
        "breaker": state.name(),
        "flow": flow(quality, state),
        "frame": record.header.frame,
    })
}

/// The vector by name, and every rule's measure beside its threshold, where one has been adjusted.
fn features(record: &FeatureRecord, adjusted: impl Fn(&str) -> Option<f64>) -> Value {
    let values: Map<String, Value> = FEATURES
        .iter()
        .enumerate()
        .map(|(index, feature)| (feature.name.to_owned(), record.body.get(index).map_or(Value::Null, Value::from)))
        .collect();
    let rules: Vec<Value> = RULES
        .iter()
        .map(|rule| {
            json!({
                "rule": rule.name,
                "value": (rule.measure)(&record.body),
                "threshold": adjusted(rule.name),
                "above": rule.direction == Direction::Above,
            })
        })
        .collect();
    json!({ "quality": record.body.book_quality().name(), "values": values, "rules": rules })
}
