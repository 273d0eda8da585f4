//! What the anchor's commands say where they are not built in.

use anyhow::Result;

use super::{Args, DeployArgs, VerifyArgs};
use crate::exit::{Exit, failed};
use crate::output::Format;

fn absent() -> Result<Exit> {
    let how = "cargo build --release -p tidegate --features anchor";
    Err(failed(Exit::Config, format!("this tidegate was built without the Ethereum anchor: {how}")))
}

pub(in super::super) fn anchor(_: &Args, _: Format) -> Result<Exit> {
    absent()
}

pub(in super::super) fn verify(_: &VerifyArgs, _: Format) -> Result<Exit> {
    absent()
}

pub(in super::super) fn deploy(_: &DeployArgs, _: Format) -> Result<Exit> {
    absent()
}
