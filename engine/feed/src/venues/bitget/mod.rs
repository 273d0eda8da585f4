//! x
mod dialect;
pub use dialect::{COIN, SPOT, USDC, USDT};
