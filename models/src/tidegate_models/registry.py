"""The models of this package by name, and what each command does for them.

To add a model: write a module with the functions of `Family`, and add its name to `_FAMILIES`.
"""

from __future__ import annotations

import argparse
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from tidegate_models import paths
from tidegate_models.errors import ModelsError

if TYPE_CHECKING:
    # Not at run time: a command imports the heavy libraries when it has said how they are to run.
    from tidegate_models.artifact import Artifact

_FAMILIES = {
    "breaker-tuner": "tidegate_models.tuner.family",
    "liquidity": "tidegate_models.liquidity",
    "fill": "tidegate_models.fill",
    "direction-forest": "tidegate_models.direction",
    "direction-boost": "tidegate_models.direction",
    "direction-lstm": "tidegate_models.direction",
    "confidence": "tidegate_models.confidence",
}
NAMES = tuple(_FAMILIES)


class MissingExtraError(ModelsError):
    """Something needs a package that is not installed, and what to install."""


@dataclass(frozen=True)
class DataOptions:
    """Where data comes from."""

    engine: Path | None
    cache: Path
    recorded: Path

    @classmethod
    def of(cls, options: argparse.Namespace) -> DataOptions:
        """From a command's options."""
        return cls(options.engine, options.cache or paths.cache_folder(), options.recorded or paths.recorded_data())


class Family(Protocol):
    """What a module that trains models offers; each command below says what for."""

    def train(self, name: str, data: DataOptions, seed: int, work: Path, fresh: bool) -> Artifact:
        """Trains the model of this name; without `fresh` a run that was cut may go on."""

    def evaluate(self, artifact: Artifact, data: DataOptions, seed: int, work: Path, reports: Path) -> dict[str, float]:
        """Scores a model, writes its report and gives its key figures."""

    def untrained(self, name: str, seed: int) -> Artifact:
        """A model of the right form with random contents."""


def family(name: str) -> Family:
    """The module of a model, imported when it is needed. That it keeps to the protocol is checked in the tests."""
    return cast(Family, importlib.import_module(_FAMILIES[name]))


def data_sets(data: DataOptions) -> None:
    """Makes all data sets of all models, or takes them from the cache, and lists them."""
    from tidegate_models import confidence_data, datasets, minute_bars
    from tidegate_models.tuner import experiment

    engine = datasets.find_engine(data.engine)
    for part in datasets.make_all(experiment.sources(), engine, data.cache, data.recorded):
        print(f"{part.source.label}: {part.folder}, SHA-256 {part.digest}")
    for bars in minute_bars.load(data):
        print(f"{bars.source.label}: {len(bars.rows)} minute bars, SHA-256 {bars.digest}")
    for market in confidence_data.load(data):
        print(f"{market.source.label}: {len(market.outcomes)} outcomes of signals, SHA-256 {market.digest}")


def train(name: str, data: DataOptions, seed: int, work: Path, fresh: bool) -> Artifact:
    """Trains a model."""
    return family(name).train(name, data, seed, work, fresh)


def evaluate(artifact: Artifact, data: DataOptions, seed: int, work: Path, reports: Path) -> dict[str, float]:
    """Scores a model, writes its report and gives its key figures."""
    return family(artifact.name).evaluate(artifact, data, seed, work, reports)


def untrained(name: str, seed: int) -> Artifact:
    """A model of the right form with random contents."""
    return family(name).untrained(name, seed)
