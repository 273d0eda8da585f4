"""The tuner's file: one `ai.tidegate::GatV2Net` node whose body any ONNX runtime can run. No PyTorch needed.

The body was exported from PyTorch Geometric once (`gatv2_torch.exported_body`) and is kept as text beside this file,
because it does not depend on the weights; a test exports it anew and compares.
"""

from __future__ import annotations

from importlib import resources

import numpy as np
import numpy.typing as npt
from onnx import FunctionProto, ModelProto, TensorProto, checker, helper, numpy_helper, parser

from tidegate_models.onnx_tools import opsets, strip

DOMAIN = "ai.tidegate"
OPERATOR = "GatV2Net"
OPSET = 18
IR_VERSION = 10
BODY_FILE = "gatv2_body.onnxtxt"

NODE_COLUMNS = 24
EDGE_COLUMNS = 8
HEADS = 4
WIDTH = 32
TARGETS = 5
QUANTILES = 3
OUTPUTS = TARGETS * QUANTILES

GRAPH_INPUTS = ("x", "edge_index", "edge_attr")

Weights = dict[str, npt.NDArray[np.float32]]
Graph = dict[str, npt.NDArray[np.generic]]


def _layer(name: str, inputs: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.att": (1, HEADS, WIDTH // HEADS),
        f"{name}.bias": (WIDTH,),
        f"{name}.lin_l.weight": (WIDTH, inputs),
        f"{name}.lin_l.bias": (WIDTH,),
        f"{name}.lin_r.weight": (WIDTH, inputs),
        f"{name}.lin_r.bias": (WIDTH,),
        f"{name}.lin_edge.weight": (WIDTH, EDGE_COLUMNS),
    }


# The initialisers in the order of the node's inputs.
WEIGHT_SHAPES: dict[str, tuple[int, ...]] = {
    **_layer("conv1", NODE_COLUMNS),
    **_layer("conv2", WIDTH),
    "head.weight": (OUTPUTS, WIDTH),
    "head.bias": (OUTPUTS,),
}


def random_weights(seed: int) -> Weights:
    """Weights as an untrained network has them (Glorot uniform), biases small and different from each other."""
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    for name, shape in WEIGHT_SHAPES.items():
        fan = sum(shape[-2:]) if len(shape) > 1 else 2 * WIDTH
        limit = np.sqrt(6.0 / fan) * (1.0 if len(shape) > 1 else 0.2)
        weights[name] = rng.uniform(-limit, limit, shape).astype(np.float32)
    return weights


def random_graph(nodes: int, edges: int, rng: np.random.Generator) -> Graph:
    """A graph with a self loop at every node and `edges` others, features of about unit size."""
    loops = np.arange(nodes)
    ends = rng.integers(0, nodes, (2, edges))
    index = np.concatenate([np.stack([loops, loops]), ends], axis=1).astype(np.int64)
    return {
        "x": rng.normal(size=(nodes, NODE_COLUMNS)).astype(np.float32),
        "edge_index": index,
        "edge_attr": rng.normal(size=(index.shape[1], EDGE_COLUMNS)).astype(np.float32),
    }


def fold_scaling(
    weights: Weights,
    node_mean: npt.NDArray[np.float64],
    node_std: npt.NDArray[np.float64],
    edge_mean: npt.NDArray[np.float64],
    edge_std: npt.NDArray[np.float64],
) -> Weights:
    """Weights that take raw features and give what `weights` give for standardised ones.

    Edge features have no bias of their own; what centring them adds is constant within an attention score, where the
    target's transformation is added as well, so it goes into that one's bias.
    """
    folded = {name: value.astype(np.float64) for name, value in weights.items()}
    for side in ("lin_l", "lin_r"):
        scaled = folded[f"conv1.{side}.weight"] / node_std
        folded[f"conv1.{side}.bias"] = folded[f"conv1.{side}.bias"] - scaled @ node_mean
        folded[f"conv1.{side}.weight"] = scaled
    for layer in ("conv1", "conv2"):
        scaled = folded[f"{layer}.lin_edge.weight"] / edge_std
        folded[f"{layer}.lin_r.bias"] = folded[f"{layer}.lin_r.bias"] - scaled @ edge_mean
        folded[f"{layer}.lin_edge.weight"] = scaled
    return {name: folded[name].astype(np.float32) for name in WEIGHT_SHAPES}


def body() -> FunctionProto:
    """The decomposition, as a model-local function."""
    text = resources.files("tidegate_models").joinpath(BODY_FILE).read_text(encoding="utf-8")
    return parser.parse_function(text)


def build_model(weights: Weights) -> ModelProto:
    """The whole file: the node, its sixteen initialisers, and its body."""
    for name, shape in WEIGHT_SHAPES.items():
        if weights[name].shape != shape:
            raise ValueError(f"weight {name} has shape {weights[name].shape}, expected {shape}")
        if not np.isfinite(weights[name]).all():
            raise ValueError(f"weight {name} is not finite")
    node = helper.make_node(
        OPERATOR,
        [*GRAPH_INPUTS, *WEIGHT_SHAPES],
        ["y"],
        name="net",
        domain=DOMAIN,
        heads=HEADS,
        quantiles=QUANTILES,
    )
    graph = helper.make_graph(
        [node],
        "breaker-tuner",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["nodes", NODE_COLUMNS]),
            helper.make_tensor_value_info("edge_index", TensorProto.INT64, [2, "edges"]),
            helper.make_tensor_value_info("edge_attr", TensorProto.FLOAT, ["edges", EDGE_COLUMNS]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["nodes", OUTPUTS])],
        initializer=[numpy_helper.from_array(weights[name], name) for name in WEIGHT_SHAPES],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        functions=[body()],
        ir_version=IR_VERSION,
    )
    checker.check_model(strip(model))
    if opsets(model) != {"ai.onnx": OPSET, DOMAIN: 1}:
        raise RuntimeError(f"unexpected opsets {opsets(model)}")
    return model
