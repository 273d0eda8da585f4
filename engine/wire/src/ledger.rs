//! Records of the balance ledger: what was done to balances, as the journal holds it.
//!
//! A [`LedgerRecord`] is plain old data of three 64-byte lines and stands for itself: it names its accounts and symbols
//! by text, carries the ledger's time and the hash of the state that it led to, so that whoever reads a journal can do
//! everything again and knows at each step whether it is the same.
//!
//! Amounts are integers in an asset's minor units (for USDT with six decimals: millionths).

use core::fmt;

use bytemuck::{Pod, Zeroable};
use strum::{FromRepr, IntoStaticStr};

/// Longest name, bytes.
pub const NAME_MAX: usize = 32;

/// A short name of an owner, an asset or a symbol: 1 to 32 printable ASCII characters without blanks, padded by zeros.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct Name([u8; NAME_MAX]);

impl Name {
    /// No name: only in records that need none.
    pub const NONE: Self = Self([0; NAME_MAX]);

    /// `text` as a name; `None` when it is none.
    pub fn new(text: &str) -> Option<Self> {
        let (bytes, mut name) = (text.as_bytes(), [0; NAME_MAX]);
        let fits = !bytes.is_empty() && bytes.len() <= NAME_MAX && bytes.iter().all(u8::is_ascii_graphic);
        fits.then(|| {
            name[..bytes.len()].copy_from_slice(bytes);
            Self(name)
        })
    }

    /// The text; empty for [`NONE`](Self::NONE) and for bytes that are no name.
    pub fn as_str(&self) -> &str {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(NAME_MAX);
        core::str::from_utf8(&self.0[..length]).unwrap_or_default()
    }

    /// Whether the bytes are those of a name.
    pub fn is_valid(&self) -> bool {
        Self::new(self.as_str()) == Some(*self)
    }

    /// The bytes, padding included.
    pub const fn bytes(&self) -> &[u8; NAME_MAX] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// What a record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromRepr, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
#[repr(u8)]
pub enum LedgerKind {
    /// Limits from here on.
    Configure = 1,
    /// Money comes from outside.
    Deposit = 2,
    /// Money goes outside.
    Withdraw = 3,
    /// A part of the available balance is set aside for a while.
    Reserve = 4,
    /// A reservation becomes a position, in whole or in part.
    Post = 5,
    /// A reservation is given up.
    Void = 6,
    /// A position ends with a gain or a loss.
    Close = 7,
    /// Reservations whose time is over are given back.
    Sweep = 8,
    /// No change of balances: which clock the ledger's time goes by from here on.
    Epoch = 9,
}

impl LedgerKind {
    /// Name as in reports.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// One thing done to the ledger. 192 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct LedgerRecord {
    /// Idempotency key of whoever asked; 0 for what the ledger's host does by itself.
    pub key: u128,
    /// Minor units: deposited, withdrawn, reserved or posted (0: all of it). Limits: the buffer, millionths of the
    /// total.
    pub amount: u128,
    /// Minor units that a closed position brought (> 0) or cost (< 0).
    pub gain: i128,
    /// Whose account.
    pub owner: Name,
    /// In which asset.
    pub asset: Name,
    /// What a reservation is for.
    pub symbol: Name,
    /// Which reservation. Limits: how many may be locked at once. Epoch: digest of the boot's id.
    pub target: u64,
    /// The ledger's time, ns; never decreases from record to record.
    pub now_ns: u64,
    /// How long a reservation holds, ns. Epoch: the boot's monotonic clock, ns.
    pub ttl_ns: u64,
    /// Host time when it was asked, ns since the Unix epoch; for names and for people, never for expiry.
    pub wall_ns: u64,
    /// Hash of the ledger's state afterwards.
    pub state: u64,
    /// A [`LedgerKind`].
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

const _: () = {
    assert!(size_of::<LedgerRecord>() == 192);
    assert!(core::mem::offset_of!(LedgerRecord, kind) == 184, "no padding");
};

impl LedgerRecord {
    /// What it does; `None` for an unknown kind.
    pub fn kind(&self) -> Option<LedgerKind> {
        LedgerKind::from_repr(self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_text() {
        assert_eq!(Name::new("BTCUSDT.binance-usdm").map(|name| name.to_string()), Some("BTCUSDT.binance-usdm".into()));
        for bad in ["", "a b", "\u{e9}", "a\0b", &"x".repeat(33)] {
            assert_eq!(Name::new(bad), None, "{bad:?}");
        }
        let full = Name::new(&"x".repeat(32)).expect("it just fits");
        assert!(full.is_valid() && full.as_str().len() == 32);
        assert!(!Name::NONE.is_valid() && Name::NONE.as_str().is_empty());
        let mut bytes = [0u8; 32];
        (bytes[0], bytes[5]) = (b'a', b'b');
        assert!(!bytemuck::cast::<_, Name>(bytes).is_valid(), "nothing behind the end");
    }

    #[test]
    fn the_layout_is_golden() {
        let mut record = LedgerRecord::zeroed();
        (record.key, record.amount, record.gain) = (1, 2, -1);
        (record.owner, record.kind) = (Name::new("main").expect("a name"), LedgerKind::Reserve as u8);
        (record.target, record.now_ns, record.ttl_ns, record.wall_ns, record.state) = (3, 4, 5, 6, 7);
        let bytes = bytemuck::bytes_of(&record);
        assert_eq!((bytes[0], bytes[16], &bytes[32..48], &bytes[48..53]), (1, 2, &[0xff; 16][..], &b"main\0"[..]));
        assert_eq!([144, 152, 160, 168, 176, 184].map(|at| bytes[at]), [3, 4, 5, 6, 7, 4]);
        assert_eq!(bytemuck::pod_read_unaligned::<LedgerRecord>(bytes).kind(), Some(LedgerKind::Reserve));
    }
}
