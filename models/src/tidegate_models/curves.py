"""How a version was trained, for people: `training.json` beside its contract. Screens draw it, no load gate reads it.

It is made from the history that training leaves and names the contract it belongs to by its hash. Versions that were
exported before there was such a file get theirs from their reports, where a report is theirs beyond doubt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tidegate_models import report, repository
from tidegate_models.errors import ModelsError
from tidegate_models.tuner import artifacts

FORMAT = "tidegate.training.v1"

# What the engine shows at most.
CURVES_MAX = 16
POINTS_MAX = 2000


class CurvesError(ModelsError):
    """A version whose training cannot be told, and why."""


def document(history: Mapping[str, Any], contract: bytes) -> dict[str, Any] | None:
    """The contents of training.json for the version with this contract; `None` where the history has no curve."""
    loss, lines = _lines(history)
    curves = [{"name": name, "points": _points(*both)} for name, both in lines.items() if both[0]]
    if not curves:
        return None
    if len(curves) > CURVES_MAX or any(len(curve["points"]) > POINTS_MAX for curve in curves):
        raise CurvesError(f"more than {CURVES_MAX} curves, or than {POINTS_MAX} points in one")
    digest = hashlib.sha256(contract).hexdigest()
    made: dict[str, Any] = report.rounded({"format": FORMAT, "contract": digest, "loss": loss, "curves": curves})
    return made


def _lines(history: Mapping[str, Any]) -> tuple[str, dict[str, tuple[list[float], list[float]]]]:
    """What the loss is, and losses in training and on held-out data of what was exported, by name."""
    if "runs" in history:
        # The other runs are ablations and refits for tests: their weights are not those of the model.
        run = history["runs"].get(artifacts.EXPORTED_RUN)
        epochs = run["epochs"] if run else []
        return "pinball loss", {"all targets": ([e["train"] for e in epochs], [e["held_out"] for e in epochs])}
    curves = history.get("curves", {})
    return "log loss", {name: (line.get("train", []), line.get("check", [])) for name, line in curves.items()}


def _points(train: list[float], check: list[float]) -> list[dict[str, Any]]:
    return [
        {"epoch": epoch, "loss": loss, "validation": validation}
        for epoch, (loss, validation) in enumerate(zip(train, check, strict=True), 1)
    ]


def from_report(folder: Path, reports: Path) -> dict[str, Any] | None:
    """The same for a version that is there already, from the report of the model that it was exported from.

    A report is that model's when it counts the same labels and holds every figure of the contract: report and figures
    were written by one evaluation, and another training would give others.
    """
    name = folder.parent.name
    content = (folder / repository.CONTRACT_FILE).read_bytes()
    contract = json.loads(content)
    metrics = json.loads((reports / name / "metrics.json").read_text(encoding="utf-8"))
    history = json.loads((reports / name / "history.json").read_text(encoding="utf-8"))
    if metrics.get("labels") != contract["training"]["labels"]:
        raise CurvesError(f"{reports / name} is of another training than {folder}: its labels are others")
    known = set(_numbers(metrics))
    if missing := [key for key, value in contract["metrics"].items() if value not in known]:
        raise CurvesError(f"{reports / name} is of another training than {folder}: it has no {', '.join(missing)}")
    if not contract["metrics"]:
        raise CurvesError(f"{folder} has no figures: nobody knows which report is its own")
    return document(history, content)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from _numbers(entry)
    elif isinstance(value, int | float):
        yield value
