//! Criterion benches and rigs, with peers measured in the same run.
//!
//! # The model
//!
//! A **rig** ([`rigs`]) is a program that measures one row of the speed table: our code and its peers, interleaved, on
//! pinned cores, with the machine and its noise floor printed above the figures. Before it measures, it checks that all
//! candidates give the same result; a rig that finds a difference fails, whatever the times say. Each figure with a bar
//! is one `RATIO <name> <value> <bar>` line, and smaller is better in all of them.
//!
//! Criterion benches (`benches/`) watch single operations for regressions.
//!
//! Frames come from a seeded generator ([`corpus`]) and, where the recorded session is at hand, from a recording
//! ([`recorded`]). Competitors live in [`peers`] and nowhere else in the workspace.

pub mod alloc;
pub mod corpus;
pub mod machine;
pub mod peers;
pub mod recorded;
pub mod report;
pub mod rigs;
pub mod session;
pub mod tails;
pub mod timing;
pub mod websocket;
pub mod weights;
