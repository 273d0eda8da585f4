#!/usr/bin/env bash
# The engine on the simulated exchange: two processes, TLS between them, some faults. Arguments: both programs, seconds.
set -euo pipefail
simex="$1" tidegate="$2" seconds="${3:-25}"
rm -rf run/live && mkdir -p run/live
"$simex" serve --config tools/simex/examples/live.toml --directory run/live --for "$((seconds + 20))s" &
exchange=$!
trap 'kill "$exchange" 2>/dev/null || true' EXIT
for _ in $(seq 100); do
    [ -s run/live/ca.pem ] && break
    sleep 0.1
done
sleep 1
DEMO=test "$tidegate" run --config tools/tidegate/examples/simulated.toml --for "${seconds}s" --log-format text
"$tidegate" replay --input run/live/capture/*.tgcap --format json >run/live/replayed.json
echo
echo "Replayed from the capture: $(grep -oE '"(features|decisions)_digest": *"[0-9a-f]+"' run/live/replayed.json | tr '\n' ' ')"
