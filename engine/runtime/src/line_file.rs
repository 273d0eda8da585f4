//! Files of lines whose losses are counted.

use std::io::{BufWriter, Write};

/// A file of lines that knows which of them never reached it.
pub(crate) struct LineFile<W: Write> {
    out: BufWriter<W>,
    /// Lines that the buffer did not take.
    refused: u64,
    /// What the system said first.
    error: Option<std::io::Error>,
}

impl<W: Write> LineFile<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out: BufWriter::new(out), refused: 0, error: None }
    }

    pub(crate) fn line(&mut self, mut line: String) {
        line.push('\n');
        // In one piece: the buffer takes it whole or not at all.
        if let Err(error) = self.out.write_all(line.as_bytes()) {
            self.refused += 1;
            self.error.get_or_insert(error);
        }
    }

    /// What cannot be written stays in the buffer for the next time: a disk may have room again.
    pub(crate) fn flush(&mut self) {
        if let Err(error) = self.out.flush() {
            self.error.get_or_insert(error);
        }
    }

    /// The first error and how many lines are missing; `None` when the file has them all.
    pub(crate) fn finish(mut self) -> Option<(std::io::Error, u64)> {
        self.flush();
        // Lines still in the buffer are lost with it. It is thrown away here, or dropping it would write once more.
        let (_, left) = self.out.into_parts();
        let left = left.unwrap_or_default();
        let lost = self.refused + left.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.error.filter(|_| lost > 0).map(|error| (error, lost))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    /// A disk with room for so many bytes.
    struct Disk<'a> {
        room: &'a std::cell::Cell<usize>,
        held: &'a std::cell::RefCell<Vec<u8>>,
    }

    impl Write for Disk<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let length = bytes.len().min(self.room.get());
            if length == 0 {
                return Err(Error::from(ErrorKind::StorageFull));
            }
            self.room.set(self.room.get() - length);
            self.held.borrow_mut().extend(&bytes[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Writes lines of 100 bytes, flushing after every tenth, onto a disk that gets `more` room after half of them.
    /// Gives what is lost and how many whole lines the disk holds.
    fn lost(lines: usize, room: usize, more: usize) -> (Option<(ErrorKind, u64)>, usize) {
        let (room, held) = (std::cell::Cell::new(room), std::cell::RefCell::default());
        let mut file = LineFile::new(Disk { room: &room, held: &held });
        for number in 0..lines {
            if number == lines / 2 {
                room.set(room.get() + more);
            }
            file.line(format!("{number:099}"));
            if number % 10 == 9 {
                file.flush();
            }
        }
        let lost = file.finish().map(|(error, lost)| (error.kind(), lost));
        let whole = held.borrow().iter().filter(|&&byte| byte == b'\n').count();
        (lost, whole)
    }

    #[test]
    fn every_line_that_is_not_in_the_file_is_counted() {
        let full = ErrorKind::StorageFull;
        assert_eq!(lost(57, usize::MAX / 2, 0), (None, 57));
        // Few lines stay in the buffer, many overflow it: both are lost.
        assert_eq!(lost(5, 0, 0), (Some((full, 5)), 0));
        assert_eq!(lost(1_000, 0, 0), (Some((full, 1_000)), 0));
        // A line cut in two is a lost one.
        assert_eq!(lost(1_000, 4_250, 0), (Some((full, 958)), 42));
    }

    #[test]
    fn a_disk_with_room_again_gets_what_was_kept() {
        assert_eq!(lost(40, 1_000, 1 << 20), (None, 40));
        let (missing, whole) = lost(1_000, 1_000, 1 << 20);
        let (_, missing) = missing.expect("more than the buffer holds");
        assert_eq!((missing > 0, missing as usize + whole), (true, 1_000));
    }
}
