//! See `tidegate_bench::rigs::swap`.

fn main() {
    tidegate_bench::rigs::main(&["swap"]);
}
