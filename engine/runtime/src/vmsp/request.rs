//! What can be asked of a hosted ledger, in words.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tidegate_guard::ledger::{Refusal, Shown};
use tidegate_wire::ledger::Name;
use tidegate_wire::order::Side;
use tidegate_wire::{Scale, decimal};

/// What can be asked. Amounts and prices are decimal text; `key` makes a request safe to repeat: the same key and
/// content are done once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "act", deny_unknown_fields)]
pub enum Request {
    /// Money comes in.
    Deposit {
        /// How much.
        amount: String,
        /// Idempotency key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// Money goes out.
    Withdraw {
        /// How much.
        amount: String,
        /// Idempotency key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// Sets an amount aside.
    Lock {
        /// How much.
        amount: String,
        /// What for.
        symbol: String,
        /// Idempotency key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// Gives a lock up; closes a position without gain.
    Unlock {
        /// Which: `vmsp_lock_<ns>_<symbol>`.
        id: String,
        /// Idempotency key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// Where everything stands.
    Status,
    /// Books a trade: it is entered after its drift.
    Trade {
        /// Instrument, such as `BTCUSDT.binance-usdm`.
        symbol: String,
        /// Which way.
        side: Side,
        /// What it is worth at its price: this much is locked.
        amount: String,
        /// Price.
        price: String,
    },
    /// A price at which an instrument is worth something now.
    Mark {
        /// Instrument.
        symbol: String,
        /// Price.
        price: String,
    },
    /// Starts protection: expiry is watched, locks are given.
    Start,
    /// Stops protection: nothing new is locked.
    Stop,
}

impl Request {
    /// Whether it changes something.
    pub const fn changes(&self) -> bool {
        !matches!(self, Self::Status)
    }
}

/// A request that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct Declined {
    /// Name of the limit or rule, such as `max-locked-positions`.
    pub rule: String,
    /// The limit, its value, what was asked, and what to do.
    pub reason: String,
}

impl Declined {
    pub(crate) fn new(rule: &str, reason: impl Into<String>) -> Self {
        Self { rule: rule.into(), reason: reason.into() }
    }

    pub(crate) fn of(refusal: Refusal, scale: Scale) -> Self {
        Self::new(refusal.name(), refusal.told(scale).to_string())
    }
}

/// Decimal text as minor units.
pub(crate) fn amount(text: &str, scale: Scale) -> Result<u128, Declined> {
    let wrong = |why: &str| {
        let decimals = scale.decimals();
        Declined::new(
            "amount",
            format!("{text:?}: {why}; expected a decimal number such as 250.5, at most {decimals} decimals"),
        )
    };
    let units = decimal::parse(text.as_bytes(), scale).map_err(|error| wrong(&error.to_string()))?;
    u128::try_from(units).ok().filter(|units| *units > 0).ok_or_else(|| wrong("not above zero"))
}

/// A symbol as a name.
pub(crate) fn symbol(text: &str) -> Result<Name, Declined> {
    let wrong =
        || Declined::new("name", format!("symbol {text:?}, expected 1 to 32 printable characters without blanks"));
    Name::new(text).ok_or_else(wrong)
}

/// A key's text as a key; 0 for none.
pub(crate) fn key(text: Option<&str>) -> u128 {
    let Some(text) = text else { return 0 };
    let digest: [u8; 32] = Sha256::digest(text).into();
    let [head @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = digest;
    // Zero means no key.
    u128::from_be_bytes(head).max(1)
}

/// Name of a lock.
pub(crate) fn lock_name(id: u64, symbol: Name) -> String {
    format!("vmsp_lock_{id}_{symbol}")
}

/// Number and symbol in a lock's name.
pub(crate) fn lock_of(text: &str) -> Result<(u64, &str), Declined> {
    let parts = text.strip_prefix("vmsp_lock_").and_then(|rest| rest.split_once('_'));
    let read = parts.and_then(|(id, symbol)| Some((id.parse().ok()?, symbol)));
    read.ok_or_else(|| Declined::new("unknown-lock", format!("{text:?} is no lock; expected vmsp_lock_<ns>_<symbol>")))
}

/// Minor units as decimal text.
pub(crate) fn shown(amount: u128, scale: Scale) -> String {
    Shown(i128::try_from(amount).unwrap_or(i128::MAX), scale).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_locks_are_read_as_written() {
        let name = lock_name(17, symbol("BTC_USD.x").expect("a name"));
        assert_eq!((name.as_str(), lock_of(&name)), ("vmsp_lock_17_BTC_USD.x", Ok((17, "BTC_USD.x"))));
        for bad in ["", "17", "vmsp_lock_x_B", "vmsp_lock_17"] {
            assert_eq!(lock_of(bad).expect_err(bad).rule, "unknown-lock");
        }
    }

    #[test]
    fn amounts_are_exact_or_refused() {
        let scale = Scale::saturating(6);
        assert_eq!(amount("250.5", scale), Ok(250_500_000));
        for bad in ["0", "-1", "1e3", "0.0000001", ""] {
            assert!(amount(bad, scale).expect_err(bad).reason.contains("expected a decimal"), "{bad}");
        }
        assert_eq!(key(None), 0);
        assert_ne!(key(Some("a")), key(Some("b")));
    }

    #[test]
    fn requests_are_json_with_no_unknown_fields() {
        let text = r#"{"act":"lock","amount":"5","symbol":"BTCUSDT"}"#;
        let read: Request = serde_json::from_str(text).expect("a request");
        assert_eq!(serde_json::to_string(&read).expect("text"), text);
        assert!(serde_json::from_str::<Request>(r#"{"act":"lock","amount":"5","symbol":"B","x":1}"#).is_err());
    }
}
