//! `tidegate top`: a running engine in a terminal, for hosts without a browser.

mod draw;
mod seen;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Result;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use serde_json::Value;

use crate::exit::{Exit, failed};
use seen::Seen;

/// Shows a running engine: what it sees, what is stopped, how fast it is.
///
/// It asks the engine's server (`[serve]`, `--serve`) as the dashboard does, and changes nothing. `q` ends it, `p`
/// holds the picture still, up and down move through the trips.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate top
  tidegate top --engine run
  tidegate top --url https://gate.example.org:8765 --token-file view.token --ca serve.crt
  tidegate top --once")]
pub(crate) struct Args {
    /// The engine's output directory, whose serve.json names its server
    #[arg(long, value_name = "DIR", default_value = "run", conflicts_with = "url")]
    engine: PathBuf,
    /// The server itself
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// File of a token, where seeing takes one
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate to trust, PEM, where the server made its own
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print one picture and end
    #[arg(long)]
    once: bool,
}

/// How often the engine is asked.
const EVERY: Duration = Duration::from_millis(500);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Size of a picture that is printed.
const PRINTED: (u16, u16) = (120, 44);

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let asker = Asker::new(args)?;
    if args.once || !std::io::stdout().is_terminal() {
        let mut seen = Seen::default();
        seen.take(asker.ask().map_err(|error| failed(Exit::Io, error))?);
        let backend = ratatui::backend::TestBackend::new(PRINTED.0, PRINTED.1);
        let mut terminal = ratatui::Terminal::new(backend)?;
        terminal.draw(|frame| draw::draw(frame, &seen, 0, false))?;
        let buffer = terminal.backend().buffer();
        for row in buffer.content.chunks(usize::from(PRINTED.0)) {
            let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
            anstream::println!("{}", line.trim_end());
        }
        return Ok(Exit::Ok);
    }
    let (sender, answers) = mpsc::sync_channel(1);
    // Asked on a thread of its own: a server that hangs must not hang the picture, which says how old it is.
    std::thread::spawn(move || {
        loop {
            let begun = Instant::now();
            if sender.send(asker.ask()).is_err() {
                return;
            }
            std::thread::sleep(EVERY.saturating_sub(begun.elapsed()));
        }
    });
    let mut terminal = ratatui::init();
    let ended = watch(&mut terminal, &answers);
    ratatui::restore();
    ended?;
    Ok(Exit::Ok)
}

fn watch(terminal: &mut ratatui::DefaultTerminal, answers: &mpsc::Receiver<Result<Value, String>>) -> Result<()> {
    let (mut seen, mut scroll, mut held) = (Seen::default(), 0usize, false);
    loop {
        while let Ok(answer) = answers.try_recv() {
            match answer {
                Ok(state) if !held => seen.take(state),
                Ok(_) => {}
                Err(error) => seen.lost(error),
            }
        }
        terminal.draw(|frame| draw::draw(frame, &seen, scroll, held))?;
        if !event::poll(Duration::from_millis(100))? {
            continue;
        }
        let Event::Key(key) = event::read()? else { continue };
        if key.kind != KeyEventKind::Press {
            continue;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
            KeyCode::Char('p') => held = !held,
            KeyCode::Down | KeyCode::Char('j') => scroll = scroll.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => scroll = scroll.saturating_sub(1),
            _ => {}
        }
    }
}

/// Asks a server for everything that is shown.
struct Asker {
    agent: ureq::Agent,
    url: String,
    token: Option<String>,
}

impl Asker {
    fn new(args: &Args) -> Result<Self> {
        let url = match &args.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => address(&args.engine)?,
        };
        let read = |path: &Path| {
            let text = std::fs::read_to_string(path);
            text.map_err(|error| failed(Exit::BadInput, format!("{}: {error}", path.display())))
        };
        let token = args.token_file.as_deref().map(read).transpose()?.map(|text| text.trim().to_owned());
        let mut config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false);
        if let Some(path) = &args.ca {
            let certificate = ureq::tls::Certificate::from_pem(read(path)?.as_bytes())
                .map_err(|error| failed(Exit::BadInput, format!("{}: {error}", path.display())))?;
            let roots = ureq::tls::RootCerts::new_with_certs(&[certificate]);
            config = config.tls_config(ureq::tls::TlsConfig::builder().root_certs(roots).build());
        }
        Ok(Self { agent: config.build().into(), url, token })
    }

    fn get(&self, path: &str) -> Result<Value, String> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut answer = request.call().map_err(|error| format!("{}: {error}", self.url))?;
        let status = answer.status();
        let text = answer.body_mut().read_to_string().map_err(|error| format!("{}: {error}", self.url))?;
        let value: Value = serde_json::from_str(&text).map_err(|error| format!("{}{path}: {error}", self.url))?;
        if status.is_success() {
            return Ok(value);
        }
        Err(format!("{}: {}", self.url, value["error"].as_str().unwrap_or(status.as_str())))
    }

    fn ask(&self) -> Result<Value, String> {
        let mut state = self.get("/api/state")?;
        let newest = state["newest"]["breaker"].as_u64().unwrap_or(0);
        let trips = self.get(&format!("/api/events/breaker?after={}&limit=200", newest.saturating_sub(200)))?;
        state["trips"] = trips["events"].clone();
        Ok(state)
    }
}

/// Where the engine of an output directory serves.
fn address(directory: &Path) -> Result<String> {
    let path = directory.join("serve.json");
    let none = |why: String| failed(Exit::Io, format!("{}: {why}", path.display()));
    let text = std::fs::read(&path)
        .map_err(|error| none(format!("{error}; expected an engine that runs there with --serve or serve.enabled")))?;
    let identity: Value = serde_json::from_slice(&text).map_err(|error| none(error.to_string()))?;
    let url = identity["url"].as_str().map(|url| url.trim_end_matches('/').to_owned());
    url.ok_or_else(|| none("it names no url".into()))
}
