//! RFC 6455 frames, decoded where they were received.
//!
//! A [`Decoder`] walks over a receive buffer and names the byte range of each message in it: nothing is copied for a
//! message that came in one frame. The fragments of a message are moved together inside the buffer (one copy of those
//! bytes); control frames between them are delivered at once. Masks are taken off in place. Extensions are never
//! offered, so a set RSV bit is an error: no venue here insists on permessage-deflate, and a client that does not offer
//! it cannot be sent a compression bomb.
//!
//! Source of all rules: RFC 6455, sections named beside them.

use core::ops::Range;

use ring::rand::{SecureRandom, SystemRandom};

/// Which end of the connection this is: clients mask what they send, servers do not (5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We connected.
    Client,
    /// We accepted.
    Server,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text, checked.
    Text,
    /// Bytes.
    Binary,
    /// Wants a pong with the same payload, at most 125 bytes.
    Ping,
    /// An answer to a ping, or unasked for.
    Pong,
    /// The other end closes; the payload is empty, or a status code and a UTF-8 reason.
    Close,
}

impl Kind {
    const fn opcode(self) -> u8 {
        match self {
            Self::Text => TEXT,
            Self::Binary => BINARY,
            Self::Close => CLOSE,
            Self::Ping => PING,
            Self::Pong => PONG,
        }
    }
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Most payload of a control frame (5.5).
pub const CONTROL_MAX: usize = 125;
/// Most bytes of a frame's head: two, eight of length, four of mask.
pub const HEAD_MAX: usize = 14;

/// A complete message: where it lies in the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Its payload, as a range of the buffer.
    pub at: Range<usize>,
}

/// What the other end did wrong; the connection must be failed (7.1.7) with [`Violation::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// A reserved bit without an extension (5.2).
    #[error("a reserved bit is set and no extension was agreed")]
    ReservedBit,
    /// An opcode that means nothing (5.2).
    #[error("reserved opcode {0}")]
    Opcode(u8),
    /// A fragmented or oversized control frame (5.5).
    #[error("a control frame is fragmented or longer than 125 bytes")]
    Control,
    /// A continuation of nothing, or a new message inside a fragmented one (5.4).
    #[error("a fragment out of place")]
    Fragment,
    /// A server masked, or a client did not (5.1).
    #[error("masked where it must not be, or unmasked where it must be")]
    Mask,
    /// A length that is not in its shortest form, or above 2^63 (5.2).
    #[error("a malformed length")]
    Length,
    /// A message larger than the limit.
    #[error("a message longer than the limit of {0} bytes")]
    TooLong(usize),
    /// Text that is not UTF-8 (8.1).
    #[error("text is not UTF-8")]
    Utf8,
    /// A close frame with a code that may not be sent, or half a code (7.4).
    #[error("a malformed close frame")]
    Close,
}

impl Violation {
    /// The close code to fail the connection with (7.4.1).
    pub const fn code(self) -> u16 {
        match self {
            Self::Utf8 => 1007,
            Self::TooLong(_) => 1009,
            _ => 1002,
        }
    }
}

/// Whether a close code may come over the wire: those of 7.4.1, of the registry, and private ones.
pub const fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Status code and reason of a close frame's payload; `None` where it is empty.
///
/// # Errors
/// [`Violation::Close`] or [`Violation::Utf8`].
pub fn close_reason(payload: &[u8]) -> Result<Option<(u16, &str)>, Violation> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(Violation::Close),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    let reason = simdutf8::basic::from_utf8(reason).map_err(|_| Violation::Utf8)?;
    if is_sendable(code) { Ok(Some((code, reason))) } else { Err(Violation::Close) }
}

/// A message of which fragments have come.
#[derive(Clone, Copy, Debug)]
struct Open {
    kind: Kind,
    /// Where its payload begins, and where the fragments so far end.
    start: usize,
    end: usize,
    /// Up to where its text is known to be UTF-8.
    checked: usize,
}

/// A frame whose head has been read but whose payload has not come in full.
#[derive(Clone, Copy, Debug)]
struct Head {
    opcode: u8,
    fin: bool,
    mask: Option<[u8; 4]>,
    /// Length of the head and of the payload.
    size: usize,
    payload: usize,
}

/// Reads frames out of a receive buffer.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    limit: usize,
    /// Where the next frame begins.
    at: usize,
    open: Option<Open>,
}

impl Decoder {
    /// A decoder whose messages are at most `limit` bytes.
    pub const fn new(role: Role, limit: usize) -> Self {
        Self { role, limit, at: 0, open: None }
    }

    /// Begins anew at the front of the buffer if nothing of the first `filled` bytes is still needed; says whether so.
    #[inline(always)]
    pub fn rewind(&mut self, filled: usize) -> bool {
        let empty = self.open.is_none() && self.at == filled;
        if empty {
            self.at = 0;
        }
        empty
    }

