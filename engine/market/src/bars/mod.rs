//! Bars, and features of one-minute bars.
//!
//! | module | what |
//! |---|---|
//! | [`BarBuilder`] | bars by time, volume and value out of trades |
//! | [`BarMarkets`] | the finished one-minute bars of all instruments, wherever they come from, with their features |
//! | [`BarFeatures`] | the features of one instrument's one-minute bars |
//! | [`schema`] | names, units and definitions of those features, and the hash that binds models to them |

mod builder;
mod features;
mod minutes;
mod recursive;
pub mod schema;

pub use builder::{Bar, BarBuilder, BarRule};
pub use features::{BarFeatures, BarVector};
pub use minutes::{BarMarkets, Finished, MINUTE_NS, MinuteBar, Origin};
