//! A socket that is readable to the decision, over loopback TLS, on one core.
//!
//! One thread writes a recorded frame as a TLS record and then polls the engine's hub once: when the write returns, the
//! kernel has put the bytes into the receiving socket, so the poll finds it readable. Timed are poll, read, record,
//! frame, JSON, sequence rule, book, features, breakers and the engine's own histograms, up to the moment at which the
//! engine's tail is done with the vector. The hub acknowledges what it read behind that; only the row of the whole poll
//! has it. Beside it what the kernel alone takes for the poll and the read of as many bytes, acknowledging inside the
//! read, as usual, and behind it, as the hub does.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::bounded;
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};
use rustls::{ServerConnection, StreamOwned};
use tidegate_feed::session::board::Board;
use tidegate_feed::session::hub::{Adopted, Hub, HubEnds, Order};
use tidegate_feed::transport::{DialOptions, Limits, accept, dial, sys};
use tidegate_market::MarketStage;
use tidegate_runtime::latency::Tail;
use tidegate_wire::Venue;
use tidegate_wire::clock::Clock;
use tidegate_wire::event::{Header, Status};
use tidegate_wire::feature::{FeatureBody, FeatureSink, MinuteBody};

use crate::alloc;
use crate::recorded::Recorded;
use crate::report::{Options, Report, Table};
use crate::rigs::path_stages::{Path, market, tail};
use crate::rigs::transport::{HOST, configs};
use crate::session::{Inbox, Session};
use crate::timing::{NoiseFloor, Stopwatch, median};

/// Bar on the median, us.
const P50_BAR_US: f64 = 8.0;
const PATIENCE: Duration = Duration::from_secs(10);
/// Frames of a pass that are not timed.
const WARM: usize = 500;

type Server = StreamOwned<ServerConnection, TcpStream>;

/// Measures passes over the recorded session and adds a table to the report.
pub(super) fn measure(report: &mut Report, options: &Options, watch: &Stopwatch) -> Result<(), String> {
    let all = match Recorded::load(&options.data, if options.quick { 2 * WARM } else { usize::MAX }) {
        Ok(all) => all,
        Err(reason) => {
            report.skip("live_readable", reason);
            return Ok(());
        }
    };
    let session = Session::recorded(all);
    let floor = NoiseFloor::measure(watch, Duration::from_millis(if options.quick { 20 } else { 500 })).line();
    let mut bed = Bed::new(watch)?;
    let mut kernel = [Kernel::new(false)?, Kernel::new(true)?];
    let passes = if options.quick { 2 } else { options.reps.max(5) };
    let (mut ours, mut wholes, mut bare, mut allocs) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()], 0);
    for pass in 0..passes {
        let (mut decision, mut whole) = (histogram()?, histogram()?);
        allocs += bed.pass(&session, pass, watch, [&mut decision, &mut whole])?;
        ours.push(decision);
        wholes.push(whole);
        for (kernel, bare) in kernel.iter_mut().zip(&mut bare) {
            bare.push(kernel.pass(&session, pass, watch)?);
        }
    }
    let decided = std::iter::from_fn(|| bed.decisions.poll_told()).count();
    report.note(format!("readable: {decided} decisions and notices"));
    let title = format!(
        "readable to decision over loopback TLS, one core, recorded session, {:.0} bytes a frame, {passes} passes of \
         {} frames in turns; us\n  noise floor now: {floor}",
        session.mean_bytes(),
        session.len() - WARM
    );
    let mut table = Table::new(title, &["p50", "p90", "p99", "p99.9", "max", "count"]);
    let rows = [
        ("readable to decision", &ours),
        ("the whole poll of the hub", &wholes),
        ("poll and read alone, acknowledging inside", &bare[0]),
        ("poll and read alone, acknowledging behind", &bare[1]),
    ];
    for (name, times) in rows {
        let sum = times.iter().fold(histogram()?, |mut sum, next| {
            sum += next;
            sum
        });
        let figures = [0.5, 0.9, 0.99, 0.999, 1.0].map(|q| sum.value_at_quantile(q) as f64 / 1e3);
        table.row(name, &[&figures[..], &[sum.len() as f64]].concat());
    }
    report.table(table);
    let p50: Vec<f64> = ours.iter().map(|times| times.value_at_quantile(0.5) as f64 / 1e3).collect();
    report.ratio("live_readable_p50", median(&p50), P50_BAR_US, "us");
    report.ratio("live_readable_allocs", allocs as f64, 0.0, "allocs");
    let counters = bed.path.sink.counters();
    report.check(counters.crossed + counters.off_grid == 0, "readable: the book stays good");
    Ok(())
}

