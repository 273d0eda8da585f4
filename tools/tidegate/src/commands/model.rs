//! `tidegate model`: models of a repository, and those of a running engine.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use tidegate_runtime::control::{Ask, Reply};
use tidegate_sidecar::gate::{GateReport, GateSettings, admit, compare_cases};
use tidegate_sidecar::native;
use tidegate_sidecar::refusal::Reason;
use tidegate_sidecar::repository::{Repository, VersionFiles};

use crate::commands::running;
use crate::exit::{Exit, failed};
use crate::output::{Format, number_table, print_json};

/// Models of a repository, and those of a running engine.
///
/// Against a running engine (its output directory holds control.sock) commands act on what is loaded there; without one
/// they act on the repository: promote and rollback move its CURRENT pointer, which the next start follows.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate model list
  tidegate model check onnx/breaker-tuner/1
  tidegate model load breaker-tuner 2 --engine run
  tidegate model rollback breaker-tuner --engine run")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    /// The model repository
    #[arg(long, global = true, default_value = "onnx", value_name = "DIR")]
    models: PathBuf,
    /// Output directory of a running engine (load, rollback of what is loaded and history need one)
    #[arg(long, global = true, value_name = "DIR")]
    engine: Option<PathBuf>,
    /// ONNX Runtime's shared library; else it is looked for beside the program
    #[arg(long, global = true, value_name = "FILE")]
    library: Option<PathBuf>,
    /// How to print
    #[arg(long, global = true, value_enum, default_value = "table")]
    format: Format,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// What there is, and what is in force
    List,
    /// Pass a version through the load gate; exit 1 with the reason when it is refused
    Check {
        /// Folder of a version, such as onnx/breaker-tuner/1
        path: PathBuf,
        /// Ed25519 public key that its contract must be signed with, 32 bytes in base64
        #[arg(long, value_name = "KEY")]
        public_key: Option<String>,
        /// Compare with more cases, in the form of golden.json
        #[arg(long, value_name = "FILE")]
        cases: Option<PathBuf>,
    },
    /// Load a version into a running engine, where it starts in shadow
    Load {
        /// Name of the model
        name: String,
        /// Version
        version: u32,
    },
    /// Put the version in shadow in force now; without an engine: point CURRENT to a version
    Promote {
        /// Name of the model
        name: String,
        /// Version; needed without an engine, and with one only promoted where it is the one in shadow
        version: Option<u32>,
    },
    /// Put the version before in force again
    Rollback {
        /// Name of the model
        name: String,
    },
    /// What happened to models
    History,
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let repository = Repository::new(&args.models);
    match (&args.action, &args.engine) {
        (Action::Check { path, public_key, cases }, _) => check(args, path, public_key.as_deref(), cases.as_deref()),
        (Action::List, None) => list(args, &repository),
        (Action::Promote { name, version }, None) => {
            let version = version.ok_or_else(|| failed(Exit::Failure, "say which version, or --engine DIR"))?;
            point(args, &repository, name, version)
        }
        (Action::Rollback { name }, None) => {
            let versions = repository.versions(name);
            let current = repository.current(name);
            let before = versions.into_iter().rev().find(|version| current.is_some_and(|current| *version < current));
            let before = before.ok_or_else(|| failed(Exit::Failure, format!("{name}: no version before it")))?;
            point(args, &repository, name, before)
        }
        (Action::Load { .. } | Action::History, None) => {
            Err(failed(Exit::Failure, "only a running engine does that: say --engine DIR, its output directory"))
        }
        (action, Some(directory)) => against_engine(args, action, directory),
    }
}

/// A version in a listing.
#[derive(Serialize)]
struct Line {
    name: String,
    version: u32,
    state: &'static str,
    hash: String,
    runs: Option<u64>,
    p99_us: Option<f64>,
}

fn list(args: &Args, repository: &Repository) -> Result<Exit> {
    if !repository.root().is_dir() {
        return Err(failed(Exit::BadInput, format!("{} is no directory", repository.root().display())));
    }
    let mut lines = Vec::new();
    for name in repository.names() {
        let current = repository.current(&name);
        for version in repository.versions(&name) {
            let state = if current == Some(version) { "current" } else { "-" };
            let files = VersionFiles::read(&repository.folder(&name, version)).ok();
            let contract = files.and_then(|f| tidegate_sidecar::contract::Contract::parse(&f.contract).ok());
            let hash = contract.map_or("unreadable".into(), |c| c.files["model.onnx"].sha256.clone());
            lines.push(Line { name: name.clone(), version, state, hash, runs: None, p99_us: None });
        }
    }
    print_lines(args.format, &lines)
}

fn print_lines(format: Format, lines: &[Line]) -> Result<Exit> {
    match format {
        Format::Json => print_json(&serde_json::json!({ "schema": "tidegate.models.v1", "models": lines }))?,
        Format::Table => {
            let rows = lines.iter().map(|line| {
                let short = line.hash.get(..16).unwrap_or(&line.hash).to_owned();
                let runs = line.runs.map_or("-".into(), |runs| runs.to_string());
                let p99 = line.p99_us.map_or("-".into(), |p99| format!("{p99:.1}"));
                vec![line.name.clone(), line.version.to_string(), line.state.to_owned(), short, runs, p99]
            });
            let header = ["model", "version", "state", "sha-256", "runs", "p99 us at load"];
            anstream::println!("{}", number_table(&header, rows));
        }
    }
    Ok(Exit::Ok)
}

