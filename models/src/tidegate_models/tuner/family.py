"""The tuner's part of each command."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tidegate_models import contract, datasets, gatv2
from tidegate_models.artifact import Artifact, write_json
from tidegate_models.registry import DataOptions, MissingExtraError
from tidegate_models.tuner import artifacts, experiment
from tidegate_models.tuner import data as data_module


def untrained(name: str, seed: int) -> Artifact:
    """A tuner with random weights."""
    return artifacts.untrained(seed)


def _sets(data: DataOptions) -> list[datasets.DataSet]:
    engine = datasets.find_engine(data.engine)
    return datasets.make_all(experiment.sources(), engine, data.cache, data.recorded)


def weights_file(work: Path, split: str, variant: str) -> Path:
    """Where the weights of one training are."""
    return work / artifacts.NAME / "runs" / f"{split}.{variant}.npz"


def load_weights(path: Path) -> gatv2.Weights:
    """Reads what training wrote."""
    with np.load(path) as arrays:
        return {name: arrays[name] for name in gatv2.WEIGHT_SHAPES}


def train(name: str, data: DataOptions, seed: int, work: Path, fresh: bool) -> Artifact:
    """Trains the network and its ablations on every split. What is finished is kept; a run that was cut goes on."""
    try:
        from tidegate_models.gatv2_torch import parity
        from tidegate_models.tuner import training
    except ImportError as error:
        raise MissingExtraError(
            f"training {name} needs the train extra ({error.name} is missing): see models/README.md"
        ) from error
    sets = _sets(data)
    markets = experiment.load_markets(sets)
    runs = work / artifacts.NAME / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    settings = training.Settings(seed=seed)
    history: dict[str, Any] = {"model": name, "settings": asdict(settings), "runs": {}}
    for split in experiment.splits(markets, seed):
        for kind in experiment.VARIANTS:
            view = experiment.with_variant(split, kind, seed)
            file = weights_file(work, split.name, kind)
            checkpoint = file.with_suffix(".checkpoint")
            if fresh:
                checkpoint.unlink(missing_ok=True)
            start = time.perf_counter()
            trained = training.train(view.train, view.check, settings, checkpoint, f"{split.name} {kind}")
            np.savez(file, **trained.weights)  # type: ignore[arg-type]
            run = {"best_epoch": trained.best_epoch, "seconds": round(time.perf_counter() - start, 1)}
            history["runs"][f"{split.name}.{kind}"] = run | {"graphs": len(view.train), "epochs": trained.history}
            write_json(work / artifacts.NAME / "history.json", history)
    exported = load_weights(weights_file(work, *artifacts.EXPORTED))
    history["parity"] = parity(exported)
    described = contract.Training(
        sources=[part.source.label for part in sets if part.source not in datasets.SIMULATED_TEST],
        digest=datasets.digest_of(sets),
        labels=experiment.label_counts(markets),
        seed=seed,
    )
    day = data_module.labelled(markets[experiment.GRAPH_DAY.name].graphs)
    return artifacts.build(exported, described, day, history)


def evaluate(artifact: Artifact, data: DataOptions, seed: int, work: Path, reports: Path) -> dict[str, float]:
    """Scores networks, ablations and baselines on every split and writes the report."""
    from tidegate_models.tuner import evaluation

    markets = experiment.load_markets(_sets(data))
    return evaluation.evaluate(artifact, markets, seed, work, reports / artifacts.NAME)
