"""A logistic regression for few rows: held close to the base rate, calibrated with care, and one ONNX graph.

Coefficients have a normal prior in units of each column's spread, so that little is learnt from little. The same method
fits the calibration, whose prior is to leave probabilities as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tidegate_models import stats
from tidegate_models.binary import IR_VERSION, OPSET, Calibration, logit, sigmoid
from tidegate_models.onnx_tools import strip

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Pair = tuple[Floats, Doubles]

# In units of a column's spread in training: beyond it a row counts as one at the edge.
_CLIP = 4.0
# Logarithms are of values from here on.
_LEAST_LOGGED = 1e-4
# Deviation of a coefficient before anything is known of it.
_COEFFICIENT_DEVIATION = 0.25
# How far calibration leads from what the model says before many rows speak for it.
_SLOPE_DEVIATION, _OFFSET_DEVIATION = 0.5, 1.0
_STEPS, _HALVINGS = 50, 30


def solve(inputs: Doubles, outcome: Doubles, start: Doubles, precision: Doubles, free: Bools) -> list[Doubles]:
    """Newton's steps, `start` first, to the mode of the posterior with this prior around `start`; the last is it.

    Coefficients that are not `free` stay where they start. The posterior is concave: a step that leads down is too
    long.
    """

    def loss(at: Doubles) -> float:
        odds = inputs @ at
        likelihood = (np.logaddexp(0.0, odds) - outcome * odds).sum()
        return float(likelihood + 0.5 * (precision * (at - start) ** 2).sum())

    steps = [start]
    for _ in range(_STEPS):
        at = steps[-1]
        p = sigmoid(inputs @ at)
        gradient = inputs.T @ (outcome - p) - precision * (at - start)
        hessian = (inputs * (p * (1.0 - p))[:, None]).T @ inputs + np.diag(precision)
        step = np.zeros_like(at)
        step[free] = np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
        here = loss(at)
        for _ in range(_HALVINGS):
            if loss(at + step) <= here:
                break
            step *= 0.5
        steps.append(at + step)
        if np.abs(step).max() < 1e-9:
            break
    return steps


def calibrate(p: Doubles, outcome: Doubles) -> Calibration:
    """Platt's curve, held towards leaving probabilities as they are: checks have dozens of rows, not thousands.

    A curve never falls. Where it would, what the model says is worth nothing and the rate alone is stated.
    """
    inputs = np.stack([logit(p), np.ones_like(p)], axis=1)
    precision = np.array([_SLOPE_DEVIATION**-2, _OFFSET_DEVIATION**-2])
    slope, offset = solve(inputs, outcome, np.array([1.0, 0.0]), precision, np.array([True, True]))[-1]
    if slope < 0.0:
        slope, offset = solve(inputs, outcome, np.array([0.0, 0.0]), precision, np.array([False, True]))[-1]
    return Calibration(float(slope), float(offset))


@dataclass
class Logistic:
    """A regression on columns in units of their spread, or on the logarithms of those that are `logged`."""

    logged: Bools
    centre: Doubles
    spread: Doubles
    weights: Doubles
    bias: float
    calibration: Calibration = field(default_factory=Calibration)
    curve: dict[str, list[float]] = field(default_factory=dict)

    def raw(self, features: Floats) -> Doubles:
        """Probabilities before calibration."""
        z = _scaled(transformed(features, self.logged), self.centre, self.spread)
        return sigmoid(z @ self.weights + self.bias)

    def predict(self, features: Floats) -> Doubles:
        """Calibrated probabilities."""
        return self.calibration(self.raw(features))


def transformed(features: Floats, logged: Bools) -> Doubles:
    """Logarithms in place of columns without a natural limit."""
    values = features.astype(np.float64)
    return np.where(logged, np.log(np.maximum(values, _LEAST_LOGGED)), values)


def _scaled(values: Doubles, centre: Doubles, spread: Doubles) -> Doubles:
    return np.clip((values - centre) / spread, -_CLIP, _CLIP)


def fit(train: Pair, check: Pair, logged: Bools) -> Logistic:
    """The regression, with its losses by Newton's steps; a column that never changes in training has no weight."""
    values, outcome = transformed(train[0], logged), train[1]
    centre, spread = values.mean(axis=0), values.std(axis=0)
    still = spread < 1e-6 * np.maximum(1.0, np.abs(centre))
    spread = np.where(still, 1.0, spread)
    columns = values.shape[1]
    start = np.append(np.zeros(columns), logit(np.array(outcome.mean())))
    # Of the base rate nothing is known before: its prior is as good as none.
    precision = np.append(np.full(columns, _COEFFICIENT_DEVIATION**-2), 1e-6)
    inputs = [_scaled(v, centre, spread) for v in (values, transformed(check[0], logged))]
    whole = [np.append(z, np.ones((len(z), 1)), axis=1) for z in inputs]
    steps = solve(whole[0], outcome, start, precision, np.append(~still, True))
    curve = {
        name: [float(stats.log_loss(sigmoid(z @ at), labels).mean()) for at in steps]
        for name, z, labels in (("train", whole[0], outcome), ("check", whole[1], check[1]))
    }
    return Logistic(logged, centre, spread, steps[-1][:-1], float(steps[-1][-1]), curve=curve)


def to_onnx(fitted: Logistic, output: str) -> ModelProto:
    """One graph `features [1,n] -> output [1,1]`: logarithms, standardisation, regression, calibration."""
    logged, edge = fitted.logged.astype(np.float32), float(logit(np.array(1.0)))
    constants: dict[str, object] = {
        "logged": logged,
        "plain": 1.0 - logged,
        "least": _LEAST_LOGGED,
        "centre": fitted.centre,
        "spread": fitted.spread,
        "lowest": -_CLIP,
        "highest": _CLIP,
        "weights": fitted.weights[:, None],
        "bias": [fitted.bias],
        "lowest_logit": -edge,
        "highest_logit": edge,
        "slope": fitted.calibration.slope,
        "offset": fitted.calibration.offset,
    }
    steps = [
        ("Max", ["features", "least"], "positive"),
        ("Log", ["positive"], "logs"),
        ("Mul", ["logs", "logged"], "logs_of_some"),
        ("Mul", ["features", "plain"], "others"),
        ("Add", ["logs_of_some", "others"], "transformed"),
        ("Sub", ["transformed", "centre"], "centred"),
        ("Div", ["centred", "spread"], "scaled"),
        ("Clip", ["scaled", "lowest", "highest"], "clipped"),
        ("Gemm", ["clipped", "weights", "bias"], "logit"),
        ("Clip", ["logit", "lowest_logit", "highest_logit"], "clipped_logit"),
        ("Mul", ["clipped_logit", "slope"], "sloped"),
        ("Add", ["sloped", "offset"], "calibrated"),
        ("Sigmoid", ["calibrated"], output),
    ]
    nodes = [helper.make_node(kind, inputs, [out], name=f"{out}_node") for kind, inputs, out in steps]
    initialisers = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()]
    port = helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, len(fitted.weights)])
    out = helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, 1])
    graph = helper.make_graph(nodes, "model", [port], [out], initializer=initialisers)
    opset = [helper.make_opsetid("", OPSET)]
    model = strip(helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION))
    onnx.checker.check_model(model)
    return model