fn histogram() -> Result<Histogram<u64>, String> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(|error| error.to_string())
}

/// The engine's tail, and when it had decided.
struct Decided {
    tail: Tail,
    clock: Clock,
    at: u64,
}

impl FeatureSink for Decided {
    #[inline]
    fn features(&mut self, header: &Header, body: &FeatureBody) {
        self.tail.features(header, body);
        self.at = self.clock.ticks();
    }

    fn minute(&mut self, header: &Header, body: &MinuteBody) {
        self.tail.minute(header, body);
    }

    fn heartbeat(&mut self, header: &Header) {
        self.tail.heartbeat(header);
    }

    fn status(&mut self, header: &Header, status: &Status) {
        self.tail.status(header, status);
    }
}

/// The engine's hub and stages, and the server whose frames they get.
struct Bed {
    server: Server,
    hub: Hub,
    path: Path<MarketStage<Decided>>,
    decisions: tidegate_wire::relay::RecordReader,
    // The session thread's ends: nobody answers, but they must be there.
    _session: (crossbeam::channel::Sender<Order>, crossbeam::channel::Sender<Vec<u8>>),
}

impl Bed {
    fn new(watch: &Stopwatch) -> Result<Self, String> {
        let wrong = |error: &dyn std::fmt::Display| error.to_string();
        let (client, server) = configs()?;
        let listener = TcpListener::bind((HOST, 0)).map_err(|error| wrong(&error))?;
        let port = listener.local_addr().map_err(|error| wrong(&error))?.port();
        let serving = std::thread::spawn(move || serve(&listener, server));
        let address = format!("wss://{HOST}:{port}/").parse()?;
        let options = DialOptions { tls: client, timeout: PATIENCE, limits: Limits::default(), busy_poll_us: 0 };
        let connection = dial(&address, &options).map_err(|error| wrong(&error))?;
        let server = serving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let (orders, todo) = bounded(16);
        let (slips, empty) = bounded(16);
        let ends = HubEnds { orders: todo, reports: bounded(64).0, slips: empty };
        // Nobody collects the histograms: the recorder notices and goes on.
        let (tail, decisions, _) = tail(watch);
        let clock = *watch.clock();
        let path = Path::new(watch, market(watch, Decided { tail, clock, at: 0 }));
        let board = Arc::new(Board::new(1, clock.ticks()));
        let mut bed = Self {
            server,
            hub: Hub::new(ends, board, 1, clock).map_err(|error| wrong(&error))?,
            path,
            decisions,
            _session: (orders, slips),
        };
        let (connection, books) = (Box::new(connection), vec![bed.path.id]);
        let adopted = Adopted { connection, venue: Venue::BinanceUsdm, source: 0, private: false, books };
        bed._session.0.send(Order::Adopt(0, Box::new(adopted))).map_err(|error| wrong(&error))?;
        bed.hub.poll(&mut bed.path.feed, &mut bed.path.sink);
        Ok(bed)
    }

