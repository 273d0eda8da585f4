//! Plain onnxruntime for Python in a process of its own, asked over pipes so that it takes its turn with the others.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What the process runs.
const SCRIPT: &str = include_str!("plain_onnxruntime.py");

/// A running Python with a model in a session.
#[derive(Debug)]
pub struct Python {
    child: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Release of its onnxruntime.
    pub release: String,
    /// Largest difference to a golden output.
    pub difference: f64,
}

impl Python {
    /// Starts `$TIDEGATE_PYTHON`, else `python3`, on a version's folder, pinned to a core.
    ///
    /// # Errors
    /// Why it cannot be asked, in words: mostly because it has no onnxruntime.
    pub fn start(folder: &Path, core: usize) -> Result<Self, String> {
        let program = std::env::var_os("TIDEGATE_PYTHON").unwrap_or_else(|| "python3".into());
        let name = program.to_string_lossy().into_owned();
        let mut command = Command::new(&program);
        command.args(["-c", SCRIPT]).arg(folder.join("model.onnx")).arg(folder.join("golden.json"));
        command.arg(core.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        let (ask, out) = (child.stdin.take(), child.stdout.take().ok_or("no pipe")?);
        let mut python = Self { child, ask, answers: BufReader::new(out), release: String::new(), difference: 0.0 };
        match python.answer() {
            Ok((release, difference)) => (python.release, python.difference) = (release, difference),
            Err(_) => return Err(format!("{name}: {}", python.last_words())),
        }
        Ok(python)
    }

    /// Times of so many runs of a golden case with other values in every run, ns.
    ///
    /// # Errors
    /// It has ended.
    pub fn time(&mut self, case: usize, runs: usize) -> Result<Vec<u64>, String> {
        let ask = self.ask.as_mut().ok_or("it has ended")?;
        ask.write_all(format!("{case} {runs}\n").as_bytes()).map_err(|error| error.to_string())?;
        self.answer()
    }

    fn answer<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|error| error.to_string())?;
        serde_json::from_str(&line).map_err(|error| format!("{line:?}: {error}"))
    }

    /// The last line of what it complains about.
    fn last_words(&mut self) -> String {
        self.ask = None;
        let lines = self.child.stderr.take().map(|errors| BufReader::new(errors).lines().map_while(Result::ok));
        lines.and_then(Iterator::last).unwrap_or_else(|| "it ended without a word".into())
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It ends when nobody can ask it any more.
        self.ask = None;
        let _ = self.child.wait();
    }
}
