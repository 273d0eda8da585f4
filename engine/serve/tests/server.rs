//! The server over real sockets: who gets what, and what becomes of those who misbehave.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_serve::access::{Access, Level, Token};
use tidegate_serve::metrics::Metrics;
use tidegate_serve::routes::ROUTES;
use tidegate_serve::tls::Certified;
use tidegate_serve::{Hub, Limits, Server, Settings, Steering, Topic};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

const CONTROL: &str = "control-token-of-32-characters-or-more";
const VIEW: &str = "view-token-of-32-characters-or-more-too";

/// Counts what it is asked for.
#[derive(Default)]
struct Asked(AtomicUsize);

impl Steering for Asked {
    fn carry_out(&self, request: Value, who: &str) -> Value {
        self.0.fetch_add(1, Ordering::Relaxed);
        json!({ "ok": request["do"] == "something", "who": who })
    }

    fn stops(&self, _: &Value) -> bool {
        false
    }

    fn ready(&self) -> Result<(), Vec<String>> {
        Ok(())
    }
}

struct Running {
    server: Server,
    hub: Hub,
    asked: Arc<Asked>,
}

fn limits() -> Limits {
    let (handshake, patience) = (Duration::from_millis(600), Duration::from_millis(800));
    Limits {
        handshake,
        patience,
        ping: Duration::from_millis(500),
        burst: 50.0,
        messages_per_s: 50.0,
        ..Limits::default()
    }
}

fn start(open: bool, tls: Option<Certified>, limits: Limits) -> Running {
    let address: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let access = Access {
        control: Token::of(CONTROL),
        view: Some(Token::of(VIEW)),
        open,
        hosts: Vec::new(),
        origins: Vec::new(),
        address,
    };
    let (hub, asked) = (Hub::new(), Arc::new(Asked::default()));
    let settings = Settings { address, access, tls, limits, cores_taken: Vec::new(), reports: None };
    let server = Server::start(settings, hub.clone(), Metrics::default(), asked.clone()).expect("a server");
    Running { server, hub, asked }
}

/// Sends a request as bytes and gives status and body.
fn http(at: SocketAddr, method: &str, path: &str, token: Option<&str>, more: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(at).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    let bearer = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let body = if method == "POST" { r#"{"do":"something"}"# } else { "" };
    let host = if more.contains("Host:") { String::new() } else { format!("Host: {at}\r\n") };
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\n{host}{bearer}{more}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes()).expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned()))
}

fn path(route: &str) -> String {
    let path = route.replace("{topic}", if route.contains("events") { "breaker" } else { "price" });
    path.replace("{key}", "X").replace("{name}", "main.js").replace("{number}", "1")
}

#[test]
fn nobody_changes_anything_without_the_token_whatever_the_route_and_method() {
    let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "PROPFIND"];
    for open in [true, false] {
        let running = start(open, None, limits());
        let at = running.server.address();
        for (own, route, level) in ROUTES {
            for method in methods {
                for token in [None, Some("wrong"), Some(VIEW)] {
                    let (status, body) = http(at, method, &path(route), token, "");
                    let sees = open || token == Some(VIEW);
                    if method == *own && *level == Level::View {
                        assert_eq!(status == 401, !sees, "{method} {route} {token:?}: {status} {body}");
                    }
                    if *level == Level::Control && method == *own {
                        assert_eq!(status, 401, "{method} {route} {token:?}: {body}");
                    }
                    if method != *own && method != "HEAD" && *route != "/ws" {
                        assert!(!(200..300).contains(&status), "{method} {route} {token:?}: {status}");
                    }
                }
            }
        }
        assert_eq!(running.asked.0.load(Ordering::Relaxed), 0);
        let (status, body) = http(at, "POST", "/api/do", Some(CONTROL), "");
        assert_eq!((status, running.asked.0.load(Ordering::Relaxed)), (200, 1), "{body}");
        // Another site's page, or a name that points here, gets nothing, token or not.
        for more in ["Origin: https://evil.example\r\n", "Origin: null\r\n", "Host: evil.example\r\n"] {
            assert_eq!(http(at, "POST", "/api/do", Some(CONTROL), more).0, 403, "{more}");
            assert_eq!(http(at, "GET", "/api/state", Some(CONTROL), more).0, 403, "{more}");
        }
        assert_eq!(running.asked.0.load(Ordering::Relaxed), 1);
        assert_eq!(http(at, "GET", "/healthz", None, "Host: balancer.example\r\n").0, 200);
    }
}

