//! What crosses rooms: end-to-end runs, recorded data, house rules.
