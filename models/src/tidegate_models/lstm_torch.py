"""Trains the LSTM. Needs the `train` extra. One thread, deterministic, resumable."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from tidegate_models import contract, lstm
from tidegate_models.artifact import Artifact
from tidegate_models.minute_bars import COLUMNS, HORIZONS_S, STEPS
from tidegate_models.onnx_tools import to_bytes
from tidegate_models.runtime import predict_rows

if TYPE_CHECKING:
    from tidegate_models.direction import DirectionRows
    from tidegate_models.labels import Ints

Floats = npt.NDArray[np.float32]
_LEAST_STD = 1e-9
_GOLDEN = 10


@dataclass(frozen=True)
class Settings:
    """How to train."""

    epochs: int = 12
    batch: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    dropout: float = 0.2
    patience: int = 3
    seed: int = 1


class DirectionLstm(nn.Module):  # type: ignore[misc]
    """Logits `[rows,3]` of standardised windows `[steps,rows,columns]`."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(len(COLUMNS), lstm.HIDDEN)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(lstm.HIDDEN, len(HORIZONS_S))

    def forward(self, windows: Tensor) -> Tensor:
        """See the class."""
        _, (last, _) = self.lstm(windows)
        logits: Tensor = self.head(self.dropout(last[0]))
        return logits

    def weights(self, mean: Floats, std: Floats) -> lstm.Weights:
        """Parameters by the names of the file's builder."""
        state = {name: value.detach().numpy().astype(np.float32).copy() for name, value in self.state_dict().items()}
        return {
            "mean": mean,
            "std": std,
            "weight_ih": state["lstm.weight_ih_l0"],
            "weight_hh": state["lstm.weight_hh_l0"],
            "bias_ih": state["lstm.bias_ih_l0"],
            "bias_hh": state["lstm.bias_hh_l0"],
            "head_weight": state["head.weight"],
            "head_bias": state["head.bias"],
        }


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    known = torch.isfinite(labels)
    return functional.binary_cross_entropy_with_logits(logits[known], labels[known])


def _total(net: DirectionLstm, windows: Floats, labels: Tensor, batch: int) -> float:
    net.eval()
    with torch.no_grad():
        logits = [net(torch.from_numpy(windows[:, at : at + batch])) for at in range(0, windows.shape[1], batch)]
    return float(_loss(torch.cat(logits), labels))


def train(
    arranged: DirectionRows,
    columns: list[contract.Column],
    training: contract.Training,
    folder: Path,
    fresh: bool,
    settings: Settings | None = None,
) -> Artifact:
    """Trains until the loss on later bars has not fallen for some epochs; checks parity of the exported graph."""
    settings = settings or Settings(seed=training.seed)
    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    features = arranged.rows.filled(columns).features
    mean = features[arranged.train].mean(axis=0).astype(np.float32)
    std = np.maximum(features[arranged.train].std(axis=0), _LEAST_STD).astype(np.float32)
    scaled = np.clip((features - mean) / std, -lstm.CLIP, lstm.CLIP).astype(np.float32)

    def labels(index: Ints) -> Tensor:
        return torch.from_numpy(arranged.rows.labels[index].astype(np.float32))

    check_windows, check_labels = arranged.windows(arranged.check, scaled), labels(arranged.check)
    net = DirectionLstm(settings.dropout)
    optimiser = torch.optim.AdamW(net.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "lstm.checkpoint"
    identity = json.dumps({"settings": asdict(settings), "data": training.digest, "labels": training.labels})
    curve: dict[str, list[float]] = {"train": [], "check": []}
    best = (float("inf"), 0, {name: value.clone() for name, value in net.state_dict().items()})
    if checkpoint.exists() and not fresh:
        kept = torch.load(checkpoint, weights_only=False)
        if kept["identity"] == identity:
            net.load_state_dict(kept["net"])
            optimiser.load_state_dict(kept["optimiser"])
            torch.set_rng_state(kept["random"])
            curve, best = kept["curve"], kept["best"]
    done = len(curve["train"])
    for epoch in tqdm(range(done, settings.epochs), desc="lstm", initial=done, total=settings.epochs, disable=None):
        if epoch - best[1] > settings.patience:
            break
        net.train()
        order = np.random.default_rng([settings.seed, epoch]).permutation(arranged.train)
        losses = []
        for start in range(0, len(order), settings.batch):
            chosen = order[start : start + settings.batch]
            optimiser.zero_grad()
            loss = _loss(net(torch.from_numpy(arranged.windows(chosen, scaled))), labels(chosen))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            losses.append(float(loss.detach()))
        score = _total(net, check_windows, check_labels, settings.batch)
        curve["train"].append(float(np.mean(losses)))
        curve["check"].append(score)
        if score < best[0]:
            best = (score, epoch, {name: value.clone() for name, value in net.state_dict().items()})
        state = {"identity": identity, "net": net.state_dict(), "optimiser": optimiser.state_dict()}
        state |= {"random": torch.get_rng_state(), "curve": curve, "best": best}
        torch.save(state, checkpoint)
    net.load_state_dict(best[2])
    net.eval()
    weights = net.weights(mean, std)
    history = {
        "settings": asdict(settings),
        "best_epoch": best[1],
        "curves": {"all horizons": curve},
        "parity": parity(net, weights),
    }
    chosen = arranged.check[np.linspace(0, len(arranged.check) - 1, _GOLDEN).astype(np.int64)]
    return lstm.build(weights, columns, training, arranged.windows(chosen, features), history)


def parity(net: DirectionLstm, weights: lstm.Weights, windows: int = 1000) -> dict[str, float]:
    """Largest difference of probabilities between PyTorch and stock ONNX Runtime on random windows."""
    raw = lstm.random_windows(0, windows)
    inputs = (raw * weights["std"] + weights["mean"]).astype(np.float32)
    scaled = np.clip((inputs - weights["mean"]) / weights["std"], -lstm.CLIP, lstm.CLIP).astype(np.float32)
    net.eval()
    with torch.no_grad():
        wanted = torch.sigmoid(net(torch.from_numpy(scaled))).numpy()
    found = predict_rows(to_bytes(lstm.to_onnx(weights)), inputs)
    assert scaled.shape[0] == STEPS
    return {"windows": windows, "largest": float(np.abs(found - wanted).max())}