#[test]
fn what_the_page_loads_is_there() {
    let running = start(true, None, limits());
    let at = running.server.address();
    let (status, page) = http(at, "GET", "/", None, "");
    assert_eq!(status, 200);
    let names = page.split('"').filter(|part| part.starts_with("/assets/")).collect::<Vec<_>>();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        assert_eq!(http(at, "GET", name, None, "").0, 200, "{name}");
    }
    // Modules load each other by name.
    for script in ["main.js", "views.js", "controls.js", "charts.js", "link.js", "heatmap.js", "format.js"] {
        let (status, text) = http(at, "GET", &format!("/assets/{script}"), None, "");
        assert_eq!(status, 200, "{script}");
        for import in text.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert_eq!(http(at, "GET", &format!("/assets/{import}"), None, "").0, 200, "{script}: {import}");
        }
    }
    for gone in ["/assets/none.js", "/nothing", "/api/state/breaker", "/api/events/price", "/api/state/price/X"] {
        assert_eq!(http(at, "GET", gone, None, "").0, 404, "{gone}");
    }
}

type Client = WebSocket<TcpStream>;

fn connect(at: SocketAddr, token: Option<&str>) -> Client {
    let stream = TcpStream::connect(at).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    let mut request = format!("ws://{at}/ws").into_client_request().expect("a request");
    if let Some(token) = token {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    }
    let (mut client, _) = tungstenite::client(request, stream).expect("upgraded");
    assert!(next(&mut client).expect("a greeting").get("hello").is_some());
    client
}

/// The next JSON message but for clocks, which come every second; the close code when it is over.
fn next(client: &mut Client) -> Result<Value, Option<CloseCode>> {
    loop {
        match client.read() {
            Ok(Message::Text(text)) if text.starts_with("{\"clock\"") => {}
            Ok(Message::Text(text)) => return Ok(serde_json::from_str(&text).expect("JSON")),
            Ok(Message::Close(frame)) => return Err(frame.map(|frame| frame.code)),
            Ok(_) => {}
            Err(_) => return Err(None),
        }
    }
}

fn say(client: &mut Client, what: &Value) {
    client.send(Message::text(what.to_string())).expect("sent");
}