    /// Moves what is still needed of the first `filled` bytes to the front of the buffer and gives its length. Heads of
    /// fragments and control frames between them go: a message of many small fragments takes no more room than a whole
    /// one.
    pub fn squeeze(&mut self, buffer: &mut [u8], filled: usize) -> usize {
        let kept = match &mut self.open {
            None => 0,
            Some(open) => {
                buffer.copy_within(open.start..open.end, 0);
                let length = open.end - open.start;
                *open = Open { start: 0, end: length, checked: open.checked - open.start, ..*open };
                length
            }
        };
        buffer.copy_within(self.at..filled, kept);
        let moved = self.at - kept;
        self.at = kept;
        filled - moved
    }

    /// The next message of which everything lies in `buffer`; `None` when more bytes must come first.
    ///
    /// # Errors
    /// What the other end did wrong. The decoder must not be used afterwards.
    #[inline]
    pub fn next(&mut self, buffer: &mut [u8]) -> Result<Option<Message>, Violation> {
        loop {
            let Some(head) = self.head(&buffer[self.at..])? else { return Ok(None) };
            let payload = self.at + head.size;
            let Some(bytes) = buffer.get_mut(payload..payload.saturating_add(head.payload)) else {
                return self.look_ahead(buffer, &head).map(|()| None);
            };
            if let Some(mask) = head.mask {
                unmask(bytes, mask);
            }
            let at = payload..payload + head.payload;
            self.at = at.end;
            if head.opcode >= CLOSE {
                return self.control(&buffer[at.clone()], head.opcode, at).map(Some);
            }
            if let Some(message) = self.data(buffer, &head, at)? {
                return Ok(Some(message));
            }
        }
    }

