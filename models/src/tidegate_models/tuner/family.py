"""The tuner's part of each command."""

from __future__ import annotations

from tidegate_models.artifact import Artifact
from tidegate_models.tuner import artifacts


def untrained(name: str, seed: int) -> Artifact:
    """A tuner with random weights."""
    return artifacts.untrained(seed)
