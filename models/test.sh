#!/usr/bin/env bash
# Lints and tests of the models package, in an environment of its own that is kept for the next run. Ends with 77 (skipped)
# where there is neither Python 3.11 nor such an environment nor a way to install one; in CI it fails then.
#
# The light environment is enough for all but training and parity. Those run too where the kept environment has
# PyTorch, or when CI_TRAIN=1 asks for it (3 GB, about two minutes).
set -euo pipefail
cd "$(dirname "$0")"

# In CI everything must be there: what is skipped elsewhere fails.
skip() {
    [ -z "${CI:-}" ] || exit 1
    exit 77
}

if [ "${CI_TRAIN:-0}" = 1 ]; then
    constraints=constraints-train.txt extras=train,dev,sign
else
    constraints=constraints.txt extras=dev,sign
fi
kept="${TIDEGATE_VENVS:-$HOME/.cache/tidegate/venvs}"
name_of() { printf '%s' "${1%.txt}-$(cat pyproject.toml "$1" | sha256sum | cut -c1-16)"; }
train="$kept/$(name_of constraints-train.txt)"
if [ -x "$train/bin/pytest" ]; then
    venv="$train"
else
    venv="$kept/$(name_of "$constraints")"
fi

if [ ! -x "$venv/bin/pytest" ]; then
    python="$(command -v python3.11 || true)"
    if [ -z "$python" ]; then
        echo "SKIPPED: no python3.11 to test the models package with"
        skip
    fi
    rm -rf "$venv"
    mkdir -p "$kept"
    "$python" -m venv "$venv"
    if ! "$venv/bin/pip" install --quiet --disable-pip-version-check -c "$constraints" -e ".[$extras]"; then
        rm -rf "$venv"
        echo "SKIPPED: the environment of the models package cannot be installed"
        skip
    fi
fi

# The engine as it is now, not one that an earlier build left. Where the whole tree has just been built it is there, with
# the features of the whole tree; asked for by itself it has others, and half of all crates would be compiled again.
target="${CARGO_TARGET_DIR:-$PWD/../target}"
if [ -z "${TIDEGATE_BUILT:-}" ]; then
    cargo build --quiet --locked -p tidegate --manifest-path ../Cargo.toml --target-dir "$target"
fi
export TIDEGATE_ENGINE="$target/debug/tidegate"

# The kept environment may have been made from another checkout.
export PYTHONPATH="$PWD/src" OMP_NUM_THREADS=1
"$venv/bin/ruff" format --check .
"$venv/bin/ruff" check .
"$venv/bin/mypy"
"$venv/bin/pytest" -q
