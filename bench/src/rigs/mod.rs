//! The rigs, one a row of the speed table.

pub mod audit;
pub mod book;
pub mod decode;
pub mod inference;
mod inference_adjust;
pub mod ledger;
pub mod live;
mod live_processes;
mod live_readable;
pub mod path;
mod path_stages;
pub mod replay;
pub mod ring;
mod ring_process;
pub mod risk;
pub mod serve;
mod serve_crowd;
pub mod signals;
pub mod swap;
pub mod transport;

use crate::report::{self, Options, Report};
use crate::timing::{Stopwatch, pin};

/// Measures one row.
pub type Rig = fn(&Options, &Stopwatch) -> Report;

/// Every rig by name.
pub const ALL: [(&str, Rig); 14] = [
    ("decode", decode::run),
    ("ring", ring::run),
    ("book", book::run),
    ("risk", risk::run),
    ("ledger", ledger::run),
    ("path", path::run),
    ("audit", audit::run),
    ("transport", transport::run),
    ("replay", replay::run),
    ("signals", signals::run),
    ("inference", inference::run),
    ("swap", swap::run),
    ("live", live::run),
    ("serve", serve::run),
];

/// The whole of a rig program: reads arguments, runs, prints, exits.
pub fn main(names: &[&str]) {
    // SAFETY: the first line of the program; there is no other thread.
    unsafe { tidegate_sidecar::native::disable_telemetry() };
    // A closed pipe (`rigs | head`) ends the program quietly.
    // SAFETY: nothing else runs yet; SIG_DFL is always a valid disposition.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    tidegate_runtime::alloc::declare_installed();
    // A rig that measures across processes starts this same program again.
    if let Some(role) = ring_process::Role::from_env() {
        role.play();
        return;
    }
    if std::env::args().any(|arg| arg == "--help") {
        println!("{}", report::HELP);
        return;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(2);
        }
    };
    let wanted =
        |name: &str| names.contains(&name) && (options.only.is_empty() || options.only.iter().any(|o| o == name));
    let chosen: Vec<_> = ALL.iter().filter(|(name, _)| wanted(name)).collect();
    if chosen.is_empty() {
        eprintln!("no rig of that name; there are: {}", names.join(", "));
        std::process::exit(2);
    }
    if !pin(options.cores.0) {
        eprintln!("cannot pin to core {}: figures will wander", options.cores.0);
    }
    let watch = Stopwatch::default();
    let reports: Vec<Report> = chosen.iter().map(|(_, rig)| rig(&options, &watch)).collect();
    if options.json {
        println!("{}", serde_json::to_string(&reports).expect("reports are plain data"));
    } else {
        report::summary(&reports);
    }
    std::process::exit(report::exit_code(&reports, options.gate));
}
