//! See `tidegate_bench::rigs::serve`.

fn main() {
    tidegate_bench::rigs::main(&["serve"]);
}
