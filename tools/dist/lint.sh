#!/usr/bin/env bash
# Lints what is shipped beside the engine: scripts, Python, Dockerfile, compose file, YAML, systemd units.
#
# usage: lint.sh [TIDEGATE]     where the binary is that the units' verification may find; else none is started
#
# Its tools come from PyPI (pinned, hash-checked) into an environment that is kept, and systemd's from Debian, in CI and
# as root. What is missing elsewhere is named, and the end is then 77; in CI it is 1.
set -euo pipefail
cd "$(dirname "$0")"
binary="${1:-}"
skipped=0

skip() {
    echo "SKIPPED: $1" >&2
    skipped=77
    [ -z "${CI:-}" ] || skipped=1
}

python="$(command -v python3.11 || true)"
kept="${TIDEGATE_VENVS:-$HOME/.cache/tidegate/venvs}/dist-$(sha256sum lint-requirements.txt | cut -c1-16)"
if [ -n "$python" ] && [ ! -f "$kept/.installed" ]; then
    rm -rf "$kept"
    mkdir -p "$(dirname "$kept")"
    "$python" -m venv "$kept"
    if "$kept/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
        -r lint-requirements.txt; then
        touch "$kept/.installed"
    fi
fi
if [ -f "$kept/.installed" ]; then
    "$kept/bin/shellcheck" ./*.sh sbin/* ../setup/*.sh
    "$kept/bin/ruff" check --config ../../models/pyproject.toml . ../setup
    "$kept/bin/ruff" format --check --config ../../models/pyproject.toml . ../setup
    "$kept/bin/hadolint" Dockerfile
    "$kept/bin/python" compose_check.py compose.yaml
    "$kept/bin/python" - prometheus/*.yml ../ops/prometheus/*.yml grafana/provisioning/*/*.yaml <<'PYTHON'
import sys, yaml

for name in sys.argv[1:]:
    with open(name) as file:
        assert yaml.safe_load(file), name
print(f"YAML: {len(sys.argv) - 1} files can be read")
PYTHON
else
    skip "no python3.11, or the lints cannot be installed: scripts, Dockerfile and compose file were not linted"
fi

if ! command -v systemd-analyze >/dev/null 2>&1 && [ -n "${CI:-}" ] && [ "$(id -u)" -eq 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends systemd >/dev/null
fi
if command -v systemd-analyze >/dev/null 2>&1; then
    scratch="$(mktemp -d)"
    trap 'rm -rf "$scratch"' EXIT
    # The units name programs where they are installed; here they are elsewhere.
    mkdir -p "$scratch/opt/bin" "$scratch/opt/sbin"
    cp sbin/* "$scratch/opt/sbin/"
    ln -s "$(realpath "${binary:-/bin/true}")" "$scratch/opt/bin/tidegate"
    touch "$scratch/opt/DEPLOY.md"
    for unit in systemd/*.service; do
        sed "s|/opt/tidegate|$scratch/opt|g" "$unit" >"$scratch/$(basename "$unit")"
    done
    mkdir "$scratch/tidegate.service.d"
    cp systemd/keys.conf "$scratch/tidegate.service.d/"
    said="$(systemd-analyze verify --man=no "$scratch"/*.service 2>&1)" || { echo "$said"; exit 1; }
    # Unknown keys are only warnings, and what it says of other units is none of ours.
    if grep -F "$scratch" <<<"$said"; then exit 1; fi
    # 0 is a service that may do nothing, 100 one that may do everything; networking alone is 9.
    systemd-analyze security --offline=yes --threshold=16 --no-pager systemd/tidegate.service | tail -n 1
else
    skip "no systemd-analyze: the units were not verified"
fi
exit "$skipped"
