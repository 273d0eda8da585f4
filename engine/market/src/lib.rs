//! Events to state: books, bars and microstructure features.
//!
//! # The model
//!
//! [`MarketStage`] consumes events and keeps, for each instrument, a [`book::Book`] and a
//! [`features::FeatureEngine`]. Every event yields one feature vector: 64 values with a mask, the book's quality and a
//! digest. A book that is not good masks every feature that depends on it; a masked value is absent, never zero in
//! meaning. [`features::schema`] defines each feature with its unit and source.
//!
//! A book that is corrupt although its sequence is whole (crossed, or a price off the grid) holds its frames back until
//! a snapshot heals it; the feed need not know.
//!
//! Where somebody watches, the stage also shows each book and its tape every tenth of a second of event time
//! ([`MarketStage::watched_by`]), behind the vectors and at the cost of one comparison an event.
//!
//! [`traps`] looks for moves that are there to mislead, in those looks and never on the hot path.
//!
//! [`signals`] says what a model of microstructure signals reads of one.
//!
//! [`graph`] joins exchanges, assets and books into the graph that models look at. [`crosscheck`] compares the rebuilt
//! book with the venue's own best bid and ask; [`bars`] cuts the tape into bars and computes features of those of one
//! minute, whichever way they came about.

pub mod bars;
pub mod book;
mod columns;
pub mod crosscheck;
pub mod features;
pub mod graph;
mod repair;
pub mod signals;
mod stage;
pub mod traps;

pub use stage::{LOOK_EVERY_NS, MarketConfig, MarketCounters, MarketStage};
