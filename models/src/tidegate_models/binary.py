"""Probabilities by gradient boosting and forests: training, calibration, and one ONNX graph for several horizons.

Calibration is Platt's, a logistic curve on the log odds, fitted on rows that the trees have not seen: it is part of the
graph. Every graph takes `features [1,n]` and gives one row with a probability for each horizon.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import xgboost
from onnx import ModelProto, TensorProto, compose, helper, numpy_helper
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as BoostFloat
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from tidegate_models.onnx_tools import strip

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

OPSET = 18
ML_OPSET = 3
IR_VERSION = 10
LEAST_P = 1e-5
# The logistic curve is never fitted steeper than this: with few positives it would tend to a step.
_STEEPEST = 3.0


@dataclass(frozen=True)
class Calibration:
    """`p' = sigmoid(slope * logit(p) + offset)`."""

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, p: Doubles) -> Doubles:
        """Calibrated probabilities."""
        return sigmoid(self.slope * logit(p) + self.offset)


def sigmoid(x: Doubles) -> Doubles:
    """Of log odds, the probability."""
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def logit(p: Doubles) -> Doubles:
    """Of probabilities, held a little off 0 and 1, the log odds."""
    clipped = np.clip(p, LEAST_P, 1.0 - LEAST_P)
    return np.asarray(np.log(clipped / (1.0 - clipped)))


def calibrate(p: Doubles, outcome: Doubles) -> Calibration:
    """Fits the curve; leaves probabilities as they are where one outcome is missing."""
    if not 0.0 < outcome.mean() < 1.0:
        return Calibration()
    fitted = LogisticRegression(C=10.0).fit(logit(p)[:, None], outcome)
    slope = float(np.clip(fitted.coef_[0, 0], 0.0, _STEEPEST))
    return Calibration(slope, float(fitted.intercept_[0]))


@dataclass
class Fitted:
    """A classifier of one horizon with its calibration and its learning curve."""

    model: Any
    calibration: Calibration
    curve: dict[str, list[float]] = field(default_factory=dict)
    columns: int = 0

    def raw(self, features: Floats) -> Doubles:
        """Probabilities before calibration."""
        return np.asarray(self.model.predict_proba(features)[:, 1], np.float64)

    def predict(self, features: Floats) -> Doubles:
        """Calibrated probabilities."""
        return self.calibration(self.raw(features))


def fit_boosting(
    train: tuple[Floats, Doubles],
    check: tuple[Floats, Doubles],
    *,
    trees: int = 150,
    depth: int = 4,
    rate: float = 0.06,
    monotone: Sequence[int] | None = None,
    seed: int = 1,
    least_weight: float = 30.0,
) -> Fitted:
    """Gradient boosting that stops when the log loss on `check` no longer falls; calibrated on `check` as well."""
    model = xgboost.XGBClassifier(
        n_estimators=trees,
        max_depth=depth,
        learning_rate=rate,
        subsample=0.7,
        colsample_bytree=0.7,
        min_child_weight=least_weight,
        reg_lambda=5.0,
        tree_method="hist",
        monotone_constraints=tuple(monotone) if monotone is not None else None,
        early_stopping_rounds=20,
        eval_metric="logloss",
        n_jobs=1,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(*train, eval_set=[train, check], verbose=False)
    results = model.evals_result()
    curve = {"train": results["validation_0"]["logloss"], "check": results["validation_1"]["logloss"]}
    # What lies beyond the best tree is cut off, in Python as in the graph.
    booster = model.get_booster()[: model.best_iteration + 1]
    model = xgboost.XGBClassifier(n_jobs=1)
    model._Booster, model.n_classes_ = booster, 2
    fitted = Fitted(model, Calibration(), curve, train[0].shape[1])
    fitted.calibration = calibrate(fitted.raw(check[0]), check[1])
    return fitted


def fit_forest(
    train: tuple[Floats, Doubles],
    check: tuple[Floats, Doubles],
    *,
    trees: int = 60,
    depth: int = 8,
    seed: int = 1,
    least_rows: int = 50,
) -> Fitted:
    """A random forest, calibrated on `check`; its curve is the log loss as trees are added."""
    model = RandomForestClassifier(
        n_estimators=0,
        max_depth=depth,
        min_samples_leaf=least_rows,
        max_features="sqrt",
        warm_start=True,
        n_jobs=1,
        random_state=seed,
    )
    curve: dict[str, list[float]] = {"train": [], "check": []}
    steps = sorted({max(1, trees * part // 10) for part in range(1, 11)})
    for count in tqdm(steps, desc="forest", disable=None, leave=False):
        model.set_params(n_estimators=count)
        model.fit(*train)
        for name, (features, outcome) in (("train", train), ("check", check)):
            p = np.clip(model.predict_proba(features)[:, 1], LEAST_P, 1.0 - LEAST_P)
            curve[name].append(float(-(outcome * np.log(p) + (1.0 - outcome) * np.log1p(-p)).mean()))
    fitted = Fitted(model, Calibration(), curve, train[0].shape[1])
    fitted.calibration = calibrate(fitted.raw(check[0]), check[1])
    return fitted


@dataclass(frozen=True)
class Orientation:
    """Columns whose sign is turned by a column that holds +1 or -1: what is good for a bid is bad for an ask."""

    side: int
    turned: tuple[int, ...]

    def mask(self, columns: int) -> Floats:
        """1 for turned columns, else 0."""
        mask = np.zeros(columns, np.float32)
        mask[list(self.turned)] = 1.0
        return mask

    def __call__(self, features: Floats) -> Floats:
        """What the trees see."""
        mask = self.mask(features.shape[1])
        return features * (1.0 - mask + mask * features[:, [self.side]])


def to_onnx(
    models: Sequence[Fitted], output: str, *, orientation: Orientation | None = None, rising: bool = False
) -> ModelProto:
    """One graph `features [1,n] -> output [1,len(models)]`.

    With `rising`, a later probability is at least the one before it: longer horizons contain shorter ones.
    """
    columns = models[0].columns
    nodes: list[onnx.NodeProto] = []
    initialisers: list[TensorProto] = []
    trees_input = "features"
    if orientation is not None:
        trees_input = "oriented"
        mask = orientation.mask(columns)
        constants = {"turned": mask, "kept": 1.0 - mask, "side": np.array([orientation.side], np.int64)}
        initialisers += [numpy_helper.from_array(value, name) for name, value in constants.items()]
        nodes += [
            helper.make_node("Gather", ["features", "side"], ["direction"], name="direction_node", axis=1),
            helper.make_node("Mul", ["direction", "turned"], ["signs"], name="signs_node"),
            helper.make_node("Add", ["signs", "kept"], ["factors"], name="factors_node"),
            helper.make_node("Mul", ["features", "factors"], [trees_input], name="oriented_node"),
        ]
    names: list[str] = []
    for number, fitted in enumerate(models):
        prefix = f"h{number}_"
        part = _single(fitted, prefix, trees_input)
        nodes += list(part.graph.node)
        initialisers += list(part.graph.initializer)
        name = part.graph.output[0].name
        if rising and names:
            nodes.append(helper.make_node("Max", [names[-1], name], [f"{prefix}least"], name=f"{prefix}least_node"))
            name = f"{prefix}least"
        names.append(name)
    nodes.append(helper.make_node("Concat", names, [output], name="horizons", axis=1))
    ports = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, columns])]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, len(models)])]
    whole = helper.make_graph(nodes, "model", ports, outputs, initializer=initialisers)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = strip(helper.make_model(whole, opset_imports=opsets, ir_version=IR_VERSION))
    onnx.checker.check_model(model)
    return model


def _single(fitted: Fitted, prefix: str, trees_input: str) -> ModelProto:
    """Trees, column of the positive class, calibration; all names begin with `prefix` but the trees' input."""
    columns = fitted.columns
    if isinstance(fitted.model, xgboost.XGBClassifier):
        model = convert_xgboost(fitted.model, initial_types=[("features", BoostFloat([1, columns]))], target_opset=15)
    else:
        options = {id(fitted.model): {"zipmap": False}}
        types = [("features", FloatTensorType([1, columns]))]
        model = convert_sklearn(
            fitted.model, initial_types=types, options=options, target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET}
        )
    model = compose.add_prefix(strip(model), prefix, rename_inputs=False)
    probabilities = next(entry.name for entry in model.graph.output if "prob" in entry.name)
    graph = model.graph
    kept = _needed(list(graph.node), probabilities)
    for node in kept:
        node.input[:] = [trees_input if entry == "features" else entry for entry in node.input]
    calibration = fitted.calibration
    constants = {
        "index": np.array([1], np.int64),
        "low": np.array(LEAST_P, np.float32),
        "high": np.array(1.0 - LEAST_P, np.float32),
        "one": np.array(1.0, np.float32),
        "slope": np.array(calibration.slope, np.float32),
        "offset": np.array(calibration.offset, np.float32),
    }

    def name(short: str) -> str:
        return f"{prefix}{short}"

    steps = [
        ("Gather", [probabilities, name("index")], name("positive"), {"axis": 1}),
        ("Clip", [name("positive"), name("low"), name("high")], name("clipped"), {}),
        ("Sub", [name("one"), name("clipped")], name("rest"), {}),
        ("Div", [name("clipped"), name("rest")], name("odds"), {}),
        ("Log", [name("odds")], name("logit"), {}),
        ("Mul", [name("logit"), name("slope")], name("scaled"), {}),
        ("Add", [name("scaled"), name("offset")], name("shifted"), {}),
        ("Sigmoid", [name("shifted")], name("p"), {}),
    ]
    nodes = [helper.make_node(kind, inputs, [out], name=f"{out}_node", **extra) for kind, inputs, out, extra in steps]
    initialisers = [numpy_helper.from_array(value, name(short)) for short, value in constants.items()]
    output = helper.make_tensor_value_info(name("p"), TensorProto.FLOAT, [1, 1])
    whole = helper.make_graph([*kept, *nodes], "part", [], [output], initializer=[*graph.initializer, *initialisers])
    return helper.make_model(whole)


def _needed(nodes: Sequence[onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    """The nodes that an output depends on, in their order: converters add class labels that nobody asks for."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]
