//! The post-mortem: causes of simulated incidents, a run that is reproduced or not, and the command.

use std::collections::BTreeMap;

use bytemuck::Zeroable;
use tidegate_record::entry::{Entry, Kind};
use tidegate_record::log::{Archive, Log, LogError, Settings};
use tidegate_record::note::Signer;
use tidegate_runtime::models::{AdjustmentLine, ModelsPlan};
use tidegate_runtime::postmortem::{self, Postmortem, PostmortemError, Request, RootCause};
use tidegate_simex::RegimeKind;
use tidegate_tests::incidents::{Damage, Made, Ran, SPOT_BTC, USDM_BTC, USDM_ETH, run};
use tidegate_tests::{json, market, tamper, tidegate};
use tidegate_wire::advice::{Adjustment, Advice, TARGETS};
use tidegate_wire::decision::Decision;

use RootCause::{
    CorrelationBreak, CorruptBook, FeedGap, FeedLatency, FeedStall, LiquidityHole, Operator, PriceShock,
    ThresholdChange, VenueOutage, Volatility, VolumeBurst,
};

/// Seeds that scores and shares of explanation were set on. The last of them were measured on once, which showed that
/// calm markets were called volatile (top-1 90 %, top-3 97.5 %); since then they belong to these.
const FITTED: [u64; 4] = [1_000, 2_000, 3_000, 7_000];
/// Seeds that accuracy is measured on, with strengths of their own: nothing was set on them.
const SCORED: u64 = 9_000;

/// Incidents of known causes, on seeds from `seeds` on; `more` multiplies strengths.
fn incidents(seeds: u64, more: f64) -> Vec<Made> {
    let mut all: Vec<Made> = Vec::new();
    let mut seed = seeds;
    let mut calm = |name: &str| {
        seed += 1;
        Made::calm(format!("{name} {seed}"), seed)
    };
    for drop_percent in [1.5, 2.5, 4.0] {
        let kind = RegimeKind::FlashCrash { drop_percent: drop_percent * more, rebound: 0.4 };
        all.push(calm("crash").with(22.0, 9.0, kind, &[]).because(&[PriceShock], (22.0, 33.0)));
    }
    for factor in [6.0, 8.0] {
        let kind = RegimeKind::Volatile { factor: factor * more };
        all.push(calm("wild").with(22.0, 12.0, kind, &[]).because(&[Volatility], (22.0, 36.0)));
    }
    for half_width_bp in [14.0, 25.0, 40.0] {
        let kind = RegimeKind::LiquidityHole { half_width_bp: half_width_bp * more };
        all.push(calm("hole").with(22.0, 5.0, kind, &[]).because(&[LiquidityHole], (22.0, 29.0)));
    }
    for factor in [9.0, 14.0, 20.0] {
        let kind = RegimeKind::VolumeSpike { factor: factor * more };
        let made = calm("volume").with(34.0, 8.0, kind, &[]).because(&[VolumeBurst], (33.0, 46.0));
        all.push(Made { seconds: 48, ..made });
    }
    for seconds in [2.0, 3.0, 5.0] {
        let kind = RegimeKind::FeedStall { lossy: false };
        let span = (22.0, 24.0 + seconds * more);
        all.push(calm("stall").with(22.0, seconds * more, kind, &[0]).because(&[FeedStall], span));
        let kind = RegimeKind::LatencySpike { delay_ms: 120.0 * seconds * more };
        all.push(calm("late").with(22.0, 6.0, kind, &[1]).because(&[FeedLatency], (21.0, 31.0)));
    }
    for seconds in [2.0, 4.0] {
        let kind = RegimeKind::FeedStall { lossy: false };
        let made = calm("outage").with(22.0, seconds * more, kind, &[0, 1]);
        let made = made.because(&[VenueOutage], (22.0, 24.0 + seconds * more));
        all.push(Made { instruments: vec![USDM_BTC, USDM_ETH, SPOT_BTC], ..made });
        let kind = RegimeKind::FeedStall { lossy: true };
        let span = (22.0, 25.0 + seconds * more);
        all.push(calm("lost").with(22.0, seconds * more, kind, &[0]).because(&[FeedGap], span));
    }
    let dropped = vec![Damage::Dropped(0, 22.0, 22.0 + 0.5 * more)];
    all.push(Made { damages: dropped, ..calm("dropped").because(&[FeedGap], (21.0, 28.0)) });
    for at in [20.0, 25.0] {
        let damages = vec![Damage::Crossed(0, at)];
        all.push(Made { damages, ..calm("crossed").because(&[CorruptBook], (at - 1.0, at + 5.0)) });
        let made = calm("parted").with(38.0, 26.0, RegimeKind::CorrelationBreak, &[1]);
        all.push(Made { seconds: 66, ..made.because(&[CorrelationBreak], (38.0, 66.0)) });
    }
    all.extend(by_people(&mut calm));
    all.extend(compound(&mut calm, more));
    for _ in 0..4 {
        all.push(Made { nervous: true, seconds: 60, span: (30.0, 60.0), ..calm("nothing") });
    }
    all
}

