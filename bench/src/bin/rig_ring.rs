//! See `tidegate_bench::rigs::ring`.

fn main() {
    tidegate_bench::rigs::main(&["ring"]);
}
