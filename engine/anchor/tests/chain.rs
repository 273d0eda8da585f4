//! Anchors on a real chain: anvil, on this machine, started by each test. No live chain is reached.

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::{CHAIN, Chain, KEYS, Kept, Line};
use serde_json::json;
use tidegate_anchor::claim::{Address, Stage, log_id};
use tidegate_anchor::ethereum::{ChainError, Client, Operator, Order, Price, Refusal, claim};
use tidegate_anchor::hexed;
use tidegate_anchor::history::read_back;
use tidegate_anchor::journal::{Journal, Place};
use tidegate_anchor::keeper::{AnchorError, Keeper, Settings, Told};
use tidegate_anchor::tracker::{Alarm, Need, News};

const POLL: Duration = Duration::from_millis(10);
const PRICE: Price = Price { cap: 1_000_000_000_000, above: None };

fn operator(which: usize) -> Operator {
    Operator::of_secret(&hexed::bytes(KEYS[which]).expect("32 bytes")).expect("a key")
}

fn settings() -> Settings {
    Settings { poll: POLL, ..Settings::default() }
}

/// A log, a chain, a client of it and a contract on it.
struct Desk {
    chain: Chain,
    client: Client,
    contract: Address,
    log: Kept,
    folder: tempfile::TempDir,
}

impl Desk {
    fn open(args: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let chain = Chain::start(args)?;
        let client = Client::connect(&chain.url).expect("it listens");
        let manual = args.contains(&"--no-mining");
        if manual {
            chain.rpc("evm_setAutomine", &json!([true]));
        }
        let deployed = client.deploy(&operator(0), PRICE.cap, Duration::from_secs(20)).expect("room on the chain");
        if manual {
            chain.rpc("evm_setAutomine", &json!([false]));
        }
        let log = Kept::new(folder.path());
        log.grow(5);
        Some(Self { chain, client, contract: deployed.contract, log, folder })
    }

    fn place(&self) -> Place {
        Place { chain: CHAIN, contract: self.contract, log: log_id(self.log.signer.verifier()) }
    }

    fn keeper<'a>(&self, client: &'a Client, settings: Settings) -> Result<Keeper<'a>, AnchorError> {
        let journal = Journal::beside(&self.log.folder);
        Keeper::open(client, operator(0), self.contract, self.place().log, &journal, settings)
    }

    /// Makes an anchor of the log as it is.
    fn anchor(&self, keeper: &mut Keeper<'_>) {
        let told = keeper.anchor(self.log.archive().checkpoint()).expect("the chain takes it");
        assert!(matches!(told, Some(Told::Sent { .. })), "{told:?}");
    }
}

fn stage(keeper: &Keeper<'_>) -> Stage {
    keeper.anchors().last().expect("an anchor").stage()
}

fn step(keeper: &mut Keeper<'_>) -> Vec<Told> {
    keeper.step().expect("no alarm")
}

/// What was sent, and why.
fn sent(told: &[Told]) -> Vec<Need> {
    told.iter().filter_map(|told| if let Told::Sent { why, .. } = told { Some(*why) } else { None }).collect()
}

fn undone(told: &[Told]) -> Vec<(u64, Stage)> {
    let undone = |told: &Told| match told {
        Told::News(News::Undone { seq, stage, .. }) => Some((*seq, *stage)),
        _ => None,
    };
    told.iter().filter_map(undone).collect()
}

