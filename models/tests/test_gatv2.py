from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

from tidegate_models import gatv2
from tidegate_models.onnx_tools import to_bytes
from tidegate_models.runtime import run, session

HEADS, WIDTH = gatv2.HEADS, gatv2.WIDTH
Arrays = Mapping[str, np.ndarray]


def _layer(weights: Arrays, name: str, x: np.ndarray, graph: Arrays) -> np.ndarray:
    """GATv2 by its definition (Brody, Alon, Yahav, 2022), a target at a time."""
    left = (x @ weights[f"{name}.lin_l.weight"].T + weights[f"{name}.lin_l.bias"]).reshape(-1, HEADS, WIDTH // HEADS)
    right = (x @ weights[f"{name}.lin_r.weight"].T + weights[f"{name}.lin_r.bias"]).reshape(left.shape)
    edges = (graph["edge_attr"] @ weights[f"{name}.lin_edge.weight"].T).reshape(-1, *left.shape[1:])
    sources, targets = graph["edge_index"]
    out = np.zeros_like(left)
    for node in range(len(x)):
        incoming = np.flatnonzero(targets == node)
        if not len(incoming):
            continue
        mixed = left[sources[incoming]] + right[node] + edges[incoming]
        scores = (np.where(mixed > 0, mixed, 0.2 * mixed) * weights[f"{name}.att"]).sum(axis=2)
        shares = np.exp(scores - scores.max(axis=0))
        shares /= shares.sum(axis=0)
        out[node] = (shares[:, :, None] * left[sources[incoming]]).sum(axis=0)
    return out.reshape(len(x), WIDTH) + weights[f"{name}.bias"]


def _elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def reference(weights: Arrays, graph: Arrays) -> np.ndarray:
    wide = {name: value.astype(np.float64) for name, value in weights.items()}
    x = _elu(_layer(wide, "conv1", graph["x"].astype(np.float64), graph))
    x = _elu(_layer(wide, "conv2", x, graph))
    steps = np.logaddexp(0.0, x @ wide["head.weight"].T + wide["head.bias"])
    return steps.reshape(len(x), gatv2.TARGETS, gatv2.QUANTILES).cumsum(axis=2).reshape(len(x), gatv2.OUTPUTS)


@pytest.mark.parametrize("seed", range(5))
def test_body_computes_the_definition(seed: int) -> None:
    weights = gatv2.random_weights(seed)
    opened = session(to_bytes(gatv2.build_model(weights)))
    rng = np.random.default_rng(seed)
    for nodes, edges in ((1, 0), (2, 1), (12, 60), (40, 150)):
        graph = gatv2.random_graph(nodes, edges, rng)
        found: np.ndarray = run(opened, graph)["y"]
        np.testing.assert_allclose(found, reference(weights, graph), atol=5e-6)


def test_nodes_without_edges_get_what_the_definition_says() -> None:
    weights = gatv2.random_weights(3)
    graph = gatv2.random_graph(6, 0, np.random.default_rng(1))
    graph["edge_index"], graph["edge_attr"] = graph["edge_index"][:, :2], graph["edge_attr"][:2]
    found: np.ndarray = run(session(to_bytes(gatv2.build_model(weights))), graph)["y"]
    np.testing.assert_allclose(found, reference(weights, graph), atol=5e-6)


def test_quantiles_do_not_cross() -> None:
    graph = gatv2.random_graph(30, 90, np.random.default_rng(1))
    found: np.ndarray = run(session(to_bytes(gatv2.build_model(gatv2.random_weights(1)))), graph)["y"]
    y = found.reshape(-1, 5, 3)
    assert (np.diff(y, axis=2) >= 0).all()
    assert (y >= 0).all()


def test_scaling_folds_into_weights() -> None:
    rng = np.random.default_rng(2)
    weights = gatv2.random_weights(2)
    graph: Arrays = gatv2.random_graph(9, 30, rng)
    node_mean, node_std = rng.normal(size=24), rng.uniform(0.5, 2.0, 24)
    edge_mean, edge_std = rng.normal(size=8), rng.uniform(0.5, 2.0, 8)
    scaled = dict(graph)
    scaled["x"] = ((graph["x"] - node_mean) / node_std).astype(np.float32)
    scaled["edge_attr"] = ((graph["edge_attr"] - edge_mean) / edge_std).astype(np.float32)
    folded = gatv2.fold_scaling(weights, node_mean, node_std, edge_mean, edge_std)
    np.testing.assert_allclose(reference(folded, graph), reference(weights, scaled), atol=1e-5)


def test_file_is_one_node_with_sixteen_weights_and_no_metadata() -> None:
    model = gatv2.build_model(gatv2.random_weights(1))
    assert [(node.domain, node.op_type) for node in model.graph.node] == [("ai.tidegate", "GatV2Net")]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in model.graph.node[0].attribute}
    assert attributes == {"heads": 4, "quantiles": 3}
    assert len(model.graph.initializer) == 16
    assert list(model.graph.node[0].input) == ["x", "edge_index", "edge_attr", *gatv2.WEIGHT_SHAPES]
    assert not model.metadata_props
    assert to_bytes(model) == to_bytes(gatv2.build_model(gatv2.random_weights(1)))


def test_wrong_weights_are_refused() -> None:
    weights = gatv2.random_weights(1)
    with pytest.raises(ValueError, match="shape"):
        gatv2.build_model(weights | {"head.bias": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match="finite"):
        gatv2.build_model(weights | {"head.bias": np.full(15, np.nan, np.float32)})


def test_the_committed_tuner_rarely_leaves_its_range_on_inputs_that_no_market_has(repository_root: Path) -> None:
    """Uniform values and random edges, as the engine's load gate tries them (few of them)."""
    folder = repository_root / "onnx" / "breaker-tuner" / "1"
    low, high = json.loads((folder / "contract.json").read_text())["outputs"][0]["range"]
    opened = session(folder / "model.onnx")
    rng = np.random.default_rng(1)
    outside = 0
    for _ in range(300):
        nodes = int(rng.integers(1, 25))
        graph = gatv2.random_graph(nodes, int(rng.integers(0, 8 * nodes)), rng)
        for name in ("x", "edge_attr"):
            graph[name] = rng.uniform(-3.0, 3.0, graph[name].shape).astype(np.float32)
        y = run(opened, graph)["y"]
        outside += int(y.min() < low or y.max() > high)
    assert outside <= 3
