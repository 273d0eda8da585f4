"""Splits in time: a test never lies before what it was trained on, and never within a horizon of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """Rows to train on, to stop or calibrate by, and to test on."""

    train: Ints
    check: Ints
    test: Ints


def walk_forward(
    time_ns: Ints, folds: int, embargo_ns: int, first_share: float = 0.5, check_share: float = 0.15
) -> Iterator[Fold]:
    """Cuts rows by time into `folds` tests, each trained on all that lies before it.

    The first test begins after `first_share` of the time. Between training, check and test rows lie `embargo_ns`
    without rows: at least the horizon of the labels and of the features' windows that should not overlap.
    """
    if folds < 1 or embargo_ns < 0 or not 0.0 < first_share < 1.0 or not 0.0 <= check_share < 1.0:
        raise ValueError("folds >= 1, embargo >= 0, first_share in (0, 1) and check_share in [0, 1) are needed")
    begin, end = int(time_ns.min()), int(time_ns.max()) + 1
    edges = np.linspace(begin + (end - begin) * first_share, end, folds + 1).astype(np.int64)
    for start, stop in itertools.pairwise(edges):
        known_until = start - embargo_ns
        check_from = int(known_until - (known_until - begin) * check_share) if check_share else known_until
        train_until = check_from - embargo_ns if check_share else known_until
        yield Fold(
            train=np.flatnonzero(time_ns < train_until),
            check=np.flatnonzero((time_ns >= check_from) & (time_ns < known_until)),
            test=np.flatnonzero((time_ns >= start) & (time_ns < stop)),
        )


def newest_last(
    time_ns: Ints, known_ns: Ints, embargo_ns: int, test_share: float = 0.3, check_share: float = 0.25
) -> Fold:
    """One cut of rows whose labels become known at `known_ns`: the newest `test_share` of them is the test, and of what
    was known `embargo_ns` before it begins, the newest `check_share` is the check.

    What is trained on was known `embargo_ns` before the check begins. Rows between belong to no part.
    """
    if embargo_ns < 0 or not 0.0 < test_share < 1.0 or not 0.0 < check_share < 1.0:
        raise ValueError("embargo >= 0, test_share and check_share in (0, 1) are needed")
    everything = np.arange(len(time_ns))
    test_from, test = _newest(time_ns, everything, test_share)
    known = np.flatnonzero(known_ns <= test_from - embargo_ns)
    check_from, check = _newest(time_ns, known, check_share)
    return Fold(train=np.flatnonzero(known_ns <= check_from - embargo_ns), check=check, test=test)


def _newest(time_ns: Ints, rows: Ints, share: float) -> tuple[int, Ints]:
    """When the newest `share` of some rows begins, and its rows: those of one moment are not parted."""
    if not len(rows):
        return -(2**62), rows
    ordered = np.sort(time_ns[rows])
    start = int(ordered[len(rows) - max(1, round(len(rows) * share))])
    return start, rows[time_ns[rows] >= start]


def blocks(time_ns: Ints, group: Ints, length_ns: int) -> Ints:
    """A number for each row: rows of a group within the same stretch of time share it."""
    keys = np.stack([group, time_ns // length_ns], axis=1)
    _, inverse = np.unique(keys, axis=0, return_inverse=True)
    return inverse.reshape(-1).astype(np.int64)