#[test]
fn anchors_are_confirmed_within_twelve_blocks_and_stages_are_told_apart() {
    // Blocks come by themselves, so waiting is measured and not arranged.
    let Some(desk) = Desk::open(&["--block-time", "0.2"]) else { return };
    let mut keeper = desk.keeper(&desk.client, settings()).expect("ours");
    let deadline = Instant::now() + Duration::from_secs(80);
    for _ in 0..12 {
        desk.log.grow(3);
        desk.anchor(&mut keeper);
        assert!(keeper.follow(Stage::Confirmed, deadline, &mut |_| ()).expect("no alarm"), "in time");
    }
    let mut waited: Vec<u64> = keeper.anchors().iter().filter_map(|anchor| anchor.waited()).collect();
    waited.sort_unstable();
    let (p50, p99, max) = (waited[waited.len() / 2], waited[(waited.len() * 99).div_ceil(100) - 1], waited[11]);
    println!("blocks from sealing to confirmed(k=9), 12 anchors: p50 {p50}, p99 {p99}, max {max}");
    assert!(max < 12, "{waited:?}");
    let gas: Vec<u64> = keeper.anchors().iter().filter_map(|anchor| anchor.gas_used).collect();
    println!(
        "gas: first anchor {}, later {} to {}",
        gas[0],
        gas[1..].iter().min().unwrap(),
        gas[1..].iter().max().unwrap()
    );
    assert!(gas[0] < 80_000 && gas[1..].iter().all(|gas| *gas < 45_000), "{gas:?}");
    // The last one, further: each block is looked at, so that the stages' heights are exact.
    desk.chain.rpc("evm_setIntervalMining", &json!([0]));
    while stage(&keeper) < Stage::Finalized {
        desk.chain.mine(1);
        step(&mut keeper);
        assert!(Instant::now() < deadline, "finalized in time");
    }
    let last = keeper.anchors().last().expect("twelve");
    let block = last.block.expect("included").number;
    let after = |height: Option<u64>| height.expect("seen") - block;
    let seen = last.seen;
    let (confirmed, safe, finalized) = (after(seen.confirmed), after(seen.safe), after(seen.finalized));
    println!("blocks after the one that includes it: confirmed {confirmed}, safe {safe}, finalized {finalized}");
    assert!(confirmed >= 8 && safe >= 16 && finalized >= 32 && confirmed < safe && safe < finalized);
    // Everything read back from the chain agrees with the log.
    let history = read_back(&desk.client, &desk.place(), &desk.log.archive(), 9).expect("a chain");
    assert!(history.holds(), "{history:?}");
    assert_eq!((history.anchors.len(), history.confirmed()), (12, desk.log.archive().size()));
    let ours: Vec<_> = keeper.anchors().iter().map(|anchor| &anchor.claim).collect();
    assert_eq!(history.anchors.iter().map(|row| &row.claim).collect::<Vec<_>>(), ours);
    // Nothing new is anchored twice.
    assert_eq!(keeper.anchor(desk.log.archive().checkpoint()).expect("a chain"), None);
}

#[test]
fn re_organisations_are_survived() {
    let Some(desk) = Desk::open(&["--no-mining"]) else { return };
    let quick = Settings { confirmations: 3, patience: 100, ..settings() };
    let mut keeper = desk.keeper(&desk.client, quick).expect("ours");
    desk.anchor(&mut keeper);
    desk.chain.mine(1);
    step(&mut keeper);
    assert_eq!(stage(&keeper), Stage::Included);

    // One block deep, and the transaction is gone: sent again as it was.
    desk.chain.reorganise(1, &[]);
    let told = step(&mut keeper);
    assert_eq!((undone(&told), sent(&told)), (vec![(1, Stage::Included)], vec![Need::Send(1)]), "{told:?}");
    desk.chain.mine(1);
    step(&mut keeper);
    assert_eq!((stage(&keeper), keeper.anchors()[0].attempts.len()), (Stage::Included, 1));

    // Three deep, and it is in another block: it moves, and is counted from there.
    desk.chain.mine(1);
    let (before, raw) = (keeper.anchors()[0].block.expect("a block"), keeper.anchors()[0].attempts[0].raw.clone());
    desk.chain.mine(1);
    desk.chain.reorganise(3, &[(&raw, 2)]);
    let told = step(&mut keeper);
    let after = keeper.anchors()[0].block.expect("a block");
    assert!(matches!(told[0], Told::News(News::Moved { seq: 1, .. })), "{told:?}");
    assert_eq!((after.number, stage(&keeper)), (before.number + 2, Stage::Included));
    desk.chain.mine(2);
    step(&mut keeper);
    assert_eq!(stage(&keeper), Stage::Confirmed);

    // Deeper than k: what was confirmed is gone, and so is what followed it. Both come back, in their order.
    desk.log.grow(2);
    desk.anchor(&mut keeper);
    desk.chain.mine(3);
    step(&mut keeper);
    assert_eq!(stage(&keeper), Stage::Confirmed);
    desk.chain.reorganise(6, &[]);
    let told = step(&mut keeper);
    assert_eq!(undone(&told), [(1, Stage::Confirmed), (2, Stage::Confirmed)]);
    assert_eq!(sent(&told), [Need::Send(1)]);
    desk.chain.mine(1);
    assert_eq!(sent(&step(&mut keeper)), [Need::Send(2)]);
    desk.chain.mine(3);
    step(&mut keeper);
    assert!(keeper.anchors().iter().all(|anchor| anchor.is_confirmed() && anchor.undone > 0));
    let history = read_back(&desk.client, &desk.place(), &desk.log.archive(), 3).expect("a chain");
    assert!(history.holds() && history.anchors.len() == 2, "once each: {history:?}");

    // A transaction that the node forgot without a re-organisation is sent again too.
    desk.log.grow(2);
    desk.anchor(&mut keeper);
    desk.chain.rpc("anvil_dropAllTransactions", &json!([]));
    assert_eq!(sent(&step(&mut keeper)), [Need::Send(3)]);
}

