//! x
mod dialect;
pub use dialect::{INVERSE, LINEAR, SPOT};
