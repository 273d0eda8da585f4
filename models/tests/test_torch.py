"""Training and parity: needs the `train` extra."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tidegate_models import gatv2, lstm
from tidegate_models.tuner.synthetic import synthetic_graphs

pytestmark = pytest.mark.torch


def test_committed_body_is_what_the_exporter_makes() -> None:
    from importlib import resources

    from tidegate_models.gatv2_torch import body_text

    committed = resources.files("tidegate_models").joinpath(gatv2.BODY_FILE).read_text(encoding="utf-8")
    assert body_text() == committed


def test_parity_with_pytorch_geometric_on_a_thousand_graphs() -> None:
    from tidegate_models.gatv2_torch import parity

    assert parity(gatv2.random_weights(5), 1000)["largest"] < 5e-6


def test_parity_of_the_committed_tuner(repository_root: Path) -> None:
    import onnx

    from tidegate_models.gatv2_torch import parity

    model = onnx.load(repository_root / "onnx" / "breaker-tuner" / "1" / "model.onnx")
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert parity(weights, 1000)["relative"] < 1e-4


def test_parity_of_the_engine_with_pytorch_geometric(repository_root: Path, loading_engine: Path) -> None:
    from tidegate_models.gatv2_torch import parity_with_engine

    version = repository_root / "onnx" / "breaker-tuner" / "1"
    found = parity_with_engine(version, loading_engine, 1000)
    print(found)
    assert found["kernel"] < 5e-4
    assert found["body"] < 5e-4


def test_training_learns_what_neighbours_know() -> None:
    from tidegate_models.tuner import training
    from tidegate_models.tuner.graphs import only_self_loops

    graphs = synthetic_graphs(700, 1)
    train, check = graphs.take(np.arange(500)), graphs.take(np.arange(520, 700))
    settings = training.Settings(epochs=12, batch_graphs=16, edge_dropout=0.0)
    best = []
    for view in (lambda graphs: graphs, only_self_loops):
        history = training.train(view(train), view(check), settings).history
        best.append(min(entry["held_out"] for entry in history))
    assert best[0] < best[1]


def test_an_interrupted_training_resumes_to_the_same_weights(tmp_path: Path) -> None:
    from tidegate_models.tuner import training

    graphs = synthetic_graphs(300, 1)
    train, check = graphs.take(np.arange(200)), graphs.take(np.arange(220, 300))
    settings = training.Settings(epochs=5)
    whole = training.train(train, check, settings)
    checkpoint = tmp_path / "state"
    original, epochs = training._epoch, []

    def interrupted(*arguments: object) -> tuple[float, float]:
        epochs.append(arguments[-1])
        if len(epochs) == 3:
            raise KeyboardInterrupt
        return original(*arguments)  # type: ignore[arg-type]

    training._epoch = interrupted  # type: ignore[assignment]
    try:
        with pytest.raises(KeyboardInterrupt):
            training.train(train, check, settings, checkpoint)
    finally:
        training._epoch = original
    resumed = training.train(train, check, settings, checkpoint)
    for name, value in whole.weights.items():
        np.testing.assert_array_equal(value, resumed.weights[name])


def test_lstm_parity() -> None:
    import torch

    from tidegate_models.lstm_torch import DirectionLstm, parity

    torch.manual_seed(1)
    net = DirectionLstm(0.0)
    mean = np.linspace(-1, 1, lstm.WEIGHT_SHAPES["mean"][0]).astype(np.float32)
    std = np.linspace(0.5, 2, len(mean)).astype(np.float32)
    assert parity(net, net.weights(mean, std), 500)["largest"] < 1e-5
