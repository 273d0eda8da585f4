"""What a model promises: the contents of contract.json, and their checks. The format is `onnx/README.md`'s."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate_models import gatv2, limits, schema
from tidegate_models.label import Label

FORMAT = "tidegate.model.v1"
KINDS = ("tuner", "row", "sequence")
# Where columns of rows and sequences come from; each is a schema.
SOURCES = ("features", "bars", "signals")
QUANTILE_LEVELS = (0.5, 0.9, 0.99)
TUNER_HORIZON_MS = 10_000

# Name, unit and scale of the tuner's targets: z = ln(1 + value / scale).
TUNER_TARGETS: tuple[tuple[str, str, float], ...] = (
    ("volatility", "fraction/year", 0.2),
    ("spread", "ratio", 1.0),
    ("imbalance", "ratio", 0.25),
    ("latency", "us", 1000.0),
    ("recovery", "s", 1.0),
)

# z of 20 is a volatility of 1e8. Inputs that no market has may lead further, beyond 30 a tuner is broken.
TUNER_RANGE = (0.0, 30.0)

LATENCY_BUDGET_US = {"tuner": 1000, "row": 500, "sequence": 500}
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Column:
    """A column of `features`: what the engine computes under this name, or a parameter that the caller states."""

    name: str
    fill: float = 0.0
    parameter: bool = False

    def to_json(self) -> dict[str, Any]:
        """As it stands in the contract."""
        extra = {"parameter": True} if self.parameter else {}
        return {"name": self.name, "fill": self.fill, **extra}


@dataclass(frozen=True)
class Training:
    """What a model was trained on."""

    sources: list[str]
    digest: str
    labels: dict[str, int]
    seed: int


@dataclass(frozen=True)
class ModelSpec:
    """Everything of a contract but name, version, date and hashes of files."""

    kind: str
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    schemas: dict[str, str]
    opset: dict[str, int]
    encoding: dict[str, Any]
    training: Training
    metrics: dict[str, float] = field(default_factory=dict)
    latency_budget_us: int = 500
    tolerance: float = TOLERANCE


def tensor(name: str, kind: str, shape: list[int | str], limits: tuple[float, float] | None = None) -> dict[str, Any]:
    """An entry of `inputs` or `outputs`; outputs state their range."""
    return {"name": name, "type": kind, "shape": shape, **({"range": list(limits)} if limits else {})}


def tuner_spec(graph_schema: str, training: Training, metrics: dict[str, float]) -> ModelSpec:
    """The contract of a breaker tuner."""
    return ModelSpec(
        kind="tuner",
        inputs=[
            tensor("x", "float32", ["nodes", gatv2.NODE_COLUMNS]),
            tensor("edge_index", "int64", [2, "edges"]),
            tensor("edge_attr", "float32", ["edges", gatv2.EDGE_COLUMNS]),
        ],
        outputs=[tensor("y", "float32", ["nodes", gatv2.OUTPUTS], TUNER_RANGE)],
        schemas={"graph": graph_schema},
        opset={"ai.onnx": gatv2.OPSET, gatv2.DOMAIN: 1},
        encoding={
            "horizon_ms": TUNER_HORIZON_MS,
            "quantiles": list(QUANTILE_LEVELS),
            "targets": [{"name": name, "unit": unit, "scale": scale} for name, unit, scale in TUNER_TARGETS],
        },
        training=training,
        metrics=metrics,
        latency_budget_us=LATENCY_BUDGET_US["tuner"],
    )


def columns_spec(
    kind: str,
    columns: list[Column],
    output: str,
    outputs: int,
    source: str,
    schema: str,
    horizons_s: list[int],
    opset: dict[str, int],
    training: Training,
    metrics: dict[str, float],
    steps: int | None = None,
    step_ms: int | None = None,
    label: Label | None = None,
) -> ModelSpec:
    """The contract of a model that takes named columns: one row of them, or `steps` rows, oldest first."""
    shape: list[int | str] = [1, len(columns)] if steps is None else [steps, 1, len(columns)]
    encoding: dict[str, Any] = {
        "columns": [column.to_json() for column in columns],
        "source": source,
        "horizons_s": horizons_s,
    }
    if steps is not None:
        encoding |= {"steps": steps, "step_ms": step_ms}
    if label is not None:
        encoding["label"] = label.to_json()
    return ModelSpec(
        kind=kind,
        inputs=[tensor("features", "float32", shape)],
        outputs=[tensor(output, "float32", [1, outputs], (0.0, 1.0))],
        schemas={source: schema},
        opset=opset,
        encoding=encoding,
        training=training,
        metrics=metrics,
        latency_budget_us=LATENCY_BUDGET_US[kind],
    )


def to_json(
    spec: ModelSpec, name: str, version: int, created: str, files: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The whole contract in the order of the format's description."""
    return {
        "format": FORMAT,
        "name": name,
        "version": version,
        "kind": spec.kind,
        "created": created,
        "inputs": spec.inputs,
        "outputs": spec.outputs,
        "schemas": spec.schemas,
        "opset": spec.opset,
        "encoding": spec.encoding,
        "training": {
            "sources": spec.training.sources,
            "digest": spec.training.digest,
            "labels": spec.training.labels,
            "seed": spec.training.seed,
        },
        "metrics": spec.metrics,
        "latency_budget_us": spec.latency_budget_us,
        "tolerance": spec.tolerance,
        "files": files,
    }


