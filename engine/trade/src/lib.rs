//! What to do: microstructure signals, how good they are, and the paper exchange that orders of a strategy meet first.

pub mod gateway;
pub mod paper;
