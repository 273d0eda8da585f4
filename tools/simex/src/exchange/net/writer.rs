//! The way out: frames, and the faults that fall on them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::{Out, Outbox};
use crate::exchange::fault::{FaultKind, Planned, mutate};
use crate::exchange::hub::Hub;
use crate::exchange::market::Frame;
use crate::exchange::venue::Venue;

/// Frames are written together up to this size, bytes.
const BATCH: usize = 1 << 16;

/// Why the writer ends.
enum End {
    /// The client is gone.
    Gone,
    /// The exchange ends it.
    Done,
}

/// One symbol held back.
struct Held {
    symbol: String,
    until: Instant,
    frames: VecDeque<Arc<Frame>>,
}

/// Writes to one client.
pub(super) struct Writer<W> {
    hub: Arc<Hub>,
    venue: Venue,
    connection: u64,
    outbox: Outbox,
    stream: W,
    buffer: Vec<u8>,
    /// A frame that lets the next one pass, and why.
    passed: Option<(Arc<Frame>, Planned)>,
    held: Vec<Held>,
    loris: Option<(Instant, Duration)>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(hub: Arc<Hub>, venue: Venue, connection: u64, outbox: Outbox, stream: W) -> Self {
        Self { hub, venue, connection, outbox, stream, buffer: Vec::new(), passed: None, held: Vec::new(), loris: None }
    }

