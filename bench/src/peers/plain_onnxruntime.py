"""A model in plain onnxruntime for Python, timed when it is asked to; the rig starts it with `python -c`.

Arguments: model, golden cases, core. A line `CASE RUNS` on standard input is answered by a JSON list of times, ns; the
first line of all is the release with the largest difference to a golden output. Exits with 77 without onnxruntime.
"""

import json
import os
import sys
import time

try:
    import numpy as np
    import onnxruntime
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

VARIANTS = 64
TYPES = {"x": np.float32, "edge_index": np.int64, "edge_attr": np.float32}

model, golden, core = sys.argv[1:4]
with open(golden, encoding="utf-8") as file:
    cases = json.load(file)["cases"]
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {int(core)})


def array(tensor, dtype):
    """A golden tensor as an array."""
    return np.array(tensor["data"], dtype=dtype).reshape(tensor["shape"])


# One thread, as in the engine: more of them do not help graphs of this size and disturb each other.
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
inputs = [{name: array(case["inputs"][name], dtype) for name, dtype in TYPES.items()} for case in cases]
differences = [
    np.abs(session.run(None, feed)[0] - array(case["outputs"]["y"], np.float32)).max()
    for feed, case in zip(inputs, cases, strict=True)
]
print(json.dumps([onnxruntime.__version__, float(max(differences))]), flush=True)

random = np.random.default_rng(1)
pools = {}


def vary(values):
    """Variants of an array that differ a little in every value."""
    return values + random.uniform(-0.1, 0.1, (VARIANTS, *values.shape)).astype(np.float32)


for line in sys.stdin:
    case, runs = map(int, line.split())
    feed = inputs[case]
    x, edges = feed["x"], feed["edge_attr"]
    if case not in pools:
        pools[case] = (vary(x), vary(edges))
    new_x, new_edges = pools[case]
    times = []
    for run in range(runs):
        # Other values in every run, written where the last ones were.
        x[...] = new_x[run % VARIANTS]
        edges[...] = new_edges[run % VARIANTS]
        start = time.perf_counter_ns()
        session.run(None, feed)
        times.append(time.perf_counter_ns() - start)
    print(json.dumps(times), flush=True)
