//! What the engine is measured against. Written here with each library's own fast idiom; used nowhere else.

pub mod book;
pub mod client;
pub mod json;
pub mod naive;
pub mod python;
pub mod replay;
pub mod ring;
pub mod risk;
