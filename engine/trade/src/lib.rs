//! What to do: microstructure signals, how good they are, and the paper exchange that orders of a strategy meet first.

pub mod calibration;
pub mod desk;
pub mod gateway;
pub mod lines;
pub mod paper;
pub mod report;
pub mod signals;
