//! See `tidegate_bench::rigs::signals`.

fn main() {
    tidegate_bench::rigs::main(&["signals"]);
}
