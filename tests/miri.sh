#!/usr/bin/env bash
# Miri on the crate with the unsafe memory code. It needs a nightly toolchain with the miri component; where there is
# none, this says so loudly and ends with 77, which counts as skipped (the loom models and the two-process stress run
# everywhere).
set -euo pipefail
cd "$(dirname "$0")/../engine/wire"
if ! cargo +nightly miri --version >/dev/null 2>&1; then
    echo "SKIPPED: miri is not installed; rustup +nightly component add miri" >&2
    exit 77
fi
export MIRIFLAGS="-Zmiri-strict-provenance -Zmiri-disable-isolation -Zrandomize-layout"
exec cargo +nightly miri test --lib ring:: cell:: relay::
