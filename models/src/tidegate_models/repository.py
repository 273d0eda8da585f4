"""The model repository: versions are written whole or not at all, and never changed."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tidegate_models import contract, limits
from tidegate_models.errors import ModelsError
from tidegate_models.runtime import Array, run, session

MODEL_FILE = "model.onnx"
CONTRACT_FILE = "contract.json"
GOLDEN_FILE = "golden.json"
SIGNATURE_FILE = "contract.json.sig"
TRAINING_FILE = "training.json"
CURRENT_FILE = "CURRENT"

# Largest size of each file that the load gate reads.
BYTES_MAX = {
    CONTRACT_FILE: limits.JSON_BYTES_MAX,
    SIGNATURE_FILE: limits.SIGNATURE_BYTES_MAX,
    GOLDEN_FILE: limits.JSON_BYTES_MAX,
    MODEL_FILE: limits.MODEL_BYTES_MAX,
}


class RepositoryError(ModelsError):
    """A version that cannot be written, and why."""


def tensor_json(value: Array) -> dict[str, Any]:
    """A tensor, row-major. Floats have the fewest digits that give the same float32 back."""
    if value.dtype == np.float32:
        flat: list[Any] = [float(str(v)) for v in value.reshape(-1)]
    else:
        flat = [int(v) for v in value.reshape(-1)]
    return {"shape": list(value.shape), "data": flat}


def training_json(document: dict[str, Any]) -> bytes:
    """The account of a training, a point a line, small enough for screens."""
    head = {key: value for key, value in document.items() if key != "curves"}
    curves = [
        f'{{"name": {json.dumps(curve["name"])}, "points": [\n'
        + ",\n".join(json.dumps(point, allow_nan=False) for point in curve["points"])
        + "\n]}"
        for curve in document["curves"]
    ]
    text = json.dumps(head, indent=1).removesuffix("\n}") + ',\n "curves": [\n' + ",\n".join(curves) + "\n]}\n"
    content = text.encode()
    if len(content) > limits.TRAINING_BYTES_MAX:
        raise RepositoryError(f"{TRAINING_FILE} would have {len(content)} bytes, more than {limits.TRAINING_BYTES_MAX}")
    return content


def golden_json(model: bytes, cases: Sequence[dict[str, Array]]) -> bytes:
    """Inputs with what stock ONNX Runtime gives for them."""
    if len(cases) < limits.GOLDEN_CASES_MIN:
        raise RepositoryError(f"{len(cases)} golden cases, expected at least {limits.GOLDEN_CASES_MIN}")
    opened = session(model)
    rows = []
    for inputs in cases:
        outputs = run(opened, inputs)
        if not all(np.isfinite(value).all() for value in outputs.values()):
            raise RepositoryError("a golden case has an output that is not finite")
        rows.append(
            {
                "inputs": {name: tensor_json(value) for name, value in inputs.items()},
                "outputs": {name: tensor_json(value) for name, value in outputs.items()},
            }
        )
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    return f'{{"cases":[\n{lines}\n]}}\n'.encode()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sign(key_file: Path, message: bytes) -> bytes:
    """Ed25519 signature in base64. The key file is PEM (PKCS 8) or 32 raw bytes in base64."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise RepositoryError("signing needs the `sign` extra: pip install 'tidegate-models[sign]'") from error
    content = key_file.read_bytes()
    if content.lstrip().startswith(b"-----BEGIN"):
        key = load_pem_private_key(content, password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise RepositoryError(f"{key_file}: not an Ed25519 private key")
    else:
        key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(content.strip(), validate=True))
    return base64.b64encode(key.sign(message)) + b"\n"


def _check_size(file: str, content: bytes) -> None:
    if len(content) > BYTES_MAX[file]:
        raise RepositoryError(f"{file} would have {len(content)} bytes, more than {BYTES_MAX[file]}")


def publish(
    root: Path,
    name: str,
    version: int,
    spec: contract.ModelSpec,
    model: bytes,
    golden_inputs: Sequence[dict[str, Array]],
    *,
    key_file: Path | None = None,
    created: datetime.datetime | None = None,
    make_current: bool = False,
    training: Callable[[bytes], dict[str, Any] | None] | None = None,
) -> Path:
    """Writes `root/name/version`, a folder that the engine never sees in part; gives its path.

    `training` makes the contents of training.json out of the contract's bytes, where there is something to tell.

    Which version is in force is for a running engine to say, after the version has been in shadow; `make_current` says
    it without one.
    """
    moment = (created or datetime.datetime.now(datetime.UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    if reasons := contract.refusals(contract.to_json(spec, name, version, moment, files={})):
        raise RepositoryError("; ".join(reasons))
    folder = root / name / str(version)
    if folder.exists():
        raise RepositoryError(f"{folder} is there already; a version is never changed")
    _check_size(MODEL_FILE, model)
    contents = {MODEL_FILE: model, GOLDEN_FILE: golden_json(model, golden_inputs)}
    files = {
        file: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for file, content in contents.items()
    }
    text = json.dumps(contract.to_json(spec, name, version, moment, files), indent=1, allow_nan=False) + "\n"
    contents[CONTRACT_FILE] = text.encode()
    if key_file is not None:
        contents[SIGNATURE_FILE] = sign(key_file, contents[CONTRACT_FILE])
    for file, content in contents.items():
        _check_size(file, content)
    if training is not None and (told := training(contents[CONTRACT_FILE])) is not None:
        contents[TRAINING_FILE] = training_json(told)

    hidden = root / name / f".{version}.tmp"
    if hidden.exists():
        shutil.rmtree(hidden)
    hidden.mkdir(parents=True)
    try:
        for file, content in contents.items():
            _write(hidden / file, content)
        _sync_folder(hidden)
        hidden.rename(folder)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    _sync_folder(folder.parent)
    if make_current:
        set_current(root, name, version)
    return folder


def add_training(folder: Path, document: dict[str, Any]) -> None:
    """Puts training.json into a version that was exported without; what the load gate reads stays as it is."""
    path = folder / TRAINING_FILE
    if path.exists():
        raise RepositoryError(f"{path} is there already")
    temporary = folder.with_name(f".{folder.name}.{TRAINING_FILE}.tmp")
    _write(temporary, training_json(document))
    temporary.replace(path)
    _sync_folder(folder)


def set_current(root: Path, name: str, version: int) -> None:
    """Points to a version: it is in force from the next start on."""
    pointer = root / name / CURRENT_FILE
    temporary = pointer.with_name(f".{CURRENT_FILE}.tmp")
    _write(temporary, f"{version}\n".encode())
    temporary.replace(pointer)
    _sync_folder(pointer.parent)


def in_force(root: Path, name: str) -> int | None:
    """The version of a model of signals that an engine would begin with: as `CURRENT` says.

    Without it there is none: such a model comes into force by its trial.
    """
    pointer = root / name / CURRENT_FILE
    if not pointer.exists():
        return None
    stated = pointer.read_text(encoding="ascii", errors="replace").strip()
    version = limits.version_of(stated)
    if version is None:
        raise RepositoryError(f"{pointer} is {stated!r}, expected a version")
    return version


def versions(root: Path, name: str) -> list[int]:
    """Versions that are there, lowest first."""
    folder = root / name
    if not folder.is_dir():
        return []
    found = (limits.version_of(entry.name) for entry in folder.iterdir() if entry.is_dir())
    return sorted(version for version in found if version is not None)


def next_version(root: Path, name: str) -> int:
    """The number after the highest."""
    return max(versions(root, name), default=0) + 1
