//! Random faults over all protocols: each is noticed and named by the engine, or shown to have harmed nothing, and
//! afterwards every book equals the exchange's. Where the seed is odd OKX sends no initial snapshots.
//!
//! `CHAOS_SECONDS` (25) and `CHAOS_SEED` (printed) make it longer and repeat it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_simex::exchange::{ExchangeConfig, Fault, FaultKind, FaultRecord, Venue as At};
use tidegate_tests::live::{MARKETS, Market, Stage, differs, rebuild};
use tidegate_wire::InstrumentId;
use tidegate_wire::event::BookQuality;

/// Settings that make an engine as impatient as a test must be.
const SESSION: &str = "[session]\nbackoff_ms = 100\nattempts = 200\npatience_ms = 2500\nstable_after_ms = 2000\n\
                       idle_after_ms = 6000\nclock_every_ms = 1000\nclock_bound_ms = 250\n";
const LIMITS: &str = "[venues.limits]\nheartbeat_ms = 700\ndead_after_ms = 2500\n";
/// How long after a fault the engine may say so.
const NOTICE: Duration = Duration::from_secs(15);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Seeded numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}

const KINDS: [FaultKind; 20] = [
    FaultKind::Lost,
    FaultKind::Repeated,
    FaultKind::Reordered,
    FaultKind::Truncated,
    FaultKind::BitFlip,
    FaultKind::WrongChecksum,
    FaultKind::SequenceJump,
    FaultKind::Stall,
    FaultKind::HalfOpen,
    FaultKind::DisconnectMidFrame,
    FaultKind::SlowLoris,
    FaultKind::Close,
    FaultKind::RateLimited,
    FaultKind::ExpiredLogin,
    FaultKind::Cut24h,
    FaultKind::ClockJump,
    FaultKind::Flood,
    FaultKind::TlsAbort,
    FaultKind::TlsBadCertificate,
    FaultKind::RestError5xx,
];

fn fault(kind: FaultKind, random: &mut Random) -> Fault {
    let venues = [At::BinanceSpot, At::BinanceUsdm, At::BinanceCoinm, At::Bybit, At::Okx, At::Bitget, At::Deribit];
    let mut fault = Fault::new(kind);
    let venue = match kind {
        FaultKind::WrongChecksum | FaultKind::ExpiredLogin => At::Bitget,
        _ => venues[random.below(venues.len())],
    };
    fault.venue = Some(venue);
    fault.lasting = Duration::from_millis(4_000);
    fault.by = 5_000;
    fault.factor = 20.0;
    fault.code = (kind == FaultKind::Close).then_some([1000, 1001, 1006 + 5, 1012, 4004][random.below(5)]);
    if kind == FaultKind::TlsAbort || kind == FaultKind::TlsBadCertificate {
        fault.lasting = Duration::from_millis(1_500);
    }
    fault
}

/// What the engine wrote down, by what it is about.
struct Records {
    /// Times at which a book was not good: from, to, ns.
    bad: BTreeMap<String, Vec<(i64, i64)>>,
    /// Session events by market: time, kind and words.
    events: BTreeMap<String, Vec<(i64, String, String)>>,
    /// Breaker decisions: time, name, rule.
    decisions: Vec<(i64, String, String)>,
}

impl Records {
    fn of(stage: &Stage) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut bad: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
        for line in stage.lines("books.jsonl") {
            let at = line["event_ns"].as_i64().unwrap_or(0);
            let spans = bad.entry(text(&line["book"])).or_insert_with(|| vec![(0, i64::MAX)]);
            let open = spans.last().is_some_and(|(_, to)| *to == i64::MAX);
            match (line["quality"] == "good", open) {
                (true, true) => spans.last_mut().expect("a span").1 = at,
                (false, false) => spans.push((at, i64::MAX)),
                _ => {}
            }
        }
        let mut events: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for line in stage.lines("sessions.jsonl") {
            let event = (line["at_ns"].as_i64().unwrap_or(0), text(&line["kind"]), text(&line["detail"]));
            events.entry(text(&line["venue"])).or_default().push(event);
        }
        let decisions = stage.lines("decisions.jsonl").into_iter();
        let decisions = decisions.map(|l| (l["event_ns"].as_i64().unwrap_or(0), text(&l["name"]), text(&l["rule"])));
        Self { bad, events, decisions: decisions.collect() }
    }

    /// Whether one of the books was not good at some time from `at` on, as long as a notice may take.
    fn disturbed(&self, books: &[String], at: i64) -> bool {
        let until = at + NOTICE.as_nanos() as i64;
        let touches = |(from, to): &(i64, i64)| *from <= until && *to >= at;
        books.iter().any(|book| self.bad.get(book).is_some_and(|spans| spans.iter().any(touches)))
    }

    fn told(&self, markets: &[&str], at: i64, is: impl Fn(&str, &str) -> bool) -> bool {
        let (from, until) = (at - 3_000_000_000, at + NOTICE.as_nanos() as i64);
        let matches = |(time, kind, words): &(i64, String, String)| (from..=until).contains(time) && is(kind, words);
        markets.iter().any(|market| self.events.get(*market).is_some_and(|events| events.iter().any(matches)))
    }

    fn decided(&self, rule: &str, at: i64) -> bool {
        let until = at + NOTICE.as_nanos() as i64;
        self.decisions.iter().any(|(time, _, of)| (at - 1_000_000_000..=until).contains(time) && of == rule)
    }
}

