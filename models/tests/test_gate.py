"""The same versions before `verify` and the engine's load gate: what the gate refuses, `verify` must not call good."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidegate_models import limits, registry, repository, schema
from tidegate_models.verify import verify

HASHES = schema.hashes()
RANGE = {"name": "p_drop", "type": "float32", "shape": [1, 3]}


def restate(folder: Path, **changes: Any) -> Path:
    """Changes keys of the contract, and moves the version to where it then says it is."""
    path = folder / "contract.json"
    contract = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(contract))
    moved = folder.parents[1] / contract["name"] / str(contract["version"])
    moved.parent.mkdir(exist_ok=True)
    return folder.rename(moved)


def write_golden(folder: Path, text: str) -> Path:
    """Other golden cases, with their digest in the contract."""
    (folder / "golden.json").write_text(text)
    files = json.loads((folder / "contract.json").read_text())["files"]
    digest = {"bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    return restate(folder, files=files | {"golden.json": digest})


def golden_value(folder: Path, side: str, value: str) -> Path:
    """Puts a value, as JSON text, where the first number of the third golden case's inputs or outputs is."""
    golden = json.loads((folder / "golden.json").read_text())
    (tensor,) = golden["cases"][2][side].values()
    tensor["data"][0] = "VALUE"
    return write_golden(folder, json.dumps(golden).replace('"VALUE"', value))


def other_output(folder: Path) -> Path:
    return write_golden(folder, (folder / "golden.json").read_text().replace("p_drop", "p_rise", 1))


def grown(folder: Path, file: str, size: int) -> Path:
    with (folder / file).open("ab") as opened:
        opened.truncate(size)
    return folder


def linked(folder: Path) -> Path:
    (folder / "model.onnx").rename(folder.parent / "elsewhere")
    (folder / "model.onnx").symlink_to(folder.parent / "elsewhere")
    return folder


GOOD: dict[str, Callable[[Path], Path]] = {
    "as exported": lambda folder: folder,
    "longest name, highest version": lambda folder: restate(folder, name="-0" * 12, version=2**32 - 1),
    "highest budget and tolerance": lambda folder: restate(folder, latency_budget_us=1000, tolerance=0.01),
    "widest range": lambda folder: restate(folder, outputs=[RANGE | {"range": [-1e6, 1e6]}]),
    "all schemas": lambda folder: restate(folder, schemas=HASHES),
}

REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "long name": (lambda folder: restate(folder, name="a" * 25), "name is"),
    "capital": (lambda folder: restate(folder, name="Liquidity"), "name is"),
    "version 0": (lambda folder: restate(folder, version=0), "version is 0"),
    "high version": (lambda folder: restate(folder, version=2**32), "version is 4294967296"),
    "version as text": (lambda folder: restate(folder, version="1"), "version is '1'"),
    "leading zero": (lambda folder: folder.rename(folder.parent / "01"), "the folder"),
    "high budget": (lambda folder: restate(folder, latency_budget_us=1000.5), "latency_budget_us"),
    "no budget": (lambda folder: restate(folder, latency_budget_us=0), "latency_budget_us"),
    "high tolerance": (lambda folder: restate(folder, tolerance=0.0101), "tolerance"),
    "wide range": (lambda folder: restate(folder, outputs=[RANGE | {"range": [0, 2e6]}]), "range of p_drop"),
    "turned range": (lambda folder: restate(folder, outputs=[RANGE | {"range": [1, 0]}]), "range of p_drop"),
    "unknown schema": (lambda folder: restate(folder, schemas=HASHES | {"tides": "0" * 64}), "no such schema"),
    "needed schema": (lambda folder: restate(folder, schemas={"bars": HASHES["bars"]}), "does not name 'features'"),
    "other schema": (lambda folder: restate(folder, schemas={"features": "0" * 64}), "trained on features schema"),
    "NaN in the contract": (lambda folder: restate(folder, metrics={"auc": float("nan")}), "no number in JSON"),
    "golden NaN": (lambda folder: golden_value(folder, "outputs", "NaN"), "no number in JSON"),
    "golden null": (lambda folder: golden_value(folder, "outputs", "null"), "golden case 2: p_drop"),
    "golden infinity": (lambda folder: golden_value(folder, "outputs", "1e999"), "golden case 2: p_drop"),
    "golden input": (lambda folder: golden_value(folder, "inputs", "1e999"), "golden case 2: features is not finite"),
    "golden difference": (lambda folder: golden_value(folder, "outputs", "0.99"), "differs by"),
    "golden name": (other_output, "p_drop"),
    "large model": (lambda folder: grown(folder, "model.onnx", limits.MODEL_BYTES_MAX + 1), "model.onnx has"),
    "large golden": (lambda folder: grown(folder, "golden.json", limits.JSON_BYTES_MAX + 1), "golden.json has"),
    "large contract": (lambda folder: grown(folder, "contract.json", limits.JSON_BYTES_MAX + 1), "contract.json has"),
    "large signature": (
        lambda folder: grown(folder, "contract.json.sig", limits.SIGNATURE_BYTES_MAX + 1),
        "contract.json.sig has",
    ),
    "link": (linked, "model.onnx is a link"),
}


@pytest.fixture
def version(tmp_path: Path) -> Path:
    artifact = registry.untrained("liquidity", 7)
    return repository.publish(tmp_path, artifact.name, 1, artifact.spec, artifact.model, artifact.golden_inputs)


def gate(engine: Path, folder: Path) -> tuple[int, str]:
    """Exit code and message of the engine's own check."""
    done = subprocess.run([engine, "model", "check", folder], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", GOOD)
def test_what_the_engine_takes_is_good(version: Path, name: str) -> None:
    assert verify(GOOD[name](version)).reasons == []


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_engine_refuses_is_not_good(version: Path, name: str) -> None:
    change, expected = REFUSED[name]
    reasons = verify(change(version)).reasons
    assert any(expected in reason for reason in reasons), reasons


@pytest.mark.parametrize("name", [*GOOD, *REFUSED])
def test_the_engine_agrees(loading_engine: Path, version: Path, name: str) -> None:
    folder = GOOD[name](version) if name in GOOD else REFUSED[name][0](version)
    code, message = gate(loading_engine, folder)
    assert code == (0 if name in GOOD else 1), message
