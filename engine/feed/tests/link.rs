//! A connection's state machine, driven by hand: no socket, no clock.

use std::time::Duration;

use tidegate_feed::session::dialect::{Channel, Dialect, dialect};
use tidegate_feed::session::link::{Act, Link, LinkSettings, LinkState, Note};
use tidegate_feed::session::plan::SessionSettings;
use tidegate_wire::{InstrumentId, Venue};

fn settings(dialect: &dyn Dialect) -> LinkSettings {
    SessionSettings::default().link(dialect.heartbeat(), dialect.limits())
}

/// A link with what it did.
struct Driven {
    link: Link,
    now: Duration,
    sent: Vec<String>,
    states: Vec<LinkState>,
    notes: Vec<Note>,
    dials: usize,
    closes: Vec<&'static str>,
    rotations: usize,
    pings: usize,
}

impl Driven {
    fn with(venue: Venue, symbols: &[&str], change: impl FnOnce(&mut LinkSettings)) -> Self {
        let dialect = dialect(venue).expect("a live venue");
        let topics = symbols.iter().zip(0..).flat_map(|(symbol, id)| {
            let topic = move |channel| dialect.topic(InstrumentId(id), symbol, channel).expect("a topic");
            [Channel::Book, Channel::Trades].map(topic)
        });
        let mut settings = settings(dialect);
        change(&mut settings);
        let link = Link::new(dialect, settings, topics.collect(), 1);
        let (sent, states, notes, closes) = Default::default();
        Self { link, now: Duration::ZERO, sent, states, notes, dials: 0, closes, rotations: 0, pings: 0 }
    }

    fn new(venue: Venue) -> Self {
        Self::with(venue, &["BTCUSDT"], |_| {})
    }

    fn acts(&mut self) {
        while let Some(act) = self.link.next_act() {
            match act {
                Act::Dial => self.dials += 1,
                Act::Send(text) => self.sent.push(text),
                Act::Ping => self.pings += 1,
                Act::Close(_, reason) => self.closes.push(reason),
                Act::State(state) => self.states.push(state),
                Act::Rotate => self.rotations += 1,
                Act::Tell(note) => self.notes.push(note),
                Act::Account(_) => {}
            }
        }
    }

    /// Time passes in steps of 100 ms; the connection is heard of all the time.
    fn pass(&mut self, seconds: f64) {
        let until = self.now + Duration::from_secs_f64(seconds);
        while self.now < until {
            self.now += Duration::from_millis(100);
            let heard = Some(self.now);
            self.link.tick(self.now, heard);
            self.acts();
        }
    }

    fn open(&mut self) {
        self.link.tick(self.now, None);
        self.acts();
        self.link.opened(self.now, None);
        self.acts();
    }

    fn text(&mut self, text: &str) {
        self.link.text(self.now, text.as_bytes(), || Some("login".into()));
        self.acts();
    }

    fn lose(&mut self) {
        self.link.lost(self.now, "cut".into(), None);
        self.acts();
    }
}

