//! The client under test of the Autobahn suite (`wstest -m fuzzingserver`): it echoes every message of every case.
//!
//! ```text
//! cargo run --release -p tidegate-feed --example autobahn -- ws://127.0.0.1:9001
//! ```
//!
//! It drives the same `dial` and `Connection` as the engine does, with the limits raised to what group 9 sends.

use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use tidegate_feed::transport::websocket::Kind;
use tidegate_feed::transport::{Connection, DialError, DialOptions, Ended, Limits, Read, dial, tls};

/// Longest message of the suite, bytes.
const MESSAGE: usize = 16 << 20;
/// The name under which the suite keeps the results.
const AGENT: &str = "tidegate";
/// A case in which nothing happens for this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the server may take to hang up after the closing handshake.
const FAREWELL: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let base = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:9001".into());
    let mut count = 0;
    run(&format!("{base}/getCaseCount"), |_, _, text| {
        count = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(())
    })?;
    for case in 1..=count {
        // How a case ends is for the suite to judge.
        let ended = run(&format!("{base}/runCase?case={case}&agent={AGENT}"), Connection::send)?;
        println!("{case} of {count}: {ended}");
    }
    run(&format!("{base}/updateReports?agent={AGENT}"), |_, _, _| Ok(()))?;
    Ok(())
}

/// Connects and gives every message to `answer` until the connection ends; says how it did.
fn run(
    url: &str,
    mut answer: impl FnMut(&mut Connection, Kind, &[u8]) -> Result<(), Ended>,
) -> Result<Ended, Box<dyn std::error::Error>> {
    let options = DialOptions {
        tls: tls::client_config(None)?,
        timeout: PATIENCE,
        limits: Limits { message: MESSAGE, send: 3 * MESSAGE },
        busy_poll_us: 0,
    };
    let mut connection = dial(&url.parse()?, &options).map_err(|error: DialError| error.to_string())?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(8);
    poll.registry().register(connection.socket(), Token(0), Interest::READABLE | Interest::WRITABLE)?;
    // The message is answered from a copy: sending needs the connection, and so does the message.
    let mut copy = Vec::new();
    let ended = loop {
        match turn(&mut connection, &mut copy, &mut answer) {
            Ok(true) => {}
            Ok(false) => {
                poll.poll(&mut events, Some(PATIENCE))?;
                if events.is_empty() {
                    break Ended::Stuck;
                }
            }
            Err(ended) => break ended,
        }
    };
    // The server hangs up first (RFC 6455, 7.1.1).
    let begun = Instant::now();
    while begun.elapsed() < FAREWELL && connection.flush().is_ok() && connection.read().is_ok() {
        poll.poll(&mut events, Some(Duration::from_millis(10)))?;
    }
    Ok(ended)
}

/// Delivers what has come and reads once; false when there was nothing.
fn turn(
    connection: &mut Connection,
    copy: &mut Vec<u8>,
    answer: &mut impl FnMut(&mut Connection, Kind, &[u8]) -> Result<(), Ended>,
) -> Result<bool, Ended> {
    connection.flush()?;
    while let Some(message) = connection.next_message()? {
        copy.clear();
        copy.extend_from_slice(&message.padded[..message.length]);
        let kind = message.kind;
        answer(connection, kind, copy)?;
    }
    Ok(connection.read()? != Read::Nothing)
}
