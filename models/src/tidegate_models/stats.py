"""Scores, and how sure they are: intervals from resampling whole blocks of time, for neighbours are no witnesses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RESAMPLES = 1000
_AUC_RESAMPLES = 500
_LEAST_P = 1e-6


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"

    def to_json(self) -> dict[str, float | None]:
        """Value and bounds; null where there is none."""
        return {k: (v if np.isfinite(v) else None) for k, v in vars(self).items()}


def pinball(predicted: Doubles, value: Doubles, level: float) -> Doubles:
    """Pinball loss of each row."""
    error = value - predicted
    return np.maximum(level * error, (level - 1.0) * error)


def bootstrap_mean(losses: Doubles, block: Ints, seed: int = 1) -> Interval:
    """Mean of known rows, with an interval from resampling blocks."""
    known = np.isfinite(losses)
    if not known.any():
        return Interval(np.nan, np.nan, np.nan)
    _, dense = np.unique(block[known], return_inverse=True)
    sums, counts = np.bincount(dense, losses[known]), np.bincount(dense)
    value = float(sums.sum() / counts.sum())
    if len(sums) < 2:
        return Interval(value, np.nan, np.nan)
    draws = np.random.default_rng(seed).integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def auc(probability: Doubles, outcome: Doubles, block: Ints, seed: int = 1) -> Interval:
    """Area under the ROC curve: how often a row that came true was given more than one that did not; a tie is half.

    Resampling blocks gives each row a weight, so rows are sorted once; draws with one outcome only do not count.
    """
    _, level = np.unique(probability, return_inverse=True)
    _, dense = np.unique(block, return_inverse=True)

    def score(weight: Doubles) -> float:
        positive = np.bincount(level, weight * outcome)
        negative = np.bincount(level, weight * (1.0 - outcome))
        pairs = positive.sum() * negative.sum()
        below = np.cumsum(negative) - 0.5 * negative
        return float((positive * below).sum() / pairs) if pairs > 0 else np.nan

    value, count = score(np.ones(len(block))), int(dense.max()) + 1
    if count < 2:
        return Interval(value, np.nan, np.nan)
    draws = np.random.default_rng(seed).integers(0, count, (_AUC_RESAMPLES, count))
    found = np.array([score(np.bincount(draw, minlength=count)[dense].astype(np.float64)) for draw in draws])
    known = found[np.isfinite(found)]
    if len(known) < _AUC_RESAMPLES // 2:
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(known, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def brier(probability: Doubles, outcome: Doubles) -> Doubles:
    """Squared error of each row."""
    return (probability - outcome) ** 2


def log_loss(probability: Doubles, outcome: Doubles) -> Doubles:
    """Negative log likelihood of each row."""
    p = np.clip(probability, _LEAST_P, 1.0 - _LEAST_P)
    return -(outcome * np.log(p) + (1.0 - outcome) * np.log1p(-p))


def binary_scores(
    probability: Doubles, outcome: Doubles, block: Ints, base: float, seed: int = 1
) -> dict[str, Interval]:
    """A classifier beside the base rate: `base` is the rate on training rows, which is all that one could know.

    Names that end in `_gain` are means of paired differences: above 0 the model beats the base rate.
    """
    constant = np.full(len(outcome), base)
    right = ((probability >= 0.5) == (outcome > 0.5)).astype(np.float64)
    majority = ((constant >= 0.5) == (outcome > 0.5)).astype(np.float64)
    return {
        "rate": bootstrap_mean(outcome, block, seed),
        "accuracy": bootstrap_mean(right, block, seed),
        "accuracy_base": bootstrap_mean(majority, block, seed),
        "accuracy_gain": bootstrap_mean(right - majority, block, seed),
        "auc": auc(probability, outcome, block, seed),
        "brier": bootstrap_mean(brier(probability, outcome), block, seed),
        "brier_base": bootstrap_mean(brier(constant, outcome), block, seed),
        "brier_gain": bootstrap_mean(brier(constant, outcome) - brier(probability, outcome), block, seed),
        "log_loss": bootstrap_mean(log_loss(probability, outcome), block, seed),
        "log_loss_base": bootstrap_mean(log_loss(constant, outcome), block, seed),
        "log_loss_gain": bootstrap_mean(log_loss(constant, outcome) - log_loss(probability, outcome), block, seed),
    }


def reliability(probability: Doubles, outcome: Doubles, bins: int = 10) -> list[tuple[float, float, int]]:
    """Mean prediction, observed rate and count of bins with equally many rows."""
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [(float(probability[part].mean()), float(outcome[part].mean()), len(part)) for part in parts]


def expected_calibration_error(probability: Doubles, outcome: Doubles) -> float:
    """Mean distance between prediction and rate over the bins of `reliability`."""
    points = reliability(probability, outcome)
    total = sum(count for _, _, count in points)
    return sum(abs(predicted - rate) * count for predicted, rate, count in points) / max(total, 1)
