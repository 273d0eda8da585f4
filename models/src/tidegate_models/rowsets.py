"""Rows with labels for several horizons, from many markets, cut into training, check and test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tidegate_models.contract import Column

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Digits that a fill value keeps: it stands in the contract.
_FILL_DIGITS = 4


@dataclass(frozen=True)
class RowSet:
    """`features [n,c]` (NaN where absent), `labels [n,h]` (NaN where unknown), when, and from which market.

    `source` numbers the names in `sources` (market, blank, instrument), `recorded` says which are of a real venue.
    """

    features: Floats
    labels: Doubles
    time_ns: Ints
    source: Ints
    sources: tuple[str, ...]
    recorded: Bools

    def __len__(self) -> int:
        return len(self.time_ns)

    def take(self, rows: Ints | Bools) -> RowSet:
        """These rows."""
        return replace(
            self,
            features=self.features[rows],
            labels=self.labels[rows],
            time_ns=self.time_ns[rows],
            source=self.source[rows],
            recorded=self.recorded[rows],
        )

    def market(self) -> Ints:
        """A number of each row's market: instruments of one market move together and are no independent witnesses."""
        names = [name.split(" ", 1)[0] for name in self.sources]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        return np.array([numbers[name] for name in names], np.int64)[self.source]

    def filled(self, columns: Sequence[Column]) -> RowSet:
        """The same with each column's fill where it is absent, as the engine does it."""
        fill = np.array([column.fill for column in columns], np.float32)
        return replace(self, features=np.where(np.isfinite(self.features), self.features, fill))

    def known(self, horizon: int) -> tuple[Floats, Doubles]:
        """Features and labels of the rows whose label for a horizon is known."""
        rows = np.isfinite(self.labels[:, horizon])
        return self.features[rows], self.labels[rows, horizon]


@dataclass(frozen=True)
class SplitRows:
    """Rows by what they are for; `tests` by a short name of the source."""

    train: RowSet
    check: RowSet
    tests: dict[str, RowSet]


def concatenate(parts: Sequence[RowSet]) -> RowSet:
    """All rows of several sets."""
    sources = tuple(dict.fromkeys(name for part in parts for name in part.sources))
    tables = [np.array([sources.index(name) for name in part.sources], np.int64) for part in parts]
    return RowSet(
        features=np.concatenate([part.features for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        time_ns=np.concatenate([part.time_ns for part in parts]),
        source=np.concatenate([table[part.source] for part, table in zip(parts, tables, strict=True)]),
        sources=sources,
        recorded=np.concatenate([part.recorded for part in parts]),
    )


def fills(names: Sequence[str], train: RowSet, parameters: dict[str, float]) -> list[Column]:
    """Columns with the median of training rows as fill, and parameters with their defaults, last."""
    columns = []
    for index, name in enumerate(names):
        values = train.features[:, index]
        known = values[np.isfinite(values)]
        median = float(np.median(known)) if len(known) else 0.0
        columns.append(Column(name, float(f"{median:.{_FILL_DIGITS}g}")))
    return columns + [Column(name, default, parameter=True) for name, default in parameters.items()]


def label_counts(rows: SplitRows, horizons_s: Sequence[int]) -> dict[str, int]:
    """Known labels by horizon and source, over training, check and tests; a row that is used often counts once."""
    everything = [_once(part) for part in (rows.train, rows.check, *rows.tests.values())]
    counts = {}
    for index, horizon in enumerate(horizons_s):
        for kind, flag in (("recorded", True), ("simulated", False)):
            known = (np.isfinite(part.labels[:, index]) & (part.recorded == flag) for part in everything)
            counts[f"{horizon}s {kind}"] = int(sum(part.sum() for part in known))
    return counts


def _once(rows: RowSet) -> RowSet:
    """Without repetitions of rows."""
    keys = np.concatenate([rows.features, rows.time_ns[:, None] % 2**24, rows.source[:, None]], axis=1)
    _, first = np.unique(np.nan_to_num(keys, nan=-1.0), axis=0, return_index=True)
    return rows.take(np.sort(first))


def golden_rows(rows: RowSet, count: int, seed: int) -> list[dict[str, npt.NDArray[np.generic]]]:
    """Inputs of golden cases: rows of a set, and one of all zeros."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(rows), count, replace=len(rows) < count)
    cases = [np.array([[float(f"{v:.6g}") for v in rows.features[row]]], np.float32) for row in chosen]
    cases.append(np.zeros((1, rows.features.shape[1]), np.float32))
    return [{"features": case} for case in cases]
