//! One module a command.

pub(crate) mod audit;
pub(crate) mod capture;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod features;
pub(crate) mod feed;
pub(crate) mod health;
pub(crate) mod hist;
pub(crate) mod model;
pub(crate) mod operate;
pub(crate) mod postmortem;
pub(crate) mod replay;
pub(crate) mod risk;
pub(crate) mod run;
pub(crate) mod running;
pub(crate) mod sidecar;
pub(crate) mod signals;
pub(crate) mod simulate;
pub(crate) mod store;
pub(crate) mod stream;
pub(crate) mod top;
pub(crate) mod vmsp;