/// Reads until the close code comes.
fn closed(client: &mut Client) -> Option<CloseCode> {
    loop {
        if let Err(code) = next(client) {
            return code;
        }
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn plain_clients_tell_each_other_prices() {
    let running = start(true, None, limits());
    let at = running.server.address();
    let mut listeners = [connect(at, None), connect(at, None)];
    let mut teller = connect(at, None);
    say(&mut teller, &json!({ "btc_price": 83964.99 }));
    for client in listeners.iter_mut().chain([&mut teller]) {
        assert_eq!(next(client), Ok(json!({ "btc_price": 83964.99 })), "everybody, the sender too");
    }
    // Those that connect, send one message and close are normal.
    for n in 1..=30 {
        let mut brief = connect(at, None);
        say(&mut brief, &json!({ "eth_price": n }));
        brief.close(None).expect("closed");
    }
    for client in &mut listeners {
        let heard: Vec<Value> = (0..30).map(|_| next(client).expect("a price")["eth_price"].clone()).collect();
        assert_eq!(heard.len(), 30);
        let mut sorted: Vec<i64> = heard.iter().filter_map(Value::as_i64).collect();
        sorted.sort_unstable();
        assert_eq!(sorted, (1..=30).collect::<Vec<_>>(), "none is missing");
    }
    until("brief clients are gone", || running.server.counts().streams.load(Ordering::Relaxed) == 3);
}

#[test]
fn state_is_latest_only_and_logs_have_no_holes() {
    let running = start(true, None, limits());
    let mut client = connect(running.server.address(), None);
    running.hub.tell(Topic::Breaker, Some(1), &json!({ "n": 1 }));
    running.hub.tell(Topic::Breaker, Some(2), &json!({ "n": 2 }));
    running.hub.put(Topic::Price, "A", Some(3), &json!({ "mid": 1 }));
    running.hub.put(Topic::Price, "B", Some(3), &json!({ "mid": 1 }));
    let subscribe =
        json!({ "op": "subscribe", "topics": ["breaker", "price:A"], "every_ms": 20, "after": { "breaker": 0 } });
    say(&mut client, &subscribe);
    let mut heard = Vec::new();
    while heard.len() < 4 {
        heard.push(next(&mut client).expect("news"));
    }
    assert_eq!(heard[0]["subscribed"], json!(["told", "breaker", "price:A"]));
    let numbers = |all: &[Value]| -> Vec<u64> {
        all.iter().filter(|one| one["topic"] == "breaker").filter_map(|one| one["number"].as_u64()).collect()
    };
    assert_eq!(numbers(&heard), [1, 2], "what has happened before, because it was asked for");
    assert!(heard.iter().any(|one| one["topic"] == "price" && one["key"] == "A"));
    for n in 3..=500u64 {
        running.hub.tell(Topic::Breaker, None, &json!({ "n": n }));
        running.hub.put(Topic::Price, "A", None, &json!({ "mid": n }));
    }
    let (mut prices, mut all) = (0, Vec::new());
    while all.last() != Some(&500) {
        let news = next(&mut client).expect("news");
        prices += usize::from(news["topic"] == "price");
        all.extend(news["number"].as_u64());
        assert_ne!(news["key"], "B");
    }
    assert_eq!(all, (3..=500).collect::<Vec<_>>());
    assert!(prices < 50, "{prices}: the newest only");
}

#[test]
fn whoever_asks_for_what_is_gone_is_told_so() {
    let running = start(true, None, limits());
    for n in 0..tidegate_serve::hub::LOG_KEPT as u64 + 100 {
        running.hub.tell(Topic::Threshold, None, &n);
    }
    let mut client = connect(running.server.address(), None);
    say(&mut client, &json!({ "op": "subscribe", "topics": ["threshold"], "after": { "threshold": 40 } }));
    let _subscribed = next(&mut client);
    assert_eq!(next(&mut client), Ok(json!({ "missed": { "topic": "threshold", "from": 41, "to": 100 } })));
    assert_eq!(next(&mut client).expect("news")["number"], 101);
}

#[test]
fn tokens_come_first_where_they_are_asked_for() {
    let running = start(false, None, limits());
    let at = running.server.address();
    running.hub.put(Topic::Price, "A", None, &json!({ "mid": 1 }));
    // By the header, or by the first word.
    let mut header = connect(at, Some(VIEW));
    let mut word = connect(at, None);
    say(&mut word, &json!({ "op": "auth", "token": CONTROL }));
    assert_eq!(next(&mut word).expect("a greeting")["hello"]["may"], "control");
    for client in [&mut header, &mut word] {
        say(client, &json!({ "op": "subscribe", "topics": ["price"] }));
        assert!(next(client).expect("an answer").get("subscribed").is_some());
        assert_eq!(next(client).expect("news")["key"], "A");
    }
    for first in [
        json!({ "op": "auth", "token": "wrong" }),
        json!({ "op": "subscribe", "topics": ["price"] }),
        json!({ "btc_price": 1 }),
    ] {
        let mut stranger = connect(at, None);
        say(&mut stranger, &first);
        assert_eq!(closed(&mut stranger), Some(CloseCode::Policy), "{first}");
    }
    let mut silent = connect(at, None);
    assert_eq!(closed(&mut silent), Some(CloseCode::Policy), "after the time for a first word");
}

#[test]
fn those_who_misbehave_are_dropped_and_counted() {
    let running = start(true, None, limits());
    let (at, counts) = (running.server.address(), running.server.counts());
    let mut binary = connect(at, None);
    binary.send(Message::binary(vec![1, 2, 3])).expect("sent");
    assert_eq!(closed(&mut binary), Some(CloseCode::Unsupported));
    let mut huge = connect(at, None);
    let _ = huge.send(Message::text("x".repeat(40_000)));
    assert!(matches!(closed(&mut huge), Some(CloseCode::Size) | None));
    let mut nonsense = connect(at, None);
    for _ in 0..20 {
        let _ = nonsense.send(Message::text("{\"btc_price\": \"high\"}"));
    }
    assert!(next(&mut nonsense).expect("an error")["error"].as_str().is_some_and(|text| text.contains("btc_price")));
    assert_eq!(closed(&mut nonsense), Some(CloseCode::Policy));
    let mut flood = connect(at, None);
    for n in 0..400 {
        if flood.send(Message::text(format!("{{\"btc_price\": {}}}", n + 1))).is_err() {
            break;
        }
    }
    assert!(matches!(closed(&mut flood), Some(CloseCode::Policy) | None));
    until("floods are counted", || counts.dropped_abusive.load(Ordering::Relaxed) >= 4);
    // Half a request, byte by byte, and nothing at all: both end when their time is over.
    let mut halves = [TcpStream::connect(at).expect("connected"), TcpStream::connect(at).expect("connected")];
    halves[1].write_all(b"GET /ws HTTP/1.1\r\nHost: ").expect("sent");
    for half in &mut halves {
        half.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
        let mut rest = Vec::new();
        let _ = half.read_to_end(&mut rest);
    }
    until("nobody is left", || counts.connections.load(Ordering::Relaxed) == 0);
    let (status, _) = http(at, "GET", "/healthz", None, &format!("X: {}\r\n", "y".repeat(40_000)));
    assert!(!(200..300).contains(&status), "a head that is too long: {status}");
}

#[test]
fn a_client_that_takes_nothing_is_dropped_and_costs_others_nothing() {
    let running = start(true, None, Limits { ping: Duration::from_secs(30), ..limits() });
    let (at, counts) = (running.server.address(), running.server.counts());
    let mut stalled: Vec<Client> = (0..5).map(|_| connect(at, None)).collect();
    let mut healthy = connect(at, None);
    for client in stalled.iter_mut().chain([&mut healthy]) {
        say(client, &json!({ "op": "subscribe", "topics": ["breaker", "alert"] }));
    }
    let _subscribed = next(&mut healthy);
    until("all are subscribed", || running.hub.is_watched(Topic::Alert));
    std::thread::sleep(Duration::from_millis(200));
    let hub = running.hub.clone();
    let text = "x".repeat(4_000);
    let telling = std::thread::spawn(move || {
        for n in 0..6_000u64 {
            hub.tell(Topic::Breaker, None, &json!({ "n": n, "text": text }));
            if n % 20 == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
    let mut numbers = 0;
    while numbers < 6_000 {
        let news = next(&mut healthy).expect("news");
        if let Some(number) = news["number"].as_u64() {
            numbers += 1;
            assert_eq!(number, numbers, "{news}");
        }
    }
    telling.join().expect("no panic");
    until("the stalled ones are gone", || counts.dropped_slow.load(Ordering::Relaxed) == 5);
    until("and their places are free", || counts.streams.load(Ordering::Relaxed) == 1);
}

#[test]
fn the_silent_are_pinged_and_the_dead_are_dropped() {
    let running = start(true, None, limits());
    let (at, counts) = (running.server.address(), running.server.counts());
    let mut alive = connect(at, None);
    // Reads nothing, so that no pong goes out: a half-open connection.
    let dead = connect(at, None);
    alive.get_mut().set_read_timeout(Some(Duration::from_millis(100))).expect("set");
    until("the dead one is dropped", || {
        let _ = alive.read();
        let _ = alive.flush();
        counts.dropped_silent.load(Ordering::Relaxed) == 1
    });
    assert_eq!(counts.streams.load(Ordering::Relaxed), 1);
    drop(dead);
}

#[test]
fn a_full_house_turns_others_away_and_an_ending_server_says_so() {
    let mut running = start(true, None, Limits { clients: 3, ..limits() });
    let at = running.server.address();
    let mut clients: Vec<Client> = (0..3).map(|_| connect(at, None)).collect();
    let mut turned = TcpStream::connect(at).expect("the system's queue takes it");
    turned.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    let mut nothing = Vec::new();
    let _ = turned.write_all(b"GET /healthz HTTP/1.1\r\n\r\n");
    let _ = turned.read_to_end(&mut nothing);
    assert!(nothing.is_empty());
    assert_eq!(running.server.counts().turned_away.load(Ordering::Relaxed), 1);
    drop(clients.pop());
    until("a place is free", || running.server.counts().connections.load(Ordering::Relaxed) == 2);
    assert_eq!(http(at, "GET", "/healthz", None, "").0, 200);
    let begun = Instant::now();
    let ended = std::thread::spawn(move || {
        running.server = start(true, None, limits()).server;
        running
    });
    for client in &mut clients {
        assert_eq!(closed(client), Some(CloseCode::Away));
    }
    drop(clients);
    drop(ended.join().expect("no panic"));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn tls_is_spoken_and_plain_text_is_not_understood() {
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, key) = (folder.path().join("serve.crt"), folder.path().join("serve.key"));
    let names = ["localhost".to_owned()];
    let made = Certified::read_or_make(&chain, &key, &names).expect("a certificate");
    assert_eq!(Certified::read_or_make(&chain, &key, &names).expect("the same").fingerprint, made.fingerprint);
    let running = start(false, Some(made), limits());
    let at = running.server.address();
    assert_eq!(http(at, "GET", "/healthz", None, "").0, 0, "no plain text");
    until("the failure is counted", || running.server.counts().handshakes_failed.load(Ordering::Relaxed) >= 1);
    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read(&chain).expect("a file");
    use rustls::pki_types::pem::PemObject;
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(&pem).expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let connection = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = rustls::StreamOwned::new(connection, TcpStream::connect(at).expect("connected"));
    let head =
        format!("GET /api/whoami HTTP/1.1\r\nHost: localhost:{}\r\nAuthorization: Bearer {VIEW}\r\n\r\n", at.port());
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = [0; 2_048];
    let read = stream.read(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.to_lowercase().contains("strict-transport-security"),
        "{answer}"
    );
}
