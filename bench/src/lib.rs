//! Criterion benches and rigs, with peers measured in the same run.
