//! WebSocket frames of clients, and what is wrong with them (RFC 6455).

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Longest frame header.
const HEADER_BYTES: usize = 14;

/// A message of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Text(String),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close,
}

/// A violation of the WebSocket protocol, and the code it is answered with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) code: u16,
    pub(super) rule: &'static str,
}

/// Puts messages together.
pub(super) struct Deframer {
    buffer: Vec<u8>,
    /// Earlier fragments of a message.
    message: Option<Vec<u8>>,
    limit: usize,
}

impl Deframer {
    pub(super) fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), message: None, limit }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete message; `None` until more bytes come.
    pub(super) fn next(&mut self) -> Result<Option<Incoming>, Broken> {
        loop {
            let Some((header, payload)) = self.frame()? else { return Ok(None) };
            match header.opcode {
                OpCode::Control(control) => return self.control(control, payload).map(Some),
                OpCode::Data(data) => {
                    self.collect(data, payload)?;
                    if header.is_final {
                        return self.complete().map(Some);
                    }
                }
            }
        }
    }

    fn frame(&mut self) -> Result<Option<(FrameHeader, Vec<u8>)>, Broken> {
        let mut cursor = Cursor::new(&self.buffer[..self.buffer.len().min(HEADER_BYTES)]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Broken { code: 1002, rule: "bad_opcode" })?;
        let Some((header, length)) = parsed else { return Ok(None) };
        let Some(mask) = header.mask else { return Err(Broken { code: 1002, rule: "unmasked_frame" }) };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Broken { code: 1002, rule: "reserved_bits" });
        }
        let control = matches!(header.opcode, OpCode::Control(_));
        if control && (!header.is_final || length > 125) {
            return Err(Broken { code: 1002, rule: "bad_control_frame" });
        }
        let collected = self.message.as_ref().map_or(0, Vec::len);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if collected.saturating_add(length) > self.limit && !control {
            return Err(Broken { code: 1009, rule: "oversize_message" });
        }
        let start = cursor.position() as usize;
        if self.buffer.len() < start + length {
            return Ok(None);
        }
        let payload = self.buffer[start..start + length].iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b).collect();
        self.buffer.drain(..start + length);
        Ok(Some((header, payload)))
    }

    fn control(&mut self, control: Control, payload: Vec<u8>) -> Result<Incoming, Broken> {
        match control {
            Control::Ping => Ok(Incoming::Ping(payload)),
            Control::Pong => Ok(Incoming::Pong(payload)),
            Control::Close => Ok(Incoming::Close),
            Control::Reserved(_) => Err(Broken { code: 1002, rule: "bad_opcode" }),
        }
    }

    fn collect(&mut self, data: Data, payload: Vec<u8>) -> Result<(), Broken> {
        match (data, &mut self.message) {
            (Data::Text, message @ None) => *message = Some(payload),
            (Data::Continue, Some(message)) => message.extend_from_slice(&payload),
            (Data::Binary, _) => return Err(Broken { code: 1003, rule: "binary_frame" }),
            (Data::Reserved(_), _) => return Err(Broken { code: 1002, rule: "bad_opcode" }),
            _ => return Err(Broken { code: 1002, rule: "bad_fragment" }),
        }
        Ok(())
    }

    fn complete(&mut self) -> Result<Incoming, Broken> {
        let bytes = self.message.take().unwrap_or_default();
        String::from_utf8(bytes).map(Incoming::Text).map_err(|_| Broken { code: 1007, rule: "bad_utf8" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
        let length = payload.len() as u8;
        let mut out = vec![first, length | if mask.is_some() { 0x80 } else { 0 }];
        let mask = mask.inspect(|mask| out.extend_from_slice(mask)).unwrap_or_default();
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
        out
    }

    const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);

    #[test]
    fn messages_come_together_from_any_pieces() {
        let mut bytes = frame(0x01, MASK, b"one ");
        bytes.extend(frame(0x89, MASK, b"?"));
        bytes.extend(frame(0x80, MASK, b"message"));
        for size in 1..bytes.len() {
            let (mut deframer, mut found) = (Deframer::new(100), Vec::new());
            for piece in bytes.chunks(size) {
                deframer.feed(piece);
                while let Some(message) = deframer.next().unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(found, [Incoming::Ping(b"?".to_vec()), Incoming::Text("one message".into())]);
        }
    }

    #[test]
    fn every_violation_has_its_code() {
        let cases = [
            (frame(0x81, None, b"x"), 1002),
            (frame(0xc1, MASK, b"x"), 1002),
            (frame(0x83, MASK, b"x"), 1002),
            (frame(0x8b, MASK, b"x"), 1002),
            (frame(0x09, MASK, b"x"), 1002),
            (frame(0x80, MASK, b"x"), 1002),
            (frame(0x82, MASK, b"x"), 1003),
            (frame(0x81, MASK, b"\xff"), 1007),
            (frame(0x81, MASK, &[b'x'; 101]), 1009),
        ];
        for (bytes, code) in cases {
            let mut deframer = Deframer::new(100);
            deframer.feed(&bytes);
            assert_eq!(deframer.next().unwrap_err().code, code);
        }
    }

    proptest! {
        #[test]
        fn nothing_a_client_sends_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut deframer = Deframer::new(64);
            deframer.feed(&bytes);
            while let Ok(Some(_)) = deframer.next() {}
        }
    }
}
