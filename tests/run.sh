#!/usr/bin/env bash
# Everything CI runs, in the order in which failures are cheapest to find. Ends with one line that counts the steps.
# A step that lacks a tool ends with 77 and counts as skipped, not as passed.
set -uo pipefail
cd "$(dirname "$0")/.."

export TIDEGATE_DATA="${TIDEGATE_DATA:-$PWD/../shared/data}"
export TIDEGATE_VENUES="${TIDEGATE_VENUES:-$PWD/../shared/venues}"
if [ -n "${CI:-}" ]; then
    export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/tidegate/target}"
fi

passed=0
failed=0
skipped=0
logs="$(mktemp -d)"
trap 'rm -rf "$logs"' EXIT
step() {
    local name="$1"
    shift
    printf '\n== %s\n' "$name"
    local start=$SECONDS status word
    "$@" 2>&1 | tee "$logs/output"
    status=${PIPESTATUS[0]}
    case "$status" in
    0) passed=$((passed + 1)) word="ok" ;;
    77) skipped=$((skipped + 1)) word="SKIPPED" ;;
    *) failed=$((failed + 1)) word="FAILED"
        # Said again at the end, where whoever sees only the last lines finds it.
        { printf '\n== FAILED: %s\n' "$name"
          grep -nE -A 8 "panicked at|^error|^FAILED|^E  |FAILED$" "$logs/output" | head -n 60
          tail -n 20 "$logs/output"; } >>"$logs/failures" ;;
    esac
    printf -- '-- %s: %s (%s s)\n' "$name" "$word" "$((SECONDS - start))"
}

# CI builds the Ethereum anchor too, in the same builds as the rest: a build of its own would compile the product twice.
# It needs npm for a local chain; a bare CI machine may lack it, and tools/setup/chain.sh installs it there.
anchor=(--features tidegate/anchor)

documentation() {
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace "${anchor[@]}" --no-deps --document-private-items --quiet
}

loom() {
    make --no-print-directory loom
}

# `make bench-quick` on the selection of crates that the tests have built: by itself it has other features, and half of
# all crates would be compiled again. Without `--tests` too: crates have the features that tests ask for only beside them.
rigs() {
    cargo build --quiet --locked --workspace "${anchor[@]}" --bins --tests &&
        "${CARGO_TARGET_DIR:-target}/debug/rigs" --quick
}

# Fuzzing needs a C++ compiler; a bare CI machine may lack one.
if [ -n "${CI:-}" ] && ! command -v c++ >/dev/null 2>&1 && [ "$(id -u)" -eq 0 ]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends g++
fi

# This is the one build of what ships, which has not the anchor: the compiler has nothing to say of our crates there.
quiet_run() {
    make --no-print-directory run SECONDS=40 >"$1" 2>&1 || { tail -n 60 "$1"; return 1; }
    if grep -B 30 -E '^warning: `tidegate' "$1"; then return 1; fi
    grep -E "frames|gaps|hot allocations|models|digests|adjust_total|whole" "$1"
}

step "format" cargo fmt --all --check
step "lints" cargo clippy --locked --workspace "${anchor[@]}" --all-targets --quiet -- -D warnings
# The product's own tests make cargo build the binary that the tests of the whole tree start.
step "tests" env TIDEGATE_BUILT=1 cargo test --locked --workspace "${anchor[@]}" --no-fail-fast --quiet
# The tests have built the engine that the browser looks at.
step "browser" bash tests/browser/run.sh
step "models package" env TIDEGATE_BUILT=1 bash models/test.sh
step "documentation" documentation
step "loom" loom
step "fuzz, bounded" bash tests/fuzz/run.sh "${FUZZ_SECONDS:-10}"
step "rigs at tiny size" rigs
step "make run" quiet_run "$(mktemp)"
step "miri" bash tests/miri.sh

cat "$logs/failures" 2>/dev/null
printf '\n%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
