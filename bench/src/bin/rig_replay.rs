//! See `tidegate_bench::rigs::replay`.

fn main() {
    tidegate_bench::rigs::main(&["replay"]);
}
