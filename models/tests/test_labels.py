from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tidegate_models import labels
from tidegate_models.labels import CELL_NS, Grid, Tape

NAN = np.nan


def test_grid_leaves_cells_without_a_vector_empty() -> None:
    table = pd.DataFrame({"event_ns": [5 * CELL_NS + 7, 8 * CELL_NS], "mid": [1.0, 2.0]})
    cells = labels.grid(table, ["mid"])
    assert cells.first == 5
    np.testing.assert_array_equal(cells["mid"], [1.0, NAN, NAN, 2.0])
    np.testing.assert_array_equal(cells.index(np.array([5, 8]) * CELL_NS), [0, 3])


def test_highest_ahead_begins_at_its_cell_and_needs_the_whole_horizon() -> None:
    values = np.array([1.0, 5.0, 2.0, 0.0, 3.0])
    np.testing.assert_array_equal(labels.highest_ahead(values, 2), [5.0, 5.0, 2.0, 3.0, NAN])
    np.testing.assert_array_equal(labels.lowest_ahead(values, 2), [1.0, 2.0, 0.0, 0.0, NAN])


def test_horizon_with_too_few_known_cells_has_no_label() -> None:
    values = np.array([1.0, NAN, NAN, NAN, 4.0, 4.0, 4.0, 4.0])
    found = labels.highest_ahead(values, 4)
    assert np.isnan(found[0])
    assert np.isnan(found[1])
    assert found[2] == 4.0


def test_narrow_spread_counts_as_usual_at_most() -> None:
    measure = labels.spread_measure(np.array([8.0, 8.0, 0.5]), np.array([0.5, 3.0, 0.5]))
    np.testing.assert_array_equal(measure, [1.0, 8.0, 0.5])


def _ratios(stress: list[int], length: int) -> tuple[np.ndarray, np.ndarray]:
    spread = np.ones(length)
    spread[stress] = 3.0
    return spread, np.ones(length)


def test_recovery_is_the_longest_stress_that_begins_within_the_horizon() -> None:
    spread, depth = _ratios([4, 5, 6, 9], 40)
    found = labels.recovery_ahead(spread, depth, 10)
    assert found[0] == pytest.approx(0.3)
    assert found[4] == pytest.approx(0.3), "a stress that begins at the cell begins within its horizon"
    assert found[5] == pytest.approx(0.1), "one that has begun before does not"
    assert found[10] == 0.0


def test_recovery_follows_stress_beyond_the_horizon_and_stops_at_a_minute() -> None:
    spread, depth = _ratios(list(range(5, 905)), 1000)
    assert labels.recovery_ahead(spread, depth, 10)[0] == 60.0
    spread, depth = _ratios(list(range(5, 105)), 1000)
    assert labels.recovery_ahead(spread, depth, 10)[0] == 10.0


def test_recovery_of_stress_that_the_data_end_in_is_unknown() -> None:
    spread, depth = _ratios(list(range(20, 40)), 40)
    found = labels.recovery_ahead(spread, depth, 10)
    assert found[5] == 0.0
    assert np.isnan(found[15])


def test_depth_also_is_stress_and_missing_cells_hold_the_state() -> None:
    spread = np.array([1.0, 1.0, NAN, 1.0, 1.0])
    depth = np.array([1.0, 0.4, NAN, 0.4, 1.0])
    np.testing.assert_array_equal(labels.stress_flags(spread, depth), [False, True, True, True, False])


def test_depth_drop_looks_at_later_cells_only() -> None:
    depth = np.full(60, 1.0)
    depth[20] = 0.3
    found = labels.depth_drop(depth, 1)
    assert found[10] == 1.0
    assert found[19] == 1.0
    assert np.isnan(found[20]), "it is below already"
    assert found[21] == 0.0
    assert found[9] == 0.0, "the drop is eleven cells ahead"
    assert np.isnan(found[-1])


def _tape(length: int = 60) -> Tape:
    return Tape(np.full(length, np.inf), np.full(length, -np.inf), np.zeros(length), np.zeros(length))


def test_bid_is_filled_by_volume_at_its_price_or_by_a_trade_through_it() -> None:
    trades = _tape()
    trades.low[3], trades.high[3], trades.sold[3] = 100.0, 100.0, 5.0
    assert labels.fill_label(trades, 0, 1, 100.0, 3.0, 1.0, 1) == 1.0
    assert labels.fill_label(trades, 0, 1, 100.0, 4.5, 1.0, 1) == 0.0
    assert labels.fill_label(trades, 4, 1, 100.0, 0.0, 1.0, 1) == 0.0, "the trade was before"
    trades.low[5], trades.high[5], trades.sold[5] = 99.9, 99.9, 0.1
    assert labels.fill_label(trades, 0, 1, 100.0, 50.0, 1.0, 1) == 1.0
    assert labels.fill_label(trades, 0, 1, 99.0, 0.0, 0.1, 1) == 0.0, "nobody came down to it"


def test_ask_is_the_other_way_round_and_bought_volume_counts() -> None:
    trades = _tape()
    trades.low[3], trades.high[3], trades.sold[3], trades.bought[3] = 100.0, 100.0, 9.0, 2.0
    assert labels.fill_label(trades, 0, -1, 100.0, 1.5, 0.1, 1) == 1.0
    assert labels.fill_label(trades, 0, -1, 100.0, 2.5, 0.1, 1) == 0.0
    assert np.isnan(labels.fill_label(trades, 55, -1, 100.0, 0.0, 0.1, 1)), "the data end within the horizon"


def test_up_needs_a_bar_at_the_very_time() -> None:
    minute = 60_000_000_000
    time_ns = np.array([0, 1, 2, 4, 5], np.int64) * minute
    close = np.array([1.0, 2.0, 2.0, 1.0, 3.0])
    np.testing.assert_array_equal(labels.up_label(close, time_ns, 60, 60), [1.0, 0.0, NAN, 1.0, NAN])


def test_tuner_labels_have_the_order_of_the_targets() -> None:
    length = 400
    columns = {
        "realised_vol_10s": np.full(length, 0.5),
        "spread_ratio": np.full(length, 1.2),
        "spread_bp": np.full(length, 5.0),
        "imbalance_10": np.full(length, -0.7),
        "feed_latency_excess_us": np.full(length, 900.0),
        "depth_ratio": np.full(length, 1.0),
    }
    found = labels.tuner_labels(Grid(0, columns), 10_000)
    np.testing.assert_allclose(found[0], [0.5, 1.2, 0.7, 900.0, 0.0])
    assert np.isnan(found[-1]).all()
