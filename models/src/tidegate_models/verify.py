"""Checks a version folder as the engine's load gate does, as far as that needs no engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tidegate_models import contract, limits
from tidegate_models.gatv2 import DOMAIN, OPERATOR
from tidegate_models.onnx_tools import opsets
from tidegate_models.repository import BYTES_MAX, CONTRACT_FILE, GOLDEN_FILE, MODEL_FILE, SIGNATURE_FILE
from tidegate_models.runtime import Array, run, session

_TYPES = {"float32": ("tensor(float)", np.float32), "int64": ("tensor(int64)", np.int64)}
_MAX_SHOWN = 3


@dataclass
class Verdict:
    """What was found out about a version."""

    folder: Path
    reasons: list[str] = field(default_factory=list)
    golden_cases: int = 0
    largest_difference: float = 0.0

    @property
    def good(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons


def verify(folder: Path) -> Verdict:
    """Hashes first, because a damaged file may load and answer wrongly; then everything that the contract says."""
    verdict = Verdict(folder)
    try:
        _verify(folder, verdict)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        verdict.reasons.append(f"{type(error).__name__}: {error}")
    except Exception as error:  # ONNX Runtime's and protobuf's own classes share no base
        verdict.reasons.append(f"the graph cannot be used: {type(error).__name__}: {error}")
    return verdict


def _verify(folder: Path, verdict: Verdict) -> None:
    reasons = verdict.reasons
    _check_files(folder, reasons)
    if reasons:
        return
    stated: dict[str, Any] = _parse((folder / CONTRACT_FILE).read_bytes())
    if stated.get("format") != contract.FORMAT:
        reasons.append(f"format is {stated.get('format')!r}, expected {contract.FORMAT!r}")
        return
    if stated["name"] != folder.parent.name or str(stated["version"]) != folder.name:
        reasons.append(
            f"the contract names {stated['name']}/{stated['version']}, the folder {folder.parent.name}/{folder.name}"
        )
    reasons += contract.refusals(stated)
    contents = _read_files(folder, stated, reasons)
    if reasons:
        return
    model = onnx.load_model_from_string(contents[MODEL_FILE])
    _check_graph(model, stated, reasons)
    opened = session(contents[MODEL_FILE])
    _check_ports(opened, stated, reasons)
    if not reasons:
        _check_golden(opened, stated, contents[GOLDEN_FILE], verdict)


def _check_files(folder: Path, reasons: list[str]) -> None:
    """Before anything is read: a file may be too large for memory, or a link to another."""
    for name, most in BYTES_MAX.items():
        path = folder / name
        if name == SIGNATURE_FILE and not path.exists():
            continue
        if path.is_symlink():
            reasons.append(f"{name} is a link, which the engine does not follow")
        elif (size := path.stat().st_size) > most:
            reasons.append(f"{name} has {size} bytes, more than {most}")


def _parse(content: bytes) -> Any:
    """JSON as the engine reads it: without the NaN and Infinity that Python adds to it."""

    def refuse(word: str) -> float:
        raise ValueError(f"{word} is no number in JSON")

    return json.loads(content, parse_constant=refuse)


def _read_files(folder: Path, stated: dict[str, Any], reasons: list[str]) -> dict[str, bytes]:
    contents = {}
    for name in (MODEL_FILE, GOLDEN_FILE):
        promise = stated["files"][name]
        contents[name] = (folder / name).read_bytes()
        size, digest = len(contents[name]), hashlib.sha256(contents[name]).hexdigest()
        if size != promise["bytes"]:
            reasons.append(f"{name} has {size} bytes, the contract says {promise['bytes']}")
        elif digest != promise["sha256"]:
            reasons.append(f"{name} has SHA-256 {digest}, the contract says {promise['sha256']}")
    return contents


def _check_graph(model: onnx.ModelProto, stated: dict[str, Any], reasons: list[str]) -> None:
    onnx.checker.check_model(model)
    if opsets(model) != stated["opset"]:
        reasons.append(f"opsets are {opsets(model)}, the contract says {stated['opset']}")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        reasons.append("weights lie outside the file")
    foreign = {node.domain for node in model.graph.node} - {"", "ai.onnx.ml", DOMAIN}
    if foreign:
        reasons.append(f"operators of unknown domains: {', '.join(sorted(foreign))}")
    if stated["kind"] == "tuner":
        operators = [f"{node.domain}::{node.op_type}" for node in model.graph.node]
        if operators != [f"{DOMAIN}::{OPERATOR}"]:
            reasons.append(f"a tuner has one node {DOMAIN}::{OPERATOR}, this has {operators[:_MAX_SHOWN]}")


def _check_ports(opened: Any, stated: dict[str, Any], reasons: list[str]) -> None:
    for side, ports in (("inputs", opened.get_inputs()), ("outputs", opened.get_outputs())):
        found = [(port.name, port.type, list(port.shape)) for port in ports]
        said = [(port["name"], _TYPES[port["type"]][0], port["shape"]) for port in stated[side]]
        if found != said:
            reasons.append(f"{side} are {found}, the contract says {said}")


def _tensor(entry: dict[str, Any], kind: str) -> Array:
    return np.asarray(entry["data"], _TYPES[kind][1]).reshape(entry["shape"])


def _check_golden(opened: Any, stated: dict[str, Any], content: bytes, verdict: Verdict) -> None:
    cases = _parse(content)["cases"]
    if len(cases) < limits.GOLDEN_CASES_MIN:
        verdict.reasons.append(f"{len(cases)} golden cases, expected at least {limits.GOLDEN_CASES_MIN}")
    if stated["kind"] == "tuner" and len({case["inputs"]["x"]["shape"][0] for case in cases}) < 4:
        verdict.reasons.append("golden graphs have fewer than four different sizes")
    for number, case in enumerate(cases):
        verdict.reasons += [f"golden case {number}: {reason}" for reason in _check_case(opened, stated, case, verdict)]
        verdict.golden_cases += 1


def _check_case(opened: Any, stated: dict[str, Any], case: dict[str, Any], verdict: Verdict) -> Iterator[str]:
    inputs = {port["name"]: _tensor(case["inputs"][port["name"]], port["type"]) for port in stated["inputs"]}
    broken = [name for name, value in inputs.items() if not np.isfinite(value).all()]
    if broken:
        yield f"{', '.join(broken)} is not finite"
        return
    outputs = run(opened, inputs)
    for port in stated["outputs"]:
        name, (low, high) = port["name"], port["range"]
        wanted, found = _tensor(case["outputs"][name], port["type"]), outputs[name]
        # No comparison with a value that is no number ever says "too far".
        if wanted.shape != found.shape or not (np.isfinite(found).all() and np.isfinite(wanted).all()):
            yield f"{name} has another shape or is not finite"
            continue
        difference = float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max(initial=0.0))
        verdict.largest_difference = max(verdict.largest_difference, difference)
        if difference > stated["tolerance"]:
            yield f"{name} differs by {difference:.3g}, allowed {stated['tolerance']:g}"
        if found.min(initial=high) < low or found.max(initial=low) > high:
            yield f"{name} leaves its range [{low:g}, {high:g}]"
