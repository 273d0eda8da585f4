#!/usr/bin/env bash
# Runs every fuzz target for [seconds] (default 60) on stable Rust: libFuzzer with the compiler's own coverage passes,
# no cargo-fuzz, no nightly. Inputs that reach new code are kept in corpus/, minimised and only while they are small.
# Ends with a failure when a target crashes; the input is then in artifacts/. Without a C++ compiler it ends with 77,
# which counts as skipped; CI may not skip it.
set -euo pipefail
cd "$(dirname "$0")"

seconds="${1:-60}"
targets=(decode_binance decode_okx decode_bybit decode_bitget decode_deribit capture_line capture_file websocket
    session_text)
# What of a corpus may be kept in the repository.
max_files=100
max_bytes=150000
max_input=2048

if ! command -v c++ >/dev/null 2>&1 && ! command -v clang++ >/dev/null 2>&1; then
    echo "SKIPPED: fuzzing needs a C++ compiler (libFuzzer is C++): install g++ or clang++" >&2
    [ -z "${CI:-}" ] && exit 77
    exit 1
fi

host="$(rustc -vV | sed -n 's/^host: //p')"
target_dir="${FUZZ_TARGET_DIR:-${CARGO_TARGET_DIR:-$PWD/target}/fuzz}"
# An explicit --target keeps these flags away from build scripts and procedural macros, which cannot link libFuzzer.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1"
for target in "${targets[@]}"; do
    cargo build --quiet --locked --release --target "$host" --target-dir "$target_dir" --bin "$target"
done
# The seeds are written by an ordinary program: it has no coverage hooks, and nobody who would call them.
RUSTFLAGS="" cargo build --quiet --locked --target-dir "$target_dir" -p tidegate-fuzz-seeds

# In memory where there is such a place: a capture is written for every execution.
shared=/dev/shm
[ -d "$shared" ] && [ -w "$shared" ] || shared="${TMPDIR:-/tmp}"
work="$(mktemp -d -p "$shared")"
trap 'rm -rf "$work"' EXIT
export TMPDIR="$work"
"$target_dir/debug/tidegate-fuzz-seeds" "$work/seeds"
mkdir -p artifacts corpus

# What the run adds to the corpus: a small set of inputs that reaches, with the seeds, everything the whole set does.
keep() {
    local target="$1" binary="$2" files bytes all step
    cp -r "$work/seeds/$target" "$work/merged-$target"
    "$binary" -set_cover_merge=1 -max_len="$max_input" "$work/merged-$target" "$work/corpus/$target" \
        >"$work/merge.log" 2>&1 || {
        cat "$work/merge.log" >&2
        return 1
    }
    rm -rf "corpus/$target"
    mkdir -p "corpus/$target"
    files=0
    bytes=0
    all="$(find "$work/merged-$target" -type f ! -name 'seed-*' | wc -l)"
    step=$((all / max_files + 1))
    # Every so many of all sizes: the small ones alone would say little.
    while read -r size path; do
        if [ $((bytes + size)) -gt "$max_bytes" ]; then break; fi
        cp "$path" "corpus/$target/"
        files=$((files + 1))
        bytes=$((bytes + size))
    done < <(find "$work/merged-$target" -type f ! -name 'seed-*' -printf '%s %p\n' | sort -n | awk "NR % $step == 0")
    echo "$target: corpus of $files inputs, $bytes bytes, of $all"
}

failed=0
for target in "${targets[@]}"; do
    binary="$target_dir/$host/release/$target"
    mkdir -p "$work/corpus/$target" "corpus/$target" "artifacts/$target"
    cp "$work/seeds/$target"/* "$work/corpus/$target/"
    find "corpus/$target" -type f -exec cp {} "$work/corpus/$target/" \;
    dictionary=()
    [ -f "$target.dict" ] && dictionary=("-dict=$target.dict")
    log="$work/$target.log"
    if ! "$binary" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="artifacts/$target/" "${dictionary[@]}" "$work/corpus/$target" >"$log" 2>&1; then
        tail -n 60 "$log" >&2
        echo "$target: CRASHED; the input is in tests/fuzz/artifacts/$target/" >&2
        failed=1
        continue
    fi
    executions="$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
    coverage="$(grep -o 'cov: [0-9]* ft: [0-9]*' "$log" | tail -n 1)"
    echo "$target: $executions executions in $seconds s, $coverage"
    # A short run finds nothing worth a change in the repository; CI must leave the tree as it is.
    if [ "$seconds" -ge 60 ] && [ -z "${CI:-}" ]; then
        keep "$target" "$binary" || failed=1
    fi
done
exit "$failed"
