//! A local chain (anvil), a way to break it, and logs to anchor. Shared with the binary's own test.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tidegate_record::entry::{Entry, Kind};
use tidegate_record::log::{Log, Settings};
use tidegate_record::note::Signer;

/// Keys of anvil's first two accounts: the same on every machine, and known to everybody.
pub(crate) const KEYS: [&str; 2] = [
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
];

/// Number of anvil's chain.
pub(crate) const CHAIN: u64 = 31_337;

pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).expect("a workspace").to_path_buf()
}

/// Where anvil and solc are put: in the build directory, with everything else that is fetched.
pub(crate) fn folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test binary knows where it is");
    test.ancestors().nth(3).expect("target/<profile>/deps/test").join("chain")
}

/// Where anvil is, fetched when it is not there yet; `None` after saying loudly that tests are skipped.
///
/// # Panics
/// In CI, where it must be there, and when it cannot be fetched though there is npm.
pub(crate) fn anvil() -> Option<&'static Path> {
    static ANVIL: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let output = Command::new("bash").arg(root().join("tools/setup/chain.sh")).arg(folder()).output();
        let output = output.expect("bash runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() == Some(77) && std::env::var_os("CI").is_none() {
            // On the stream itself, because what tests print is shown only when they fail.
            let _ = writeln!(std::io::stderr(), "SKIPPED: tests of the Ethereum anchor: {said}");
            return None;
        }
        assert!(output.status.success(), "tools/setup/chain.sh: {said}");
        Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
    };
    ANVIL.get_or_init(find).as_deref()
}

/// A chain on the loopback interface, ended with the value.
pub(crate) struct Chain {
    process: Child,
    pub(crate) url: String,
    agent: ureq::Agent,
}

impl Chain {
    /// Starts one; `None` where there is no anvil. Ports are the system's choice.
    pub(crate) fn start(args: &[&str]) -> Option<Self> {
        let mut command = Command::new(anvil()?);
        command.args(["--host", "127.0.0.1", "--port", "0", "--slots-in-an-epoch", "16"]).args(args);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("anvil starts");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(lines.read_line(&mut line).expect("text") > 0, "anvil ended before it listened");
            if let Some(address) = line.trim().strip_prefix("Listening on ") {
                break address.to_owned();
            }
        };
        // Whoever does not read its log stops it.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        assert!(address.starts_with("127.0.0.1:"), "it listens on {address}");
        let url = format!("http://{address}");
        Some(Self { process, url, agent: ureq::Agent::new_with_defaults() })
    }

    /// Asks it something that only a test chain does.
    pub(crate) fn rpc(&self, method: &str, params: &Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let post = self.agent.post(&self.url).header("content-type", "application/json");
        let text = post.send(request.to_string()).expect("an answer").body_mut().read_to_string().expect("text");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        assert!(answer["error"].is_null(), "{method} {params}: {answer}");
        answer["result"].clone()
    }

    pub(crate) fn mine(&self, blocks: u64) {
        self.rpc("anvil_mine", &json!([blocks]));
    }

    /// Replaces the newest blocks by as many others; `again` says which transactions are in which of them.
    pub(crate) fn reorganise(&self, depth: u64, again: &[(&[u8], u64)]) {
        let pairs: Vec<Value> =
            again.iter().map(|(raw, place)| json!([tidegate_anchor::hexed::text(raw), place])).collect();
        self.rpc("anvil_reorg", &json!([depth, pairs]));
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Stands between a client and a chain, and can be cut.
pub(crate) struct Line {
    pub(crate) url: String,
    cut: Arc<AtomicBool>,
}

impl Line {
    pub(crate) fn to(chain: &Chain) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (cut, to) = (Arc::new(AtomicBool::new(false)), chain.url.replace("http://", ""));
        let seen = cut.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(&to) else { continue };
                for (from, into) in [(&near, &far), (&far, &near)] {
                    let (from, into) = (from.try_clone().expect("a handle"), into.try_clone().expect("a handle"));
                    let cut = seen.clone();
                    std::thread::spawn(move || carry(from, into, &cut));
                }
            }
        });
        Self { url, cut }
    }

    pub(crate) fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut into: TcpStream, cut: &AtomicBool) {
    let mut bytes = [0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if cut.load(Ordering::SeqCst) || into.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = into.shutdown(std::net::Shutdown::Both);
}

/// A log in a folder, with its key beside it as the engine puts it there.
pub(crate) struct Kept {
    pub(crate) folder: PathBuf,
    pub(crate) signer: Signer,
}

impl Kept {
    pub(crate) fn new(at: &Path) -> Self {
        let signer = Signer::generate("desk.example/audit").expect("a name");
        let log = Self { folder: at.join("audit"), signer };
        private(&log.folder.with_extension("key"), &log.signer.secret());
        log
    }

    fn signer(&self) -> Signer {
        Signer::of_text(&self.signer.secret()).expect("its own key")
    }

    /// Appends entries and signs a checkpoint over them.
    pub(crate) fn grow(&self, entries: u64) {
        let (mut log, _) = Log::open(&self.folder, self.signer(), Settings::default()).expect("a log");
        for index in 0..entries {
            let body = json!({ "n": index }).to_string();
            log.append(&Entry::new(Kind::Session, 1, body.as_bytes())).expect("room");
        }
        log.close().expect("room");
    }

    /// The log open for writing, as a running engine has it.
    pub(crate) fn hold(&self) -> Log {
        Log::open(&self.folder, self.signer(), Settings::default()).expect("a log").0
    }

    pub(crate) fn archive(&self) -> tidegate_record::log::Archive {
        tidegate_record::log::Archive::open(&self.folder, &[self.signer.verifier().clone()]).expect("a log")
    }
}

/// Writes a file that is its owner's alone.
pub(crate) fn private(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::File::options().create_new(true).write(true).mode(0o600).open(path).expect("a new file");
    file.write_all(text.as_bytes()).expect("room");
}
