"""Scores and reports of models that give a probability for each of several horizons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tidegate_models import plots, report, stats
from tidegate_models.artifact import Artifact
from tidegate_models.rowsets import RowSet
from tidegate_models.splits import blocks

Doubles = npt.NDArray[np.float64]

_LEAST_ROWS = 15


@dataclass(frozen=True)
class Test:
    """A test set: predictions `[n,h]` of the model and of baselines, and the rate that was known before, by horizon.

    With `joint`, rows of different markets within the same block of time are one block: their markets move together.
    The reliability of baselines that are `drawn` stands in the figure beside the model's.
    """

    rows: RowSet
    model: Doubles
    baselines: Mapping[str, Doubles]
    base: Doubles
    block_ns: int = 30_000_000_000
    joint: bool = False
    drawn: tuple[str, ...] = ()


@dataclass(frozen=True)
class Text:
    """What a report says in words."""

    title: str
    about: str
    notes: Sequence[str]


def scores(test: Test, horizons: Sequence[int], seed: int) -> dict[str, Any]:
    """Scores by horizon: the model beside base rate and baselines."""
    found: dict[str, Any] = {}
    for index, horizon in enumerate(horizons):
        known = np.isfinite(test.rows.labels[:, index])
        outcome = test.rows.labels[known, index]
        if known.sum() < _LEAST_ROWS:
            found[f"{horizon}s"] = {"rows": int(known.sum())}
            continue
        market = np.zeros_like(test.rows.source) if test.joint else test.rows.market()
        block = blocks(test.rows.time_ns[known], market[known], test.block_ns)
        p = test.model[known, index]
        base = float(test.base[index])
        entry: dict[str, Any] = {"rows": int(known.sum()), "blocks": int(block.max()) + 1, "base_rate_train": base}
        entry |= stats.binary_scores(p, outcome, block, base, seed)
        entry["calibration_error"] = stats.expected_calibration_error(p, outcome)
        entry["reliability"] = stats.reliability(p, outcome)
        own, own_loss = stats.brier(p, outcome), stats.log_loss(p, outcome)
        for name, predicted in test.baselines.items():
            other = predicted[known, index]
            entry[f"{name}: auc"] = stats.auc(other, outcome, block, seed)
            entry[f"{name}: brier"] = stats.bootstrap_mean(stats.brier(other, outcome), block, seed)
            entry[f"{name}: brier_gain"] = stats.bootstrap_mean(stats.brier(other, outcome) - own, block, seed)
            loss = stats.log_loss(other, outcome)
            entry[f"{name}: log_loss"] = stats.bootstrap_mean(loss, block, seed)
            entry[f"{name}: log_loss_gain"] = stats.bootstrap_mean(loss - own_loss, block, seed)
            entry[f"{name}: reliability"] = stats.reliability(other, outcome)
        found[f"{horizon}s"] = entry
    return found


def write(
    artifact: Artifact,
    folder: Path,
    text: Text,
    tests: Mapping[str, Test],
    horizons: Sequence[int],
    seed: int,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Writes Markdown, JSON and figures, with `extra` entries in the JSON; gives the key figures for the contract."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {name: scores(test, horizons, seed) for name, test in tests.items()}
    curves = artifact.history.get("curves", {})
    if curves:
        plots.learning_curves(folder / "learning.png", curves, "log loss")
    panels: dict[str, dict[str, Any]] = {}
    for horizon in horizons:
        lines = {name: entry[f"{horizon}s"].get("reliability") for name, entry in found.items()}
        for name, test in tests.items():
            for baseline in test.drawn:
                lines[f"{name}: {baseline}"] = found[name][f"{horizon}s"].get(f"{baseline}: reliability")
        panels[f"{horizon} s"] = {name: points for name, points in lines.items() if points}
    plots.reliability(folder / "reliability.png", panels)
    sections = [f"# {artifact.name}", text.about]
    sections.append(
        "Intervals are 95 %, from resampling blocks of time. A gain is a paired difference: above 0 the model is better."
    )
    for name, entry in found.items():
        sections += [f"## Test: {name} (blocks of {tests[name].block_ns / 1e9:g} s)", _score_table(entry, horizons)]
        if tests[name].baselines:
            sections.append(_baseline_table(entry, horizons, list(tests[name].baselines)))
    sections += ["## Calibration", "![reliability](reliability.png)"]
    if curves:
        sections += ["## Learning", "![learning curves](learning.png)"]
    training = artifact.spec.training
    sections += [
        "## Data",
        report.table(["labels", "count"], [[label, count] for label, count in training.labels.items()]),
        "Trained on:\n\n" + "\n".join(f"- {line}" for line in training.sources),
        "## What to know before trusting it",
        "\n".join(f"- {note}" for note in text.notes),
    ]
    metrics = {"tests": {name: _plain(entry) for name, entry in found.items()}, "labels": training.labels} | dict(
        extra or {}
    )
    report.write(folder, artifact.name, sections, report.rounded(metrics), report.rounded(artifact.history))
    return _key_figures(found)


def _plain(value: Any) -> Any:
    if isinstance(value, stats.Interval):
        return value.to_json()
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return value


def _score_table(entry: dict[str, Any], horizons: Sequence[int]) -> str:
    head = [
        "horizon",
        "rows (blocks)",
        "rate",
        "accuracy",
        "of always the likelier",
        "AUC",
        "Brier",
        "of base rate",
        "Brier gain",
        "log loss gain",
    ]
    rows = []
    for horizon in horizons:
        e = entry[f"{horizon}s"]
        if "auc" not in e:
            rows.append([f"{horizon} s", e["rows"], *["too few"] * (len(head) - 2)])
            continue
        rows.append(
            [
                f"{horizon} s",
                f"{e['rows']} ({e['blocks']})",
                f"{e['rate'].value:.4f}",
                e["accuracy"],
                f"{e['accuracy_base'].value:.4f}",
                e["auc"],
                e["brier"],
                f"{e['brier_base'].value:.4g}",
                e["brier_gain"],
                e["log_loss_gain"],
            ]
        )
    return report.table(head, rows)


def _baseline_table(entry: dict[str, Any], horizons: Sequence[int], names: Sequence[str]) -> str:
    rows = []
    for horizon in horizons:
        e = entry[f"{horizon}s"]
        for name in names:
            if f"{name}: auc" in e:
                keys = ("auc", "brier", "brier_gain", "log_loss", "log_loss_gain")
                rows.append([f"{name}, {horizon} s", *(e[f"{name}: {key}"] for key in keys)])
    head = ["baseline", "its AUC", "its Brier", "Brier gain over it", "its log loss", "log loss gain over it"]
    return report.table(head, rows)


def _key_figures(found: dict[str, Any]) -> dict[str, float]:
    keys: dict[str, float] = {}
    for name, entry in found.items():
        for horizon, e in entry.items():
            if "auc" in e:
                short = f"{name.split(',')[0].replace(':', '').replace(' ', '_')}_{horizon}"
                keys |= {f"{short}_auc": e["auc"].value, f"{short}_brier": e["brier"].value}
                keys |= {f"{short}_brier_base": e["brier_base"].value, f"{short}_accuracy": e["accuracy"].value}
                keys[f"{short}_accuracy_base"] = e["accuracy_base"].value
    known = {key: value for key, value in keys.items() if np.isfinite(value)}
    rounded: dict[str, float] = report.rounded(known)
    return rounded
