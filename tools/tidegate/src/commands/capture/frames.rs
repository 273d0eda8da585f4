//! `tidegate capture frames`: what came, byte for byte.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Result;
use tidegate_feed::capture::EntryKind;

use super::{conclude, every_entry, open};
use crate::exit::Exit;

/// Prints frames as lines `<receive time, ns> <venue> <connection> <frame>`, the frame exactly as it came.
///
/// Connection 65535 stands for answers over REST. Frames that hold line ends span several lines.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate capture frames x.tgcap | head
  tidegate capture frames x.tgcap | grep ' okx ' | cut -d' ' -f4- | jq .arg.channel | sort | uniq -c")]
pub(super) struct Args {
    /// Captures, in this order
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<Exit> {
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    let mut damaged = Vec::new();
    for path in &args.files {
        let damage = every_entry(path, &mut open(path)?, |entry| {
            if entry.kind == EntryKind::Frame {
                write!(out, "{} {} {} ", entry.recv_ns, entry.venue, entry.source)?;
                out.write_all(entry.bytes)?;
                out.write_all(b"\n")?;
            }
            Ok(())
        })?;
        damaged.extend(damage);
    }
    out.flush()?;
    conclude(&damaged)
}
