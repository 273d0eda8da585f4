//! See `tidegate_bench::rigs::ledger`.

fn main() {
    tidegate_bench::rigs::main(&["ledger"]);
}
