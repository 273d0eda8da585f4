//! See `tidegate_bench::rigs::book`.

fn main() {
    tidegate_bench::rigs::main(&["book"]);
}
