//! Incidents explained while the engine runs.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Explainer;

/// How long an explanation may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often it is looked after.
const POLL: Duration = Duration::from_millis(50);

impl Explainer {
    /// Explains the incident of a decision and says where the report is.
    ///
    /// # Errors
    /// What the program said.
    pub(super) fn explain(&self, audit: &Path, decision: u64) -> Result<Value, String> {
        let mut inputs = self.inputs.clone();
        if let Some(folder) = &self.captures {
            let files = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            // Those of runs before this one are not its input.
            let own = |file: &std::fs::DirEntry| {
                file.metadata().and_then(|data| data.modified()).is_ok_and(|modified| modified >= self.since)
            };
            let captures = files.flatten().filter(own).map(|file| file.path().display().to_string());
            inputs.extend(captures.filter(|path| path.ends_with(".tgcap")));
            inputs.sort();
        }
        if inputs.is_empty() {
            return Err("there is no recorded input: `[capture] directory` keeps it".into());
        }
        let out = self.reports.join(decision.to_string());
        // A report of an earlier run on its decision of that number.
        let _ = std::fs::remove_dir_all(&out);
        std::fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
        let log = out.join("postmortem.log");
        let file = |path: &Path| std::fs::File::create(path).map_err(|error| format!("{}: {error}", path.display()));
        let (told, wrong) = (file(&log)?, file(&out.join("postmortem.err"))?);
        let mut command = Command::new(&self.program);
        command.arg("postmortem").arg(audit).arg("--decision").arg(decision.to_string());
        command.arg("--out").arg(&out).arg("--input").args(&inputs);
        if let Some(calendar) = &self.calendar {
            command.arg("--calendar").arg(calendar);
        }
        command.stdin(Stdio::null()).stdout(told).stderr(wrong);
        // SAFETY: one system call that is safe between fork and exec; the engine's own threads keep their priority.
        unsafe {
            command.pre_exec(|| {
                libc::setpriority(libc::PRIO_PROCESS, 0, 19);
                Ok(())
            });
        }
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", self.program.display()))?;
        let begun = Instant::now();
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if begun.elapsed() < PATIENCE => std::thread::sleep(POLL),
                _ => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("it took longer than {} s", PATIENCE.as_secs()));
                }
            }
        };
        if !out.join("postmortem.html").is_file() {
            let said = std::fs::read_to_string(out.join("postmortem.err")).unwrap_or_default();
            return Err(said.lines().last().unwrap_or("it gave no report").to_owned());
        }
        let reproduced = status.success();
        let summary = std::fs::read_to_string(&log).unwrap_or_default();
        let first: Vec<&str> = summary.lines().take(6).collect();
        Ok(json!({
            "ok": true,
            "report": format!("/reports/{decision}"),
            "reproduced": reproduced,
            "summary": format!("{}{}", if reproduced { "" } else { "NOT REPRODUCED. " }, first.join(" ")),
        }))
    }
}
