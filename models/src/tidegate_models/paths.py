"""Where things are: the repository, its model folder, and places for what is never committed."""

from __future__ import annotations

import os
from pathlib import Path


def repository_root(start: Path | None = None) -> Path:
    """The nearest folder upwards that holds `onnx/` and `models/`; `start` (default: here) when there is none."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "onnx").is_dir() and (folder / "models").is_dir():
            return folder
    return here


def model_repository() -> Path:
    """Where exported versions go unless told otherwise."""
    return repository_root() / "onnx"


def work_folder() -> Path:
    """Trained models and checkpoints before they are exported."""
    return repository_root() / "run" / "models"


def reports_folder() -> Path:
    """Reports, which are committed."""
    return repository_root() / "models" / "reports"


def cache_folder() -> Path:
    """Data sets made by the engine, by digest of what they were made from."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tidegate" / "models"


def recorded_data() -> Path:
    """Recorded captures: where `TIDEGATE_DATA` says, else beside the repository."""
    stated = os.environ.get("TIDEGATE_DATA")
    return Path(stated) if stated else repository_root().parent / "shared" / "data"
