//! The hosted ledger: what its journal brings back, wherever it was cut.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use tidegate_guard::ledger::{Account, Ledger, Limits, State};
use tidegate_record::journal::{Frames, Journal};
use tidegate_runtime::vmsp::store::{Store, StoreError};
use tidegate_runtime::vmsp::{Client, Host, Request, VmspError, VmspPlan};
use tidegate_wire::Scale;
use tidegate_wire::ledger::{LedgerKind, LedgerRecord, Name};

fn plan(folder: &Path) -> VmspPlan {
    let name = |text| Name::new(text).expect("a name");
    let account = Account { owner: name("main"), asset: name("USDT") };
    VmspPlan { multiplier: Some(1_500), ..VmspPlan::new(folder.join("vmsp"), account, Scale::saturating(6)) }
}

/// A process that is being started holds for a moment what this one has locked, until it is another program: nobody
/// opens a ledger a second time meanwhile.
static STARTING: RwLock<()> = RwLock::new(());

fn undisturbed() -> RwLockReadGuard<'static, ()> {
    STARTING.read().unwrap_or_else(PoisonError::into_inner)
}

fn deposit(client: &Client, amount: &str) {
    client.ask(Request::Deposit { amount: amount.into(), key: None }).expect("a deposit");
}

fn lock(client: &Client, key: &str) -> Result<String, String> {
    let request = Request::Lock { amount: "1".into(), symbol: "BTCUSDT".into(), key: Some(key.into()) };
    let answer = client.ask(request).map_err(|declined| declined.rule)?;
    Ok(answer["id"].as_str().expect("an id").to_owned())
}

#[test]
fn many_ask_at_once_and_exactly_ten_succeed() {
    let _quiet = undisturbed();
    let folder = tempfile::tempdir().expect("a folder");
    let host = Host::start(&plan(folder.path())).expect("a ledger");
    let client = host.client();
    deposit(&client, "1000");
    let answers: Vec<Result<String, String>> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..32)
            .map(|n| {
                let client = client.clone();
                scope.spawn(move || lock(&client, &format!("k{n}")))
            })
            .collect();
        all.into_iter().map(|lock| lock.join().expect("no panic")).collect()
    });
    let (granted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((granted.len(), refused.len()), (10, 22));
    assert!(refused.iter().all(|answer| answer == &Err("max-locked-positions".into())), "{refused:?}");
    let status = client.ask(Request::Status).expect("a status");
    assert_eq!(status["positions"]["locked_count"], 10);
    let syncs = status["journal"]["syncs"].as_u64().expect("a number");
    println!("{syncs} syncs for {} commands", status["journal"]["commands"]);
    assert!(matches!(Host::start(&plan(folder.path())), Err(VmspError::Store(StoreError::Locked { .. }))));
    drop(host);
    assert!(client.ask(Request::Status).is_err(), "it has ended");
    let again = Host::start(&plan(folder.path())).expect("goes on");
    assert_eq!(again.client().ask(Request::Status).expect("a status")["positions"]["locked_count"], 10);
}

/// The records of a journal and the state that each led to.
fn records(folder: &Path) -> Vec<LedgerRecord> {
    let mut found = Vec::new();
    let id = xxhash_rust::xxh3::xxh3_64(b"tidegate.ledger/1");
    let visit = &mut |_: u64, body: &[u8]| {
        found.extend(Frames::new(body).map(bytemuck::pod_read_unaligned::<LedgerRecord>));
        Ok(())
    };
    Journal::open(&folder.join("vmsp/journal"), id, 0, 8 << 20, visit).expect("a journal");
    found
}

