//! Hashes of the parts of the state, which are added up: a change costs what it changes, not what there is.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Account, Balances, Outcome, Reservation};

/// Of an account.
pub(super) fn account_hash(account: &Account, balances: &Balances) -> u64 {
    let Balances { available, pending, posted, locked_count } = *balances;
    let mut bytes = [0; 128];
    bytes[..32].copy_from_slice(account.owner.bytes());
    bytes[32..64].copy_from_slice(account.asset.bytes());
    let amounts = [available, pending, posted, locked_count.into()];
    bytes[64..].copy_from_slice(bytemuck::cast_slice(&amounts));
    xxh3_64_with_seed(&bytes, 1)
}

/// Of a reservation.
pub(super) fn reservation_hash(reservation: &Reservation) -> u64 {
    let Reservation { id, account, symbol, amount, expires_ns, state } = reservation;
    let mut bytes = [0; 136];
    bytes[..32].copy_from_slice(account.owner.bytes());
    bytes[32..64].copy_from_slice(account.asset.bytes());
    bytes[64..96].copy_from_slice(symbol.bytes());
    let figures = [*id, *expires_ns, *amount as u64, (*amount >> 64) as u64, *state as u64];
    bytes[96..].copy_from_slice(bytemuck::cast_slice(&figures));
    xxh3_64_with_seed(&bytes, 2)
}

/// Of a key with the content it was used for and the outcome.
pub(super) fn key_hash(key: u128, content: u128, outcome: &Outcome) -> u64 {
    let Outcome { kind, id, amount, expires_ns, expired, .. } = *outcome;
    let scalars = u128::from(id) << 64 | u128::from(expires_ns);
    let figures = [key, content, amount, scalars, u128::from(expired) << 8 | u128::from(kind as u8)];
    xxh3_64_with_seed(bytemuck::cast_slice(&figures), 3)
}
