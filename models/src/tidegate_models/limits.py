"""What the engine allows a version to be, with the engine's own numbers: it refuses or never sees any other.

The engine's side is in `engine/sidecar/src/repository.rs` and `contract.rs`; `tests/test_gate.py` shows both the same
versions.
"""

from __future__ import annotations

import re

# The engine's records have a field of so many bytes for a model's name.
NAME_LENGTH_MAX = 24
VERSION_MAX = 2**32 - 1

MODEL_BYTES_MAX = 16 << 20
JSON_BYTES_MAX = 16 << 20
SIGNATURE_BYTES_MAX = 1024
# Of training.json, which only screens read (`engine/runtime/src/screens/repository.rs`).
TRAINING_BYTES_MAX = 256 << 10

LATENCY_BUDGET_MAX_US = 1000.0
TOLERANCE_MAX = 1e-2
# Of an output's range, to either side.
RANGE_MAX = 1e6
GOLDEN_CASES_MIN = 8

_NAME = re.compile(rf"[a-z0-9-]{{1,{NAME_LENGTH_MAX}}}")
_VERSION = re.compile(r"[1-9][0-9]*")


def is_name(name: str) -> bool:
    """Whether a model may be called so."""
    return _NAME.fullmatch(name) is not None


def version_of(folder_name: str) -> int | None:
    """The version that a folder's name stands for. `02` and digits of other scripts stand for none."""
    if not _VERSION.fullmatch(folder_name):
        return None
    version = int(folder_name)
    return version if version <= VERSION_MAX else None