/// Cut at every page and in between, at every byte of the last batch, and without any one sector of the last batches:
/// what comes back is a state that the ledger was in, and every record before the damage is there.
#[test]
fn every_prefix_and_torn_write_is_a_state_that_was() {
    let _quiet = undisturbed();
    let folder = tempfile::tempdir().expect("a folder");
    let host = Host::start(&plan(folder.path())).expect("a ledger");
    let client = host.client();
    deposit(&client, "1000");
    for n in 0..12 {
        let id = lock(&client, &format!("k{n}")).expect("room");
        client.ask(Request::Unlock { id, key: None }).expect("unlocked");
    }
    drop(host);
    let records = records(folder.path());
    assert!(records.len() >= 26, "{}", records.len());
    let states: HashMap<u64, usize> = records.iter().enumerate().map(|(n, record)| (record.state, n + 1)).collect();
    let journal = folder.path().join("vmsp/journal");
    let segment = std::fs::read_dir(&journal).expect("a folder").flatten().next().expect("a segment").path();
    let good = std::fs::read(&segment).expect("bytes");
    let end = good.iter().rposition(|byte| *byte != 0).expect("something") + 1;
    let place = tempfile::tempdir().expect("a folder");
    let cut = |bytes: &[u8], what: &str, least: usize| {
        let target = place.path().join("vmsp/journal");
        let _ = std::fs::remove_dir_all(place.path().join("vmsp"));
        std::fs::create_dir_all(&target).expect("a folder");
        std::fs::write(target.join(segment.file_name().expect("a name")), bytes).expect("written");
        let opened =
            |what: &str| Store::open(&place.path().join("vmsp")).unwrap_or_else(|error| panic!("{what}: {error}"));
        let state = opened(what).ledger.state_hash();
        // The clock's record and the limits' may be in batches of their own, and the clock's leaves the state as it
        // was.
        let reached = states.get(&state).copied().unwrap_or_else(|| {
            assert_eq!(state, Ledger::default().state_hash(), "{what}: a state that never was");
            0
        });
        assert!(reached >= least, "{what}: {reached} of at least {least}");
        assert_eq!(opened(what).ledger.state_hash(), state, "{what}: twice the same");
    };
    // A batch a page: what lies before the page of the cut is whole.
    let batches: Vec<usize> = (0..end).step_by(4096).filter(|page| good[*page..].starts_with(b"TGJ1")).collect();
    let before = |at: usize| -> usize {
        let whole = batches.iter().take_while(|page| **page + 4096 <= at);
        whole.map(|page| u32::from_le_bytes(good[page + 24..page + 28].try_into().expect("four")) as usize).sum()
    };
    let mut tried = 0;
    // Every byte of the last batch, the borders of what it is made of in those before.
    let last = batches[batches.len() - 1];
    let borders = batches.iter().flat_map(|page| [0, 1, 63, 64, 100, 255, 256].map(|more| page + more));
    for at in borders.chain(last..=end) {
        cut(&good[..at], &format!("cut at {at}"), before(at));
        let mut zeros = good.clone();
        zeros[at..].fill(0);
        cut(&zeros[..end.next_multiple_of(4096)], &format!("zeros from {at} on"), before(at));
        tried += 2;
    }
    for sector in (last..end).step_by(64) {
        let mut bytes = good[..end.next_multiple_of(4096)].to_vec();
        bytes[sector..(sector + 64).min(end)].fill(0xa5);
        cut(&bytes, &format!("torn at {sector}"), before(last));
        tried += 1;
    }
    println!("{tried} torn journals");
}

/// A record that was changed with a right checksum is known by the state that it does not lead to.
#[test]
fn a_forged_record_is_named() {
    let _quiet = undisturbed();
    let folder = tempfile::tempdir().expect("a folder");
    drop(Host::start(&plan(folder.path())).map(|host| deposit(&host.client(), "1000")));
    let mut records = records(folder.path());
    let deposit = records.iter_mut().find(|record| record.kind() == Some(LedgerKind::Deposit)).expect("one");
    deposit.amount *= 1_000;
    let id = xxhash_rust::xxh3::xxh3_64(b"tidegate.ledger/1");
    let forged = folder.path().join("forged");
    let (mut journal, _) = Journal::open(&forged.join("journal"), id, 0, 1 << 20, &mut |_, _| Ok(())).expect("made");
    let mut body = Vec::new();
    for record in &records {
        tidegate_record::journal::push_frame(&mut body, bytemuck::bytes_of(record)).expect("short");
    }
    journal.append(records.len() as u32, &body).expect("written");
    drop(journal);
    let error = Store::open(&forged).expect_err("forged").to_string();
    assert!(error.contains("record 2") && error.contains("leads to state"), "{error}");
}

/// Limits of a configuration hold from the start on, and what is locked already stays.
#[test]
fn limits_change_with_the_configuration() {
    let _quiet = undisturbed();
    let folder = tempfile::tempdir().expect("a folder");
    let host = Host::start(&plan(folder.path())).expect("a ledger");
    deposit(&host.client(), "100");
    lock(&host.client(), "a").expect("room");
    lock(&host.client(), "b").expect("room");
    drop(host);
    let fewer = VmspPlan { limits: Limits { buffer_ppm: 50_000, max_locked: 1 }, ..plan(folder.path()) };
    let host = Host::start(&fewer).expect("goes on");
    assert_eq!(lock(&host.client(), "c"), Err("max-locked-positions".into()));
    assert_eq!(lock(&host.client(), "b").map(|id| id.starts_with("vmsp_lock_")), Ok(true), "it exists");
    assert_eq!(host.client().ask(Request::Status).expect("a status")["balance"]["locked"], "2.000000");
}

