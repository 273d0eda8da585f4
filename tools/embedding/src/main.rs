//! Runs the worked example: `cargo run -p tidegate-embedding -- DIR`.

use std::path::PathBuf;

fn main() -> anyhow::Result<()> {
    let directory = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("run/embedding"), PathBuf::from);
    std::fs::create_dir_all(&directory)?;
    let outcome = tidegate_embedding::run(&directory)?;
    println!("{} orders sent, {} refused: {}", outcome.sent, outcome.refused.len(), outcome.refused.join(", "));
    println!("{} transitions of breakers, balance {} millionths of USDT", outcome.decisions, outcome.balance);
    println!("{} entries, verified, in {}", outcome.entries, directory.join("audit").display());
    Ok(())
}
