"""Tuner weights as something that can be published. No PyTorch needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate_models import contract, gatv2, schema
from tidegate_models.artifact import Artifact
from tidegate_models.onnx_tools import to_bytes
from tidegate_models.runtime import Array
from tidegate_models.tuner.graphs import GraphSet

NAME = "breaker-tuner"
# Split and variant of the network that is exported, in the history of a training.
EXPORTED = ("simulated", "graph")
EXPORTED_RUN = ".".join(EXPORTED)

# Nodes and further edges of random golden graphs: from the smallest to a large market.
_SIZES = ((1, 0), (2, 3), (5, 8), (12, 40), (16, 60), (33, 120), (64, 247), (17, 0))
_REAL_CASES = 4


def golden_inputs(seed: int, graphs: GraphSet | None = None) -> list[dict[str, Array]]:
    """Random graphs of many sizes, and some of those trained on; values short enough to read."""
    rng = np.random.default_rng([seed, 0x60_1D])
    cases: list[dict[str, Array]] = [dict(gatv2.random_graph(nodes, edges, rng)) for nodes, edges in _SIZES]
    for case in cases:
        for name in ("x", "edge_attr"):
            # About as large as real columns are.
            case[name] = 0.5 * case[name].astype(np.float64)
    if graphs is not None:
        cases += [dict(graphs.graph(int(i))) for i in np.linspace(0, len(graphs) - 1, _REAL_CASES)]
    for case in cases:
        for name in ("x", "edge_attr"):
            case[name] = np.round(case[name].astype(np.float64), 3).astype(np.float32)
    return cases


def build(
    weights: gatv2.Weights,
    training: contract.Training,
    graphs: GraphSet | None = None,
    history: dict[str, Any] | None = None,
    metrics: dict[str, float] | None = None,
) -> Artifact:
    """A tuner with these weights."""
    spec = contract.tuner_spec(schema.hashes().get("graph", schema.NO_SCHEMA), training, metrics or {})
    cases = golden_inputs(training.seed, graphs)
    return Artifact(NAME, spec, to_bytes(gatv2.build_model(weights)), cases, history or {})


def untrained(seed: int) -> Artifact:
    """A tuner with random weights: right in form, of no use otherwise."""
    training = contract.Training(["none: random weights"], "0" * 64, {}, seed)
    return build(gatv2.random_weights(seed), training)
