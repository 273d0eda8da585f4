//! The one binary: arguments, wiring, exit codes.
fn main() {}
