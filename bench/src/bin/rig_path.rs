//! See `tidegate_bench::rigs::path`.

fn main() {
    tidegate_bench::rigs::main(&["path"]);
}
