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


def graph() -> dict[str, Any]:
    """Nodes, edges and slots of the market graph."""
    found: dict[str, Any] = document()["graph"]
    return found


_GRAPH_VERSION = 1


def graph_hash() -> str:
    """SHA-256 over version, kinds, slots and transforms of the graph, a line each, as the engine computes it."""
    content = graph()
    clock_slot = len(content["node_slots"]) - len(content["clock_slots"])
    lines = [f"version:{_GRAPH_VERSION}"]
    lines += [f"node:{index}:{kind}" for index, kind in enumerate(content["node_kinds"])]
    lines += [f"edge:{index}:{kind}" for index, kind in enumerate(content["edge_kinds"])]
    for index, slot in enumerate(content["node_slots"]):
        transform = _describe(slot.get("transform"))
        lines.append(f"node_slot:{index}:{slot['name']}:{slot.get('feature', '-')}:{transform}")
    lines += [f"clock_slot:{clock_slot + index}:{name}" for index, name in enumerate(content["clock_slots"])]
    lines += [f"edge_slot:{index}:{name}" for index, name in enumerate(content["edge_slots"])]
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def _describe(transform: str | Mapping[str, float] | None) -> str:
    if transform is None:
        return "-"
    if isinstance(transform, str):
        return transform
    ((kind, scale),) = transform.items()
    return f"{kind}:{scale:g}"


def hashes() -> dict[str, str]:
    """Hash by schema: `features`, and `graph`, `bars` and `signals` where the engine has them."""
    found = {"features": str(document()["hash"])}
    for name in ("graph", "bars", "signals"):
        if name in document():
            found[name] = str(document()[name]["hash"])
    return found


def signal_names() -> list[str]:
    """Names of what the engine knows of a signal, in their order."""
    return [column["name"] for column in document()["signals"]["features"]]


def feature_names() -> list[str]:
    """Names of the engine's features, in their order."""
    return [feature["name"] for feature in document()["features"]]
