//! See `tidegate_bench::rigs::audit`.

fn main() {
    tidegate_bench::rigs::main(&["audit"]);
}
