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


def blocks(time_ns: Ints, group: Ints, length_ns: int) -> Ints:
    """A number for each row: rows of a group within the same stretch of time share it."""
    keys = np.stack([group, time_ns // length_ns], axis=1)
    _, inverse = np.unique(keys, axis=0, return_inverse=True)
    return inverse.reshape(-1).astype(np.int64)
