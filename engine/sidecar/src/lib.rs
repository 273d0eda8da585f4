//! Features to model outputs: what advises, and what has to be proven before it may.
//!
//! # The model
//!
//! A **version** of a model is a folder in the [`repository`] with an ONNX graph, a [`contract`] and golden vectors. It
//! passes the load [`gate`] on the loader's thread, runs in **shadow** beside the version in force, and takes its place
//! between two adjustments, or is refused with a [`Refusal`] that says why.
//!
//! An **adjustment** is one look at the market graph: the tuner in force answers with quantiles for every book, which
//! become [`Advice`](tidegate_wire::advice::Advice) in cells that the guard reads. The guard clamps it; nothing here
//! moves a threshold by itself. Models of rows answer with predictions, which are told and recorded.
//!
//! [`serve`] runs it: beside a live engine on the newest vectors it can get, or in lockstep with a replay on all of
//! them. [`gat`] is the kernel behind the one operator of our own. Without ONNX Runtime ([`native`]) nothing is loaded,
//! an event says so, and static profiles hold.

pub mod contract;
mod core;
mod cpu_time;
pub mod gat;
pub mod gate;
mod loader;
pub mod messages;
mod model;
pub mod native;
mod onnx;
pub mod probe;
pub mod refusal;
pub mod repository;
pub mod serve;
mod session;
mod slot;
mod vigil;

pub use loader::{LoaderSettings, Resume};
pub use refusal::Refusal;
pub use slot::ShadowSettings;
