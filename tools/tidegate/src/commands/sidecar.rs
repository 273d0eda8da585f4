//! `tidegate sidecar`: the models' process, started by an engine and by nobody else.

use anyhow::Result;
use tidegate_runtime::models::serve_child;

use crate::exit::{Exit, failed};

/// Runs models beside an engine, which starts this by itself and talks to it over standard input and output.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args) -> Result<Exit> {
    serve_child().map_err(|error| failed(Exit::Failure, error.to_string()))?;
    Ok(Exit::Ok)
}