fn by_people(calm: &mut impl FnMut(&str) -> Made) -> Vec<Made> {
    let by_hand = |made: Made, order| Made { orders: vec![order, "30s:reset:engine"], ..made };
    let news = |made: Made| Made { orders: vec!["18s:news:on"], ..made };
    vec![
        by_hand(calm("by hand").because(&[Operator], (20.0, 30.0)), "22s:trip:engine"),
        by_hand(calm("by hand").because(&[Operator], (20.0, 30.0)), "24s:trip:venue:binance-usdm"),
        news(calm("news").because(&[ThresholdChange], (17.0, 40.0))),
        news(calm("news").because(&[ThresholdChange], (17.0, 40.0))),
    ]
}

fn compound(calm: &mut impl FnMut(&str) -> Made, more: f64) -> Vec<Made> {
    let crash = RegimeKind::FlashCrash { drop_percent: 2.5 * more, rebound: 0.4 };
    let hole = RegimeKind::LiquidityHole { half_width_bp: 20.0 * more };
    let late = RegimeKind::LatencySpike { delay_ms: 350.0 * more };
    let (stall, lost) = (RegimeKind::FeedStall { lossy: false }, RegimeKind::FeedStall { lossy: true });
    let by_hand = |made: Made| Made { orders: vec!["24s:trip:engine", "30s:reset:engine"], ..made };
    vec![
        calm("crash, late")
            .with(22.0, 9.0, crash, &[])
            .with(22.0, 8.0, late, &[1])
            .because(&[PriceShock, FeedLatency], (22.0, 33.0)),
        calm("hole, stall")
            .with(22.0, 5.0, hole, &[0])
            .with(23.0, 3.0, stall, &[1])
            .because(&[LiquidityHole, FeedStall], (22.0, 29.0)),
        calm("crash, lost")
            .with(22.0, 9.0, crash, &[])
            .with(24.0, 2.5, lost, &[1])
            .because(&[PriceShock, FeedGap], (22.0, 33.0)),
        by_hand(calm("hole, by hand").with(22.0, 5.0, hole, &[]).because(&[LiquidityHole, Operator], (22.0, 29.0))),
        by_hand(calm("late, by hand").with(21.0, 7.0, late, &[0]).because(&[FeedLatency, Operator], (21.0, 30.0))),
        calm("hole, late")
            .with(22.0, 5.0, hole, &[0])
            .with(22.0, 6.0, late, &[1])
            .because(&[LiquidityHole, FeedLatency], (22.0, 30.0)),
    ]
}

/// Runs an incident and explains it: the entry is that of the incident that the known cause overlaps longest. `None`
/// where no breaker tripped meanwhile.
fn explained(made: &Made) -> Option<Postmortem> {
    let ran = run(made);
    let at = |seconds: f64| ran.first_ns + (seconds * 1e9) as i64;
    let (from, to) = (at(made.span.0), at(made.span.1));
    let listed = match postmortem::list(&ran.log, &[], None) {
        Err(PostmortemError::NoTrip { .. }) => return None,
        other => other.unwrap_or_else(|error| panic!("{}: {error}", made.name)),
    };
    let meets = listed.iter().filter(|one| one.start_ns < to && one.last_trip_ns >= from);
    let shared = |one: &postmortem::Listed| one.end_ns.unwrap_or(to).min(to) - one.start_ns.max(from);
    let chosen = meets.max_by_key(|one| (shared(one), one.entry))?;
    let report = postmortem::explain(&request(&ran, Some(chosen.entry)));
    Some(report.unwrap_or_else(|error| panic!("{}: {error}", made.name)))
}