/// Acknowledges every subscription sent so far, as Bybit does.
fn acknowledge_bybit(driven: &mut Driven) {
    for text in std::mem::take(&mut driven.sent) {
        let request: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        if request["op"] == "subscribe" {
            let id = request["req_id"].as_str().expect("an id");
            driven.text(&format!(r#"{{"success":true,"ret_msg":"","req_id":"{id}","op":"subscribe"}}"#));
        }
    }
}

#[test]
fn from_dialling_to_connected() {
    let mut driven = Driven::new(Venue::Bybit);
    driven.open();
    assert_eq!(driven.dials, 1);
    assert_eq!(driven.states, [LinkState::Realigning]);
    assert_eq!(driven.sent.len(), 1, "both topics in one request");
    acknowledge_bybit(&mut driven);
    driven.pass(0.2);
    assert_eq!(driven.link.state(), LinkState::Realigning, "its book is not good yet");
    driven.link.set_books(true);
    driven.acts();
    assert_eq!(driven.link.state(), LinkState::Connected);
    driven.link.set_books(false);
    driven.acts();
    assert_eq!(driven.link.state(), LinkState::Realigning);
}

/// D2: Fibonacci intervals, eight attempts, then an error until an operator clears it.
#[test]
fn attempts_end_in_an_error_that_can_be_cleared() {
    let mut driven = Driven::new(Venue::Bybit);
    driven.open();
    let mut waits = Vec::new();
    loop {
        driven.lose();
        match driven.notes.last().expect("told") {
            Note::Lost { retry_in: Some(wait), .. } => waits.push(wait.as_secs_f64()),
            Note::Lost { retry_in: None, .. } => break,
            other => panic!("{other:?}"),
        }
        let dials = driven.dials;
        driven.pass(waits.last().expect("a wait") - 0.2);
        assert_eq!(driven.dials, dials, "not before its time");
        driven.pass(0.5);
        assert_eq!(driven.dials, dials + 1);
    }
    assert_eq!(waits.len(), 8);
    for (wait, interval) in waits.iter().zip([1.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0]) {
        assert!((0.8 * interval..=1.2 * interval).contains(wait), "{wait} for {interval}");
    }
    assert_eq!(driven.link.state(), LinkState::Error);
    let dials = driven.dials;
    driven.pass(300.0);
    assert_eq!(driven.dials, dials, "nothing is tried any more");
    driven.link.clear(driven.now);
    driven.pass(0.2);
    assert_eq!((driven.link.state(), driven.dials), (LinkState::Disconnected, dials + 1));
}

#[test]
fn a_connection_that_lasted_begins_anew() {
    let mut driven = Driven::new(Venue::Bybit);
    for round in 0..20 {
        driven.open();
        acknowledge_bybit(&mut driven);
        driven.pass(31.0);
        driven.lose();
        let Some(Note::Lost { retry_in: Some(wait), .. }) = driven.notes.last() else { panic!("round {round}") };
        assert!(*wait < Duration::from_millis(1300), "round {round}: {wait:?}");
        driven.pass(1.5);
    }
}

#[test]
fn a_venue_that_says_stay_away_is_obeyed() {
    let mut driven = Driven::new(Venue::BinanceSpot);
    driven.link.tick(driven.now, None);
    driven.acts();
    driven.link.lost(driven.now, "HTTP status 418".into(), Some(Duration::from_secs(120)));
    driven.acts();
    driven.pass(119.0);
    assert_eq!(driven.dials, 1);
    driven.pass(2.0);
    assert_eq!(driven.dials, 2);
}

#[test]
fn heartbeats_in_the_venues_own_way() {
    for (venue, every, text) in [(Venue::Okx, 15.0, "ping"), (Venue::BitgetUsdt, 30.0, "ping")] {
        let mut driven = Driven::new(venue);
        driven.open();
        driven.sent.clear();
        driven.pass(every * 3.0 + 1.0);
        assert_eq!(driven.sent.iter().filter(|sent| *sent == text).count(), 3, "{venue}");
    }
    let mut driven = Driven::new(Venue::Bybit);
    driven.open();
    driven.sent.clear();
    driven.pass(41.0);
    assert_eq!(driven.sent.iter().filter(|sent| sent.contains(r#""op":"ping""#)).count(), 2);
    let mut driven = Driven::new(Venue::BinanceUsdm);
    driven.open();
    driven.pass(46.0);
    assert_eq!(driven.pings, 3);
    let mut driven = Driven::with(Venue::Deribit, &["BTC-PERPETUAL"], |_| {});
    driven.open();
    assert!(driven.sent[0].contains("set_heartbeat"));
    driven.text(r#"{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}"#);
    assert!(driven.sent.last().expect("an answer").contains("public/test"));
}

/// A half-open connection: nothing comes, and nothing says that it is over.
#[test]
fn silence_is_noticed() {
    let mut driven = Driven::new(Venue::Okx);
    driven.open();
    let heard = driven.now;
    for _ in 0..400 {
        driven.now += Duration::from_millis(100);
        driven.link.tick(driven.now, Some(heard));
        driven.acts();
        if !driven.closes.is_empty() {
            break;
        }
    }
    assert_eq!(driven.closes, ["silent"]);
    assert!((30.0..31.0).contains(&driven.now.as_secs_f64()), "{:?}", driven.now);
}

#[test]
fn a_subscription_that_is_not_answered_is_asked_again_then_left_out() {
    let mut driven = Driven::new(Venue::Bybit);
    driven.open();
    driven.pass(45.0);
    let subscriptions = driven.sent.iter().filter(|sent| sent.contains("subscribe")).count();
    assert_eq!(subscriptions, 3);
    assert_eq!(driven.notes.iter().filter(|note| matches!(note, Note::Dropped(_))).count(), 2);
}

#[test]
fn one_bad_name_does_not_cost_the_others() {
    let mut driven = Driven::with(Venue::Bybit, &["BTCUSDT", "NOSUCH"], |_| {});
    driven.open();
    for _ in 0..20 {
        for text in std::mem::take(&mut driven.sent) {
            let request: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            let id = request["req_id"].as_str().expect("an id");
            let good = !text.contains("NOSUCH");
            let words = if good { "" } else { "Invalid topic" };
            driven.text(&format!(r#"{{"success":{good},"ret_msg":"{words}","req_id":"{id}","op":"subscribe"}}"#));
        }
        driven.pass(1.0);
    }
    let dropped = driven.notes.iter().filter_map(|note| match note {
        Note::Dropped(key) => Some(key.as_str()),
        _ => None,
    });
    let dropped: Vec<_> = dropped.collect();
    assert_eq!(dropped, ["orderbook.200.NOSUCH", "publicTrade.NOSUCH"]);
    driven.link.set_books(true);
    driven.acts();
    assert_eq!(driven.link.state(), LinkState::Connected);
}

/// Bitget allows 240 subscriptions an hour: a book that breaks all the time must not use them up.
#[test]
fn resubscriptions_pause_longer_and_longer() {
    let mut driven = Driven::new(Venue::BitgetUsdt);
    driven.open();
    let ack = |driven: &mut Driven| {
        for channel in ["books", "trade"] {
            let arg = format!(r#"{{"instType":"USDT-FUTURES","channel":"{channel}","instId":"BTCUSDT"}}"#);
            driven.text(&format!(r#"{{"event":"subscribe","arg":{arg}}}"#));
        }
    };
    ack(&mut driven);
    for _ in 0..36_000 {
        driven.pass(0.1);
        driven.link.resync(driven.now, 0);
        driven.acts();
        ack(&mut driven);
    }
    let requests = driven.sent.iter().filter(|sent| sent.contains("subscribe")).count();
    assert!((60..=240).contains(&requests), "{requests} requests in an hour");
}

#[test]
fn rates_are_obeyed_whatever_is_wanted() {
    // 1,000 topics on a connection that may send five messages a second, in batches of three.
    let symbols: Vec<String> = (0..500).map(|i| format!("S{i}USDT")).collect();
    let symbols: Vec<&str> = symbols.iter().map(String::as_str).collect();
    let mut driven = Driven::with(Venue::BinanceSpot, &symbols, |settings| settings.limits.batch = 3);
    driven.open();
    let mut times = vec![driven.now; driven.sent.len()];
    driven.sent.clear();
    for _ in 0..3000 {
        driven.pass(0.1);
        times.extend(std::iter::repeat_n(driven.now, driven.sent.len() + driven.pings));
        (driven.pings, _) = (0, std::mem::take(&mut driven.sent));
    }
    for (i, from) in times.iter().enumerate() {
        let window = times[i..].iter().take_while(|at| **at < *from + Duration::from_secs(1)).count();
        assert!(window <= 5, "{window} messages in a second");
    }
    assert!(times.len() > 334);
}

#[test]
fn rotation_begins_before_the_venue_cuts() {
    let mut driven = Driven::with(Venue::BinanceSpot, &["BTCUSDT"], |settings| {
        settings.limits.lifetime = Some(Duration::from_secs(120));
        settings.rotate_before = Duration::from_secs(20);
    });
    driven.open();
    driven.pass(99.0);
    assert_eq!(driven.rotations, 0);
    driven.pass(2.0);
    assert_eq!(driven.rotations, 1);
    driven.pass(10.0);
    assert_eq!(driven.rotations, 1, "once");
    let mut driven = Driven::new(Venue::BinanceSpot);
    driven.open();
    driven.text(r#"{"e":"serverShutdown","E":1770123456789}"#);
    driven.pass(0.1);
    assert_eq!(driven.rotations, 1, "the venue has said that it leaves");
}

fn private() -> Driven {
    let dialect = dialect(Venue::BitgetUsdt).expect("a live venue");
    let mut driven = Driven::new(Venue::BitgetUsdt);
    driven.link = Link::new(dialect, settings(dialect), dialect.account(), 1);
    driven.link.tick(driven.now, None);
    driven.link.opened(driven.now, Some("login".into()));
    driven.acts();
    driven
}

#[test]
fn logins_come_first_and_are_repeated_when_the_venue_asks() {
    let mut driven = private();
    assert_eq!(driven.sent, ["login"]);
    assert_eq!(driven.link.state(), LinkState::Authenticating);
    driven.text(r#"{"event":"login","code":0,"msg":""}"#);
    assert_eq!(driven.link.state(), LinkState::Realigning);
    assert!(driven.sent[1].contains("positions"));
    driven.text(r#"{"event":"error","code":1001,"msg":"expired"}"#);
    assert_eq!(driven.link.state(), LinkState::Authenticating);
    assert_eq!(driven.sent.last().expect("sent"), "login");
    driven.text(r#"{"event":"login","code":"0","msg":""}"#);
    assert!(driven.sent.last().expect("sent").contains("positions"), "everything is subscribed anew");
    driven.text(r#"{"event":"error","code":"1002","msg":"reconnect"}"#);
    assert_eq!(driven.closes, ["reconnecting"]);
}

#[test]
fn wrong_keys_are_not_tried_again() {
    let mut driven = private();
    driven.text(r#"{"event":"error","code":"30011","msg":"Invalid ACCESS_KEY"}"#);
    assert_eq!(driven.link.state(), LinkState::Error);
    assert_eq!(driven.closes, ["refused"]);
    driven.lose();
    let dials = driven.dials;
    driven.pass(60.0);
    assert_eq!((driven.link.state(), driven.dials), (LinkState::Error, dials));
}

#[test]
fn a_login_without_an_answer_is_a_failure() {
    let mut driven = private();
    driven.pass(11.0);
    assert_eq!(driven.closes.first(), Some(&"login not answered"));
}
