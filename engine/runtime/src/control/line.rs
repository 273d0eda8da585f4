//! The socket's lines, and who writes them.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::REQUEST_MAX;

/// Who is at the other end, as the kernel says.
pub(super) fn peer(stream: &UnixStream) -> String {
    use std::os::fd::AsRawFd;
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    let to = std::ptr::from_mut(&mut found).cast();
    // SAFETY: an open socket; the kernel writes no more than the length that it is given.
    let code =
        unsafe { libc::getsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, to, &raw mut length) };
    if code == 0 { format!("uid {}", found.uid) } else { "unknown".into() }
}

/// A line, within a length and within a time in all.
pub(super) fn read_line(stream: &mut UnixStream, patience: Duration) -> std::io::Result<Vec<u8>> {
    let (until, mut line, mut buffer) = (Instant::now() + patience, Vec::new(), [0; 1_024]);
    while !line.contains(&b'\n') && line.len() < REQUEST_MAX {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => break,
            read => line.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(line)
}
