//! Bytes to events: capture readers, venue decoders and sequence rules.
