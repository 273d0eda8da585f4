"""What training leaves behind and `export` publishes: the graph, its contract, inputs of golden cases, and the curve.

<work>/<name>/model.onnx, artifact.json, golden.npz, history.json
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tidegate_models.contract import ModelSpec, Training
from tidegate_models.runtime import Array


@dataclass(frozen=True)
class Artifact:
    """A model that could be published."""

    name: str
    spec: ModelSpec
    model: bytes
    golden_inputs: list[dict[str, Array]]
    history: dict[str, Any] = field(default_factory=dict)

    def with_metrics(self, metrics: dict[str, float]) -> Artifact:
        """The same with what an evaluation found."""
        return dataclasses.replace(self, spec=dataclasses.replace(self.spec, metrics=metrics))

    def save(self, work: Path) -> Path:
        """Writes it under `work`; gives the folder."""
        folder = work / self.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(self.model)
        write_json(folder / "artifact.json", {"name": self.name, "spec": dataclasses.asdict(self.spec)})
        arrays = {
            f"{number}:{name}": value for number, case in enumerate(self.golden_inputs) for name, value in case.items()
        }
        np.savez_compressed(folder / "golden.npz", **arrays)  # type: ignore[arg-type]
        write_json(folder / "history.json", self.history)
        return folder

    @classmethod
    def load(cls, work: Path, name: str) -> Artifact:
        """Reads what `save` wrote."""
        folder = work / name
        if not (folder / "artifact.json").exists():
            raise FileNotFoundError(f"{folder} holds no trained model: run `tidegate-models train {name}` first")
        document = json.loads((folder / "artifact.json").read_text(encoding="utf-8"))
        spec = document["spec"] | {"training": Training(**document["spec"]["training"])}
        cases: dict[int, dict[str, Array]] = {}
        with np.load(folder / "golden.npz") as arrays:
            for key in arrays.files:
                number, _, port = key.partition(":")
                if number.isdecimal():
                    cases.setdefault(int(number), {})[port] = arrays[key]
        history = json.loads((folder / "history.json").read_text(encoding="utf-8"))
        golden = [cases[number] for number in sorted(cases)]
        return cls(name, ModelSpec(**spec), (folder / "model.onnx").read_bytes(), golden, history)


def write_json(path: Path, document: Any) -> None:
    """Readable JSON that two equal runs write equally."""
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
