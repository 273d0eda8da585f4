//! See `tidegate_bench::rigs::decode`.

fn main() {
    tidegate_bench::rigs::main(&["decode"]);
}
