//! How commands speak to a running engine.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;
use tidegate_runtime::control::{self, Ask, Reply, SOCKET};

use crate::exit::{Exit, failed};
use crate::output::Format;

/// Which engine, and how its answer is printed.
#[derive(clap::Args, Debug)]
pub(crate) struct Running {
    /// Output directory of the running engine
    #[arg(long, global = true, default_value = "run", value_name = "DIR")]
    pub(crate) engine: PathBuf,
    /// How to print
    #[arg(long, global = true, value_enum, default_value = "table")]
    pub(crate) format: Format,
}

impl Running {
    /// Asks it; a refusal is an error.
    pub(crate) fn ask(&self, what: &Ask) -> Result<Reply> {
        ask(&self.engine, what)
    }
}

/// Asks the engine whose output directory this is; a refusal is an error.
pub(crate) fn ask(directory: &Path, what: &Ask) -> Result<Reply> {
    let silent =
        |error| failed(Exit::Failure, format!("no engine answers: {error}; --engine names its output directory"));
    let reply = control::ask(&directory.join(SOCKET), what).map_err(silent)?;
    match reply.error {
        Some(error) => Err(failed(Exit::Failure, error)),
        None => Ok(reply),
    }
}

/// A value as a table shows it.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}
