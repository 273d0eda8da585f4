//! The ledger's time.

use tidegate_wire::ledger::{LedgerKind, LedgerRecord};
use xxhash_rust::xxh3::xxh3_64;

/// What ties the ledger's time to the monotonic clock of one boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch {
    /// Digest of the boot's id.
    boot: u64,
    mono_ns: u64,
    ledger_ns: u64,
}

/// The clock: never goes back, does not know of wall time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LedgerClock(Epoch);

/// `CLOCK_MONOTONIC`, ns since some moment of this boot.
fn mono_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid clock and a place for its answer.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Which boot this is. A host that does not tell is never the same one.
fn boot() -> u64 {
    let id =
        std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_else(|_| std::process::id().to_le_bytes().into());
    xxh3_64(&id)
}

impl Epoch {
    /// The epoch in a record; `None` when it is of another kind.
    pub(crate) fn of(record: &LedgerRecord) -> Option<Self> {
        let epoch = Self { boot: record.target, mono_ns: record.ttl_ns, ledger_ns: record.now_ns };
        (record.kind() == Some(LedgerKind::Epoch)).then_some(epoch)
    }

    /// As a record, at a state.
    pub(crate) fn record(&self, state: u64) -> LedgerRecord {
        LedgerRecord {
            kind: LedgerKind::Epoch as u8,
            target: self.boot,
            ttl_ns: self.mono_ns,
            now_ns: self.ledger_ns,
            state,
            ..bytemuck::Zeroable::zeroed()
        }
    }
}

impl LedgerClock {
    /// Goes on from the last epoch where the boot is the same, else from the last time there was. The second part is
    /// the new epoch in the second case: it must be recorded.
    pub(crate) fn resume(last: Option<Epoch>, ledger_ns: u64) -> (Self, Option<Epoch>) {
        let (boot, mono_ns) = (boot(), mono_ns());
        match last.filter(|last| last.boot == boot && mono_ns >= last.mono_ns) {
            Some(last) => (Self(last), None),
            None => {
                let epoch = Epoch { boot, mono_ns, ledger_ns };
                (Self(epoch), Some(epoch))
            }
        }
    }

    /// Now, ns.
    pub(crate) fn now_ns(&self) -> u64 {
        self.0.ledger_ns + mono_ns().saturating_sub(self.0.mono_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_within_a_boot_and_from_where_it_was_after_another() {
        let (clock, epoch) = LedgerClock::resume(None, 5_000);
        let epoch = epoch.expect("a first one");
        assert!(clock.now_ns() >= 5_000);
        std::thread::sleep(std::time::Duration::from_millis(2));
        let record = epoch.record(9);
        assert_eq!(Epoch::of(&record), Some(epoch));
        let (again, fresh) = LedgerClock::resume(Epoch::of(&record), 5_000);
        assert!(fresh.is_none() && again.now_ns() >= 2_005_000, "the pause counts");
        let other = Epoch { boot: epoch.boot ^ 1, ..epoch };
        let (later, fresh) = LedgerClock::resume(Some(other), 7_000_000);
        assert!(fresh.is_some_and(|epoch| epoch.ledger_ns == 7_000_000) && later.now_ns() < 1_007_000_000);
    }
}
