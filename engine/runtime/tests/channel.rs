//! The control channel: who may talk, what is refused, and what an observer can tell.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidegate_guard::ledger::Account;
use tidegate_runtime::vmsp::channel::{ChannelClient, ChannelPlan, ChannelServer, keys};
use tidegate_runtime::vmsp::{Host, Request, VmspPlan};
use tidegate_wire::Scale;
use tidegate_wire::ledger::Name;

const PACE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(10);

fn plan(keys: &Path, peers: &[&str]) -> ChannelPlan {
    ChannelPlan {
        listen: "127.0.0.1:0".parse().expect("an address"),
        keys: keys.to_owned(),
        name: "ledger".into(),
        peers: peers.iter().map(|name| (*name).to_owned()).collect(),
        pace: PACE,
    }
}

fn made(folder: &Path, names: &[&str]) {
    keys::make(folder, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).expect("keys");
}

fn echo(plan: &ChannelPlan) -> ChannelServer {
    ChannelServer::start(plan, |peer, message| [peer.as_bytes(), b":", message].concat()).expect("a server")
}

#[test]
fn named_peers_talk_and_others_do_not() {
    let folder = tempfile::tempdir().expect("a folder");
    made(folder.path(), &["ledger", "desk", "guest"]);
    let server = echo(&plan(folder.path(), &["desk"]));
    let connect = |folder: &Path, who: (&str, &str)| ChannelClient::connect(server.address(), folder, who, PACE);
    let mut desk = connect(folder.path(), ("desk", "ledger")).expect("a peer");
    let long = vec![b'x'; 10_000];
    for message in [&b"hello"[..], b"", &long] {
        let answer = desk.ask(message.to_vec(), PATIENCE).expect("an answer");
        assert_eq!(answer.bytes(), [b"desk:", message].concat());
    }
    // Of the same authority, but not named; named, but not who was asked for; of another authority.
    let guest = connect(folder.path(), ("guest", "ledger")).and_then(|mut guest| guest.ask(b"hi".to_vec(), PATIENCE));
    assert!(guest.is_err(), "{guest:?}");
    let error = connect(folder.path(), ("desk", "guest")).map(drop).expect_err("the host is another").to_string();
    assert!(error.contains("certificate"), "{error}");
    let other = tempfile::tempdir().expect("a folder");
    made(other.path(), &["desk"]);
    assert!(connect(other.path(), ("desk", "ledger")).is_err());
    let error = keys::make(folder.path(), &["desk".into()]).expect_err("nothing is replaced").to_string();
    assert!(error.contains("authority.pem"), "{error}");
    assert!(desk.ask(b"still".to_vec(), PATIENCE).is_ok(), "others do not disturb");
}

/// Older versions and clients without a certificate get nowhere; what was recorded cannot be played back.
#[test]
fn only_tls_13_with_certificates_and_no_replay() {
    let folder = tempfile::tempdir().expect("a folder");
    made(folder.path(), &["ledger", "desk"]);
    let server = echo(&plan(folder.path(), &["desk"]));
    let tap = Tap::start(server.address());
    let mut desk = ChannelClient::connect(tap.address, folder.path(), ("desk", "ledger"), PACE).expect("a peer");
    desk.ask(b"secret".to_vec(), PATIENCE).expect("an answer");
    drop(desk);
    let sent = tap.bytes(UP);
    assert!(sent.len() > 1_000 && !sent.windows(6).any(|window| window == b"secret"), "it is sealed");
    // All that a client sent, again: a new handshake has new keys.
    let mut socket = TcpStream::connect(server.address()).expect("a connection");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    let _ = socket.write_all(&sent);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert!(answer.len() < 4_000, "no frame came back: {}", answer.len());
    // A hello of TLS 1.2 (its body does not matter: there is no version that both know).
    let mut socket = TcpStream::connect(server.address()).expect("a connection");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut hello = vec![22, 3, 1, 0, 47, 1, 0, 0, 43, 3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 4, 0xc0, 0x2f, 0, 0xff, 1, 0]);
    socket.write_all(&hello).expect("sent");
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert_eq!(answer.first().copied().unwrap_or(21), 21, "an alert or nothing");
}

/// From the client, and to it.
const UP: usize = 0;
const DOWN: usize = 1;

/// Sizes and times of what passes, and the bytes, in each direction.
type Seen = Arc<Mutex<[(Vec<(Instant, usize)>, Vec<u8>); 2]>>;

/// Somebody on the wire: passes everything on and writes down when and how much.
struct Tap {
    address: SocketAddr,
    seen: Seen,
    over: Arc<AtomicBool>,
}

