//! Frames of one size, and what they carry.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | number, from 0, without gaps, each direction by itself, little-endian |
//! | 1 | 0 cover, 1 a part of a message, 2 its last part |
//! | 1 | zero |
//! | 2 | bytes of the part, little-endian |
//! | 500 | the part, and zeros behind it |

/// Bytes of a frame.
pub const FRAME: usize = 512;
/// Bytes before the part.
const HEAD: usize = 12;
/// Most bytes of a part.
pub const PART: usize = FRAME - HEAD;
/// Longest message, bytes.
pub const MESSAGE_MAX: usize = 256 << 10;

/// A frame that is none, or not the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Another number: it was played back, or one before it is missing.
    #[error("frame {found} came where frame {expected} should: played back, or one is missing")]
    Number {
        /// The one that should have come.
        expected: u64,
        /// The one that came.
        found: u64,
    },
    /// No frame of this version.
    #[error("a frame of kind {kind} with {bytes} bytes, expected a kind of 0 to 2 and at most {PART} bytes")]
    Malformed {
        /// Its kind.
        kind: u8,
        /// Bytes of its part.
        bytes: u16,
    },
    /// A message that is too long.
    #[error("a message of more than {MESSAGE_MAX} bytes")]
    TooLong,
}

/// Padding. It holds nothing, and nothing can be made of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Cover(());

/// What somebody said, whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Message(Vec<u8>);

impl Message {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a frame was.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// Padding.
    Cover(Cover),
    /// A part of a message that is not whole yet.
    Part,
    /// The last part: the message.
    Message(Message),
}

/// Cuts messages into frames.
#[derive(Debug, Default)]
pub struct Packer {
    next: u64,
    message: Vec<u8>,
    sent: usize,
    busy: bool,
}

impl Packer {
    /// Whether a message is under way.
    pub const fn is_busy(&self) -> bool {
        self.busy
    }

    /// Takes the next message, once the one before is out.
    ///
    /// # Errors
    /// [`FrameError::TooLong`].
    pub fn say(&mut self, message: Vec<u8>) -> Result<(), FrameError> {
        if message.len() > MESSAGE_MAX {
            return Err(FrameError::TooLong);
        }
        (self.message, self.sent, self.busy) = (message, 0, true);
        Ok(())
    }

    /// The frame of the next beat: a part of what is to be said, else cover.
    pub fn frame(&mut self) -> [u8; FRAME] {
        let mut frame = [0; FRAME];
        frame[..8].copy_from_slice(&self.next.to_le_bytes());
        self.next += 1;
        if self.busy {
            let part = &self.message[self.sent..];
            let part = &part[..part.len().min(PART)];
            self.sent += part.len();
            self.busy = self.sent < self.message.len();
            frame[8] = if self.busy { 1 } else { 2 };
            frame[10..12].copy_from_slice(&(part.len() as u16).to_le_bytes());
            frame[HEAD..HEAD + part.len()].copy_from_slice(part);
        }
        frame
    }
}

/// Puts messages together again.
#[derive(Debug, Default)]
pub struct Unpacker {
    next: u64,
    message: Vec<u8>,
}

impl Unpacker {
    /// Takes the next frame.
    ///
    /// # Errors
    /// [`FrameError`]: the connection must end.
    pub fn take(&mut self, frame: &[u8; FRAME]) -> Result<Received, FrameError> {
        let [n0, n1, n2, n3, n4, n5, n6, n7, kind, _, b0, b1, part @ ..] = frame;
        let found = u64::from_le_bytes([*n0, *n1, *n2, *n3, *n4, *n5, *n6, *n7]);
        let bytes = u16::from_le_bytes([*b0, *b1]);
        if found != self.next {
            return Err(FrameError::Number { expected: self.next, found });
        }
        self.next += 1;
        let part = part.get(..usize::from(bytes)).filter(|part| *kind != 0 || part.is_empty());
        let part = part.filter(|_| *kind <= 2).ok_or(FrameError::Malformed { kind: *kind, bytes })?;
        if self.message.len() + part.len() > MESSAGE_MAX {
            return Err(FrameError::TooLong);
        }
        self.message.extend_from_slice(part);
        Ok(match kind {
            0 => Received::Cover(Cover(())),
            1 => Received::Part,
            _ => Received::Message(Message(core::mem::take(&mut self.message))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_every_length_go_through_and_cover_holds_nothing() {
        let (mut packer, mut unpacker) = (Packer::default(), Unpacker::default());
        for length in [0, 1, PART - 1, PART, PART + 1, 3 * PART, MESSAGE_MAX] {
            let message: Vec<u8> = (0..length).map(|n| n as u8).collect();
            assert_eq!(unpacker.take(&packer.frame()), Ok(Received::Cover(Cover(()))));
            packer.say(message.clone()).expect("not too long");
            let mut frames = 0;
            let got = loop {
                frames += 1;
                match unpacker.take(&packer.frame()).expect("in order") {
                    Received::Message(message) => break message,
                    received => assert_eq!(received, Received::Part),
                }
            };
            assert_eq!((got.bytes(), frames), (&message[..], length.div_ceil(PART).max(1)));
            assert!(!packer.is_busy());
        }
        assert_eq!(packer.say(vec![0; MESSAGE_MAX + 1]), Err(FrameError::TooLong));
    }

    #[test]
    fn what_comes_twice_or_is_missing_is_refused() {
        let (mut packer, mut unpacker) = (Packer::default(), Unpacker::default());
        let frames: Vec<[u8; FRAME]> = (0..4).map(|_| packer.frame()).collect();
        assert!(unpacker.take(&frames[0]).is_ok());
        assert_eq!(unpacker.take(&frames[0]), Err(FrameError::Number { expected: 1, found: 0 }));
        assert_eq!(unpacker.take(&frames[2]), Err(FrameError::Number { expected: 1, found: 2 }));
        let mut wrong = frames[1];
        wrong[8] = 3;
        assert_eq!(unpacker.take(&wrong), Err(FrameError::Malformed { kind: 3, bytes: 0 }));
        let (mut cover, mut fresh) = (frames[0], Unpacker::default());
        cover[10] = 1;
        assert_eq!(fresh.take(&cover), Err(FrameError::Malformed { kind: 0, bytes: 1 }), "cover says nothing");
    }
}
