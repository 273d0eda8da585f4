//! What the anchor's commands do.

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use tidegate_anchor::claim::{Address, Anchor, Block, Stage, log_id};
use tidegate_anchor::ethereum::{ChainError, Client, Operator};
use tidegate_anchor::hexed;
use tidegate_anchor::history::{self, HistoryError, Row};
use tidegate_anchor::journal::{Journal, Place as Anchored};
use tidegate_anchor::keeper::{AnchorError, Keeper, Settings, Told};
use tidegate_anchor::tracker::{Need, News};
use tidegate_record::entry::{Entry, Kind};
use tidegate_record::log::{self, Archive, Log, LogError};
use tidegate_runtime::audit::key;
use tidegate_wire::clock::realtime_ns;

use super::super::{archive, unusable};
use super::{Args, DeployArgs, Place, Purse, VerifyArgs};
use crate::exit::{Exit, failed};
use crate::output::{Format, number_table, print_json};

const GWEI: u64 = 1_000_000_000;

fn refused(error: ChainError) -> anyhow::Error {
    let exit = match &error {
        ChainError::Url(_) | ChainError::Key(_) | ChainError::Contract { .. } => Exit::BadInput,
        ChainError::Unreachable { .. } | ChainError::Runtime(_) => Exit::Io,
        _ => Exit::Failure,
    };
    failed(exit, error.to_string())
}

fn stopped(error: AnchorError) -> anyhow::Error {
    match error {
        AnchorError::Chain(error) => refused(error),
        AnchorError::Log(error) => unusable(error),
        AnchorError::Journal(error) => failed(Exit::Io, error.to_string()),
        AnchorError::Operator { .. } => failed(Exit::BadInput, error.to_string()),
        other => failed(Exit::Failure, other.to_string()),
    }
}

impl Place {
    fn contract(&self) -> Result<Address> {
        let wrong = || format!("--contract {}: expected 40 hex digits, as deploy-anchor printed them", self.contract);
        hexed::bytes(&self.contract).ok_or_else(|| failed(Exit::BadInput, wrong()))
    }
}

impl Purse {
    fn operator(&self) -> Result<Operator> {
        let secret = key::read_secret(&self.key).map_err(|error| failed(Exit::BadInput, error.to_string()))?;
        Operator::of_secret(&secret).map_err(refused)
    }

    fn max_fee(&self) -> u64 {
        u64::from(self.max_fee_gwei) * GWEI
    }
}

pub(in super::super) fn deploy(args: &DeployArgs, format: Format) -> Result<Exit> {
    let operator = args.purse.operator()?;
    let client = Client::connect(&args.node.rpc).map_err(refused)?;
    let deployed = client.deploy(&operator, args.purse.max_fee(), args.purse.timeout).map_err(refused)?;
    let (contract, account) = (hexed::text(deployed.contract), hexed::text(operator.address()));
    let (chain, block, gas) = (client.chain(), deployed.block, deployed.gas_used);
    match format {
        Format::Json => print_json(&json!({
            "schema": "tidegate.audit-deploy-anchor.v1",
            "chain": chain,
            "contract": contract,
            "operator": account,
            "block": block,
            "gas_used": gas,
        }))?,
        Format::Table => {
            anstream::println!(
                "{contract}: made in block {block} of chain {chain}, {gas} gas; takes anchors of {account}"
            );
        }
    }
    Ok(Exit::Ok)
}

pub(in super::super) fn anchor(args: &Args, format: Format) -> Result<Exit> {
    let operator = args.purse.operator()?;
    let archive = Archive::open(&args.log, &[]).map_err(unusable)?;
    let log = log_id(&Archive::own_key(&args.log).map_err(unusable)?);
    let client = Client::connect(&args.place.node.rpc).map_err(refused)?;
    let (confirmations, patience, poll) = (args.place.confirmations, args.patience, args.poll);
    let settings = Settings { confirmations, patience, max_fee: args.purse.max_fee(), poll };
    let journal = Journal::beside(&args.log);
    let keeper = Keeper::open(&client, operator, args.place.contract()?, log, &journal, settings);
    let mut keeper = keeper.map_err(stopped)?;
    let adopted = keeper.adopt(&archive).map_err(stopped)?;
    if adopted > 0 {
        anstream::eprintln!("{adopted} anchors of this log were on the chain and not in {}", keeper.path().display());
    }
    keeper.step().map_err(stopped)?.iter().for_each(tell);
    let fresh = submit(&mut keeper, &archive)?;
    let deadline = Instant::now() + args.purse.timeout;
    let done = !args.wait || keeper.follow(Stage::Confirmed, deadline, &mut tell).map_err(stopped)?;
    let note = enter(args, &mut keeper, &client)?;
    report(&keeper, &client, fresh, note.as_deref(), format)?;
    Ok(if done { Exit::Ok } else { Exit::Incomplete })
}