/// Set for the process that is killed: where its ledger is.
const VICTIM: &str = "TIDEGATE_VMSP_VICTIM";

fn roomy(folder: &Path) -> VmspPlan {
    let limits = Limits { max_locked: 60_000, ..Limits::default() };
    VmspPlan { limits, window: Duration::from_secs(3_600), ..plan(folder) }
}

/// What each process that is killed deposits: more than it can lock.
const DEPOSITED: u128 = 100_000;

/// Not a test by itself: the process that is killed. It says what was acknowledged, once it was.
#[test]
fn victim() {
    let Ok(folder) = std::env::var(VICTIM) else { return };
    let host = Host::start(&roomy(Path::new(&folder))).expect("a ledger");
    deposit(&host.client(), &DEPOSITED.to_string());
    println!("acknowledged deposit 0");
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let client = host.client();
            scope.spawn(move || {
                // Nobody kills it: it ends by itself.
                for number in 0.. {
                    if start.elapsed() > Duration::from_secs(20) {
                        return;
                    }
                    let id = lock(&client, &format!("{}-{thread}-{number}", std::process::id())).expect("room");
                    println!("acknowledged lock {}", id.split('_').nth(2).expect("a number"));
                    if number % 3 > 0 {
                        client.ask(Request::Unlock { id: id.clone(), key: None }).expect("unlocked");
                        println!("acknowledged unlock {}", id.split('_').nth(2).expect("a number"));
                    }
                }
            });
        }
    });
}

fn kills() -> u64 {
    std::env::var("TIDEGATE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(25)
}

/// Killed at random moments with four threads in flight: each restart verifies the ledger record by record, and nothing
/// acknowledged is lost.
#[test]
fn kill_9_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = std::env::current_exe().expect("this program");
    let (mut random, mut acknowledged, mut deposits, mut torn) = (0x2545_f491_4f6c_dd1d_u64, 0, 0u128, 0);
    for kill in 0..kills() {
        let mut command = Command::new(&program);
        command.args(["--exact", "victim", "--nocapture"]).env(VICTIM, folder.path()).stdout(Stdio::piped());
        let starting = STARTING.write().unwrap_or_else(PoisonError::into_inner);
        let mut child = command.spawn().expect("a process");
        drop(starting);
        let output = child.stdout.take().expect("a pipe");
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            let told = |line: String| {
                let (what, id) = line.rsplit_once("acknowledged ")?.1.split_once(' ')?;
                Some((what.to_owned(), id.parse::<u64>().ok()?))
            };
            lines.filter_map(told).collect::<Vec<(String, u64)>>()
        });
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_micros(5_000 + random % 90_000));
        child.kill().expect("killed");
        child.wait().expect("ended");
        let told = reader.join().expect("read");
        let opened = Store::open(&folder.path().join("vmsp"));
        let store = opened.unwrap_or_else(|error| panic!("kill {kill}: {error}"));
        torn += store.recovered.torn_bytes;
        for (what, id) in &told {
            let state = store.ledger.reservation(*id).map(|found| found.state);
            let there = match what.as_str() {
                "lock" => matches!(state, Some(State::Pending | State::Voided)),
                "unlock" => state == Some(State::Voided),
                _ => true,
            };
            assert!(there, "kill {kill}: {what} of {id} was acknowledged and is {state:?}");
        }
        deposits += told.iter().filter(|(what, _)| what == "deposit").count() as u128;
        let total = store.ledger.balances(&roomy(folder.path()).account).map_or(0, |balances| balances.total());
        let deposit = DEPOSITED * 1_000_000;
        assert!(total >= deposits * deposit, "kill {kill}: {total} of {deposits} deposits");
        // One that was made and not acknowledged counts from here on.
        deposits = total / deposit;
        acknowledged += told.len();
    }
    println!("{} kills, {acknowledged} acknowledged, {torn} torn bytes", kills());
    assert!(acknowledged as u64 > kills(), "it did something: {acknowledged}");
}
