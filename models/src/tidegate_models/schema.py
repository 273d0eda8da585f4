"""The schemas that engine and models share: `schema.json`, as `tidegate features --format json` prints it.

A model names the schema it was trained on by hash; the hash is recomputed here, so that neither side can drift.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

NO_SCHEMA = "0" * 64


@functools.cache
def document() -> dict[str, Any]:
    """The generated file."""
    text = resources.files("tidegate_models").joinpath("schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def hash_of(columns: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 over a line `index:name:unit:version` a column."""
    lines = (f"{c['index']}:{c['name']}:{c['unit']}:{c['version']}\n" for c in columns)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def hashes() -> dict[str, str]:
    """Hash by schema: `features`, and `graph` and `bars` where the engine has them."""
    found = {"features": str(document()["hash"])}
    for name in ("graph", "bars"):
        if name in document():
            found[name] = str(document()[name]["hash"])
    return found


def feature_names() -> list[str]:
    """Names of the engine's features, in their order."""
    return [feature["name"] for feature in document()["features"]]