fn markets_of(venue: At) -> Vec<&'static str> {
    MARKETS.iter().filter(|market| market.at == venue).map(|market| market.name).collect()
}

fn books_of(record: &FaultRecord) -> Vec<String> {
    let ours = MARKETS.iter().filter(|market| market.at == record.venue);
    let all = ours.flat_map(|m| m.symbols.iter().map(|symbol| format!("{symbol}.{}", m.name)));
    all.filter(|name| record.symbol.as_ref().is_none_or(|symbol| name.starts_with(&format!("{symbol}.")))).collect()
}

/// What became of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// The engine has a record of it.
    Noticed,
    /// It changed nothing that anybody could see: a copy that was dropped, a frame of a book that was being built.
    Harmless,
    /// A digit inside a valid frame of a venue without checksums: no receiver can know. TLS keeps it from happening on
    /// the way; the exchange itself sent it here.
    Unknowable,
    /// Nothing was noticed.
    Missed,
}

fn fate(record: &FaultRecord, records: &Records) -> Fate {
    let (at, books, markets) = (record.at_ns, books_of(record), markets_of(record.venue));
    let disturbed = || records.disturbed(&books, at);
    let lost = || records.told(&markets, at, |kind, _| matches!(kind, "lost" | "silent"));
    let told = |kinds: &[&str]| records.told(&markets, at, |kind, _| kinds.contains(&kind));
    let noticed = |yes: bool| if yes { Fate::Noticed } else { Fate::Missed };
    match record.kind {
        FaultKind::Lost | FaultKind::Reordered | FaultKind::Truncated | FaultKind::SequenceJump => {
            noticed(disturbed() || lost())
        }
        FaultKind::WrongChecksum => noticed(disturbed() || lost()),
        FaultKind::BitFlip if disturbed() || lost() => Fate::Noticed,
        FaultKind::BitFlip if record.venue != At::Bitget => Fate::Unknowable,
        FaultKind::BitFlip => Fate::Missed,
        // The copy is dropped: counted, and compared with the total at the end.
        FaultKind::Repeated => Fate::Harmless,
        FaultKind::Stall | FaultKind::SlowLoris => noticed(disturbed() || lost()),
        FaultKind::HalfOpen | FaultKind::DisconnectMidFrame | FaultKind::Close => noticed(lost()),
        FaultKind::Cut24h => noticed(lost() || told(&["rotating", "rotated"])),
        FaultKind::ExpiredLogin => noticed(lost() || told(&["refused"])),
        FaultKind::ClockJump => noticed(told(&["clock"])),
        FaultKind::RateLimited | FaultKind::RestError5xx => noticed(told(&["clock_failed", "snapshot_failed"])),
        FaultKind::TlsAbort | FaultKind::TlsBadCertificate => {
            noticed(lost() || told(&["clock_failed", "snapshot_failed"]))
        }
        // Many frames are no error; what they carry is applied. A breaker may say more.
        FaultKind::Flood if records.decided("message_rate", at) => Fate::Noticed,
        FaultKind::Flood => Fate::Harmless,
        _ => Fate::Missed,
    }
}

fn stage(seed: u64) -> Stage {
    let mut config = ExchangeConfig { time_scale: 0.25, ..ExchangeConfig::default() };
    for venue in config.venues() {
        let mut settings = tidegate_simex::exchange::VenueConfig::default();
        // Reconnecting all the time is what is tested; how fast a client may do so has a test of its own.
        (settings.limits.connects, settings.limits.connections) = (100_000, 10_000);
        (settings.limits.rest_weight, settings.limits.subscribes_per_hour) = (1_000_000, 100_000);
        settings.no_snapshots = venue == At::Okx && seed % 2 == 1;
        config.venue.insert(venue, settings);
    }
    let private = |market: &Market| Market { private: market.name == "bitget-usdt", ..market.clone() };
    Stage::new(config, MARKETS.iter().map(private).collect())
}