fn request(ran: &Ran, entry: Option<u64>) -> Request {
    let (log, input) = (ran.log.clone(), ran.input.clone());
    Request { log, input, entry, without_counterfactual: true, ..Request::default() }
}

/// What ranking came to.
#[derive(Default)]
struct Score {
    incidents: usize,
    first: usize,
    three: usize,
    confusion: BTreeMap<(RootCause, RootCause), usize>,
    misses: Vec<String>,
}

impl Score {
    fn add(&mut self, made: &Made, report: Option<&Postmortem>) {
        self.incidents += 1;
        let Some(report) = report else {
            // Whoever is not stopped has nothing to explain; the cause was missed all the same.
            *self.confusion.entry((made.causes[0], RootCause::None)).or_default() += 1;
            self.misses.push(format!("{}: {:?}: nothing tripped", made.name, made.causes));
            return;
        };
        let reproduction = &report.reproduction;
        assert!(reproduction.reproduced, "{}: {:?}", made.name, reproduction.first_difference);
        // "No cause" because nothing could be compared would be no answer.
        assert!(report.incident.usual_seconds >= 5, "{}: {:?}", made.name, report.incident);
        let ranked: Vec<RootCause> = report.causes.iter().map(|ranked| ranked.cause).collect();
        let first = made.causes.contains(&ranked[0]);
        let three = made.causes.iter().all(|cause| ranked[..3].contains(cause));
        (self.first, self.three) = (self.first + usize::from(first), self.three + usize::from(three));
        let truth = if first { ranked[0] } else { made.causes[0] };
        *self.confusion.entry((truth, ranked[0])).or_default() += 1;
        if !(first && three) {
            let told = |r: &postmortem::Ranked| format!("{} {:.2} ({:.2})", r.cause.name(), r.score, r.strength);
            let told: Vec<String> = report.causes.iter().filter(|r| r.score > 0.05).map(told).collect();
            self.misses.push(format!("{}: {:?}: {}", made.name, made.causes, told.join(", ")));
        }
    }

    fn print(&self) {
        let part = |count: usize| 100.0 * count as f64 / self.incidents as f64;
        println!("{} incidents: top-1 {:.1} %, top-3 {:.1} %", self.incidents, part(self.first), part(self.three));
        println!("top-1: the first cause is one of the incident's; top-3: all of them are among the first three");
        println!("{:>20}  ranked first", "cause");
        for ((truth, ranked), count) in &self.confusion {
            println!("{:>20}  {:<20} {count}", truth.name(), ranked.name());
        }
        self.misses.iter().for_each(|miss| println!("missed: {miss}"));
    }
}

/// Every incident with its report, by seed; two at a time.
fn all_explained(seeds: u64, more: f64) -> Vec<(Made, Option<Postmortem>)> {
    let all = incidents(seeds, more);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(made) = all.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            done.push((made.clone(), explained(made)));
        }
        done
    };
    let mut done: Vec<_> = std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    done.sort_by_key(|(made, _)| made.seed);
    done
}

fn score(seeds: u64, more: f64) -> Score {
    let mut score = Score::default();
    all_explained(seeds, more).iter().for_each(|(made, report)| score.add(made, report.as_ref()));
    score.print();
    score
}

#[test]
fn causes_of_simulated_incidents_are_found() {
    let score = score(SCORED, 1.15);
    assert!(score.incidents >= 36, "{}", score.incidents);
    let part = |count: usize| count as f64 / score.incidents as f64;
    assert!(part(score.first) >= 0.85, "top-1 {:.3}: {:#?}", part(score.first), score.misses);
    assert!(part(score.three) >= 0.9, "top-3 {:.3}: {:#?}", part(score.three), score.misses);
}

/// For whoever changes a half or a share: those are set on these seeds, and measured on the others.
#[test]
#[ignore = "fitting: not what accuracy is measured on"]
fn causes_on_the_seeds_that_were_fitted() {
    for seeds in FITTED {
        for (made, report) in all_explained(seeds, 1.0) {
            let Some(report) = report else { continue };
            println!("{}: {:?}, {:?}", made.name, made.causes, report.incident.rules);
            for ranked in report.causes.iter().filter(|ranked| !ranked.evidence.is_empty()) {
                let told = ranked.evidence.first().map(|e| (e.measure, e.value, e.usual));
                println!("    {} {:.2} ({:.2}) {told:?}", ranked.cause.name(), ranked.score, ranked.strength);
            }
        }
        score(seeds, 1.0);
    }
}

