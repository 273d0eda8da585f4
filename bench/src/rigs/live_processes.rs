//! The processes of the live rig: the simulated exchange on a recorded day, and the engine that reads it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tidegate_runtime::hlog::{self, Interval};

/// What is traded: symbol, base, first price, price decimals, tick and capture.
const INSTRUMENTS: [(&str, &str, f64, u32, i64); 2] =
    [("BTCUSDT", "BTC", 61_800.0, 2, 10), ("ETHUSDT", "ETH", 2_682.0, 2, 1)];
/// Symbols as in stream names.
pub(super) const SYMBOLS: [&str; 2] = ["btcusdt", "ethusdt"];
const VENUE: &str = "binance-usdm";

/// A program beside this one.
///
/// # Errors
/// It is not there, and how it is built.
pub(super) fn beside(name: &str, how: &str) -> Result<PathBuf, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let path = this.with_file_name(name);
    if path.exists() { Ok(path) } else { Err(format!("{} not found; build it with `{how}`", path.display())) }
}

/// The captures of the recorded day.
///
/// # Errors
/// Which one is missing and what to do.
pub(super) fn captures(data: &Path) -> Result<Vec<PathBuf>, String> {
    let all = SYMBOLS.map(|symbol| data.join(format!("hftbacktest/usdm_{symbol}_20240808.gz")));
    match all.iter().find(|path| !path.exists()) {
        None => Ok(all.into()),
        Some(path) => Err(format!(
            "RECORDED DATA ABSENT: {} not found; set TIDEGATE_DATA or --data to the directory that holds hftbacktest",
            path.display()
        )),
    }
}

/// The exchange; ended when dropped.
pub(super) struct Exchange {
    child: Child,
    pub(super) stream: String,
    pub(super) rest: String,
    pub(super) authority: PathBuf,
}

impl Exchange {
    /// Starts the day from its beginning at `speed` times its pace, with the intervals of the channels as much shorter.
    pub(super) fn start(program: &Path, captures: &[PathBuf], folder: &Path, speed: f64) -> Result<Self, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("simex: {error}");
        let scale = 1.0 / speed;
        let mut text = format!("speed = {speed:?}\ninterval_scale = {scale:?}\n[venue.{VENUE}]\n");
        for ((symbol, base, price, decimals, tick), capture) in INSTRUMENTS.into_iter().zip(captures) {
            text += &format!(
                "[[instrument]]\nvenue = \"{VENUE}\"\nsymbol = \"{symbol}\"\ncategory = \"linear\"\nbase = \"{base}\"\n\
                 quote = \"USDT\"\nprice = {price:?}\nprice_decimals = {decimals}\ntick_units = {tick}\n\
                 qty_decimals = 3\nlot_units = 1\nrepeat = true\ncapture = {capture:?}\n"
            );
        }
        let config = folder.join("simex.toml");
        std::fs::write(&config, text).map_err(|error| wrong(&error))?;
        let mut command = Command::new(program);
        command.args(["serve", "--print-addresses", "--config"]).arg(&config).arg("--directory").arg(folder);
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| wrong(&error))?;
        let mut line = String::new();
        let read = child.stdout.as_mut().map(|out| BufReader::new(out).read_line(&mut line));
        let addresses: Value = serde_json::from_str(&line).unwrap_or_default();
        let at = |kind: &str| addresses["venues"][VENUE][kind].as_str().map(str::to_owned);
        let authority = folder.join("ca.pem");
        match (read, at("wss"), at("https")) {
            (Some(Ok(_)), Some(stream), Some(rest)) => Ok(Self { child, stream, rest, authority }),
            _ => {
                // It may have ended by itself.
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("simex says {line:?}, expected its addresses"))
            }
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Models beside the engine: where they are and the runtime's library.
pub(super) type Models<'a> = Option<(&'a Path, &'a Path)>;

/// How the engine is run.
pub(super) struct Engine<'a> {
    pub(super) program: &'a Path,
    /// Core of the hot loop.
    pub(super) core: usize,
    pub(super) lasting: Duration,
    pub(super) models: Models<'a>,
    /// Wall time between two adjustments, ms.
    pub(super) every_ms: u64,
}

/// What a run of the engine left.
pub(super) struct Ran {
    pub(super) summary: Value,
    pub(super) intervals: Vec<Interval>,
}

impl Engine<'_> {
    /// Reads the exchange until the time is over.
    pub(super) fn run(&self, exchange: &Exchange, folder: &Path) -> Result<Ran, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("tidegate: {error}");
        let run = folder.join("run");
        let models = match self.models {
            None => "mode = \"off\"\n".to_owned(),
            Some((models, library)) => format!(
                "mode = \"process\"\ndirectory = {models:?}\nlibrary = {library:?}\nevery_ms = {}\nremember = false\n",
                self.every_ms
            ),
        };
        let symbols = INSTRUMENTS.map(|(symbol, ..)| symbol);
        let text = format!(
            "[engine]\nwait = \"spin\"\ncores = [{}]\n[models]\n{models}[output]\ndirectory = {run:?}\n[[venues]]\n\
             name = \"{VENUE}\"\nsymbols = {symbols:?}\nstream = {:?}\nrest = {:?}\nauthorities = {:?}\n",
            self.core, exchange.stream, exchange.rest, exchange.authority
        );
        let config = folder.join("tidegate.toml");
        std::fs::write(&config, text).map_err(|error| wrong(&error))?;
        let log = std::fs::File::create(folder.join("log.jsonl")).map_err(|error| wrong(&error))?;
        let mut command = Command::new(self.program);
        command.args(["run", "--format", "json", "--log-format", "json", "--config"]).arg(&config);
        command.arg("--for").arg(format!("{}ms", self.lasting.as_millis()));
        command.env("NO_COLOR", "1").current_dir(folder).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().map_err(|error| wrong(&error))?;
        let mut text = String::new();
        let read = child.stdout.take().map(|mut out| out.read_to_string(&mut text));
        let status = child.wait().map_err(|error| wrong(&error))?;
        let told = || std::fs::read_to_string(folder.join("log.jsonl")).unwrap_or_default();
        if !status.success() || !matches!(read, Some(Ok(_))) {
            return Err(format!("tidegate: {status}: {text}\n{}", told()));
        }
        let summary = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
        let log = hlog::read(&run.join("latency.hlog")).map_err(|error| wrong(&error))?;
        Ok(Ran { summary, intervals: log.intervals })
    }
}
