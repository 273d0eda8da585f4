//! What live tests share: the simulated exchange beside a real engine process.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_feed::Feed;
use tidegate_feed::capture::{Block, CaptureFile, Entries, EntryKind};
use tidegate_feed::frame::{FrameMeta, FrameMut, PADDING};
use tidegate_simex::exchange::{Category, Exchange, ExchangeConfig, Venue as At};
use tidegate_wire::clock::Clock;
use tidegate_wire::event::{
    Bar, BookQuality, Depth, EventSink, FLAG_SPARE, Header, Level, Mark, OptionMark, Quote, Status, Trade,
};
use tidegate_wire::{InstrumentId, Registry, Venue};

/// A market that an engine reads from the simulated exchange.
#[derive(Clone, Debug)]
pub struct Market {
    /// The engine's name of it.
    pub name: &'static str,
    /// Where it is simulated.
    pub at: At,
    /// Symbols.
    pub symbols: &'static [&'static str],
    /// Connections a stream.
    pub redundancy: usize,
    /// Read the account too.
    pub private: bool,
}

/// Every protocol, with its usual symbols.
pub const MARKETS: [Market; 9] = [
    market("binance-spot", At::BinanceSpot, &["BTCUSDT", "ETHUSDT"]),
    market("binance-usdm", At::BinanceUsdm, &["BTCUSDT", "ETHUSDT"]),
    market("binance-coinm", At::BinanceCoinm, &["BTCUSD_PERP"]),
    market("bybit", At::Bybit, &["BTCUSDT"]),
    market("bybit-spot", At::Bybit, &["BTCUSDT"]),
    market("okx", At::Okx, &["BTC-USDT-SWAP", "BTC-USDT"]),
    market("bitget-usdt", At::Bitget, &["BTCUSDT"]),
    market("bitget-spot", At::Bitget, &["BTCUSDT"]),
    market("deribit", At::Deribit, &["BTC-PERPETUAL"]),
];

const fn market(name: &'static str, at: At, symbols: &'static [&'static str]) -> Market {
    Market { name, at, symbols, redundancy: 1, private: false }
}

/// An exchange and a directory for an engine that reads it.
pub struct Stage {
    /// The exchange.
    pub exchange: Exchange,
    /// Everything is in here.
    pub dir: tempfile::TempDir,
    markets: Vec<Market>,
}

impl Stage {
    /// Starts the exchange.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn new(config: ExchangeConfig, markets: Vec<Market>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let exchange = Exchange::start(config).expect("an exchange");
        std::fs::write(dir.path().join("ca.pem"), exchange.ca_pem()).expect("a file");
        for secret in ["key", "secret", "passphrase"] {
            std::fs::write(dir.path().join(secret), "test\n").expect("a file");
        }
        Self { exchange, dir, markets }
    }

    /// The engine's output directory.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// Writes a configuration; `more` comes first, `of_each` belongs to every venue.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn config(&self, more: &str, of_each: &str) -> PathBuf {
        let dir = self.dir.path().display();
        let mut text = format!(
            "{more}\n[models]\nmode = \"off\"\n[output]\ndirectory = \"{dir}/run\"\n[capture]\ndirectory = \"{dir}/capture\"\n"
        );
        for Market { name, at, symbols, redundancy, private } in &self.markets {
            let address = &self.exchange.addresses().venues[at];
            text += &format!(
                "[[venues]]\nname = \"{name}\"\nsymbols = {symbols:?}\nredundancy = {redundancy}\nstream = \"{}\"\n\
                 rest = \"{}\"\nauthorities = \"{dir}/ca.pem\"\n{of_each}\n",
                address.wss, address.https
            );
            if *private {
                let file = |name: &str| format!("{name} = {{ file = \"{dir}/{name}\" }}");
                let (key, secret, passphrase) = (file("key"), file("secret"), file("passphrase"));
                text += &format!("[venues.credentials]\n{key}\n{secret}\n{passphrase}\n");
            }
        }
        let path = self.dir.path().join("tidegate.toml");
        std::fs::write(&path, text).expect("a configuration");
        path
    }

    /// Starts an engine on a configuration.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn engine(&self, config: &Path) -> Engine {
        let mut command = Command::new(super::binary());
        let args = ["run", "--format", "json", "--log-format", "json", "--config"];
        command.args(args).arg(config).env("NO_COLOR", "1").current_dir(self.dir.path());
        let log = std::fs::File::create(self.dir.path().join("log.jsonl")).expect("a file");
        let child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("tidegate starts");
        Engine { child: Some(child), run: self.run_dir(), log: self.dir.path().join("log.jsonl") }
    }

    /// What the engine said on stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log.jsonl")).unwrap_or_default()
    }

    /// Lines of one of the engine's output files.
    pub fn lines(&self, name: &str) -> Vec<Value> {
        let Ok(file) = std::fs::File::open(self.run_dir().join(name)) else { return Vec::new() };
        BufReader::new(file).lines().map_while(Result::ok).filter_map(|l| serde_json::from_str(&l).ok()).collect()
    }

    /// Capture files in order.
    pub fn captures(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.path().join("capture")).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
        files.sort();
        files
    }
}

