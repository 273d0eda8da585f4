//! Alerts by webhook: a POST with JSON to whoever is on call.
//!
//! Whoever alerts never waits: a bounded queue a receiver feeds a thread, which tries a few times with growing pauses
//! and then gives the alert up, counted and logged. Where a secret is given, `x-tidegate-signature` is the
//! HMAC-SHA-256 of the body, as hex, so that the receiver knows whose it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use ring::hmac;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::hub::wall_ns;
use crate::metrics::{Metrics, family};

/// One receiver.
#[derive(Clone)]
pub struct Webhook {
    /// Where to; may hold a secret, so it is in no log.
    pub url: Zeroizing<String>,
    /// What it is called in logs.
    pub name: String,
    /// Key of the signature; none without.
    pub secret: Option<Zeroizing<Vec<u8>>>,
    /// Kinds of alerts that it gets; all without.
    pub kinds: Vec<String>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("name", &self.name).field("kinds", &self.kinds).finish_non_exhaustive()
    }
}

/// An alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// What kind: `price`, `trip`, `model`, `feed`, `trap` and those of the risk desk, such as `kill` and `refusal`.
    pub kind: String,
    /// As a sentence.
    pub text: String,
    /// Event time, ns since the Unix epoch, where there is one.
    pub event_ns: Option<i64>,
    /// What it is about.
    pub data: Value,
}

/// Alerts that may wait.
const QUEUE: usize = 1_024;
/// Times that an alert is tried.
const ATTEMPTS: u32 = 5;
/// First pause between two tries; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A handle; clones share the threads.
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// A queue a receiver, so that one that is slow holds up nobody else's alerts; and the kinds that it gets.
    queues: Vec<(Vec<String>, Sender<Alert>)>,
    metrics: Metrics,
}

/// The threads; they end when this is dropped: what waits then is tried once, within one receiver's patience in all.
#[derive(Debug)]
pub struct WebhooksThread {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Webhooks {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives none.
    pub fn start(hooks: Vec<Webhook>, metrics: Metrics) -> std::io::Result<(Self, WebhooksThread)> {
        let over = Arc::new(AtomicBool::new(false));
        let (mut queues, mut threads) = (Vec::new(), Vec::new());
        for hook in hooks {
            let (alerts, waiting) = bounded(QUEUE);
            queues.push((hook.kinds.clone(), alerts));
            let (ended, counted) = (over.clone(), metrics.clone());
            let run = move || deliver(&hook, &waiting, &ended, &counted);
            threads.push(std::thread::Builder::new().name("tide-webhook".into()).spawn(run)?);
        }
        Ok((Self { queues, metrics }, WebhooksThread { over, threads }))
    }

