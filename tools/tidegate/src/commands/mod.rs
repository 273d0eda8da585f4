//! One module a command.

pub(crate) mod audit;
pub(crate) mod capture;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod features;
pub(crate) mod feed;
pub(crate) mod hist;
pub(crate) mod model;
pub(crate) mod operate;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod sidecar;
pub(crate) mod simulate;
