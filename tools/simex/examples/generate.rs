//! Writes capture files of a simulated market, and says how long that took.
//!
//! ```text
//! cargo run --release -p tidegate-simex --example generate -- <directory> [seconds] [seed] [demo|calm]
//! ```

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tidegate_simex::{SimConfig, write_captures};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, otherwise: u64| arguments.get(index).map_or(Some(otherwise), |text| text.parse().ok());
    let (Some(dir), Some(seconds), Some(seed)) = (arguments.first(), number(1, 120), number(2, 1)) else {
        eprintln!("usage: generate <directory> [seconds] [seed] [demo|calm]");
        return ExitCode::from(2);
    };
    let duration = Duration::from_secs(seconds);
    let calm = arguments.get(3).is_some_and(|kind| kind == "calm");
    let config = if calm { SimConfig::calm(seed, duration) } else { SimConfig::demo(seed, duration) };
    let started = Instant::now();
    match write_captures(&config, Path::new(dir)) {
        Ok(files) => {
            for file in &files {
                println!("{:<16} {:>8} frames {:>11} bytes", file.label, file.frames, file.bytes);
            }
            println!("{:.2} s", started.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("generate: {error}");
            ExitCode::FAILURE
        }
    }
}
