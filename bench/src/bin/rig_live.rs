//! See `tidegate_bench::rigs::live`.

fn main() {
    tidegate_bench::rigs::main(&["live"]);
}