impl Tap {
    fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (seen, over) = (Seen::default(), Arc::new(AtomicBool::new(false)));
        let (theirs, ended) = (seen.clone(), over.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let server = TcpStream::connect(to).expect("a connection");
                for (from, to, way) in [(&client, &server, UP), (&server, &client, DOWN)] {
                    let (mut from, mut to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                    to.set_nodelay(true).expect("set");
                    let seen = theirs.clone();
                    std::thread::spawn(move || {
                        let mut buffer = vec![0; 64 << 10];
                        while let Ok(read @ 1..) = from.read(&mut buffer) {
                            let now = Instant::now();
                            if let Ok(mut seen) = seen.lock() {
                                seen[way].0.push((now, read));
                                seen[way].1.extend_from_slice(&buffer[..read]);
                            }
                            if to.write_all(&buffer[..read]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Self { address, seen, over }
    }

    fn bytes(&self, way: usize) -> Vec<u8> {
        self.seen.lock().expect("not poisoned")[way].1.clone()
    }

    fn times(&self, way: usize) -> Vec<(Instant, usize)> {
        self.seen.lock().expect("not poisoned")[way].0.clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

/// Idle and busy take turns of this length; an observer is given windows that lie within one.
const TURN: Duration = Duration::from_millis(250);
/// Left out at the beginning of a turn, so that none looks into the one before.
const SKIP: Duration = Duration::from_millis(30);
const FEATURES: usize = 12;

/// What an observer makes of a window, each way: count, bytes, and of the gaps the mean, spread, largest and smallest.
fn features(seen: &[Vec<(Instant, usize)>; 2], from: Instant) -> [f64; FEATURES] {
    let mut all = [0.0; FEATURES];
    for (way, seen) in seen.iter().enumerate() {
        let inside = |at: &Instant| (from + SKIP..from + TURN).contains(at);
        let window: Vec<&(Instant, usize)> = seen.iter().filter(|(at, _)| inside(at)).collect();
        let gaps: Vec<f64> = window.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_secs_f64() * 1e3).collect();
        let count = gaps.len().max(1) as f64;
        let mean = gaps.iter().sum::<f64>() / count;
        let spread = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count).sqrt();
        let bytes: usize = window.iter().map(|(_, bytes)| bytes).sum();
        let (most, least) = gaps.iter().fold((0f64, f64::MAX), |(most, least), gap| (most.max(*gap), least.min(*gap)));
        let least = if gaps.is_empty() { 0.0 } else { least };
        all[way * 6..way * 6 + 6].copy_from_slice(&[window.len() as f64, bytes as f64, mean, spread, most, least]);
    }
    all
}

/// Logistic regression on standardised features, trained by plain gradient descent on all folds but one, judged on that
/// one: the part of the windows that it names rightly.
fn accuracy(windows: &[[f64; FEATURES]], busy: &[bool]) -> f64 {
    const FOLDS: usize = 7;
    let n = windows.len() as f64;
    let mean: [f64; FEATURES] = std::array::from_fn(|f| windows.iter().map(|window| window[f]).sum::<f64>() / n);
    let spread: [f64; FEATURES] = std::array::from_fn(|f| {
        let variance = windows.iter().map(|window| (window[f] - mean[f]).powi(2)).sum::<f64>() / n;
        variance.sqrt().max(1e-9)
    });
    let scaled: Vec<[f64; FEATURES]> =
        windows.iter().map(|window| std::array::from_fn(|f| (window[f] - mean[f]) / spread[f])).collect();
    let score = |weights: &[f64; FEATURES], bias: f64, x: &[f64; FEATURES]| {
        bias + weights.iter().zip(x).map(|(weight, x)| weight * x).sum::<f64>()
    };
    let mut right = 0;
    // Folds of neighbouring pairs: each has as many idle windows as busy ones.
    let fold = |index: usize| index / 2 % FOLDS;
    for out in 0..FOLDS {
        let (mut weights, mut bias) = ([0.0; FEATURES], 0.0);
        for _ in 0..60 {
            for index in (0..scaled.len()).filter(|index| fold(*index) != out) {
                let wanted = f64::from(u8::from(busy[index]));
                let error = wanted - 1.0 / (1.0 + (-score(&weights, bias, &scaled[index])).exp());
                weights
                    .iter_mut()
                    .zip(&scaled[index])
                    .for_each(|(weight, x)| *weight += 0.05 * (error * x - 0.01 * *weight));
                bias += 0.05 * error;
            }
        }
        let judged = (0..scaled.len()).filter(|index| fold(*index) == out);
        right += judged.filter(|index| (score(&weights, bias, &scaled[*index]) > 0.0) == busy[*index]).count();
    }
    right as f64 / n
}

/// How often a classifier does at least as well on labels that mean nothing.
fn p_value(windows: &[[f64; FEATURES]], busy: &[bool], reached: f64) -> f64 {
    const SHUFFLES: usize = 400;
    let (mut random, mut as_good) = (88_172_645_463_325_252_u64, 0);
    for _ in 0..SHUFFLES {
        // Within pairs, as the turns were.
        let mut labels = busy.to_vec();
        for pair in labels.chunks_exact_mut(2) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if random >> 40 & 1 == 1 {
                pair.swap(0, 1);
            }
        }
        as_good += usize::from(accuracy(windows, &labels) >= reached);
    }
    (as_good + 1) as f64 / (SHUFFLES + 1) as f64
}

/// Runs turns and gives the windows with what was going on. Which of a pair is busy is drawn.
fn observe(tap: &Tap, turns: usize, mut act: impl FnMut(Instant)) -> (Vec<[f64; FEATURES]>, Vec<bool>) {
    let (mut begun, mut busy, mut random) = (Vec::new(), Vec::new(), 0x9e37_79b9_7f4a_7c15_u64);
    for turn in 0..turns {
        if turn % 2 == 0 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            busy.push(random >> 60 & 1 == 1);
        } else {
            busy.push(!busy[turn - 1]);
        }
        let from = Instant::now();
        begun.push(from);
        if busy[turn] {
            act(from + TURN);
        }
        std::thread::sleep((from + TURN).saturating_duration_since(Instant::now()));
    }
    let seen = [tap.times(UP), tap.times(DOWN)];
    (begun.into_iter().map(|from| features(&seen, from)).collect(), busy)
}

/// A ledger that locks and unlocks over the channel looks like one that does nothing; over a naive connection the same
/// observer tells them apart, so it is not blind.
#[test]
fn an_observer_does_no_better_than_chance() {
    let folder = tempfile::tempdir().expect("a folder");
    made(&folder.path().join("keys"), &["ledger", "desk"]);
    let host = Host::start(&ledger(folder.path())).expect("a ledger");
    let client = host.client();
    client.ask(Request::Deposit { amount: "1000".into(), key: None }).expect("a deposit");
    let answer = move |_: &str, message: &[u8]| {
        let request: Request = serde_json::from_slice(message).expect("a request");
        serde_json::to_vec(&client.ask(request).expect("done")).expect("JSON")
    };
    let server = ChannelServer::start(&plan(&folder.path().join("keys"), &["desk"]), answer).expect("a server");
    let tap = Tap::start(server.address());
    let keys = folder.path().join("keys");
    let mut desk = ChannelClient::connect(tap.address, &keys, ("desk", "ledger"), PACE).expect("a peer");
    let (windows, busy) = observe(&tap, 56, |until| {
        while Instant::now() + 4 * PACE < until {
            let lock = Request::Lock { amount: "5".into(), symbol: "BTCUSDT".into(), key: None };
            let ask = |desk: &mut ChannelClient, request: &Request| -> serde_json::Value {
                let text = serde_json::to_vec(request).expect("JSON");
                serde_json::from_slice(desk.ask(text, PATIENCE).expect("an answer").bytes()).expect("JSON")
            };
            let id = ask(&mut desk, &lock)["id"].as_str().expect("a lock").to_owned();
            ask(&mut desk, &Request::Unlock { id, key: None });
        }
    });
    let sizes: std::collections::BTreeSet<usize> = tap.times(DOWN).iter().skip(20).map(|(_, bytes)| *bytes).collect();
    let reached = accuracy(&windows, &busy);
    let p = p_value(&windows, &busy, reached);
    let naive = naive_control();
    println!("channel: accuracy {reached:.3}, p {p:.3}, sizes {sizes:?}; naive connection: accuracy {naive:.3}");
    assert!(naive > 0.9, "the observer is not blind: {naive}");
    assert!(p > 0.005, "an observer tells idle from busy: accuracy {reached}, p {p}");
    assert!(sizes.iter().all(|bytes| bytes % sizes.first().expect("some") == 0), "whole frames only: {sizes:?}");
}

/// The same turns over a connection that says something only when there is something to say.
fn naive_control() -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let tap = Tap::start(listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut buffer = [0; 512];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..read]).is_err() {
                return;
            }
        }
    });
    let mut stream = TcpStream::connect(tap.address).expect("a connection");
    let (windows, busy) = observe(&tap, 28, |until| {
        let mut buffer = [0; 512];
        while Instant::now() + 4 * PACE < until {
            stream.write_all(b"lock 5 BTCUSDT").expect("sent");
            let _ = stream.read(&mut buffer).expect("an answer");
            std::thread::sleep(PACE);
        }
    });
    accuracy(&windows, &busy)
}

fn ledger(folder: &Path) -> VmspPlan {
    let name = |text| Name::new(text).expect("a name");
    let account = Account { owner: name("main"), asset: name("USDT") };
    VmspPlan { drift: false, ..VmspPlan::new(folder.join("vmsp"), account, Scale::saturating(6)) }
}