def refusals(stated: Mapping[str, Any]) -> list[str]:
    """What the engine refuses a contract for before it looks at the graph: none for a good one."""
    name, version = stated["name"], stated["version"]
    budget, tolerance = stated["latency_budget_us"], stated["tolerance"]
    reasons = []
    if not limits.is_name(name):
        reasons.append(f"name is {name!r}, expected 1 to {limits.NAME_LENGTH_MAX} of a-z, 0-9 and -")
    if limits.version_of(str(version)) != version:
        reasons.append(f"version is {version!r}, expected a whole number from 1 to {limits.VERSION_MAX}")
    if not 0 < budget <= limits.LATENCY_BUDGET_MAX_US:
        reasons.append(f"latency_budget_us is {budget}, expected above 0, at most {limits.LATENCY_BUDGET_MAX_US:g}")
    if not 0 < tolerance <= limits.TOLERANCE_MAX:
        reasons.append(f"tolerance is {tolerance}, expected above 0, at most {limits.TOLERANCE_MAX:g}")
    for output in stated["outputs"]:
        low, high = output["range"]
        if not -limits.RANGE_MAX <= low <= high <= limits.RANGE_MAX:
            reasons.append(f"the range of {output['name']} is [{low}, {high}], not within +-{limits.RANGE_MAX:g}")
    if stated["kind"] not in KINDS:
        return [*reasons, f"kind {stated['kind']!r} is none of {', '.join(KINDS)}"]
    return reasons + _schema_refusals(stated)


def _schema_refusals(stated: Mapping[str, Any]) -> list[str]:
    known, named = schema.hashes(), stated["schemas"]
    needed = "graph" if stated["kind"] == "tuner" else stated["encoding"]["source"]
    reasons = [] if needed in named else [f"schemas does not name {needed!r}, which this model depends on"]
    if stated["kind"] != "tuner" and needed not in SOURCES:
        reasons.append(f"encoding.source is {needed!r}, expected one of {', '.join(SOURCES)}")
    if stated["kind"] != "tuner" and (needed == "signals") != ("label" in stated["encoding"]):
        reasons.append("encoding.label: a model of signals needs one, no other has it")
    for name, digest in named.items():
        if name not in known:
            reasons.append(f"schemas.{name}: there is no such schema")
        elif digest != known[name]:
            reasons.append(f"trained on {name} schema {digest[:16]}, this package has {known[name][:16]}")
    return reasons


def sha256_text(text: str) -> str:
    """SHA-256 of a text in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
