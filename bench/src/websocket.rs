//! Server frames of RFC 6455 in a receive buffer, for the path rig.
//!
//! The bench's own: it does what a transport has to do for every message (find the header, check it, find the payload
//! in place) and nothing else. Control frames, fragments and reassembly are not the path's business; they are refused.

/// Longest header of an unmasked frame, bytes.
pub const HEADER_MAX: usize = 10;

const FINAL_TEXT: u8 = 0x81;
const MASKED: u8 = 0x80;

/// Where the payload of the text frame at the start of `buffer` lies: its offset and length, bytes.
///
/// `None` for anything that is not one whole, final, unmasked text frame without extension bits, and for lengths that
/// are not written in their shortest form.
#[inline(always)]
pub fn text(buffer: &[u8]) -> Option<(usize, usize)> {
    let [first, second, ..] = *buffer else { return None };
    if first != FINAL_TEXT || second & MASKED != 0 {
        return None;
    }
    let (start, length) = match second {
        126 => {
            let length = usize::from(u16::from_be_bytes([*buffer.get(2)?, *buffer.get(3)?]));
            (4, (length > 125).then_some(length)?)
        }
        127 => {
            let bytes = buffer.get(2..HEADER_MAX)?.try_into().ok()?;
            let length = u64::from_be_bytes(bytes);
            (HEADER_MAX, usize::try_from(length).ok().filter(|_| length > u64::from(u16::MAX))?)
        }
        short => (2, usize::from(short)),
    };
    (buffer.len() - start >= length).then_some((start, length))
}

/// Writes the header of a text frame of `length` bytes; gives the header's own length.
pub fn write_header(buffer: &mut [u8; HEADER_MAX], length: usize) -> usize {
    buffer[0] = FINAL_TEXT;
    match length {
        0..=125 => {
            buffer[1] = length as u8;
            2
        }
        126..=0xffff => {
            buffer[1] = 126;
            buffer[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        _ => {
            buffer[1] = 127;
            buffer[2..].copy_from_slice(&(length as u64).to_be_bytes());
            HEADER_MAX
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_read_back() {
        for (length, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut start = [0; HEADER_MAX];
            assert_eq!(write_header(&mut start, length), header);
            let mut frame = start[..header].to_vec();
            frame.resize(header + length, b'x');
            assert_eq!(text(&frame), Some((header, length)));
            frame.push(b'y');
            assert_eq!(text(&frame), Some((header, length)), "the next frame does not matter");
            frame.truncate(header + length);
            frame.pop();
            assert_eq!(text(&frame), None, "{length} cut");
        }
    }

    #[test]
    fn other_frames_are_refused() {
        let refused: [&[u8]; 8] = [
            b"",
            b"\x81",
            b"\x01\x01x",
            b"\x82\x01x",
            b"\xc1\x01x",
            b"\x81\x81\0\0\0\0x",
            b"\x81\x7e\0\x05hello",
            b"\x81\x7f\0\0\0\0\0\0\0\x01x",
        ];
        for frame in refused {
            assert_eq!(text(frame), None, "{frame:?}");
        }
    }
}
