//! The balance ledger: what its operations take in memory, and what a lock takes until it is durable.
//!
//! In memory every operation is timed by itself. Durable locks go through the host, its journal and the disk, from one
//! client and from many at once: what a sync takes is the disk's, so syncs are printed beside the times.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tidegate_guard::ledger::{Account, Command, Drift, Ledger, Limits, STEPS};
use tidegate_runtime::vmsp::{Client, Host, Request, VmspPlan};
use tidegate_wire::Scale;
use tidegate_wire::ledger::Name;

use crate::report::{Options, Report, Table};
use crate::timing::{FrameTimes, Stopwatch, Suite, unpin};

/// Bar on the median operation in memory, us.
const P50_BAR_US: f64 = 1.0;
/// Bars of the specification (E6), ms.
const LOCK_BAR_MS: f64 = 5.0;
const DRIFT_BAR_MS: f64 = 1.0;
/// Accounts that are locked in turn.
const ACCOUNTS: usize = 64;
/// What is done to an account, again and again.
const CYCLE: [&str; 5] = ["reserve", "reserve again", "void", "post", "close"];

fn name(text: &str) -> Name {
    Name::new(text).unwrap_or_default()
}

fn account(number: usize) -> Account {
    Account { owner: name(&format!("owner{number}")), asset: name("USDT") }
}

/// The commands of so many cycles. A lock's number is the time it was asked for, so it is known beforehand.
fn commands(cycles: usize) -> Vec<Command> {
    let mut commands = Vec::with_capacity(cycles * CYCLE.len());
    for cycle in 0..cycles {
        let (account, id) = (account(cycle % ACCOUNTS), 1_000 + cycle as u64 * 10);
        let reserve = |wall_ns| {
            let (amount, symbol, ttl_ns) = (5_000_000, name("BTCUSDT"), 30_000_000_000);
            Command::Reserve { account, amount, symbol, ttl_ns, wall_ns }
        };
        let gain = if cycle % 2 == 0 { 1_000 } else { -1_000 };
        commands.extend([
            reserve(id),
            reserve(id + 1),
            Command::Void { id: id + 1 },
            Command::Post { id, amount: 4_000_000 },
            Command::Close { id, gain },
        ]);
    }
    commands
}

/// Runs the rig.
pub fn run(options: &Options, watch: &Stopwatch) -> Report {
    let mut report = Report::open("ledger", options, watch);
    in_memory(&mut report, options, watch);
    drift(&mut report, options);
    // The threads of the host need the other core.
    unpin();
    if let Err(reason) = durable(&mut report, options) {
        report.check(false, reason);
    }
    report
}

fn in_memory(report: &mut Report, options: &Options, watch: &Stopwatch) {
    let commands = commands(if options.quick { 200 } else { 4_000 });
    let mut fresh = Ledger::default();
    for number in 0..ACCOUNTS {
        let deposit = Command::Deposit { account: account(number), amount: 1_000_000_000 };
        report.check(fresh.apply(0, &deposit, 0).is_ok(), "a deposit is taken");
    }
    let (count, passes) = (commands.len(), options.reps.max(2));
    let mut times = FrameTimes::keeping_all(count, passes);
    let mut whole = true;
    for _ in 0..passes {
        let mut ledger = fresh.clone();
        times.pass_with(
            watch,
            &mut ledger,
            |_, _| {},
            |ledger, n| {
                // Keys as clients send them; half a million of time a command, so that nothing expires here.
                whole &= black_box(ledger.apply(n as u128 + 1, &commands[n], n as u64 * 500_000)).is_ok();
            },
        );
        whole &= ledger.check().is_ok();
    }
    report.check(whole, "every command is accepted and the ledger balances");
    let [mean, p50, p99] = times.summary(watch);
    let mut table = Table::new(
        format!("{count} commands on {ACCOUNTS} accounts ({}), in memory: ns a command", CYCLE.join(", ")),
        &["mean", "p50", "p99", "allocs"],
    );
    table.row("each command's fastest of all passes", &[mean, p50, p99, times.allocs_per_frame()]);
    report.table(table);
    let [p50_all, p99_all, p999_all] = times.every(watch);
    report
        .note(format!("every command of every pass: p50 {p50_all:.0} ns, p99 {p99_all:.0} ns, p99.9 {p999_all:.0} ns"));
    report.ratio("ledger_p50_us", p50 / 1e3, P50_BAR_US, "us");
}

fn drift(report: &mut Report, options: &Options) {
    let range = (Duration::from_millis(100), Duration::from_secs(2));
    let Ok(drift) = Drift::new(&[7; 32], range, STEPS) else { return report.check(false, "a drift in range") };
    let mut suite = Suite::new(STEPS as usize);
    suite.add("drift", || {
        for step in 0..u64::from(STEPS) {
            black_box(drift.delay(step));
        }
    });
    let cases = suite.run(options.reps, Duration::from_millis(if options.quick { 2 } else { 20 }));
    if let Some(case) = cases.first() {
        report.note(format!("looking up a drift: {:.0} ns", case.median()));
        report.ratio("ledger_drift_ms", case.median() / 1e6, DRIFT_BAR_MS, "ms");
    }
}

/// Locks and unlocks so often; what each lock took, ms.
fn locks(client: &Client, count: usize) -> Result<Vec<f64>, String> {
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        let lock = Request::Lock { amount: "5".into(), symbol: "BTCUSDT".into(), key: None };
        let answer = client.ask(lock).map_err(|declined| declined.reason)?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        let id = answer["id"].as_str().unwrap_or_default().to_owned();
        client.ask(Request::Unlock { id, key: None }).map_err(|declined| declined.reason)?;
    }
    Ok(took)
}

fn durable(report: &mut Report, options: &Options) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let plan = VmspPlan {
        limits: Limits { max_locked: 1_000, ..Limits::default() },
        drift: false,
        ..VmspPlan::new(folder.path().join("vmsp"), account(0), Scale::saturating(6))
    };
    let host = Host::start(&plan).map_err(|error| error.to_string())?;
    let client = host.client();
    let deposit = Request::Deposit { amount: "1000000".into(), key: None };
    client.ask(deposit).map_err(|declined| declined.reason)?;
    let count = if options.quick { 20 } else { 400 };
    let mut table = Table::new(
        "locks until they are durable, unlocked again each: ms a lock, commands and syncs",
        &["p50", "p99", "max", "commands/s", "commands a sync"],
    );
    let syncs = || -> Result<f64, String> {
        let status = client.ask(Request::Status).map_err(|declined| declined.reason)?;
        Ok(status["journal"]["syncs"].as_f64().unwrap_or(0.0))
    };
    let mut alone = 0.0;
    for clients in [1usize, 32] {
        let (begun, before) = (Instant::now(), syncs()?);
        let mut took = Vec::new();
        let all: Vec<Result<Vec<f64>, String>> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..clients).map(|_| scope.spawn(|| locks(&client, count))).collect();
            asking.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a client panicked".into()))).collect()
        });
        for one in all {
            took.extend(one?);
        }
        let (seconds, commands) = (begun.elapsed().as_secs_f64(), took.len() as f64 * 2.0);
        took.sort_unstable_by(f64::total_cmp);
        let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
        let per_sync = commands / (syncs()? - before).max(1.0);
        let most = took.last().copied().unwrap_or(0.0);
        table.row(format!("{clients} clients at once"), &[p50, p99, most, commands / seconds, per_sync]);
        if clients == 1 {
            alone = p50;
        }
    }
    report.table(table);
    report.ratio("ledger_lock_durable_p50_ms", alone, LOCK_BAR_MS, "ms");
    Ok(())
}
