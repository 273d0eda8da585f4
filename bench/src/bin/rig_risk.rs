//! See `tidegate_bench::rigs::risk`.

fn main() {
    tidegate_bench::rigs::main(&["risk"]);
}