#[test]
fn a_re_organisation_while_blocks_go_on_is_survived() {
    let Some(desk) = Desk::open(&["--block-time", "0.2"]) else { return };
    let mut keeper = desk.keeper(&desk.client, settings()).expect("ours");
    let deadline = Instant::now() + Duration::from_secs(60);
    desk.chain.mine(5);
    desk.anchor(&mut keeper);
    assert!(keeper.follow(Stage::Included, deadline, &mut |_| ()).expect("no alarm"));
    desk.chain.reorganise(3, &[]);
    let mut news = Vec::new();
    assert!(keeper.follow(Stage::Confirmed, deadline, &mut |told| news.push(told.clone())).expect("no alarm"));
    let anchor = &keeper.anchors()[0];
    assert!(anchor.undone >= 1 && undone(&news).len() as u32 == anchor.undone, "{news:?}");
    println!("blocks from sealing to confirmed(k=9) through a re-organisation 3 deep: {:?}", anchor.waited());
    assert_eq!(desk.client.newest(&desk.place(), &desk.client.head().expect("a chain")).expect("a chain").seq, 1);
}

#[test]
fn the_contract_refuses_what_does_not_follow() {
    let Some(desk) = Desk::open(&[]) else { return };
    let log = desk.place().log;
    let draft = |who: usize, claim| desk.client.draft(&operator(who), &Order::Anchor(desk.contract, &claim), PRICE);
    let first = claim(log, [0; 32], 1, 10, [1; 32]);
    let attempt = draft(0, first.clone()).expect("the first");
    desk.client.send(&attempt).expect("the first");
    desk.client.send(&attempt).map_or_else(|error| println!("the same bytes again: {error}"), |()| ());
    let head = desk.client.newest(&desk.place(), &desk.client.head().expect("a chain")).expect("a chain");
    assert_eq!((head.link, head.size, head.seq), (first.link, 10, 1), "the link is the one computed here");

    let wrong = Refusal::WrongPrevious { have: hexed::text(first.link), given: hexed::text([0; 32]) };
    assert_eq!(draft(0, first.clone()), Err(ChainError::Refused(wrong)), "a duplicate");
    for size in [10, 9] {
        let refusal = Refusal::SizeNotGrowing { have: 10, given: size };
        let shrunk = claim(log, first.link, 2, size, [2; 32]);
        assert_eq!(draft(0, shrunk), Err(ChainError::Refused(refusal)), "{size}");
    }
    let next = claim(log, first.link, 2, 11, [2; 32]);
    let stranger = Refusal::NotOperator(hexed::text(operator(1).address()));
    assert_eq!(draft(1, next.clone()), Err(ChainError::Refused(stranger)));
    // Another log is another chain of links in the same contract.
    assert!(draft(0, claim([3; 32], [0; 32], 1, 1, [1; 32])).is_ok());
    // The keeper looks before it sends.
    let journal = desk.folder.path().join("other.anchors");
    let error = Keeper::open(&desk.client, operator(1), desk.contract, log, &journal, settings()).expect_err("foreign");
    assert!(matches!(error, AnchorError::Operator { .. }), "{error}");
    let nobody = [0x11; 20];
    assert!(matches!(desk.client.operator_of(nobody), Err(ChainError::Contract { .. })));
    // A contract that answers alike and is another one: its code counts, not its answers.
    let code = desk.chain.rpc("eth_getCode", &json!([hexed::text(desk.contract), "latest"]));
    let code = format!("{}00", code.as_str().expect("code"));
    desk.chain.rpc("anvil_setCode", &json!([hexed::text(nobody), code]));
    assert!(matches!(desk.client.operator_of(nobody), Err(ChainError::Contract { .. })));
    assert_eq!(desk.client.operator_of(desk.contract), Ok(operator(0).address()));
}

