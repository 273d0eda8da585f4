//! The way in: messages of a client go through the venue's protocol.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, split};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::deframe::{Deframer, Incoming};
use super::writer::Writer;
use super::{Command, Out, Outbox};
use crate::exchange::hub::{Client, Hub};
use crate::exchange::session::{self, Link, Session};
use crate::exchange::venue::Venue;

/// How often timers of the protocols are looked at.
const TICK: Duration = Duration::from_millis(10);
/// A client that does not take its last bytes is left alone after this.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves a WebSocket until it ends.
pub(super) async fn serve<S>(hub: Arc<Hub>, venue: Venue, path: String, query: String, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (read, write) = split(stream);
    let (outbox, queue) = Outbox::new(hub.limits(venue).queue as usize);
    let (commands, inbox) = mpsc::unbounded_channel();
    let client = Client::new(venue, path.clone(), outbox.clone(), commands, hub.clock.now_ns());
    let connection = hub.enter(client);
    let (ended, end) = watch::channel(false);
    let writer = Writer::new(Arc::clone(&hub), venue, connection, outbox.clone(), write);
    let mut writing = tokio::spawn(async move {
        writer.run(queue).await;
        // Nobody may be left to hear it.
        let _ = ended.send(true);
    });
    let mut link = Link::new(Arc::clone(&hub), venue, connection, outbox.clone(), path, query);
    let mut session = session::open(&mut link);
    let deframer = Deframer::new(hub.limits(venue).message_bytes as usize);
    receive(&mut link, session.as_mut(), deframer, read, inbox, end).await;
    hub.exit(connection);
    drop((link, outbox));
    if timeout(FAREWELL, &mut writing).await.is_err() {
        writing.abort();
    }
}

async fn receive<R: AsyncRead + Unpin>(
    link: &mut Link,
    session: &mut dyn Session,
    mut deframer: Deframer,
    mut stream: R,
    mut inbox: mpsc::UnboundedReceiver<Command>,
    mut end: watch::Receiver<bool>,
) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut bytes = vec![0; 1 << 14];
    // After a close of ours only the writer's end matters.
    while !link.is_closed() {
        if link.outbox().shared().dead.load(Ordering::Relaxed) {
            break;
        }
        tokio::select! {
            _ = end.changed() => return,
            _ = ticks.tick() => tick(link, session),
            command = inbox.recv() => match command {
                Some(Command::ExpireLogin(planned)) => session.expire_login(link, &planned),
                Some(Command::Cut(planned)) => session::cut(link, session, &planned),
                None => return,
            },
            read = stream.read(&mut bytes) => match read {
                Ok(0) | Err(_) => return,
                Ok(length) => {
                    if link.outbox().shared().dead.load(Ordering::Relaxed) {
                        break;
                    }
                    deframer.feed(&bytes[..length]);
                    if !messages(link, session, &mut deframer) {
                        return;
                    }
                }
            },
        }
    }
    if link.outbox().shared().dead.load(Ordering::Relaxed) {
        // The writer knows how long; an error means that it has ended already.
        let _ = end.changed().await;
    } else if timeout(FAREWELL, end.changed()).await.is_ok() && link.lingers() {
        // What the client has sent meanwhile is read: a reset could overtake the close frame.
        let rest = async { while stream.read(&mut bytes).await.is_ok_and(|length| length > 0) {} };
        let _ = timeout(FAREWELL, rest).await;
    }
}

/// Handles every complete message; false when the client has said goodbye.
fn messages(link: &mut Link, session: &mut dyn Session, deframer: &mut Deframer) -> bool {
    while !link.is_closed() {
        let message = match deframer.next() {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(broken) => {
                link.violate(broken.rule, "RFC 6455");
                link.close(broken.code, broken.rule);
                break;
            }
        };
        link.heard();
        if message == Incoming::Close {
            link.outbox().send(Out::Close { code: 1000, reason: String::new() });
            return false;
        }
        if !session::within_rate(link) {
            break;
        }
        match message {
            Incoming::Text(text) => session.message(link, &text),
            Incoming::Ping(payload) => link.outbox().send(Out::Pong(payload)),
            Incoming::Pong(payload) => session.pong(link, &payload),
            Incoming::Close => {}
        }
    }
    true
}

fn tick(link: &mut Link, session: &mut dyn Session) {
    if link.outbox().is_full() {
        link.violate("slow_consumer", "the queue of frames is full");
        link.close(if link.venue == Venue::Okx { 4005 } else { 1008 }, "slow consumer");
        return;
    }
    session::age(link, session);
    session.tick(link);
}
