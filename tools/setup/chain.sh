#!/usr/bin/env bash
# Fetches a local Ethereum chain (anvil) and a Solidity compiler (solc) from npm: pinned, hash-checked, once.
#
# usage: chain.sh FOLDER
#
# Prints where anvil is. Ends with 77 where there is no npm; in CI, as root, it installs one. Nothing of npm's packages
# is run while they are installed.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)/chain"
[ $# -eq 1 ] || { sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; }
folder="$1"

if ! command -v npm >/dev/null 2>&1 && [ -n "${CI:-}" ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends npm; } >&2
fi
if ! command -v npm >/dev/null 2>&1; then
    echo "SKIPPED: no npm, so no local chain: install nodejs and npm" >&2
    exit 77
fi

mkdir -p "$folder"
# One at a time, where several test programs start at once.
exec 9>"$folder/.lock"
flock 9
stamp="$folder/.installed"
if ! cmp -s "$here/package-lock.json" "$stamp"; then
    cp "$here/package.json" "$here/package-lock.json" "$folder/"
    # Versions and hashes come from the lockfile; where from is npm's own setting. Forced, because one of the two anvils
    # is for another processor: as optional packages, npm would leave out both where node is older than they ask for,
    # though they are programs that need none.
    (cd "$folder" && npm ci --force --ignore-scripts --no-audit --no-fund --loglevel=error) >&2
    cp "$here/package-lock.json" "$stamp"
fi
for anvil in "$folder"/node_modules/@foundry-rs/anvil-linux-*/bin/anvil; do
    [ -f "$anvil" ] || continue
    [ -x "$anvil" ] || chmod +x "$anvil"
    if "$anvil" --version >/dev/null 2>&1; then
        echo "$anvil"
        exit 0
    fi
done
echo "npm installed no anvil that runs on $(uname -sm)" >&2
exit 1
