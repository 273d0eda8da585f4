//! What sockets can do beyond the standard library: the kernel's receive stamps and busy polling.

use std::io::{self, Write};
use std::os::fd::AsRawFd;

use mio::net::TcpStream;

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes read; 0 when the other end has finished.
    pub bytes: usize,
    /// When the kernel received the last of them, ns since the Unix epoch; `None` where it does not say.
    pub kernel_ns: Option<i64>,
}

/// What a connection is read from and written to: a socket, or something in memory that stands for one.
pub trait Socket: Write {
    /// Reads what is there, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there, or what went wrong.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received>;

    /// Acknowledges what was received, and leaves the acknowledgement of what comes next to the next call. Once it has
    /// been called, every receipt wants a call soon: the other end may wait for it.
    fn acknowledge(&mut self) {}
}

impl Socket for TcpStream {
    #[inline]
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        receive(self, buffer)
    }

    #[inline]
    fn acknowledge(&mut self) {
        acknowledge(self);
    }
}

/// Room for one control message with a `timespec`, aligned as `cmsghdr` wants it.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Reads from a socket and asks for the kernel's stamp.
///
/// # Errors
/// As `recvmsg`; `WouldBlock` when nothing is there.
pub fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all-zero bytes are a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: the descriptor is open while `socket` is borrowed; the message names `buffer` and `control`, which
    // outlive the call.
    let bytes = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    match usize::try_from(bytes) {
        // SAFETY: `recvmsg` has filled the message.
        Ok(bytes) => Ok(Received { bytes, kernel_ns: unsafe { stamp(&message) } }),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// The stamp among a message's control data.
///
/// # Safety
/// `message` has been filled by `recvmsg`, and its control buffer lives.
unsafe fn stamp(message: &libc::msghdr) -> Option<i64> {
    // SAFETY: by contract; the macros stay inside the control buffer.
    unsafe {
        let mut head = libc::CMSG_FIRSTHDR(message);
        while !head.is_null() {
            if (*head).cmsg_level == libc::SOL_SOCKET && (*head).cmsg_type == libc::SCM_TIMESTAMPNS {
                let time = libc::CMSG_DATA(head).cast::<libc::timespec>().read_unaligned();
                return Some(time.tv_sec * 1_000_000_000 + time.tv_nsec);
            }
            head = libc::CMSG_NXTHDR(message, head);
        }
    }
    None
}

fn set(socket: &impl AsRawFd, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    set_at(socket, libc::SOL_SOCKET, option, value)
}

fn set_at(socket: &impl AsRawFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open while `socket` is borrowed; the option's value is one `int`.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks the kernel to stamp what it receives.
///
/// # Errors
/// As `setsockopt`.
pub fn stamp_received(socket: &impl AsRawFd) -> io::Result<()> {
    set(socket, libc::SO_TIMESTAMPNS, 1)
}

/// Sends the acknowledgement that is due, and keeps the kernel from sending the next one inside a read.
///
/// A read that empties a socket's queue otherwise sends it before it returns: 2.4 of 3.4 us on a loopback, where the
/// sender's side of it runs inside the call. Sent after the data were used it costs the same, but nobody waits for it;
/// and as it is sent at once, a sender that coalesces small segments waits no longer than before.
pub fn acknowledge(socket: &impl AsRawFd) {
    // Nothing depends on it but speed: without it, or where there is none, reads acknowledge.
    #[cfg(target_os = "linux")]
    for now_and_later in [1, 0] {
        let _ = set_at(socket, libc::IPPROTO_TCP, libc::TCP_QUICKACK, now_and_later);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

/// Lets reads poll the device's queue for up to `us` microseconds instead of waiting for its interrupt. More than
/// `net.core.busy_read` needs `CAP_NET_ADMIN`.
///
/// # Errors
/// As `setsockopt`.
pub fn busy_poll(socket: &impl AsRawFd, us: u32) -> io::Result<()> {
    set(socket, libc::SO_BUSY_POLL, libc::c_int::try_from(us).unwrap_or(libc::c_int::MAX))
}
