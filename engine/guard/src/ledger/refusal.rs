//! Why a command was not carried out.

use std::fmt;

use tidegate_wire::Scale;

use super::{AMOUNT_MAX, Account, Shown, State};

/// Why a command was not carried out; nothing has changed. Amounts are minor units; [`told`](Self::told) prints them as
/// decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// An amount that is zero, or more than the ledger can hold.
    Amount {
        /// What was asked.
        asked: u128,
    },
    /// A name that is none.
    Name,
    /// Limits outside their range.
    Limits {
        /// Millionths of the total.
        buffer_ppm: u128,
        /// Reservations and positions at once.
        max_locked: u64,
    },
    /// Nobody has put anything there.
    Unknown(Account),
    /// All places are taken.
    Places {
        /// The limit.
        limit: u32,
        /// How many are taken.
        locked: u32,
        /// What was asked.
        asked: u128,
    },
    /// More than may be locked.
    Usable {
        /// What was asked.
        asked: u128,
        /// What could be locked now.
        usable: u128,
        /// The whole balance.
        total: u128,
        /// What is locked.
        locked: u128,
        /// What may never be.
        buffer: u128,
    },
    /// More than is available.
    Available {
        /// What was asked.
        asked: u128,
        /// What there is.
        available: u128,
    },
    /// A reservation that never was, or was resolved too long ago to be remembered.
    NoReservation {
        /// Which.
        id: u64,
    },
    /// A reservation that is not, or no more, in the state that the command is for.
    Resolved {
        /// Which.
        id: u64,
        /// Where it stands.
        state: State,
    },
    /// More than is reserved.
    Exceeds {
        /// What was asked.
        asked: u128,
        /// What is reserved.
        reserved: u128,
    },
    /// A loss that the account cannot bear.
    Loss {
        /// How much.
        loss: u128,
        /// What the position and the available balance would cover.
        covered: u128,
    },
    /// A key that was used for something else.
    Key {
        /// Which.
        key: u128,
    },
}

impl Refusal {
    /// Name as in reports and answers.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Amount { .. } => "amount",
            Self::Name => "name",
            Self::Limits { .. } => "limits",
            Self::Unknown(_) => "unknown-account",
            Self::Places { .. } => "max-locked-positions",
            Self::Usable { .. } => "protection-buffer",
            Self::Available { .. } => "available",
            Self::NoReservation { .. } => "unknown-lock",
            Self::Resolved { state: State::Pending, .. } => "not-posted",
            Self::Resolved { state: State::Posted, .. } => "already-posted",
            Self::Resolved { state: State::Voided, .. } => "already-voided",
            Self::Resolved { state: State::Expired, .. } => "already-expired",
            Self::Resolved { state: State::Closed, .. } => "already-closed",
            Self::Exceeds { .. } => "exceeds-reserved",
            Self::Loss { .. } => "loss",
            Self::Key { .. } => "key-reused",
        }
    }

    /// The refusal with amounts as decimals.
    pub const fn told(self, scale: Scale) -> Told {
        Told(self, scale)
    }
}

/// A refusal as text.
#[derive(Clone, Copy, Debug)]
pub struct Told(Refusal, Scale);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |amount: u128| Shown(i128::try_from(amount).unwrap_or(i128::MAX), self.1);
        match self.0 {
            Refusal::Amount { asked } => {
                write!(f, "an amount of {}, expected above 0 and at most {}", shown(asked), shown(AMOUNT_MAX))
            }
            Refusal::Name => f.write_str("a name, expected 1 to 32 printable ASCII characters without blanks"),
            Refusal::Limits { buffer_ppm, max_locked } => write!(
                f,
                "a buffer of {buffer_ppm} millionths and {max_locked} places, expected at most 1,000,000 and 1 to 65,536"
            ),
            Refusal::Unknown(Account { owner, asset }) => {
                write!(f, "{owner} has no balance in {asset}; deposit some first")
            }
            Refusal::Places { limit, locked, asked } => write!(
                f,
                "max_locked_positions is {limit} and {locked} are locked: no place for {}; unlock one first",
                shown(asked)
            ),
            Refusal::Usable { asked, usable, total, locked, buffer } => write!(
                f,
                "asked to lock {}, and {} can be: the total is {}, {} is locked, {} is the protection buffer",
                shown(asked),
                shown(usable),
                shown(total),
                shown(locked),
                shown(buffer)
            ),
            Refusal::Available { asked, available } => {
                write!(f, "asked for {}, and {} is available", shown(asked), shown(available))
            }
            Refusal::NoReservation { id } => write!(f, "there is no lock {id}, or it was resolved long ago"),
            Refusal::Resolved { id, state } => write!(f, "lock {id} is {}: a lock resolves once", state.name()),
            Refusal::Exceeds { asked, reserved } => {
                write!(f, "asked to post {}, and {} is reserved", shown(asked), shown(reserved))
            }
            Refusal::Loss { loss, covered } => {
                write!(f, "a loss of {}, and position and available balance cover {}", shown(loss), shown(covered))
            }
            Refusal::Key { key } => {
                write!(f, "key {key:032x} was used for something else; take a new one for a new request")
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.told(Scale::saturating(0)).fmt(f)
    }
}

impl std::error::Error for Refusal {}