/// Sends the newest checkpoint, unless there is nothing new in it or another anchor is under way.
fn submit(keeper: &mut Keeper<'_>, archive: &Archive) -> Result<bool> {
    if let Some(last) = keeper.anchors().last() {
        if !last.is_confirmed() {
            let (seq, size, stage) = (last.claim.seq, last.claim.size, last.stage());
            anstream::eprintln!("anchor {seq} ({size} entries) is {stage}: one at a time, so no other was made");
            return Ok(false);
        }
        // An entry about an anchor is nothing to anchor: that would go on for ever.
        if history::only_anchors_since(archive, last.claim.size).map_err(unusable)? {
            return Ok(false);
        }
    }
    if archive.size() == 0 {
        return Err(failed(Exit::BadInput, "the log's newest checkpoint covers no entry: there is nothing to anchor"));
    }
    let told = keeper.anchor(archive.checkpoint()).map_err(stopped)?;
    told.iter().for_each(tell);
    Ok(told.is_some())
}

fn tell(told: &Told) {
    match told {
        Told::Trouble(error) => anstream::eprintln!("{error}; asked again"),
        Told::Sent { seq, tx, why } => {
            let why = match why {
                Need::Send(_) => "sent again, as it was",
                Need::Replace(_) => "waits too long: replaced by one that pays more",
                Need::Renew(_) => "made anew: the number of the transaction before was taken",
                Need::Nothing => "submitted",
            };
            anstream::eprintln!("anchor {seq}: {why}: {}", hexed::text(tx));
        }
        Told::News(News::Reached { seq, stage, block, head }) => {
            anstream::eprintln!("anchor {seq}: {stage}: block {}, the chain is at {head}", block.number);
        }
        Told::News(News::Moved { seq, from, to }) => {
            anstream::eprintln!("anchor {seq}: a re-organisation moved it from block {} to {}", from.number, to.number);
        }
        Told::News(News::Undone { seq, from, stage }) => {
            anstream::eprintln!("anchor {seq}: a re-organisation took it out of block {}; it was {stage}", from.number);
        }
        Told::News(News::Reverted { seq, tx }) => {
            anstream::eprintln!("anchor {seq}: the contract refused {}", hexed::text(tx));
        }
    }
}

/// Makes entries of the log of confirmed anchors that this program sent; says why where it cannot.
fn enter(args: &Args, keeper: &mut Keeper<'_>, client: &Client) -> Result<Option<String>> {
    let new = |anchor: &&Anchor| anchor.is_confirmed() && anchor.entry.is_none() && !anchor.attempts.is_empty();
    let anchors: Vec<Anchor> = keeper.anchors().iter().filter(new).cloned().collect();
    if anchors.is_empty() {
        return Ok(None);
    }
    let only = |why: String| Ok(Some(format!("in {} only, not in the log: {why}", keeper.path().display())));
    let path = args.signing_key.clone().unwrap_or_else(|| args.log.with_extension("key"));
    let signer = match key::read(&path) {
        Err(error) => return only(error.to_string()),
        Ok(signer) => signer,
    };
    let mut log = match Log::open(&args.log, signer, log::Settings::default()) {
        Err(LogError::Locked { .. }) => return only("an engine has the log".into()),
        opened => opened.map_err(unusable)?.0,
    };
    for anchor in anchors {
        let (claim, block) = (&anchor.claim, anchor.block);
        let body = json!({
            "chain": client.chain(),
            "contract": args.place.contract,
            "seq": claim.seq,
            "size": claim.size,
            "root": hexed::text(claim.root),
            "tx": anchor.tx.map(hexed::text),
            "block": block.map(|block| block.number),
            "block_hash": block.map(|block| hexed::text(block.hash)),
            "confirmations": args.place.confirmations,
        });
        let body = body.to_string();
        let entry = Entry::new(Kind::Anchored, realtime_ns(), body.as_bytes());
        let index = log.append(&entry).map_err(unusable)?;
        log.sync().map_err(unusable)?;
        keeper.entered(claim.seq, index).map_err(stopped)?;
    }
    log.close().map_err(unusable)?;
    Ok(None)
}

