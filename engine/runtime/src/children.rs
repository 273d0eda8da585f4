//! Processes of the engine's own that speak JSON lines over pipes: how they are heard, and how they end.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

/// Longest line that is taken from a child, bytes.
const LINE_MAX: u64 = 1 << 20;
/// How long a child may take to end when it is told to.
const FAREWELL: Duration = Duration::from_secs(5);

/// Hears a child's lines until its output ends or `each` has had enough. What is no `T` is of no use to anybody, and a
/// line without an end takes no memory beyond its first part.
pub(crate) fn hear<T: DeserializeOwned>(stdout: impl Read, mut each: impl FnMut(T) -> bool) {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    while (&mut stdout).take(LINE_MAX).read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        if serde_json::from_slice(&line).is_ok_and(|said| !each(said)) {
            return;
        }
        line.clear();
    }
}

/// Ends a child now.
pub(crate) fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Gives a child that was told to end a while for it, then ends it.
pub(crate) fn farewell(child: &mut Child) {
    let until = Instant::now() + FAREWELL;
    while Instant::now() < until {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    end(child);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(bytes: &[u8]) -> Vec<u64> {
        let mut all = Vec::new();
        hear(bytes, |number: u64| {
            all.push(number);
            number != 9
        });
        all
    }

    #[test]
    fn only_what_is_meant_is_heard_until_somebody_has_enough() {
        assert_eq!(heard(b"1\nnoise\n\xff\xfe\n2\n"), [1, 2]);
        assert_eq!(heard(b"1\n9\n3\n"), [1, 9]);
        assert_eq!(heard(b""), [0; 0]);
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory_and_hides_no_other() {
        let mut bytes = vec![b'x'; 3 * LINE_MAX as usize];
        bytes.extend_from_slice(b"\n5\n");
        assert_eq!(heard(&bytes), [5]);
    }
}
