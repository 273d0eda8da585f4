//! One module a command.

pub(crate) mod doctor;
pub(crate) mod hist;
pub(crate) mod replay;
