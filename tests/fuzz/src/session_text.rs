//! Fuzz target: any bytes as a venue's answer, to every dialect's readers and to a connection's state machine: nothing
//! panics, and the state machine asks for a bounded number of things.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::{Corpus, fuzz_target};
use tidegate_feed::session::dialect::{Channel, Dialect, dialect};
use tidegate_feed::session::link::{Act, Link};
use tidegate_feed::session::plan::SessionSettings;
use tidegate_wire::{InstrumentId, Venue};

fn link(dialect: &'static dyn Dialect) -> Link {
    let settings = SessionSettings::default().link(dialect.heartbeat(), dialect.limits());
    let symbols = ["BTCUSDT", "BTC-USDT-SWAP", "BTC-PERPETUAL"].into_iter().zip(0..);
    let topics = symbols.flat_map(|(symbol, id)| {
        [Channel::Book, Channel::Trades].into_iter().filter_map(move |c| dialect.topic(InstrumentId(id), symbol, c))
    });
    Link::new(dialect, settings, topics.chain(dialect.account()).collect(), 1)
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let [first, text @ ..] = input else { return Corpus::Reject };
    let Some(dialect) = dialect(Venue::ALL[usize::from(*first) % Venue::ALL.len()]) else { return Corpus::Reject };
    let symbols = ["BTCUSDT".to_owned(), "BTC-PERPETUAL".to_owned()];
    // The answers of REST come from the same venue. Whether they can be read is for the tests to say.
    let _ = dialect.read_time(text);
    let _ = dialect.read_instruments(text, &symbols);
    let mut link = link(dialect);
    let (mut now, mut acts) = (Duration::ZERO, 0);
    link.tick(now, None);
    link.opened(now, Some("login".into()));
    // A line is a text; time passes between them.
    for line in text.split(|byte| *byte == b'\n').take(32) {
        let _ = dialect.read(line);
        link.text(now, line, || Some("login".into()));
        now += Duration::from_millis(700);
        link.tick(now, Some(now));
        while let Some(act) = link.next_act() {
            acts += 1;
            assert!(acts < 10_000, "it comes to rest");
            match act {
                Act::Dial => link.opened(now, None),
                Act::Close(..) => link.lost(now, "closed".into(), None),
                _ => {}
            }
        }
    }
    Corpus::Keep
});
