"""Small PNG figures for reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

Points = Sequence[tuple[float, float, int]]


def _save(path: Path, figure: pyplot.Figure) -> None:
    figure.tight_layout()
    # No date or version inside: equal figures give equal files.
    figure.savefig(path, dpi=80, metadata={"Software": None})
    pyplot.close(figure)


def learning_curves(path: Path, curves: Mapping[str, Mapping[str, Sequence[float]]], loss: str) -> None:
    """Loss by epoch: a panel for each model, a line for each set."""
    figure, axes = pyplot.subplots(1, len(curves), figsize=(4.2 * len(curves), 3.2), squeeze=False)
    for axis, (title, lines) in zip(axes[0], curves.items(), strict=True):
        for name, values in lines.items():
            axis.plot(range(1, len(values) + 1), values, label=name)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("epoch or tree")
        axis.set_ylabel(loss)
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    _save(path, figure)


def reliability(path: Path, panels: Mapping[str, Mapping[str, Points]]) -> None:
    """Observed rate on predicted probability: a panel for each horizon, a line for each source."""
    figure, axes = pyplot.subplots(1, len(panels), figsize=(3.6 * len(panels), 3.4), squeeze=False)
    for axis, (title, lines) in zip(axes[0], panels.items(), strict=True):
        highest = max((max(p, r) for points in lines.values() for p, r, _ in points), default=1.0)
        lowest = min((min(p, r) for points in lines.values() for p, r, _ in points), default=0.0)
        axis.plot([lowest, highest], [lowest, highest], color="grey", linewidth=1, linestyle="--")
        for name, points in lines.items():
            axis.plot([p for p, _, _ in points], [r for _, r, _ in points], marker="o", markersize=3, label=name)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("predicted")
        axis.set_ylabel("observed")
        axis.legend(fontsize=7)
        axis.grid(alpha=0.3)
    _save(path, figure)


def coverage(path: Path, panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]) -> None:
    """Share of values at or below a predicted quantile, on its level: a panel for each split."""
    figure, axes = pyplot.subplots(1, len(panels), figsize=(3.8 * len(panels), 3.4), squeeze=False)
    for axis, (title, lines) in zip(axes[0], panels.items(), strict=True):
        axis.plot([0.4, 1.0], [0.4, 1.0], color="grey", linewidth=1, linestyle="--")
        for name, points in lines.items():
            axis.plot(
                [level for level, _ in points], [share for _, share in points], marker="o", markersize=3, label=name
            )
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("quantile level")
        axis.set_ylabel("share at or below")
        axis.legend(fontsize=7)
        axis.grid(alpha=0.3)
    _save(path, figure)


def bars(path: Path, groups: Mapping[str, Mapping[str, tuple[float, float, float]]], label: str) -> None:
    """A value with its interval for each method: a panel for each group."""
    figure, axes = pyplot.subplots(1, len(groups), figsize=(4.0 * len(groups), 3.4), squeeze=False)
    for axis, (title, methods) in zip(axes[0], groups.items(), strict=True):
        names = list(methods)
        values = [methods[name][0] for name in names]
        errors = [
            [max(methods[name][0] - methods[name][1], 0.0) for name in names],
            [max(methods[name][2] - methods[name][0], 0.0) for name in names],
        ]
        axis.barh(names, values, xerr=errors, color="#5a8fbf", ecolor="#333333", capsize=2)
        axis.invert_yaxis()
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(label)
        axis.tick_params(labelsize=8)
    _save(path, figure)
