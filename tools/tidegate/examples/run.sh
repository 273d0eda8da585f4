#!/usr/bin/env bash
# The whole pipeline on a simulated market, or on the captures behind the program: dashboard, decisions, audit log,
# post-mortem. With a terminal the market is shown at a pace that eyes follow, again and again until Ctrl-C; without one
# it runs once.
set -euo pipefail
tidegate="$1"
shift
# On a terminal each program has it for itself: Ctrl-C reaches the engine and not make, which would call the end that was
# wanted an error.
if [ -t 0 ] && [ -t 1 ] && read -r _ _ _ _ group _ _ front _ <"/proc/$$/stat" && [ "$group" = "$front" ]; then
    set -m
fi
run() {
    echo "+ tidegate $*"
    # In a shell that outlives the signal: what the program ends with is an exit code, whatever ended it.
    (
        trap : INT
        "$tidegate" "$@"
        exit "$?"
    )
}
if [ -t 1 ]; then
    pace=(--speed "${WATCH:-2}" --repeat)
    echo "Shown until Ctrl-C, which ends it with a summary."
else
    pace=(--speed "${SPEED:-20}")
fi
# The engine ends by itself, and what follows explains what it did.
trap : INT
if [ "$#" -gt 0 ]; then
    [ -t 1 ] || pace=()
    run replay --input "$@" --serve "${pace[@]}" --check-bbo --features --models onnx --signals model || [ "$?" -eq 130 ]
    exit
fi
mkdir -p run
run simulate --out run/market --seconds "${SECONDS_SIMULATED:-120}" --seed "${SEED:-1}" --compare
run replay --input run/market/*.gz --serve "${pace[@]}" --check-bbo --features --models onnx --signals model \
    --decisions run/decisions.jsonl --adjustments run/adjustments.jsonl --hlog run/latency.hlog --audit run/audit ||
    [ "$?" -eq 130 ]
run audit verify run/audit
run hist run/latency.hlog --html run/latency.html >/dev/null
echo
run postmortem run/audit --last --input run/market/*.gz --hlog run/latency.hlog --out run/postmortem || [ -t 1 ]
echo
echo "Written: run/decisions.jsonl, run/adjustments.jsonl, run/latency.hlog, run/audit, and for a browser:"
echo "run/latency.html, run/postmortem/postmortem.html (why the simulated crash stopped the engine)"
