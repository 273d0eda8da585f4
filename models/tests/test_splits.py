from __future__ import annotations

import numpy as np
import pytest

from tidegate_models.splits import blocks, walk_forward


def test_no_test_row_is_within_the_embargo_of_what_was_trained_on() -> None:
    time_ns = np.sort(np.random.default_rng(1).integers(0, 1_000_000, 5000))
    embargo = 20_000
    tested: list[int] = []
    for fold in walk_forward(time_ns, 4, embargo):
        assert len(fold.train)
        assert len(fold.check)
        assert len(fold.test)
        assert time_ns[fold.train].max() < time_ns[fold.check].min() - embargo + 1
        assert time_ns[fold.check].max() < time_ns[fold.test].min() - embargo + 1
        tested += fold.test.tolist()
    assert len(tested) == len(set(tested)), "tests do not overlap"
    assert min(time_ns[tested]) >= 500_000


def test_labels_of_training_end_before_the_test_begins() -> None:
    """A label looks `horizon` ahead: no label of a training row may see a test row's time."""
    horizon = 7_000
    time_ns = np.arange(0, 200_000, 100)
    for fold in walk_forward(time_ns, 3, horizon, check_share=0.0):
        assert (time_ns[fold.train] + horizon).max() <= time_ns[fold.test].min()
        assert len(fold.check) == 0


def test_later_folds_train_on_more() -> None:
    sizes = [len(fold.train) for fold in walk_forward(np.arange(1000), 3, 10)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize("arguments", [{"folds": 0, "embargo_ns": 1}, {"folds": 1, "embargo_ns": -1}])
def test_nonsense_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="embargo"):
        list(walk_forward(np.arange(10), **arguments))


def test_blocks_never_join_groups() -> None:
    found = blocks(np.array([0, 5, 12, 3]), np.array([0, 0, 0, 1]), 10)
    assert found[0] == found[1]
    assert len({found[0], found[2], found[3]}) == 3
