//! The shared vocabulary: fixed-point numbers, event records, clock, rings, seqlock cell, latency recorders.