#[test]
fn somebody_else_with_the_key_is_an_alarm() {
    let Some(desk) = Desk::open(&["--no-mining"]) else { return };
    let mut keeper = desk.keeper(&desk.client, settings()).expect("ours");
    desk.anchor(&mut keeper);
    // The thief replaces what waits by another history after the same link.
    let foreign = claim(desk.place().log, [0; 32], 1, 99, [9; 32]);
    let ours = keeper.anchors()[0].attempts[0].clone();
    let above = Some((ours.max_fee, ours.max_priority_fee));
    let order = Order::Anchor(desk.contract, &foreign);
    let attempt = desk.client.draft(&operator(0), &order, Price { above, ..PRICE }).expect("a key is a key");
    assert_eq!(attempt.nonce, ours.nonce);
    desk.client.send(&attempt).expect("it pays more");
    desk.chain.mine(1);
    for _ in 0..2 {
        let error = keeper.step().expect_err("an alarm, and it stays");
        let AnchorError::Alarm { alarm: Alarm::Foreign { seq: 1, size: 99, found, .. }, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(*found, hexed::text(foreign.link));
        assert!(error.to_string().starts_with("ALARM"), "{error}");
    }
    assert_eq!((stage(&keeper), keeper.anchors()[0].attempts.len()), (Stage::Submitted, 1), "nothing more was sent");
    let history = read_back(&desk.client, &desk.place(), &desk.log.archive(), 9).expect("a chain");
    assert!(!history.holds() && history.anchors[0].wrong.as_ref().is_some_and(|why| why.contains("cut back")));
}

#[test]
fn a_node_that_dies_and_comes_back_loses_nothing() {
    let Some(desk) = Desk::open(&["--no-mining"]) else { return };
    let line = Line::to(&desk.chain);
    let client = Client::connect(&line.url).expect("the line stands");
    let quick = Settings { patience: 100, ..settings() };
    let mut keeper = desk.keeper(&client, quick).expect("ours");
    desk.anchor(&mut keeper);
    desk.chain.mine(1);
    line.cut(true);
    for _ in 0..3 {
        let told = step(&mut keeper);
        assert!(matches!(told[..], [Told::Trouble(ChainError::Unreachable { .. })]), "{told:?}");
    }
    let soon = Instant::now() + Duration::from_millis(50);
    assert!(!keeper.follow(Stage::Confirmed, soon, &mut |_| ()).expect("no alarm"), "it waits, and gives up in time");
    // The one who anchors dies too: whoever opens the journal goes on where it was.
    drop(keeper);
    line.cut(false);
    desk.chain.mine(8);
    let mut keeper = desk.keeper(&client, quick).expect("ours");
    assert!(matches!(keeper.anchor(desk.log.archive().checkpoint()), Err(AnchorError::Pending { .. })));
    step(&mut keeper);
    assert_eq!(stage(&keeper), Stage::Confirmed);
    assert!(matches!(Client::connect("http://127.0.0.1:1"), Err(ChainError::Unreachable { .. })));
}

#[test]
fn what_waits_too_long_pays_more_and_never_more_than_the_cap() {
    let Some(desk) = Desk::open(&["--no-mining"]) else { return };
    let patient = Settings { patience: 2, max_fee: 20_000_000_000, ..settings() };
    let mut keeper = desk.keeper(&desk.client, patient).expect("ours");
    desk.anchor(&mut keeper);
    let first = keeper.anchors()[0].attempts[0].clone();
    // Blocks become dearer than it offers.
    let dear = |wei: u64| {
        desk.chain.rpc("anvil_setNextBlockBaseFeePerGas", &json!([format!("{wei:#x}")]));
        desk.chain.mine(1);
    };
    dear(first.max_fee + 1);
    // This node forgets what cannot pay; others keep it. Either way it is too early for more.
    assert!(sent(&step(&mut keeper)).iter().all(|why| *why == Need::Send(1)), "not yet");
    dear(first.max_fee + 1);
    assert_eq!(sent(&step(&mut keeper)), [Need::Replace(1)]);
    let second = keeper.anchors()[0].attempts[1].clone();
    assert_eq!(second.nonce, first.nonce);
    assert!(second.max_fee >= first.max_fee + first.max_fee / 8 && second.max_fee <= patient.max_fee, "{second:?}");
    dear(patient.max_fee + 1);
    dear(patient.max_fee + 1);
    let told = step(&mut keeper);
    assert!(matches!(told[..], [Told::Trouble(ChainError::Fee { .. })]), "{told:?}");
    assert_eq!(keeper.anchors()[0].attempts.len(), 2);
    // Cheap again: all three may enter, and one does.
    dear(first.max_fee / 8);
    assert_eq!(sent(&step(&mut keeper)), [Need::Replace(1)]);
    desk.chain.mine(1);
    step(&mut keeper);
    let attempts: Vec<_> = keeper.anchors()[0].attempts.iter().map(|attempt| Some(attempt.tx)).collect();
    assert!(attempts.len() == 3 && attempts.contains(&keeper.anchors()[0].tx));
    assert_eq!(stage(&keeper), Stage::Included);
    // The number of a waiting transaction is used for something else: a new one is made.
    desk.log.grow(1);
    desk.chain.mine(8);
    step(&mut keeper);
    desk.anchor(&mut keeper);
    desk.chain.rpc("anvil_dropAllTransactions", &json!([]));
    let me = hexed::text(operator(0).address());
    desk.chain.rpc("eth_sendTransaction", &json!([{ "from": me, "to": me, "value": "0x1" }]));
    desk.chain.mine(1);
    assert_eq!(sent(&step(&mut keeper)), [Need::Renew(2)]);
    desk.chain.mine(1);
    step(&mut keeper);
    assert_eq!(stage(&keeper), Stage::Included);
}

#[test]
fn a_lost_journal_is_read_from_the_chain_and_another_log_is_not_borne_out() {
    let Some(desk) = Desk::open(&["--no-mining"]) else { return };
    let mut keeper = desk.keeper(&desk.client, Settings { confirmations: 2, ..settings() }).expect("ours");
    for _ in 0..2 {
        desk.log.grow(2);
        desk.anchor(&mut keeper);
        desk.chain.mine(2);
        step(&mut keeper);
    }
    let claims: Vec<_> = keeper.anchors().iter().map(|anchor| anchor.claim.clone()).collect();
    drop(keeper);
    std::fs::remove_file(Journal::beside(&desk.log.folder)).expect("there");
    let mut keeper = desk.keeper(&desk.client, settings()).expect("ours");
    let error = keeper.step().expect_err("nothing is known of them");
    assert!(matches!(error, AnchorError::Alarm { .. }), "{error}");
    assert_eq!(keeper.adopt(&desk.log.archive()).expect("the log bears them out"), 2);
    assert_eq!(keeper.anchors().iter().map(|anchor| anchor.claim.clone()).collect::<Vec<_>>(), claims);
    step(&mut keeper);
    assert_eq!(stage(&keeper), Stage::Included, "and followed from there");
    drop(keeper);

    // The same key writes another history of the same name: the chain tells.
    std::fs::remove_file(Journal::beside(&desk.log.folder)).expect("there");
    std::fs::remove_dir_all(&desk.log.folder).expect("there");
    desk.log.grow(11);
    let mut keeper = desk.keeper(&desk.client, settings()).expect("ours");
    let error = keeper.adopt(&desk.log.archive()).expect_err("another history");
    assert!(matches!(error, AnchorError::Contradicted { seq: 1, .. }), "{error}");
    let history = read_back(&desk.client, &desk.place(), &desk.log.archive(), 2).expect("a chain");
    assert!(!history.holds());
}

#[test]
fn the_compiler_gives_the_same_bytes() {
    if common::anvil().is_none() {
        return;
    }
    let (root, contract) = (common::root(), common::root().join("engine/anchor/contract"));
    let mut node = Command::new("node");
    node.arg(root.join("tools/setup/chain/compile.mjs")).arg(contract.join("LeanAnchor.sol")).arg(common::folder());
    let output = node.output().expect("node comes with npm");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let kept = std::fs::read(contract.join("LeanAnchor.json")).expect("there");
    assert!(output.stdout == kept, "engine/anchor/contract/LeanAnchor.json is not what solc makes of LeanAnchor.sol");
}
