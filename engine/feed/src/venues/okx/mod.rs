//! x
mod dialect;
pub use dialect::{OKX};