fn report(keeper: &Keeper<'_>, client: &Client, fresh: bool, note: Option<&str>, format: Format) -> Result<()> {
    let newest = keeper.anchors().last();
    match format {
        Format::Json => print_json(&json!({
            "schema": "tidegate.audit-anchor.v1",
            "chain": client.chain(),
            "head": keeper.head(),
            "journal": keeper.path(),
            "fresh": fresh,
            "anchors": keeper.anchors().len(),
            "newest": newest.map(document),
            "note": note,
        }))?,
        Format::Table => {
            if let Some(newest) = newest {
                let (seq, size, stage) = (newest.claim.seq, newest.claim.size, newest.stage());
                let new = if fresh { "" } else { ", nothing new" };
                anstream::println!("anchor {seq}: {size} entries, {stage}{new}");
                anstream::println!("  root {}", hexed::text(newest.claim.root));
                if let (Some(block), Some(tx)) = (newest.block, newest.tx) {
                    anstream::println!(
                        "  block {} of chain {}, transaction {}",
                        block.number,
                        client.chain(),
                        hexed::text(tx)
                    );
                }
                if let Some(waited) = newest.waited().filter(|_| !newest.attempts.is_empty()) {
                    anstream::println!("  confirmed {waited} blocks after it was made; no finality: see `stage`");
                }
            }
            if let Some(note) = note {
                anstream::println!("  {note}");
            }
        }
    }
    Ok(())
}

fn document(anchor: &Anchor) -> Value {
    json!({
        "seq": anchor.claim.seq,
        "size": anchor.claim.size,
        "root": hexed::text(anchor.claim.root),
        "link": hexed::text(anchor.claim.link),
        "stage": anchor.stage(),
        "seen": anchor.seen,
        "block": anchor.block.map(|block: Block| block.number),
        "tx": anchor.tx.map(hexed::text),
        "attempts": anchor.attempts.iter().map(|attempt| hexed::text(attempt.tx)).collect::<Vec<_>>(),
        "sealed_at": anchor.sealed_at,
        "blocks_to_confirmed": anchor.waited(),
        "gas_used": anchor.gas_used,
        "undone": anchor.undone,
        "entry": anchor.entry,
    })
}

pub(in super::super) fn verify(args: &VerifyArgs, format: Format) -> Result<Exit> {
    let archive = archive(&args.log, &args.keys)?;
    let own = Archive::own_key(&args.log).map_err(unusable)?;
    let keys = args.keys.read()?;
    // The key that was given, not the one that lies in the folder, says which log the chain is asked for.
    let key = keys.iter().find(|key| key.name() == archive.checkpoint().origin).unwrap_or(&own);
    let client = Client::connect(&args.place.node.rpc).map_err(refused)?;
    let place = Anchored { chain: client.chain(), contract: args.place.contract()?, log: log_id(key) };
    let history = history::read_back(&client, &place, &archive, args.place.confirmations);
    let history = history.map_err(|error| match error {
        HistoryError::Chain(error) => refused(error),
        HistoryError::Log(error) => unusable(error),
    })?;
    let (holds, confirmed, size) = (history.holds(), history.confirmed(), history.size);
    match format {
        Format::Json => {
            let mut document = serde_json::to_value(&history)?;
            document["schema"] = "tidegate.audit-verify-anchor.v1".into();
            document["chain"] = client.chain().into();
            (document["holds"], document["confirmed"]) = (holds.into(), confirmed.into());
            print_json(&document)?;
        }
        Format::Table => {
            let verdict = if holds { "the log bears out every anchor" } else { "THE LOG DOES NOT BEAR THEM OUT" };
            anstream::println!("{} anchors on chain {}: {verdict}", history.anchors.len(), client.chain());
            anstream::println!("  {confirmed} of the log's {size} entries are under a confirmed anchor");
            let header = ["anchor", "entries", "stage", "block", "depth", "root"];
            anstream::println!("{}", number_table(&header, history.anchors.iter().map(cells)));
            for row in &history.anchors {
                if let Some(wrong) = &row.wrong {
                    anstream::println!("  anchor {} ({} entries): {wrong}", row.claim.seq, row.claim.size);
                }
            }
        }
    }
    Ok(match (holds, confirmed) {
        (false, _) => Exit::Failure,
        (true, 0) => Exit::Incomplete,
        (true, _) => Exit::Ok,
    })
}

fn cells(row: &Row) -> Vec<String> {
    let claim = &row.claim;
    let root = hexed::text(claim.root);
    let (stage, block, depth) = (row.stage.to_string(), row.block.number.to_string(), row.depth.to_string());
    vec![claim.seq.to_string(), claim.size.to_string(), stage, block, depth, root]
}
