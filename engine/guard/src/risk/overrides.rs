//! Overrides: one rule, excused once, for one order, for a short while, by two persons.
//!
//! RTS 6 Art. 15(6): only for a specific trade, temporarily and exceptionally; the risk function verifies, a designated
//! individual authorises.

/// Overrides that can be open at once.
const PLACES: usize = 16;

/// What is excused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// Account of the order.
    pub account: u16,
    /// Its client order id.
    pub client_id: u64,
    /// The rule, by its index in [`RULES`](super::rules::RULES).
    pub rule: u8,
    /// Until when, ns since the Unix epoch, exclusive.
    pub expires_ns: i64,
}

/// Why an override is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// The persons may not.
    #[error(transparent)]
    Keys(#[from] super::people::KeyError),
    /// No such rule, or one that nobody may override.
    #[error("rule {0} cannot be overridden")]
    Rule(u8),
    /// It has ended, or would last longer than the configuration allows.
    #[error("an override must end within {longest_ns} ns from now, this one would last {lasts_ns} ns")]
    Span {
        /// How long it would last, ns.
        lasts_ns: i64,
        /// How long it may, ns.
        longest_ns: i64,
    },
    /// Too many are open.
    #[error("{PLACES} overrides are open; none is left")]
    Full,
}

/// Open overrides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    open: [Option<Override>; PLACES],
    count: usize,
}

impl Overrides {
    /// Adds one; those that have ended make room.
    pub(crate) fn grant(&mut self, granted: Override, now: i64) -> Result<(), OverrideError> {
        self.open.iter_mut().for_each(|place| *place = place.filter(|open| open.expires_ns > now));
        let place = self.open.iter_mut().find(|place| place.is_none()).ok_or(OverrideError::Full)?;
        *place = Some(granted);
        self.count = self.open.iter().flatten().count();
        Ok(())
    }

    /// Whether a rule is excused for an order.
    #[inline(always)]
    pub(crate) fn excuses(&self, account: u16, client_id: u64, rule: u8, now: i64) -> bool {
        self.count > 0 && self.position(account, client_id, rule, now).is_some()
    }

    /// It was used: it holds for one order only.
    pub(crate) fn consume(&mut self, account: u16, client_id: u64, rule: u8, now: i64) {
        if let Some(index) = self.position(account, client_id, rule, now) {
            self.open[index] = None;
            self.count -= 1;
        }
    }

    fn position(&self, account: u16, client_id: u64, rule: u8, now: i64) -> Option<usize> {
        let matches =
            |o: &Override| o.account == account && o.client_id == client_id && o.rule == rule && o.expires_ns > now;
        self.open.iter().position(|place| place.as_ref().is_some_and(matches))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_order_one_rule_one_time() {
        let mut overrides = Overrides::default();
        let granted = Override { account: 1, client_id: 7, rule: 3, expires_ns: 100 };
        overrides.grant(granted, 0).expect("room");
        assert!(overrides.excuses(1, 7, 3, 99) && !overrides.excuses(1, 7, 3, 100), "it ends");
        assert!(!overrides.excuses(1, 8, 3, 0) && !overrides.excuses(0, 7, 3, 0) && !overrides.excuses(1, 7, 4, 0));
        overrides.consume(1, 7, 3, 50);
        assert!(!overrides.excuses(1, 7, 3, 50));
        for client_id in 0..PLACES as u64 {
            overrides.grant(Override { client_id, ..granted }, 0).expect("room");
        }
        assert_eq!(overrides.grant(granted, 99), Err(OverrideError::Full));
        assert_eq!(overrides.grant(granted, 100), Ok(()), "all others have ended");
    }
}