/// A running engine; killed if it is dropped.
pub struct Engine {
    child: Option<Child>,
    run: PathBuf,
    log: PathBuf,
}

impl Engine {
    /// The engine's process.
    pub fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// What `tidegate feed list` says; `None` while the engine does not answer.
    pub fn feeds(&self) -> Option<Value> {
        let run = self.run.display().to_string();
        let output = super::tidegate(&["feed", "list", "--engine", &run, "--format", "json"]);
        let value: Value = serde_json::from_slice(&output.stdout).ok()?;
        output.status.success().then(|| value["feeds"].clone())
    }

    /// Waits until every connection is in `state`.
    ///
    /// # Panics
    /// When they are not in time.
    pub fn until(&self, state: &str, patience: Duration) -> Value {
        let begun = Instant::now();
        loop {
            let feeds = self.feeds().unwrap_or_default();
            let links = feeds["links"].as_array().cloned().unwrap_or_default();
            if !links.is_empty() && links.iter().all(|link| link["state"] == state) {
                return feeds;
            }
            if begun.elapsed() >= patience {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                let last: Vec<_> = log.lines().rev().take(40).collect();
                panic!("not all {state} within {patience:?}: {feeds:#}\n{}", last.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Ends the engine as an operator would, and gives its summary.
    ///
    /// # Panics
    /// When it does not end, or ends badly.
    pub fn finish(mut self) -> Value {
        let child = self.child.take().expect("a running engine");
        // SAFETY: a signal to a child that has not been waited for.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        let output = child.wait_with_output().expect("an end");
        assert_eq!(output.status.code(), Some(130), "ended by a signal");
        serde_json::from_slice(&output.stdout).expect("a summary")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// One side of a book by price mantissa.
pub type Side = BTreeMap<i64, i64>;

/// A book as it is rebuilt from a capture.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// Bids and asks.
    pub sides: (Side, Side),
    /// Its quality.
    pub quality: BookQuality,
}

#[derive(Debug, Default)]
struct Books(Vec<Book>);

fn apply(side: &mut Side, levels: &[Level]) {
    for level in levels {
        match level.qty.raw() {
            0 => side.remove(&level.price.raw()),
            qty => side.insert(level.price.raw(), qty),
        };
    }
}

impl EventSink for Books {
    fn delta(&mut self, header: &Header, depth: Depth<'_>) {
        let (bids, asks) = &mut self.0[header.instrument.index()].sides;
        apply(bids, depth.bids);
        apply(asks, depth.asks);
    }

    fn snapshot(&mut self, header: &Header, depth: Depth<'_>) {
        if header.flags & FLAG_SPARE == 0 {
            self.0[header.instrument.index()].sides = Default::default();
            self.delta(header, depth);
        }
    }

    fn quote(&mut self, _: &Header, _: &Quote) {}
    fn trade(&mut self, _: &Header, _: &Trade) {}
    fn mark(&mut self, _: &Header, _: &Mark) {}
    fn option(&mut self, _: &Header, _: &OptionMark) {}
    fn bar(&mut self, _: &Header, _: &Bar) {}

    fn status(&mut self, header: &Header, status: &Status) {
        let quality = BookQuality::of_word(status.quality);
        self.0[header.instrument.index()].quality = quality;
    }

    fn heartbeat(&mut self, _: &Header) {}
}

/// Rebuilds the books of captures with nothing but the feed and two maps each.
///
/// # Panics
/// When a capture cannot be read.
pub fn rebuild(captures: &[PathBuf]) -> (Registry, Vec<Book>) {
    let mut registry = Registry::new();
    let first = CaptureFile::open(&captures[0]).expect("a capture");
    for instrument in &first.header().instruments {
        registry.add(instrument.clone()).expect("a good instrument");
    }
    let mut feed = Feed::new(&registry, Clock::monotonic()).expect("instruments");
    let mut books = Books(vec![Book::default(); registry.len()]);
    let (mut block, mut bytes) = (Block::default(), Vec::new());
    for path in captures {
        let mut file = CaptureFile::open(path).expect("a capture");
        while file.next(&mut block).expect("a whole block") {
            for entry in Entries::new(&block.bytes) {
                match entry.kind {
                    EntryKind::Frame => {
                        let (venue, source, hint) = (entry.venue, entry.source, entry.hint);
                        let meta = FrameMeta { recv_ns: entry.recv_ns, arrive_ticks: 0, venue, source, hint };
                        bytes.clear();
                        bytes.extend_from_slice(entry.bytes);
                        bytes.resize(entry.bytes.len() + PADDING, 0);
                        let frame = FrameMut::new(&mut bytes, entry.bytes.len()).expect("padding");
                        feed.frame(&meta, frame, &mut books);
                    }
                    EntryKind::Beat => feed.heartbeat(entry.recv_ns, 0, &mut books),
                    EntryKind::Resync => feed.resync(entry.hint, &mut books),
                    EntryKind::Lost => panic!("the capture lost frames"),
                }
            }
        }
    }
    (registry, books.0)
}

/// The simulated instrument behind an engine's one.
pub fn simulated(venue: Venue) -> Option<(At, Option<Category>)> {
    Some(match venue {
        Venue::BinanceSpot => (At::BinanceSpot, None),
        Venue::BinanceUsdm => (At::BinanceUsdm, None),
        Venue::BinanceCoinm => (At::BinanceCoinm, None),
        Venue::Bybit => (At::Bybit, Some(Category::Linear)),
        Venue::BybitSpot => (At::Bybit, Some(Category::Spot)),
        Venue::BybitInverse => (At::Bybit, Some(Category::Inverse)),
        Venue::Okx => (At::Okx, None),
        Venue::BitgetSpot => (At::Bitget, Some(Category::Spot)),
        Venue::BitgetUsdt => (At::Bitget, Some(Category::Linear)),
        Venue::Deribit => (At::Deribit, None),
        _ => return None,
    })
}

/// Compares a rebuilt book with the exchange's, `levels` a side; the first difference, or `None`.
///
/// # Panics
/// When the exchange does not have the instrument.
pub fn differs(
    exchange: &Exchange,
    registry: &Registry,
    id: InstrumentId,
    book: &Book,
    levels: usize,
) -> Option<String> {
    let instrument = registry.get(id)?;
    let (venue, category) = simulated(instrument.venue)?;
    let truth = exchange.book(venue, &instrument.symbol, category).expect("a simulated instrument");
    let read = |text: &str, scale| tidegate_wire::decimal::parse(text.as_bytes(), scale).expect("a number");
    let side = |rows: &[[String; 2]]| -> Vec<(i64, i64)> {
        let rows = rows.iter().take(levels);
        rows.map(|[p, q]| (read(p, instrument.price_scale), read(q, instrument.qty_scale))).collect()
    };
    let pairs = |levels: &mut dyn Iterator<Item = (&i64, &i64)>| levels.map(|(p, q)| (*p, *q)).collect::<Vec<_>>();
    let bids = pairs(&mut book.sides.0.iter().rev().take(levels));
    let asks = pairs(&mut book.sides.1.iter().take(levels));
    for (name, ours, theirs) in [("bids", bids, side(&truth.bids)), ("asks", asks, side(&truth.asks))] {
        if let Some(at) = (0..ours.len().max(theirs.len())).find(|at| ours.get(*at) != theirs.get(*at)) {
            let (ours, theirs) = (ours.get(at), theirs.get(at));
            return Some(format!("{}: {name} level {at}: {ours:?} instead of {theirs:?}", instrument.name()));
        }
    }
    None
}
