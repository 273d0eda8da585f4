//! x
mod dialect;
pub use dialect::{DERIBIT};
