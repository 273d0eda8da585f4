//! See `tidegate_bench::rigs::inference`.

fn main() {
    tidegate_bench::rigs::main(&["inference"]);
}