/// Waits until no fault has happened for so long.
fn quiet(stage: &Stage, lasting: Duration) {
    let begun = Instant::now();
    loop {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
        let last = stage.exchange.faults().iter().map(|record| record.at_ns).max().unwrap_or(0);
        if now.as_nanos() as i64 - last > lasting.as_nanos() as i64 {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "faults do not end: {:?}", stage.exchange.faults().last());
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn every_fault_is_noticed_and_every_book_recovers() {
    let seconds = setting("CHAOS_SECONDS", 25);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    let seed = setting("CHAOS_SEED", now.as_nanos() as u64 % 1_000_000);
    eprintln!("chaos: CHAOS_SEED={seed} CHAOS_SECONDS={seconds}");
    let stage = stage(seed);
    let stale: String = MARKETS
        .iter()
        .map(|m| format!("[profiles.{}.rules.stale_feed]\nthreshold = 2000.0\nrelease = 1000.0\n", m.name))
        .collect();
    let engine = stage.engine(&stage.config(&format!("{SESSION}{stale}"), LIMITS));
    engine.until("connected", Duration::from_secs(30));

    let (mut random, begun, mut number) = (Random(seed), Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(seconds) {
        let kind = if number < KINDS.len() { KINDS[number] } else { KINDS[random.below(KINDS.len())] };
        stage.exchange.inject(fault(kind, &mut random)).expect("a possible fault");
        if matches!(kind, FaultKind::TlsAbort | FaultKind::TlsBadCertificate) {
            // Only who connects meets these.
            let venue = fault(kind, &mut random).venue;
            stage.exchange.inject(Fault { venue, ..Fault::new(FaultKind::Close) }).expect("a possible fault");
        }
        number += 1;
        std::thread::sleep(Duration::from_millis(150 + random.below(500) as u64));
    }
    // Faults hold for a while, and those of frames wait for a frame: a market that stands still right after one would
    // show a book that nobody could have mended yet. Then everything must come back by itself.
    quiet(&stage, Duration::from_secs(6));
    engine.until("connected", Duration::from_secs(60));
    quiet(&stage, Duration::from_secs(6));
    engine.until("connected", Duration::from_secs(60));
    stage.exchange.freeze();
    std::thread::sleep(Duration::from_secs(2));
    let summary = engine.finish();

    let (faults, records) = (stage.exchange.faults(), Records::of(&stage));
    let mut table: BTreeMap<(&str, Fate), usize> = BTreeMap::new();
    let mut missed = Vec::new();
    for record in &faults {
        let fate = fate(record, &records);
        *table.entry((record.kind.name(), fate)).or_default() += 1;
        if fate == Fate::Missed {
            missed.push(record);
        }
    }
    for ((kind, fate), count) in &table {
        eprintln!("chaos: {kind:>22} {fate:?} {count}");
    }
    assert!(missed.is_empty(), "seed {seed}: not noticed: {missed:#?}");
    let repeated = faults.iter().filter(|record| record.kind == FaultKind::Repeated).count() as u64;
    let outdated = summary["outdated"].as_u64().unwrap_or(0);
    assert!(outdated >= repeated, "seed {seed}: {repeated} frames repeated, {outdated} dropped as outdated");
    assert!(faults.len() >= KINDS.len() - 2, "seed {seed}: only {} faults", faults.len());
    compare(&stage, &summary, &faults, &records, seed);
}

fn compare(stage: &Stage, summary: &Value, faults: &[FaultRecord], records: &Records, seed: u64) {
    let (registry, books) = rebuild(&stage.captures());
    let mut wrong = Vec::new();
    for (index, book) in books.iter().enumerate() {
        let id = InstrumentId(index as u16);
        let name = registry.get(id).expect("an instrument").name();
        let last: Vec<_> = stage.lines("books.jsonl").into_iter().filter(|line| line["book"] == *name).collect();
        let last = &last[last.len().saturating_sub(6)..];
        assert_eq!(book.quality, BookQuality::Good, "seed {seed}: {name}: {last:#?}\n{}", summary["live"]);
        let Some(text) = differs(&stage.exchange, &registry, id, book, 100) else { continue };
        // A digit that nobody could know to be wrong stays until its level changes.
        let unknowable =
            |record: &&FaultRecord| fate(record, records) == Fate::Unknowable && books_of(record).contains(&name);
        if faults.iter().filter(unknowable).count() == 0 {
            wrong.push(text);
        }
    }
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    // The engine itself and a second look at what it captured agree. The market stands still: that makes books stale.
    let good = |instrument: &Value| instrument["quality"] == "good" || instrument["quality"] == "stale";
    let instruments = summary["instruments"].as_array().expect("instruments");
    assert!(instruments.iter().all(good), "seed {seed}: {instruments:#?}");
    let total = |key: &str| summary[key].as_u64().unwrap_or(0);
    eprintln!(
        "chaos: seed {seed}: {} faults; {} frames, {} gaps, {} resyncs, {} decode errors, {} checksums of {} wrong; {} books equal",
        faults.len(),
        total("frames"),
        total("gaps"),
        total("resyncs"),
        total("decode_errors"),
        total("checksum_failures"),
        total("checksums_verified"),
        books.len()
    );
}
