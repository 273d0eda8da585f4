from __future__ import annotations

import numpy as np
import pytest

from tidegate_models import binary, lstm, rowsets
from tidegate_models.fill import COLUMNS, MONOTONE, ORIENTATION
from tidegate_models.minute_bars import STEPS, streak
from tidegate_models.onnx_tools import opsets, to_bytes
from tidegate_models.runtime import predict_rows, run, session


def _rows(seed: int, count: int = 3000, columns: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, columns)).astype(np.float32)
    outcome = (features[:, 0] + 0.5 * features[:, 1] + rng.normal(size=count) > 0.5).astype(np.float64)
    return features, outcome


@pytest.mark.parametrize("fit", [binary.fit_boosting, binary.fit_forest])
def test_graph_gives_what_the_trained_model_gives(fit: object) -> None:
    train, check = _rows(1), _rows(2)
    options = {"trees": 12}
    models = [fit(train, check, **options), fit((train[0], 1 - train[1]), (check[0], 1 - check[1]), **options)]  # type: ignore[operator]
    content = to_bytes(binary.to_onnx(models, "p_up"))
    wanted = np.stack([fitted.predict(check[0]) for fitted in models], axis=1)
    np.testing.assert_allclose(predict_rows(content, check[0]), wanted, atol=1e-5)
    opened = session(content)
    one = run(opened, {"features": check[0][:1]})["p_up"]
    assert one.shape == (1, 2)
    np.testing.assert_allclose(one[0], wanted[0], atol=1e-5)
    assert opsets(binary.to_onnx(models, "p_up")) == {"ai.onnx": 18, "ai.onnx.ml": 3}


def test_training_is_deterministic() -> None:
    made = [to_bytes(binary.to_onnx([binary.fit_boosting(_rows(1), _rows(2), trees=8)], "p")) for _ in range(2)]
    assert made[0] == made[1]
    made = [to_bytes(binary.to_onnx([binary.fit_forest(_rows(1), _rows(2), trees=4)], "p")) for _ in range(2)]
    assert made[0] == made[1]


def test_longer_horizons_are_never_less_likely_when_rising() -> None:
    train, check = _rows(1), _rows(2)
    models = [binary.fit_boosting((train[0], y), check, trees=8) for y in (train[1], 1 - train[1])]
    p = predict_rows(to_bytes(binary.to_onnx(models, "p", rising=True)), check[0])
    assert (p[:, 1] >= p[:, 0]).all()


def test_calibration_repairs_probabilities_that_are_too_sure() -> None:
    rng = np.random.default_rng(1)
    truth = rng.uniform(0.2, 0.8, 20_000)
    outcome = (rng.random(20_000) < truth).astype(float)
    logit = np.log(truth / (1 - truth))
    fitted = binary.calibrate(1 / (1 + np.exp(-3 * logit)), outcome)
    assert fitted.slope == pytest.approx(1 / 3, abs=0.05)
    assert fitted.offset == pytest.approx(0.0, abs=0.05)
    assert binary.calibrate(truth, np.ones(20_000)) == binary.Calibration()


def test_fill_is_symmetric_in_side_and_monotone_in_what_it_should() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(2000, len(COLUMNS))).astype(np.float32)
    side = COLUMNS.index("side")
    features[:, side] = rng.choice([-1.0, 1.0], 2000)
    queue = COLUMNS.index("queue_ahead")
    outcome = (rng.normal(size=2000) > features[:, queue]).astype(np.float64)
    pairs = ((ORIENTATION(features[:1500]), outcome[:1500]), (ORIENTATION(features[1500:]), outcome[1500:]))
    fitted = binary.fit_boosting(*pairs, monotone=MONOTONE, trees=20)
    content = to_bytes(binary.to_onnx([fitted], "p_fill", orientation=ORIENTATION))
    rows = features[:50].copy()
    base = predict_rows(content, rows)
    np.testing.assert_allclose(base[:, 0], fitted.predict(ORIENTATION(rows)), atol=1e-5)
    rows[:, queue] += 1.0
    assert (predict_rows(content, rows) <= base + 1e-6).all()


def test_fills_are_medians_and_parameters_come_last() -> None:
    features = np.array([[1.0, np.nan], [3.0, 7.0], [2.0, np.nan]], np.float32)
    zeros = np.zeros(3, np.int64)
    rows = rowsets.RowSet(features, np.zeros((3, 1)), zeros, zeros, ("a b",), np.zeros(3, np.bool_))
    columns = rowsets.fills(["first", "second"], rows, {"size": 0.5})
    assert [(column.name, column.fill, column.parameter) for column in columns] == [
        ("first", 2.0, False),
        ("second", 7.0, False),
        ("size", 0.5, True),
    ]
    np.testing.assert_array_equal(rows.filled(columns[:2]).features[:, 1], [7.0, 7.0, 7.0])


def test_streak_counts_minutes_in_a_row() -> None:
    minute = 60_000_000_000
    np.testing.assert_array_equal(streak(np.array([1, 2, 3, 5, 6, 9], np.int64) * minute), [1, 2, 3, 1, 2, 1])


def test_lstm_graph_computes_the_definition() -> None:
    weights = lstm.random_weights(3)
    windows = lstm.random_windows(4, 5)
    found = predict_rows(to_bytes(lstm.to_onnx(weights)), windows)

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-x)))

    state = cell = np.zeros((5, lstm.HIDDEN))
    for step in range(STEPS):
        gates = np.clip(windows[step], -lstm.CLIP, lstm.CLIP) @ weights["weight_ih"].T + weights["bias_ih"]
        entry, forget, candidate, output = np.split(
            gates + state @ weights["weight_hh"].T + weights["bias_hh"], 4, axis=1
        )
        cell = sigmoid(forget) * cell + sigmoid(entry) * np.tanh(candidate)
        state = sigmoid(output) * np.tanh(cell)
    np.testing.assert_allclose(found, sigmoid(state @ weights["head_weight"].T + weights["head_bias"]), atol=1e-5)
