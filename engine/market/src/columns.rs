//! The hash that binds a model to the columns it was trained on.

use sha2::{Digest, Sha256};

/// SHA-256 over a line `index:name:unit:version` a column: moves whenever a definition does.
pub(crate) fn columns_hash<'a>(columns: impl Iterator<Item = (&'a str, &'a str, u16)>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for (index, (name, unit, version)) in columns.enumerate() {
        hasher.update(format!("{index}:{name}:{unit}:{version}\n"));
    }
    hasher.finalize().into()
}
