//! What must not happen: circuit breakers, profiles and their decisions.