    /// Every frame once, into the times to the decision and to the end of the poll, ns, but for the warm-up; gives the
    /// allocations.
    fn pass(
        &mut self,
        session: &Session,
        pass: usize,
        watch: &Stopwatch,
        [decision, whole]: [&mut Histogram<u64>; 2],
    ) -> Result<u64, String> {
        self.path.restart(session, pass);
        let mut allocs = 0;
        let mut inbox = Inbox::new(session);
        for index in 0..session.len() {
            inbox.fill(session, index, pass);
            let sent = self.server.write_all(inbox.bytes()).and_then(|()| self.server.flush());
            sent.map_err(|error| error.to_string())?;
            let before = alloc::counted().0;
            let start = watch.start();
            let fed = self.hub.poll(&mut self.path.feed, &mut self.path.sink);
            let ticks = watch.since(start);
            let at = self.path.sink.sink_mut().at;
            if !fed {
                return Err(format!("frame {index} was written and is not readable"));
            }
            // The first frames may be older than the snapshot: they have no vector and no decision.
            if index >= WARM {
                if at < start {
                    return Err(format!("frame {index} was read and not decided on"));
                }
                decision.saturating_record(watch.clock().between(start, at));
                whole.saturating_record(watch.clock().ns(ticks));
                allocs += alloc::counted().0 - before;
            }
        }
        Ok(allocs)
    }
}

/// The server's handshakes.
fn serve(listener: &TcpListener, config: Arc<rustls::ServerConfig>) -> Result<Server, String> {
    let wrong = |error: &dyn std::fmt::Display| error.to_string();
    let (socket, _) = listener.accept().map_err(|error| wrong(&error))?;
    socket.set_nodelay(true).map_err(|error| wrong(&error))?;
    let connection = ServerConnection::new(config).map_err(|error| wrong(&error))?;
    let mut stream = StreamOwned::new(connection, socket);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).map_err(|error| wrong(&error))?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head);
    let key = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).ok_or("no key")?;
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept(key)
    );
    stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).map_err(|error| wrong(&error))?;
    Ok(stream)
}

/// A plain connection on which as many bytes come.
struct Kernel {
    writer: TcpStream,
    reader: mio::net::TcpStream,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    /// Acknowledge behind the read.
    behind: bool,
}

impl Kernel {
    fn new(behind: bool) -> Result<Self, String> {
        let wrong = |error: &dyn std::fmt::Display| error.to_string();
        let listener = TcpListener::bind((HOST, 0)).map_err(|error| wrong(&error))?;
        let address = listener.local_addr().map_err(|error| wrong(&error))?;
        let reader = TcpStream::connect(address).map_err(|error| wrong(&error))?;
        let (writer, _) = listener.accept().map_err(|error| wrong(&error))?;
        writer.set_nodelay(true).map_err(|error| wrong(&error))?;
        reader.set_nodelay(true).map_err(|error| wrong(&error))?;
        reader.set_nonblocking(true).map_err(|error| wrong(&error))?;
        sys::stamp_received(&reader).map_err(|error| wrong(&error))?;
        let poll = Poll::new().map_err(|error| wrong(&error))?;
        let mut reader = mio::net::TcpStream::from_std(reader);
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut reader, Token(0), interest).map_err(|error| wrong(&error))?;
        let events = Events::with_capacity(16);
        Ok(Self { writer, reader, poll, events, buffer: vec![0; 1 << 16], behind })
    }

    fn pass(&mut self, session: &Session, pass: usize, watch: &Stopwatch) -> Result<Histogram<u64>, String> {
        let mut times = histogram()?;
        let mut inbox = Inbox::new(session);
        for index in 0..session.len() {
            inbox.fill(session, index, pass);
            self.writer.write_all(inbox.bytes()).map_err(|error| error.to_string())?;
            let start = watch.start();
            self.poll.poll(&mut self.events, Some(Duration::ZERO)).map_err(|error| error.to_string())?;
            let received = sys::receive(&self.reader, &mut self.buffer);
            let ticks = watch.since(start);
            if self.behind {
                sys::acknowledge(&self.reader);
            }
            match received {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err("not readable".into()),
                Err(error) => return Err(error.to_string()),
            }
            if index >= WARM {
                times.saturating_record(watch.clock().ns(ticks));
            }
        }
        Ok(times)
    }
}
