//! See `tidegate_bench::rigs::transport`.

fn main() {
    tidegate_bench::rigs::main(&["transport"]);
}
