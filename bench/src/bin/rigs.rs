//! All rigs one after the other, with the bars summed up at the end.

fn main() {
    let names = [
        "decode",
        "ring",
        "book",
        "risk",
        "ledger",
        "audit",
        "path",
        "transport",
        "replay",
        "signals",
        "inference",
        "swap",
        "live",
        "serve",
    ];
    tidegate_bench::rigs::main(&names);
}
