//! Does a frame reach the socket without waiting for an interrupt, and does the connection stay warm?

use super::Check;
use super::view::{Reason, Verdict, View};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "net.busy_read",
        title: "busy polling of blocking reads",
        why: "without it a read sleeps until an interrupt wakes it, 5 to 25 us after the frame arrived",
        source: "/proc/sys/net/core/busy_read",
        run: busy_read,
    },
    Check {
        id: "net.busy_poll",
        title: "busy polling of poll and epoll",
        why: "without it a poll finds a frame only after the interrupt has been handled on some core",
        source: "/proc/sys/net/core/busy_poll",
        run: busy_poll,
    },
    Check {
        id: "net.slow_start",
        title: "no slow start after idle",
        why: "an order sent after a quiet second otherwise starts with a small window and waits for round trips",
        source: "/proc/sys/net/ipv4/tcp_slow_start_after_idle",
        run: slow_start,
    },
];

fn busy_read(view: &View<'_>) -> Result<Verdict, Reason> {
    busy(view, "busy_read")
}

fn busy_poll(view: &View<'_>) -> Result<Verdict, Reason> {
    busy(view, "busy_poll")
}

fn busy(view: &View<'_>, name: &str) -> Result<Verdict, Reason> {
    Ok(match view.number(&format!("proc/sys/net/core/{name}"))? {
        us if us > 0 => Verdict::Pass(format!("{us} us")),
        _ => Verdict::warn("off", format!("sysctl -w net.core.{name}=50")),
    })
}

fn slow_start(view: &View<'_>) -> Result<Verdict, Reason> {
    Ok(match view.number("proc/sys/net/ipv4/tcp_slow_start_after_idle")? {
        0 => Verdict::Pass(String::from("off")),
        _ => Verdict::warn("on", "sysctl -w net.ipv4.tcp_slow_start_after_idle=0"),
    })
}
