from __future__ import annotations

import numpy as np
import pytest

from tidegate_models import stats


def test_pinball_is_least_at_the_quantile() -> None:
    values = np.random.default_rng(1).exponential(size=20_000)
    for level in (0.5, 0.9, 0.99):
        right = stats.pinball(np.full_like(values, np.quantile(values, level)), values, level).mean()
        for factor in (0.7, 1.3):
            wrong = np.full_like(values, np.quantile(values, level) * factor)
            assert stats.pinball(wrong, values, level).mean() > right


def test_interval_is_wider_when_rows_of_a_block_are_alike() -> None:
    rng = np.random.default_rng(1)
    block = np.repeat(np.arange(50), 40)
    alike = rng.normal(size=50)[block]
    free = rng.normal(size=len(block))
    wide, narrow = stats.bootstrap_mean(alike, block), stats.bootstrap_mean(free, block)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    assert wide.low <= wide.value <= wide.high


def test_bootstrap_is_deterministic_and_ignores_unknown_rows() -> None:
    losses = np.array([1.0, np.nan, 3.0, 2.0])
    block = np.array([0, 0, 1, 2])
    assert stats.bootstrap_mean(losses, block) == stats.bootstrap_mean(losses, block)
    assert stats.bootstrap_mean(losses, block).value == pytest.approx(2.0)
    assert np.isnan(stats.bootstrap_mean(np.array([np.nan]), np.array([0])).value)


def test_perfect_and_base_rate_predictions_score_as_they_should() -> None:
    rng = np.random.default_rng(2)
    outcome = (rng.random(2000) < 0.3).astype(float)
    block = np.arange(2000) // 20
    perfect = stats.binary_scores(np.clip(outcome, 0.01, 0.99), outcome, block, 0.3)
    assert perfect["auc"].value == 1.0
    assert perfect["brier_gain"].low > 0
    constant = stats.binary_scores(np.full(2000, 0.3), outcome, block, 0.3)
    assert constant["brier_gain"].value == 0.0
    assert constant["auc"].value == pytest.approx(0.5)


def test_reliability_of_calibrated_probabilities_lies_on_the_diagonal() -> None:
    rng = np.random.default_rng(3)
    p = rng.random(50_000)
    outcome = (rng.random(50_000) < p).astype(float)
    for predicted, rate, _ in stats.reliability(p, outcome):
        assert predicted == pytest.approx(rate, abs=0.03)
    assert stats.expected_calibration_error(p, outcome) < 0.02


def test_auc_is_scikit_learns_and_lies_in_its_interval() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(4)
    p = np.round(rng.random(3000), 2)
    outcome = (rng.random(3000) < 0.3 + 0.3 * p).astype(float)
    found = stats.auc(p, outcome, np.arange(3000) // 30)
    assert found.value == pytest.approx(roc_auc_score(outcome, p))
    assert found.low < found.value < found.high