    /// Sends an alert, sooner or later; drops and counts it where too many wait.
    pub fn send(&self, alert: &Alert) {
        let wanted = self.queues.iter().filter(|(kinds, _)| kinds.is_empty() || kinds.contains(&alert.kind));
        for (_, queue) in wanted {
            if queue.try_send(alert.clone()).is_err() {
                self.metrics.add(family::WEBHOOKS, &[("outcome", "dropped")], 1.0);
            }
        }
    }
}

impl Drop for WebhooksThread {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// How soon a thread notices that it is over.
const POLL: Duration = Duration::from_millis(50);

fn deliver(hook: &Webhook, waiting: &Receiver<Alert>, over: &AtomicBool, metrics: &Metrics) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(true)
        .max_redirects(0)
        .build()
        .into();
    let mut ending = None;
    loop {
        if ending.is_none() && over.load(Ordering::Acquire) {
            ending = Some(Instant::now());
        }
        let alert = match waiting.recv_timeout(POLL) {
            Ok(alert) => alert,
            Err(RecvTimeoutError::Timeout) if ending.is_some() => return,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let late = ending.is_some_and(|since: Instant| since.elapsed() > PATIENCE);
        let outcome = if late {
            "dropped"
        } else if attempt(&agent, hook, &body(&alert), over) {
            "delivered"
        } else {
            "failed"
        };
        metrics.add(family::WEBHOOKS, &[("outcome", outcome)], 1.0);
    }
}

fn body(alert: &Alert) -> String {
    json!({
        "schema": "tidegate.alert.v1",
        "kind": alert.kind,
        "text": alert.text,
        "event_ns": alert.event_ns,
        "wall_ns": wall_ns(),
        "data": alert.data,
    })
    .to_string()
}

fn attempt(agent: &ureq::Agent, hook: &Webhook, body: &str, over: &AtomicBool) -> bool {
    let mut pause = PAUSE;
    for tried in 1..=ATTEMPTS {
        let mut request = agent.post(hook.url.as_str()).header("content-type", "application/json");
        if let Some(secret) = &hook.secret {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), body.as_bytes());
            request = request.header("x-tidegate-signature", hex::encode(tag));
        }
        let error = match request.send(body) {
            Ok(_) => return true,
            // The message of a connection error may name the URL; its kind does not.
            Err(ureq::Error::StatusCode(status)) => format!("status {status}"),
            Err(ureq::Error::Timeout(_)) => "it takes too long".to_owned(),
            Err(_) => "it cannot be reached".to_owned(),
        };
        if tried == ATTEMPTS || over.load(Ordering::Acquire) {
            tracing::error!(webhook = hook.name, error, tried, "an alert was not delivered");
            return false;
        }
        let until = Instant::now() + pause;
        while Instant::now() < until && !over.load(Ordering::Acquire) {
            std::thread::sleep(POLL);
        }
        pause *= 2;
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Takes requests and answers each with the next status; gives signatures and bodies.
    fn receiver(statuses: &'static [u16]) -> (String, JoinHandle<Vec<(String, String)>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let thread = std::thread::spawn(move || {
            let take = |status: &u16| {
                let (stream, _) = listener.accept().expect("a connection");
                let mut reader = BufReader::new(stream);
                let (mut length, mut signature) = (0, String::new());
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).expect("a line");
                    let lower = line.to_lowercase();
                    if let Some(value) = lower.strip_prefix("content-length: ") {
                        length = value.trim().parse().expect("a number");
                    } else if let Some(value) = lower.strip_prefix("x-tidegate-signature: ") {
                        signature = value.trim().to_owned();
                    } else if line == "\r\n" {
                        break;
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("a body");
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                reader.get_mut().write_all(answer.as_bytes()).expect("answered");
                (signature, String::from_utf8(body).expect("text"))
            };
            statuses.iter().map(take).collect()
        });
        (url, thread)
    }

    #[test]
    fn alerts_are_signed_and_tried_again() {
        let (url, thread) = receiver(&[503, 200, 200]);
        let secret = Zeroizing::new(b"secret".to_vec());
        let hook =
            Webhook { url: url.into(), name: "one".into(), secret: Some(secret.clone()), kinds: vec!["trip".into()] };
        let metrics = Metrics::default();
        let (webhooks, ending) = Webhooks::start(vec![hook.clone()], metrics.clone()).expect("a thread");
        let alert =
            |kind: &str| Alert { kind: kind.into(), text: "t".into(), event_ns: Some(5), data: json!({ "n": 1 }) };
        for kind in ["trip", "price", "trip"] {
            webhooks.send(&alert(kind));
        }
        let heard = thread.join().expect("no panic");
        drop(ending);
        assert_eq!(heard.len(), 3, "the first one twice, another kind not at all");
        for (signature, body) in &heard {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            hmac::verify(&key, body.as_bytes(), &hex::decode(signature).expect("hex")).expect("ours");
            let body: Value = serde_json::from_str(body).expect("JSON");
            assert_eq!((&body["kind"], &body["event_ns"]), (&json!("trip"), &json!(5)));
        }
        assert!(metrics.encode().expect("text").contains("tidegate_webhooks_total{outcome=\"delivered\"} 2"));
        assert!(!format!("{hook:?}").contains("http"));
    }

    #[test]
    fn a_receiver_that_is_not_there_is_given_up_when_the_engine_ends() {
        let metrics = Metrics::default();
        let hook =
            Webhook { url: "http://127.0.0.1:9/".to_owned().into(), name: "x".into(), secret: None, kinds: vec![] };
        let (webhooks, ending) = Webhooks::start(vec![hook], metrics.clone()).expect("a thread");
        webhooks.send(&Alert { kind: "trip".into(), text: String::new(), event_ns: None, data: Value::Null });
        let begun = Instant::now();
        drop(ending);
        assert!(begun.elapsed() < Duration::from_secs(3));
        assert!(metrics.encode().expect("text").contains("outcome=\"failed\"} 1"));
    }
}