/// Writes a log anew with one decision changed, signed by a key of its own: whoever holds the key can do that.
fn forged(ran: &Ran, number: usize, change: impl Fn(&mut Decision)) -> Ran2 {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("forged");
    let signer = Signer::generate("forger.example/audit").expect("a key");
    let (mut writer, _) = Log::open(&log, signer, Settings::default()).expect("a log");
    let mut seen = 0;
    let archive = Archive::open(&ran.log, &[]).expect("a log");
    let copied = archive.each(
        u64::MAX,
        |error: LogError| error,
        |_, bytes| {
            let entry = Entry::read(bytes).expect("an entry");
            let mut copy = bytes.to_vec();
            if entry.kind == Kind::Decision {
                seen += 1;
                if seen == number {
                    let mut decision: Decision = entry.record().expect("a decision");
                    change(&mut decision);
                    copy.clear();
                    Entry { body: bytemuck::bytes_of(&decision), ..entry }.write(&mut copy);
                }
            }
            writer.append_bytes(&copy).map(drop)
        },
    );
    copied.expect("copied");
    writer.close().expect("signed");
    Ran2 { _folder: folder, log }
}

struct Ran2 {
    _folder: tempfile::TempDir,
    log: std::path::PathBuf,
}

#[test]
fn a_decision_that_the_engine_did_not_take_is_named() {
    let kind = RegimeKind::LiquidityHole { half_width_bp: 25.0 };
    let ran = run(&Made::calm("hole", 3).with(22.0, 5.0, kind, &[]));
    let honest = postmortem::explain(&request(&ran, None)).expect("explained");
    assert!(honest.reproduction.reproduced, "{:?}", honest.reproduction);
    assert_eq!(honest.reproduction.equal, ran.report.guard.decisions);
    let forged = forged(&ran, 2, |decision| decision.value += 1.0);
    let request = Request { log: forged.log.clone(), ..request(&ran, None) };
    let report = postmortem::explain(&request).expect("explained");
    let reproduction = &report.reproduction;
    assert!(!reproduction.reproduced);
    assert_eq!(reproduction.logged - reproduction.equal, 1);
    let difference = reproduction.first_difference.as_ref().expect("a difference");
    assert_eq!((difference.number, difference.kind), (2, "decision"));
    assert_eq!(difference.fields.iter().map(|field| field.field.as_str()).collect::<Vec<_>>(), ["value"]);
    let text = postmortem::markdown(&report);
    assert!(text.contains("NOT reproduced") && text.contains("value is"), "{text}");
    assert!(postmortem::html(&report).contains("NOT reproduced"));
}

/// Advice is in the log with the event from which it held; the re-run takes it there without a model.
#[test]
fn advice_of_a_model_is_taken_again() {
    let calm = (11..31).map(|seed| Made::calm("advised", seed)).map(|made| (run(&made), made));
    let quiet = |ran: &Ran| postmortem::list(&ran.log, &[], None).is_err();
    let (plain, made) = calm.into_iter().find(|(ran, _)| quiet(ran)).expect("a market in which nothing trips");
    let event_ns = plain.first_ns + 20_000_000_000;
    let (model, levels) = (Advice::name_field("tuner"), [10_000_000; TARGETS]);
    let advice = Advice { adjustment: 1, event_ns, model, version: 1, levels, ..Advice::zeroed() };
    let event = plain.report.market.vectors / 2;
    let adjustment = Adjustment { sequence: 1, event, event_ns, advice, ..Adjustment::zeroed() };
    let line = AdjustmentLine::of(&adjustment, &plain.report.instruments[0].instrument.name());
    let record = plain.folder.path().join("adjustments.jsonl");
    std::fs::write(&record, format!("{}\n", serde_json::to_string(&line).expect("JSON"))).expect("written");
    let ran = run(&Made { models: ModelsPlan::Reenact(record), ..made });
    assert!(ran.report.guard.advised > 0, "{:?}", ran.report.guard);
    let report = postmortem::explain(&request(&ran, None)).expect("explained");
    let reproduction = &report.reproduction;
    assert!(reproduction.reproduced && reproduction.adjustments_logged > 0, "{reproduction:?}");
    assert_eq!(report.causes[0].cause, ThresholdChange, "{:?}", report.causes);
    let envelope = report.recommendations.iter().find(|one| one.after.contains("tuning"));
    let told = (&report.recommendations, &report.causes[0], &report.incident);
    let envelope = envelope.unwrap_or_else(|| panic!("no envelope: {told:?}"));
    config_takes(&serde_json::to_value(envelope).expect("JSON"), ran.folder.path());
}