    /// Writes until the queue ends, the client goes, or a fault or a close ends it.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Out>) {
        loop {
            let release = self.held.iter().map(|held| held.until).min();
            let out = tokio::select! {
                out = queue.recv() => match out {
                    Some(out) => out,
                    None => return,
                },
                () = sleep_until(release.unwrap_or_else(Instant::now)), if release.is_some() => Out::Flush,
            };
            if self.handle(out).await.is_err() {
                return;
            }
            while self.buffer.len() < BATCH {
                let Ok(out) = queue.try_recv() else { break };
                if self.handle(out).await.is_err() {
                    return;
                }
            }
            if self.flush().await.is_err() {
                return;
            }
        }
    }

    async fn handle(&mut self, out: Out) -> Result<(), End> {
        match out {
            Out::Data(frame) => return self.data(frame).await,
            Out::Text(text) => self.frame(OpCode::Data(Data::Text), text.as_bytes()).await?,
            Out::Ping(payload) => self.frame(OpCode::Control(Control::Ping), &payload).await?,
            Out::Pong(payload) => self.frame(OpCode::Control(Control::Pong), &payload).await?,
            Out::Close { code, reason } => {
                self.close(code, &reason).await?;
                return Err(End::Done);
            }
            Out::Cut => {
                self.flush().await?;
                return Err(End::Done);
            }
            Out::Fault(planned) => return self.suffer(planned).await,
            Out::Flush => {
                if let Some((frame, _)) = self.passed.take() {
                    self.text(&frame.text, &frame).await?;
                }
                self.release().await?;
            }
        }
        Ok(())
    }

    /// Sends what was held back and may go now.
    async fn release(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let free: Vec<Held> = self.held.extract_if(.., |held| held.until <= now).collect();
        for frame in free.into_iter().flat_map(|held| held.frames) {
            self.text(&frame.text, &frame).await?;
        }
        Ok(())
    }

    /// A message of a channel, unless something happens to it.
    async fn data(&mut self, frame: Arc<Frame>) -> Result<(), End> {
        self.release().await?;
        if let Some(held) = self.held.iter_mut().find(|held| held.symbol == *frame.symbol) {
            held.frames.push_back(frame);
            return Ok(());
        }
        let same =
            |(earlier, _): &mut (Arc<Frame>, Planned)| earlier.symbol == frame.symbol && earlier.name == frame.name;
        if let Some((earlier, planned)) = self.passed.take_if(same) {
            self.text(&frame.text, &frame).await?;
            self.happened(&planned, &earlier, "after the next one");
            return self.text(&earlier.text, &earlier).await;
        }
        match self.hub.strike(&frame, self.connection) {
            Some(planned) => self.struck(frame, planned).await,
            None => self.text(&frame.text, &frame).await,
        }
    }

    /// A frame falls to a fault.
    async fn struck(&mut self, frame: Arc<Frame>, planned: Planned) -> Result<(), End> {
        let mut text = frame.text.clone();
        match planned.fault.kind {
            FaultKind::Lost => {
                self.happened(&planned, &frame, "not sent");
                return Ok(());
            }
            FaultKind::Reordered => {
                // One frame is held at a time; one of another channel goes on its way unharmed.
                if let Some((earlier, _)) = self.passed.replace((frame, planned)) {
                    self.text(&earlier.text, &earlier).await?;
                }
                return Ok(());
            }
            FaultKind::Repeated => {
                self.happened(&planned, &frame, "sent twice");
                self.text(&text, &frame).await?;
            }
            FaultKind::Truncated => {
                text.truncate(text.len() / 2);
                self.happened(&planned, &frame, &format!("{} of {} bytes", text.len(), frame.text.len()));
            }
            FaultKind::BitFlip => {
                let at = mutate::flip(&mut text, planned.id as usize * 131 + 17);
                self.happened(&planned, &frame, &format!("byte {at}"));
            }
            FaultKind::WrongChecksum if mutate::spoil_checksum(&mut text) => {
                self.happened(&planned, &frame, "checksum changed");
            }
            FaultKind::SequenceJump if mutate::bump(&mut text, sequence_keys(frame.venue), planned.fault.by) => {
                self.happened(&planned, &frame, &format!("ids {} too high", planned.fault.by));
            }
            FaultKind::DisconnectMidFrame => {
                let bytes = self.encode(OpCode::Data(Data::Text), &self.wrapped(&text, &frame));
                let half = bytes.len() / 2;
                self.buffer.extend_from_slice(&bytes[..half]);
                self.flush().await?;
                self.happened(&planned, &frame, &format!("{half} of {} bytes", bytes.len()));
                return Err(End::Done);
            }
            _ => {}
        }
        self.text(&text, &frame).await
    }

    /// A fault of the whole connection.
    async fn suffer(&mut self, planned: Planned) -> Result<(), End> {
        self.flush().await?;
        let fault = planned.fault.clone();
        let until = Instant::now() + fault.lasting;
        match (fault.kind, fault.symbol) {
            (FaultKind::Stall, Some(symbol)) => {
                self.hub.happened(&planned, self.venue, Some(&symbol), Some(self.connection), "symbol held back");
                self.held.push(Held { symbol, until, frames: VecDeque::new() });
            }
            (FaultKind::Stall, None) => {
                self.hub.happened(&planned, self.venue, None, Some(self.connection), "nothing is written");
                sleep_until(until).await;
            }
            (FaultKind::SlowLoris, _) => {
                self.hub.happened(&planned, self.venue, None, Some(self.connection), "byte by byte");
                self.loris = Some((until, fault.gap));
            }
            (FaultKind::HalfOpen, _) => {
                self.outbox.shared().dead.store(true, Ordering::Relaxed);
                self.hub.happened(&planned, self.venue, None, Some(self.connection), "neither reads nor writes");
                sleep_until(until).await;
                return Err(End::Done);
            }
            (FaultKind::Close, _) => {
                let code = fault.code.unwrap_or(1001);
                self.hub.happened(&planned, self.venue, None, Some(self.connection), &format!("code {code}"));
                self.close(code, "fault").await?;
                return Err(End::Done);
            }
            _ => {}
        }
        Ok(())
    }

    async fn close(&mut self, code: u16, reason: &str) -> Result<(), End> {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(&reason.as_bytes()[..reason.len().min(120)]);
        self.frame(OpCode::Control(Control::Close), &payload).await?;
        self.flush().await?;
        // An orderly end: the client reads the close frame before the connection is gone.
        self.stream.shutdown().await.map_err(|_| End::Gone)
    }

    fn wrapped(&self, text: &[u8], frame: &Frame) -> Vec<u8> {
        if !self.outbox.combined() {
            return text.to_vec();
        }
        let mut whole = format!("{{\"stream\":\"{}\",\"data\":", frame.name).into_bytes();
        whole.extend_from_slice(text);
        whole.push(b'}');
        whole
    }

    async fn text(&mut self, text: &[u8], frame: &Frame) -> Result<(), End> {
        self.outbox.shared().sent.fetch_add(1, Ordering::Relaxed);
        let whole = self.wrapped(text, frame);
        self.frame(OpCode::Data(Data::Text), &whole).await
    }

    fn encode(&self, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
        let header = FrameHeader { is_final: true, rsv1: false, rsv2: false, rsv3: false, opcode, mask: None };
        let mut bytes = Vec::with_capacity(payload.len() + 10);
        // Writing to memory does not fail.
        let _ = header.format(payload.len() as u64, &mut bytes);
        bytes.extend_from_slice(payload);
        bytes
    }

    async fn frame(&mut self, opcode: OpCode, payload: &[u8]) -> Result<(), End> {
        let bytes = self.encode(opcode, payload);
        match self.loris {
            Some((until, gap)) if Instant::now() < until => {
                self.flush().await?;
                for byte in bytes {
                    self.stream.write_all(&[byte]).await.map_err(|_| End::Gone)?;
                    self.stream.flush().await.map_err(|_| End::Gone)?;
                    // The rest at once when the time is over: a long frame would otherwise go on for minutes.
                    if Instant::now() < until {
                        sleep(gap).await;
                    }
                }
            }
            _ => self.buffer.extend_from_slice(&bytes),
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), End> {
        if !self.buffer.is_empty() {
            self.stream.write_all(&self.buffer).await.map_err(|_| End::Gone)?;
            self.stream.flush().await.map_err(|_| End::Gone)?;
            self.buffer.clear();
        }
        Ok(())
    }

    fn happened(&self, planned: &Planned, frame: &Frame, what: &str) {
        let ids = frame.ids.map_or_else(String::new, |(first, last)| format!(", ids {first} to {last}"));
        let detail = format!("{}: {what}{ids}", frame.name);
        self.hub.happened(planned, frame.venue, Some(&frame.symbol), Some(self.connection), &detail);
    }
}

/// Where a venue writes the sequence numbers of its books.
fn sequence_keys(venue: Venue) -> &'static [&'static str] {
    match venue {
        Venue::BinanceSpot => &["U", "u"],
        Venue::BinanceUsdm | Venue::BinanceCoinm => &["U", "u", "pu"],
        Venue::Bybit => &["u"],
        Venue::Okx => &["prevSeqId", "seqId"],
        Venue::Bitget => &["seq", "pseq"],
        Venue::Deribit => &["prev_change_id", "change_id"],
    }
}
