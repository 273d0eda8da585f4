from __future__ import annotations

import numpy as np
import pytest

from tidegate_models import gatv2
from tidegate_models.splits import walk_forward
from tidegate_models.tuner import data, evaluation, experiment
from tidegate_models.tuner.baselines import _garch_forecast, boosting, static
from tidegate_models.tuner.experiment import Split
from tidegate_models.tuner.graphs import (
    concatenate,
    decode,
    drop_edges,
    encode,
    only_self_loops,
    shuffled_edges,
)
from tidegate_models.tuner.synthetic import synthetic_graphs


def test_taking_and_joining_keeps_graphs_whole() -> None:
    graphs = synthetic_graphs(6, 1)
    chosen = graphs.take(np.array([4, 1]))
    for new, old in ((0, 4), (1, 1)):
        for name, value in chosen.graph(new).items():
            np.testing.assert_array_equal(value, graphs.graph(old)[name])
    both = concatenate([chosen, graphs])
    assert len(both) == 8
    np.testing.assert_array_equal(both.graph(2)["x"], graphs.graph(0)["x"])
    assert both.books == graphs.books


def test_many_graphs_at_once_give_what_each_gives() -> None:
    graphs = synthetic_graphs(4, 2)
    weights = gatv2.random_weights(1)
    together = evaluation.predict(weights, graphs)
    alone = np.concatenate([evaluation.predict(weights, graphs.take(np.array([i]))) for i in range(4)])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_ablations_change_edges_only() -> None:
    graphs = synthetic_graphs(5, 3)
    alone = only_self_loops(graphs)
    assert (alone.edge_index[0] == alone.edge_index[1]).all()
    assert (np.diff(alone.edge_ptr) == np.diff(alone.node_ptr)).all(), "each node keeps its own loop"
    wrong = shuffled_edges(graphs, 1)
    np.testing.assert_array_equal(wrong.edge_index[1], graphs.edge_index[1])
    assert (wrong.edge_index[0] != graphs.edge_index[0]).any()
    assert (wrong.edge_index.max(axis=1) < np.diff(graphs.node_ptr).max()).all()
    np.testing.assert_array_equal(wrong.x, graphs.x)
    fewer = drop_edges(graphs, 0.5, np.random.default_rng(1))
    assert alone.edge_index.shape[1] < fewer.edge_index.shape[1] < graphs.edge_index.shape[1]


def test_z_and_back() -> None:
    values = np.array([[0.4, 3.0, 0.5, 2000.0, 12.0]])
    z = encode(values)
    for target in range(5):
        np.testing.assert_allclose(decode(z[:, target], target), values[:, target])


def test_random_clock_touches_the_regime_only() -> None:
    graphs = synthetic_graphs(50, 1)
    names = data.node_columns()
    x = graphs.x.copy()
    x[:, :4] = 0.0
    regime = np.arange(len(x)) % 12 == 11
    x[regime, names.index("is_regime")] = 1.0
    marked = data.random_clock(graphs.__class__(**{**vars(graphs), "x": x}), 1)
    changed = (marked.x != x).any(axis=1)
    assert (changed == regime).all()
    clock = marked.x[regime][:, 20:]
    np.testing.assert_allclose(clock[:, 0] ** 2 + clock[:, 1] ** 2, 1.0, atol=1e-5)
    assert ((clock[:, 3] > 0) & (clock[:, 3] <= 1)).all()


def test_static_baseline_is_calibrated_on_what_it_was_fitted_on() -> None:
    graphs = synthetic_graphs(400, 4)
    split = Split("test", graphs, graphs, graphs)
    z = static(split, {})
    label = encode(graphs.values[graphs.book >= 0])
    share = (label[:, :, None] <= z).mean(axis=0)
    np.testing.assert_allclose(share, np.tile([0.5, 0.9, 0.99], (5, 1)), atol=0.02)


def test_boosting_beats_constants_where_there_is_something_to_learn() -> None:
    graphs = synthetic_graphs(500, 5)
    split = Split("test", graphs.take(np.arange(300)), graphs, graphs.take(np.arange(320, 500)))
    label = encode(split.test.values[split.test.book >= 0])
    found = {make.__name__: evaluation.losses(make(split, {}), label).mean() for make in (static, boosting)}
    assert found["boosting"] < found["static"]


def test_garch_forecast_falls_back_to_the_long_run() -> None:
    returns = np.zeros(500)
    returns[10] = 5.0
    forecast = _garch_forecast(returns, 0.05, 0.1, 0.85)
    assert forecast[10] == forecast.max()
    year = 365.0 * 86_400.0
    assert forecast[-1] == pytest.approx(np.sqrt(0.05 / (1 - 0.85) * year), rel=0.3)


def test_experiment_never_tests_on_a_market_it_trains_on() -> None:
    from tidegate_models import datasets

    groups = [datasets.SIMULATED_TRAIN, datasets.SIMULATED_CHECK, datasets.SIMULATED_TEST]
    seeds = [source.seed for group in groups for source in group]
    assert len(seeds) == len(set(seeds))
    day_ns = np.arange(0, 345_000_000_000, 500_000_000)
    for fold in walk_forward(day_ns, experiment.RECORDED_FOLDS, data.EMBARGO_NS, check_share=0.0):
        assert len(fold.train) > 30
        assert day_ns[fold.test].min() - day_ns[fold.train].max() > 70_000_000_000