#[test]
fn the_command_explains_the_simulated_crash() {
    let (dir, files) = market(1, 120);
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (log, out) = (path("audit"), path("report"));
    let mut args = vec!["replay", "--check-bbo", "--format", "json", "--audit", &log, "--input"];
    args.extend(files.iter().map(String::as_str));
    let summary = json(&args);
    let mut args = vec!["postmortem", &log, "--last", "--out", &out, "--format", "json", "--input"];
    args.extend(files.iter().map(String::as_str));
    let report = json(&args);
    assert_eq!(report["schema"], postmortem::SCHEMA);
    assert_eq!(report["causes"][0]["cause"], "price-shock", "{}", report["causes"]);
    let reproduction = &report["reproduction"];
    assert_eq!((&reproduction["reproduced"], &reproduction["equal"]), (&true.into(), &summary["decisions"]));
    assert_eq!(reproduction["remarks"], serde_json::json!([]));
    assert_eq!(report["impact"]["widest_scope"], "engine");
    assert!(report["impact"]["orders"].is_null());
    // The crash falls from 44.4 s on; everything is stopped within two seconds.
    let begin = summary["decisions"].as_u64().map(|_| report["incident"]["start_ns"].as_i64().expect("a time"));
    let after = (begin.expect("a time") - 1_723_161_600_000_000_000) as f64 * 1e-9;
    assert!((44.4..47.5).contains(&after), "{after}");
    page_is_self_contained(&std::fs::read_to_string(dir.path().join("report/postmortem.html")).expect("written"));
    let rows = report["counterfactuals"][0]["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), postmortem::FACTORS.len());
    let trips: Vec<u64> = rows.iter().map(|row| row["trips"].as_u64().expect("a number")).collect();
    assert!(trips.first() >= trips.last() && trips[2] > 0, "{trips:?}");
    let recommendations = report["recommendations"].as_array().expect("a list");
    assert!(!recommendations.is_empty(), "{}", report["counterfactuals"]);
    for recommendation in recommendations {
        config_takes(recommendation, dir.path());
    }
    let json = std::fs::read_to_string(dir.path().join("report/postmortem.json")).expect("written");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).expect("JSON"), report);
    input_of_another_run(&log, &files[..2]);
}

#[test]
fn a_log_that_was_changed_is_not_explained() {
    let ran = run(&Made { orders: vec!["2s:trip:engine"], seconds: 5, ..Made::calm("short", 5) });
    tamper(&ran.log);
    let error = postmortem::explain(&request(&ran, None)).expect_err("changed").to_string();
    assert!(error.contains("was changed") && error.contains("audit verify"), "{error}");
}

fn page_is_self_contained(page: &str) {
    assert!(page.contains("<svg") && page.contains("prefers-color-scheme:dark"));
    for word in ["<script", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(word), "{word}");
    }
}

/// What a recommendation writes is a configuration, before and after.
fn config_takes(recommendation: &serde_json::Value, folder: &std::path::Path) {
    let file = folder.join("recommended.toml");
    for part in ["before", "after"] {
        let text = recommendation[part].as_str().expect("text");
        std::fs::write(&file, format!("[[sources]]\npath = \"a.gz\"\n\n{text}")).expect("written");
        let output = tidegate(&["config", "check", "--config", &file.display().to_string()]);
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn input_of_another_run(log: &str, some: &[String]) {
    let mut args = vec!["postmortem", log, "--input"];
    args.extend(some.iter().map(String::as_str));
    let output = tidegate(&args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(65), "{said}");
    assert!(said.contains("all of them") && said.contains("ETHUSDT.binance-usdm"), "{said}");
    let output = tidegate(&["postmortem", log, "--event", "99999999", "--input", &some[0]]);
    assert_eq!(output.status.code(), Some(65));
    let list = json(&["postmortem", log, "--list", "--format", "json"]);
    assert!(list["incidents"].as_array().is_some_and(|all| all.len() >= 3), "{list}");
    let schema = json(&["postmortem", "--schema"]);
    assert!(schema["properties"]["causes"].is_object(), "{schema}");
}
