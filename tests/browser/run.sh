#!/usr/bin/env bash
# The dashboard in headless Chromium against the real engine. Ends with 77 where there is no browser or no node and none
# may be installed; in CI, as root, it installs Debian's. Screenshots are left in tests/browser/shots.
set -euo pipefail
cd "$(dirname "$0")"

missing=()
command -v chromium >/dev/null 2>&1 || missing+=(chromium fonts-dejavu-core)
command -v npm >/dev/null 2>&1 || missing+=(nodejs npm)
if [ "${#missing[@]}" -gt 0 ] && [ -n "${CI:-}" ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    missing=()
fi
if [ "${#missing[@]}" -gt 0 ]; then
    echo "SKIPPED: the browser tests need ${missing[*]}" >&2
    exit 77
fi
# Versions and hashes come from the lockfile; nothing of npm's packages is run.
if ! cmp -s package-lock.json node_modules/.installed; then
    npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
    cp package-lock.json node_modules/.installed
fi
# What the engine embeds is what the package holds.
for file in uPlot.iife.min.js uPlot.min.css; do
    cmp "node_modules/uplot/dist/$file" "../../engine/serve/page/vendor/$file"
done
cmp node_modules/uplot/LICENSE ../../engine/serve/page/vendor/LICENSE
CHROMIUM="$(command -v chromium)" node --test --test-concurrency=1 --test-reporter=spec .
