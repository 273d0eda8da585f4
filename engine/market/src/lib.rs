//! Events to state: books, trade tape, bars and microstructure features.