    /// Reads a frame's head and checks it; `None` when it has not come in full.
    #[inline(always)]
    fn head(&self, bytes: &[u8]) -> Result<Option<Head>, Violation> {
        let &[first, second, ..] = bytes else { return Ok(None) };
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBit);
        }
        let masked = second & 0x80 != 0;
        if masked != (self.role == Role::Server) {
            return Err(Violation::Mask);
        }
        match opcode {
            CONTINUATION if self.open.is_none() => return Err(Violation::Fragment),
            TEXT | BINARY if self.open.is_some() => return Err(Violation::Fragment),
            CONTINUATION | TEXT | BINARY => {}
            CLOSE | PING | PONG if fin && second & 0x7f <= CONTROL_MAX as u8 => {}
            CLOSE | PING | PONG => return Err(Violation::Control),
            other => return Err(Violation::Opcode(other)),
        }
        let (length, mut size) = match second & 0x7f {
            126 => match bytes.get(2..4) {
                Some(&[a, b]) => (u64::from(u16::from_be_bytes([a, b])), 4),
                _ => return Ok(None),
            },
            127 => match bytes.get(2..10) {
                Some(long) => (long.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        let shortest = if length < 126 {
            2
        } else if length < 1 << 16 {
            4
        } else {
            10
        };
        if size != shortest || length >> 63 != 0 {
            return Err(Violation::Length);
        }
        let before = self.open.map_or(0, |open| open.end - open.start);
        let payload = usize::try_from(length).unwrap_or(usize::MAX);
        if opcode < CLOSE && before.saturating_add(payload) > self.limit {
            return Err(Violation::TooLong(self.limit));
        }
        let mut mask = None;
        if masked {
            match bytes.get(size..size + 4) {
                Some(&[a, b, c, d]) => mask = Some([a, b, c, d]),
                _ => return Ok(None),
            }
            size += 4;
        }
        Ok(Some(Head { opcode, fin, mask, size, payload }))
    }

    #[cold]
    fn control(&self, payload: &[u8], opcode: u8, at: Range<usize>) -> Result<Message, Violation> {
        let kind = match opcode {
            PING => Kind::Ping,
            PONG => Kind::Pong,
            _ => {
                close_reason(payload)?;
                Kind::Close
            }
        };
        Ok(Message { kind, at })
    }

    /// A data frame: the message if it ends here.
    #[inline(always)]
    fn data(&mut self, buffer: &mut [u8], head: &Head, at: Range<usize>) -> Result<Option<Message>, Violation> {
        let kind = if head.opcode == TEXT { Kind::Text } else { Kind::Binary };
        if head.opcode != CONTINUATION && head.fin {
            if kind == Kind::Text && simdutf8::basic::from_utf8(&buffer[at.clone()]).is_err() {
                return Err(Violation::Utf8);
            }
            return Ok(Some(Message { kind, at }));
        }
        self.fragment(buffer, head, kind, at)
    }

    #[cold]
    fn fragment(
        &mut self,
        buffer: &mut [u8],
        head: &Head,
        kind: Kind,
        at: Range<usize>,
    ) -> Result<Option<Message>, Violation> {
        let mut open = match self.open {
            None => Open { kind, start: at.start, end: at.end, checked: at.start },
            Some(open) => {
                // Behind the fragments before, over this one's head and over control frames that have been delivered.
                buffer.copy_within(at.clone(), open.end);
                Open { end: open.end + at.len(), ..open }
            }
        };
        if open.kind == Kind::Text {
            open.checked = valid_up_to(buffer, open.checked..open.end, head.fin)?;
        }
        if head.fin {
            self.open = None;
            return Ok(Some(Message { kind: open.kind, at: open.start..open.end }));
        }
        self.open = Some(open);
        Ok(None)
    }

    /// Text that has gone wrong already need not be waited for (8.1): only for what is masked or has begun before is
    /// that left to the end of the frame.
    fn look_ahead(&self, buffer: &[u8], head: &Head) -> Result<(), Violation> {
        if head.opcode == TEXT && head.mask.is_none() {
            let from = (self.at + head.size).min(buffer.len());
            valid_up_to(buffer, from..buffer.len(), false)?;
        }
        Ok(())
    }
}

/// Up to where a piece of text is UTF-8; a character may be cut off at its end unless it is the last piece.
fn valid_up_to(buffer: &[u8], piece: Range<usize>, last: bool) -> Result<usize, Violation> {
    match simdutf8::compat::from_utf8(&buffer[piece.clone()]) {
        Ok(_) => Ok(piece.end),
        Err(error) if error.error_len().is_none() && !last => Ok(piece.start + error.valid_up_to()),
        Err(_) => Err(Violation::Utf8),
    }
}

/// Takes a mask off, or puts it on (5.3).
pub fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let mut words = bytes.chunks_exact_mut(8);
    for word in &mut words {
        let plain = u64::from_ne_bytes(core::array::from_fn(|i| word[i])) ^ wide;
        word.copy_from_slice(&plain.to_ne_bytes());
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

/// Writes frames. One a connection.
#[derive(Debug)]
pub struct Encoder {
    role: Role,
    random: SystemRandom,
}

/// The message does not fit into the room that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message does not fit into the send buffer")]
pub struct NoRoom;

impl Encoder {
    /// An encoder for one end.
    pub fn new(role: Role) -> Self {
        Self { role, random: SystemRandom::new() }
    }

    /// Writes a whole message as one frame to the front of `out` and gives its length.
    ///
    /// # Errors
    /// [`NoRoom`]: `out` is shorter than the payload and [`HEAD_MAX`], or the payload of a control frame is too long.
    pub fn write(&self, kind: Kind, payload: &[u8], out: &mut [u8]) -> Result<usize, NoRoom> {
        if matches!(kind, Kind::Ping | Kind::Pong | Kind::Close) && payload.len() > CONTROL_MAX {
            return Err(NoRoom);
        }
        if out.len() < payload.len() + HEAD_MAX {
            return Err(NoRoom);
        }
        let masked = if self.role == Role::Client { 0x80 } else { 0 };
        out[0] = 0x80 | kind.opcode();
        let mut size = match payload.len() {
            short @ 0..126 => {
                out[1] = masked | short as u8;
                2
            }
            medium @ 126..0x1_0000 => {
                out[1] = masked | 126;
                out[2..4].copy_from_slice(&(medium as u16).to_be_bytes());
                4
            }
            long => {
                out[1] = masked | 127;
                out[2..10].copy_from_slice(&(long as u64).to_be_bytes());
                10
            }
        };
        if self.role == Role::Client {
            let mut mask = [0; 4];
            // A mask must not be foreseen by what is sent (10.3). Without randomness nothing may be sent at all.
            self.random.fill(&mut mask).map_err(|_| NoRoom)?;
            out[size..size + 4].copy_from_slice(&mask);
            size += 4;
            out[size..size + payload.len()].copy_from_slice(payload);
            unmask(&mut out[size..size + payload.len()], mask);
        } else {
            out[size..size + payload.len()].copy_from_slice(payload);
        }
        Ok(size + payload.len())
    }

    /// Writes a close frame with a code.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn write_close(&self, code: u16, reason: &str, out: &mut [u8]) -> Result<usize, NoRoom> {
        let mut payload = [0; CONTROL_MAX];
        let length = reason.floor_char_boundary(reason.len().min(CONTROL_MAX - 2));
        payload[..2].copy_from_slice(&code.to_be_bytes());
        payload[2..2 + length].copy_from_slice(&reason.as_bytes()[..length]);
        self.write(Kind::Close, &payload[..2 + length], out)
    }
}
