//! Evaluates the trap detector and prints what it is worth.
//!
//!     TIDEGATE_DATA=../shared/data cargo run --example traps -p tidegate-market
//!
//! Simulated traps of known truth come from the **test** generator (`agents`), which nothing was fitted on; those of
//! the training generator (`scripted`, other seeds) are printed beside them. Recorded days have no truth: there the
//! labelling rules tell true alarms from false ones. They are minutes to hours long.

#[path = "../tests/traps/agents.rs"]
mod agents;
#[path = "../tests/traps/evaluate.rs"]
mod evaluate;
#[path = "../tests/traps/recorded.rs"]
mod recorded;
#[path = "../tests/traps/rig.rs"]
mod rig;
#[path = "../tests/traps/scripted.rs"]
mod scripted;

use evaluate::{Evaluation, climates, rule_rows, truth_rows};
use tidegate_wire::look::LookRecord;

/// Hours of each generator.
const HOURS: i64 = 20;
/// Seed of the test generator.
const SEED: u64 = 20_261;

fn main() {
    let (evaluation, truths) = climates(1_000..1_000 + HOURS as u64);
    println!("training generator, other seeds, {HOURS} h\n{}", truth_rows(&evaluation, &truths));
    println!("{}", rule_rows(&evaluation));

    let mut market = agents::Agents::new(SEED);
    let mut evaluation = Evaluation::new(&market.market.registry);
    market.run(HOURS * 3600, &mut |look| evaluation.see(look));
    println!("test generator, {HOURS} h, {} plans failed\n{}", market.failed, truth_rows(&evaluation, &market.truths));
    println!("{}", rule_rows(&evaluation));

    let Some(folder) = recorded::data() else { return };
    let all = |e: &mut Evaluation, look: &LookRecord| e.see(look);
    let second = |e: &mut Evaluation, look: &LookRecord| {
        if look.header.event_ns >= recorded::DIVIDED_NS {
            e.see(look);
        }
    };
    let evaluation = recorded::replayed(&folder, &recorded::HELD_OUT, Evaluation::new, all);
    println!("recorded, held out: Binance 2024-08-08, six instruments\n{}", rule_rows(&evaluation));
    let evaluation = recorded::replayed(&folder, &recorded::BITSTAMP, Evaluation::new, second);
    println!("recorded, held out: Bitstamp 2015-05-01 from 02:30\n{}", rule_rows(&evaluation));
    let evaluation = recorded::replayed(&folder, &recorded::COINBASE, Evaluation::new, all);
    println!("recorded, held out: Coinbase 2018-04-24, no trades\n{}", rule_rows(&evaluation));
    for file in recorded::FITTED {
        let evaluation = recorded::replayed(&folder, &[file], Evaluation::new, all);
        println!("recorded, of the fit: {file}\n{}", rule_rows(&evaluation));
    }
}