fn point(args: &Args, repository: &Repository, name: &str, version: u32) -> Result<Exit> {
    if !repository.versions(name).contains(&version) {
        let known = repository.versions(name);
        return Err(failed(Exit::BadInput, format!("{name} has no version {version}; it has {known:?}")));
    }
    repository
        .set_current(name, version)
        .map_err(|error| failed(Exit::Io, format!("{}: {error}", repository.root().join(name).display())))?;
    match args.format {
        Format::Json => {
            print_json(&serde_json::json!({ "schema": "tidegate.models.v1", "name": name, "current": version }))?
        }
        Format::Table => anstream::println!("{name}: {version} is in force from the next start on"),
    }
    Ok(Exit::Ok)
}

/// What a check came to.
#[derive(Serialize)]
struct Checked {
    schema: &'static str,
    name: String,
    version: u32,
    passed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<GateReport>,
    /// Largest absolute differences to the cases given, on the kernel and on the function body.
    #[serde(skip_serializing_if = "Option::is_none")]
    cases: Option<(f64, f64)>,
}

fn check(args: &Args, path: &Path, key: Option<&str>, cases: Option<&Path>) -> Result<Exit> {
    let public_key = key.map(tidegate_runtime::config::public_key).transpose();
    let public_key = public_key.map_err(|reason| failed(Exit::Config, format!("--public-key: {reason}")))?;
    let gate = GateSettings { public_key, require_signature: public_key.is_some(), ..GateSettings::default() };
    let environment = native::find(args.library.as_deref()).and_then(|library| native::environment(&library));
    let environment = environment.map_err(|error| failed(Exit::Failure, error.to_string()))?;
    let files = VersionFiles::read(path);
    let named = files.as_ref().ok().map(|files| (files.name.clone(), files.version));
    let subject =
        named.as_ref().map_or_else(|| path.display().to_string(), |(name, version)| format!("{name} {version}"));
    let (name, version) = named.unwrap_or_else(|| (path.display().to_string(), 0));
    let bytes =
        cases.map(|path| std::fs::read(path).map_err(|e| failed(Exit::BadInput, format!("{}: {e}", path.display()))));
    let bytes = bytes.transpose()?;
    let result = files.and_then(|files| {
        let admitted = admit(&files, &gate, &environment)?;
        let cases = bytes.map(|bytes| compare_cases(&files, &bytes, &environment)).transpose()?;
        Ok((admitted, cases))
    });
    let schema = "tidegate.model-check.v1";
    let checked = match &result {
        Ok((admitted, cases)) => {
            let report = Some(admitted.report.clone());
            Checked { schema, name, version, passed: true, reason: None, text: None, report, cases: *cases }
        }
        Err(refusal) => {
            let (reason, text) = (Some(refusal.reason()), Some(refusal.to_string()));
            Checked { schema, name, version, passed: false, reason, text, report: None, cases: None }
        }
    };
    match args.format {
        Format::Json => print_json(&checked)?,
        Format::Table => print_checked(&checked, &subject),
    }
    Ok(if checked.passed { Exit::Ok } else { Exit::Failure })
}

fn print_checked(checked: &Checked, subject: &str) {
    if let Some(r) = &checked.report {
        anstream::println!("{subject} passes the load gate");
        anstream::println!(
            "  signed {}   loaded in {:.1} ms   a run p50 {:.1} us, p99 {:.1} us",
            r.signed,
            r.load_ms,
            r.p50_us,
            r.p99_us
        );
        let (golden, kernel) = (r.golden_difference, r.kernel_difference);
        anstream::println!("  golden vectors differ by {golden:.1e}, kernel and function body by {kernel:.1e}");
    }
    if let Some((kernel, body)) = checked.cases {
        anstream::println!("  the cases given differ by {kernel:.1e} on the kernel, {body:.1e} on the function body");
    }
    if let Some(text) = &checked.text {
        anstream::println!("{subject} is refused: {text}");
    }
}

fn against_engine(args: &Args, action: &Action, directory: &Path) -> Result<Exit> {
    let ask = match action {
        Action::List | Action::Check { .. } => Ask::ModelList,
        Action::Load { name, version } => Ask::ModelLoad { name: name.clone(), version: *version },
        Action::Promote { name, version } => Ask::ModelPromote { name: name.clone(), version: *version },
        Action::Rollback { name } => Ask::ModelRollback { name: name.clone() },
        Action::History => Ask::ModelHistory,
    };
    let reply = running::ask(directory, &ask)?;
    if let (Action::Load { name, version }, Format::Table) = (action, args.format) {
        anstream::println!("{name} {version} passed the load gate and runs in shadow");
        return Ok(Exit::Ok);
    }
    print_reply(args.format, action, &reply)
}

fn print_reply(format: Format, action: &Action, reply: &Reply) -> Result<Exit> {
    if matches!(action, Action::History) {
        match format {
            Format::Json => {
                print_json(&serde_json::json!({ "schema": "tidegate.models.v1", "history": reply.history }))?
            }
            Format::Table => reply.history.iter().for_each(|event| anstream::println!("{event}")),
        }
        return Ok(Exit::Ok);
    }
    let line = |model: &tidegate_sidecar::messages::Listed| Line {
        name: model.name.clone(),
        version: model.version,
        state: model.state.into(),
        hash: model.hash.clone(),
        runs: Some(model.runs),
        p99_us: Some(model.report.p99_us),
    };
    print_lines(format, &reply.models.iter().map(line).collect::<Vec<_>>())
}
