//! The pinned loops that join the rooms, and what re-runs the engine.
//!
//! # The model
//!
//! A **pipeline** is feed, market and guard in that order. Its **topology** ([`pipeline`]) says how many cores it
//! takes: `fused` runs it on one, a frame at a time; `staged` gives each stage a thread and joins them by lossless
//! rings. Both are built from the same stages and take the same decisions. Around it run cold threads: the reader that
//! merges captures, the scribe that writes histograms and decisions, the hiccup meter that says how noisy the host was
//! meanwhile.
//!
//! [`replay`] drives a pipeline from recorded captures, at their own pace or flat out; [`live`] from live venues;
//! [`audit`] is the log of a run, [`postmortem`] explains an incident of it; [`risk`] is its risk desk; [`vmsp`]
//! hosts the balance ledger; [`screens`] shows it all; [`stores`] keeps the log's tables up to date;
//! [`signals`] keeps what the signal desk tells, [`trading`] trades it on paper; [`config`] is what
//! operators write; [`host`] checks the machine; [`hlog`] reads and writes interval logs.

pub mod alloc;
pub mod audit;
mod children;
pub mod config;
pub mod control;
pub mod extract;
pub mod hiccup;
pub mod hlog;
pub mod host;
mod journal;
pub mod latency;
mod line_file;
pub mod lines;
pub mod live;
pub mod markup;
mod minutes;
pub mod models;
pub mod orders;
pub mod pipeline;
pub mod postmortem;
pub mod replay;
pub mod risk;
pub mod screens;
mod scribe;
pub mod signals;
pub mod stores;
mod stream;
pub mod trading;
pub mod vmsp;
pub mod wait;
