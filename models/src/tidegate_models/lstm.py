"""The LSTM's file: standardisation, clipping, one LSTM, one dense layer, sigmoid. No PyTorch needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tidegate_models import contract, schema
from tidegate_models.artifact import Artifact
from tidegate_models.minute_bars import BAR_S, COLUMNS, HORIZONS_S, STEPS
from tidegate_models.onnx_tools import opsets, strip, to_bytes

HIDDEN = 32
OPSET = 18
IR_VERSION = 10
# Standardised inputs are cut here: a minute of a crash must not drive the cell where it never was.
CLIP = 5.0
_GATES = 4
_NAME = "direction-lstm"

Floats = npt.NDArray[np.float32]
Weights = dict[str, Floats]

# As `torch.nn.LSTM` and `torch.nn.Linear` keep them; gates are in PyTorch's order: input, forget, cell, output.
WEIGHT_SHAPES: dict[str, tuple[int, ...]] = {
    "mean": (len(COLUMNS),),
    "std": (len(COLUMNS),),
    "weight_ih": (_GATES * HIDDEN, len(COLUMNS)),
    "weight_hh": (_GATES * HIDDEN, HIDDEN),
    "bias_ih": (_GATES * HIDDEN,),
    "bias_hh": (_GATES * HIDDEN,),
    "head_weight": (len(HORIZONS_S), HIDDEN),
    "head_bias": (len(HORIZONS_S),),
}


def random_weights(seed: int) -> Weights:
    """Weights of an untrained network."""
    rng = np.random.default_rng(seed)
    limit = HIDDEN**-0.5
    weights = {name: rng.uniform(-limit, limit, shape).astype(np.float32) for name, shape in WEIGHT_SHAPES.items()}
    return weights | {"mean": np.zeros(len(COLUMNS), np.float32), "std": np.ones(len(COLUMNS), np.float32)}


def random_windows(seed: int, count: int = 10) -> Floats:
    """`[steps, count, columns]` of noise."""
    return np.random.default_rng(seed).normal(size=(STEPS, count, len(COLUMNS))).astype(np.float32)


def _onnx_gates(stacked: Floats) -> Floats:
    """From PyTorch's order of gates to ONNX's: input, output, forget, cell."""
    entry, forget, cell, output = np.split(stacked, _GATES)
    return np.concatenate([entry, output, forget, cell])


def to_onnx(weights: Weights) -> ModelProto:
    """The graph `features [steps,1,columns] -> p_up [1,3]`."""
    for name, shape in WEIGHT_SHAPES.items():
        if weights[name].shape != shape:
            raise ValueError(f"weight {name} has shape {weights[name].shape}, expected {shape}")
    biases = np.concatenate([_onnx_gates(weights["bias_ih"]), _onnx_gates(weights["bias_hh"])])
    constants = {
        "mean": weights["mean"],
        "std": weights["std"],
        "low": np.array(-CLIP, np.float32),
        "high": np.array(CLIP, np.float32),
        "w": _onnx_gates(weights["weight_ih"])[None],
        "r": _onnx_gates(weights["weight_hh"])[None],
        "b": biases[None],
        "axis": np.array([0], np.int64),
        "head.weight": weights["head_weight"],
        "head.bias": weights["head_bias"],
    }
    nodes = [
        helper.make_node("Sub", ["features", "mean"], ["centred"], name="centre"),
        helper.make_node("Div", ["centred", "std"], ["scaled"], name="scale"),
        helper.make_node("Clip", ["scaled", "low", "high"], ["clipped"], name="clip"),
        helper.make_node("LSTM", ["clipped", "w", "r", "b"], ["", "last"], name="lstm", hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["last", "axis"], ["state"], name="squeeze"),
        helper.make_node("Gemm", ["state", "head.weight", "head.bias"], ["logits"], name="head", transB=1),
        helper.make_node("Sigmoid", ["logits"], ["p_up"], name="probabilities"),
    ]
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [STEPS, 1, len(COLUMNS)])],
        [helper.make_tensor_value_info("p_up", TensorProto.FLOAT, [1, len(HORIZONS_S)])],
        initializer=[numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    model = strip(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION))
    onnx.checker.check_model(model)
    return model


def build(
    weights: Weights,
    columns: list[contract.Column],
    training: contract.Training,
    golden: Floats,
    history: dict[str, Any],
) -> Artifact:
    """The model as something that can be published; `golden [steps,cases,columns]` are its golden inputs."""
    model = to_onnx(weights)
    spec = contract.columns_spec(
        "sequence",
        columns,
        "p_up",
        len(HORIZONS_S),
        "bars",
        schema.hashes()["bars"],
        HORIZONS_S,
        opsets(model),
        training,
        {},
        steps=STEPS,
        step_ms=BAR_S * 1000,
    )
    short = np.vectorize(lambda value: float(f"{value:.5g}"))(golden.astype(np.float64)).astype(np.float32)
    cases = [{"features": np.ascontiguousarray(short[:, [case]])} for case in range(golden.shape[1])]
    return Artifact(_NAME, spec, to_bytes(model), cases, history)
