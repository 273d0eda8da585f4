//! All rigs one after the other, with the bars summed up at the end.

fn main() {
    tidegate_bench::rigs::main(&["decode", "ring", "book", "path", "replay", "inference", "swap"]);
}
