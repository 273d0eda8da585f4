"""Whether signals are still those that a model was trained on, and whether what was stated still comes true.

The population stability index of a column is `sum((p - q) ln(p / q))` over bins that hold equally many of the rows
that were trained on, with `p` and `q` the shares of recent rows and of those. By custom, below 0.1 nothing has changed
and above 0.25 much has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats as distributions

from tidegate_models.outcomes import COLUMNS, Outcomes

Doubles = npt.NDArray[np.float64]

STATED = "stated"
_BINS = 10
_ROWS_A_BIN = 10
# Added to each count, so that an empty bin has a share: Jeffreys' choice.
_PRIOR = 0.5
# Fewer rows say nothing of a distribution, fewer timers nothing of a mean.
_LEAST_ROWS = 10
_LEAST_TIMERS = 5
_SURE = 0.95
# Probabilities that differ by less are the same one.
_SAME = 1e-9
# The ratio is a level a coin, which wanders with two prices without any change of the market. Moves below these are
# none, however narrowly the level was distributed before: bins of these columns are levels that lie so far apart.
_GRAIN = {"psc_ratio": 0.1, "ratio_strength": 0.008}

# How much of the horizon was observed grows with the time since the start, and says nothing of the market.
_PROGRESS = frozenset({"volatility_covered"})


@dataclass(frozen=True)
class Drift:
    """What has changed, and by how much."""

    kind: str
    value: float
    column: str | None = None


def index_of(before: Doubles, recent: Doubles, grain: float = 0.0, columns: int = 1) -> tuple[float, float]:
    """The index of a column, and what it is exceeded by in one of twenty trials though nothing has changed.

    Absent values are a bin of their own. The second figure takes rows for independent and is shared between so many
    columns: it is the least that chance does, and keeps small samples from being taken for change.
    """
    fewest, known = min(len(before), len(recent)), before[np.isfinite(before)]
    edges = _between_levels(known, grain) if grain else _edges(known, min(_BINS, max(2, fewest // _ROWS_A_BIN)))
    counts = [np.bincount(_bins(values, edges), minlength=len(edges) + 2) for values in (before, recent)]
    used = (counts[0] + counts[1]) > 0
    bins = int(used.sum())
    if bins < 2:
        return 0.0, 0.0
    q, p = ((count[used] + _PRIOR) / (count.sum() + _PRIOR * bins) for count in counts)
    chance = distributions.chi2.ppf(1.0 - (1.0 - _SURE) / columns, bins - 1) * (1.0 / len(before) + 1.0 / len(recent))
    return float(((p - q) * np.log(p / q)).sum()), float(chance)


def _between_levels(known: Doubles, grain: float) -> Doubles:
    """In the middle of gaps as wide as the grain, and so far beyond the lowest and the highest value."""
    values = np.unique(known)
    if not len(values):
        return values
    gaps = np.flatnonzero(np.diff(values) >= grain)
    middles = (values[gaps] + values[gaps + 1]) / 2.0
    return np.concatenate([[values[0] - grain], middles, [values[-1] + grain]])


def _edges(known: Doubles, bins: int) -> Doubles:
    """Between bins: quantiles, and either side of values that are so frequent that they are a bin by themselves."""
    if not len(known):
        return np.empty(0)
    values, counts = np.unique(known, return_counts=True)
    frequent = values[counts >= len(known) / bins]
    inner = np.quantile(known, np.linspace(0.0, 1.0, bins + 1)[1:-1])
    return np.unique(np.concatenate([inner, frequent, np.nextafter(frequent, np.inf)]))


def _bins(values: Doubles, edges: Doubles) -> npt.NDArray[np.int64]:
    absent = ~np.isfinite(values)
    return np.where(absent, len(edges) + 1, np.digitize(np.where(absent, 0.0, values), edges)).astype(np.int64)


def population(trained: Outcomes, then: Outcomes, recent: Outcomes, champion: int | None, limit: float) -> Drift | None:
    """The column that has changed most, of those whose index is beyond the limit and beyond chance.

    `trained` are the rows of the last training and `then` the newest of them: what was as it is now when the model was
    trained is no news, however little of the training it was. Stated probabilities are compared where the version in
    force stated them, for another one states others.
    """
    found: list[Drift] = []
    for name in (*(column for column in COLUMNS if column not in _PROGRESS), STATED):
        parts = [
            (stated_by(rows, champion) if name == STATED else rows).values(name) for rows in (trained, then, recent)
        ]
        if min(len(part) for part in parts) < _LEAST_ROWS:
            continue
        grain = _GRAIN.get(name, 0.0)
        value, chance = index_of(parts[0], parts[2], grain, len(COLUMNS) + 1)
        news, chance_of_news = index_of(parts[1], parts[2], grain, len(COLUMNS) + 1)
        if value > max(limit, chance) and news > max(limit, chance_of_news):
            found.append(Drift("population", value, name))
    return max(found, key=lambda drift: drift.value, default=None)


def calibration(recent: Outcomes, limit: float) -> Drift | None:
    """Mean stated probability less observed rate, where it is beyond the limit and not by chance.

    A timer is one witness: its rows move together, so the error of the mean is that between timers.
    """
    _, timer = np.unique(recent.known_ns, return_inverse=True)
    timers = int(timer.max(initial=-1)) + 1
    if len(recent) < _LEAST_ROWS or timers < _LEAST_TIMERS:
        return None
    difference = recent.values(STATED) - recent.reached
    value = float(difference.mean())
    sums = np.bincount(timer, difference - value)
    error = float(np.sqrt((sums**2).sum() * timers / (timers - 1)) / len(recent))
    sure = abs(value) > float(distributions.t.ppf(0.5 + _SURE / 2.0, timers - 1)) * error
    return Drift("calibration", value) if abs(value) > limit and sure else None


def stated_by(rows: Outcomes, champion: int | None) -> Outcomes:
    """Rows whose probability was stated by a version, or by the formula.

    While a challenger is on trial some signals act on its word, and where a model gave no answer the formula's holds.
    """
    versions = rows.versions()
    by = np.isnan(versions) if champion is None else versions == champion
    said = rows.values("formula" if champion is None else "champion")
    return rows.take(by & (np.abs(rows.values(STATED) - said) < _SAME))
