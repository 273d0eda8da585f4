"""Trains the graph network by pinball loss. Needs the `train` extra.

One thread and deterministic algorithms: the same data, settings and seed give the same weights, also when a run is
interrupted and resumed.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from tidegate_models import gatv2
from tidegate_models.contract import QUANTILE_LEVELS
from tidegate_models.gatv2_torch import GatV2Net
from tidegate_models.tuner.graphs import Doubles, GraphSet, Ints, drop_edges, encode

# The engine's columns are of unit size by design. One that hardly moved in training is not scaled up beyond this: a
# value never seen would else drive the network where nobody has been.
_LEAST_STD = 0.25
# Inputs that nobody has seen: uniform in this range, as the engine's load gate tries them. Quantiles beyond the limit
# are pushed back, so that the network stays within its contract's range wherever it is.
_STRANGE = 3.0
_STRANGE_LIMIT = 10.0
_STRANGE_WEIGHT = 0.03
_STRANGE_NODES, _STRANGE_EDGES = 16, 96
_LEVELS = torch.tensor(QUANTILE_LEVELS)


@dataclass(frozen=True)
class Settings:
    """How to train."""

    epochs: int = 24
    batch_graphs: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 1e-3
    patience: int = 6
    edge_dropout: float = 0.3
    seed: int = 1


@dataclass
class Trained:
    """Weights for raw features, and how they came about."""

    weights: gatv2.Weights
    history: list[dict[str, float]]
    best_epoch: int


@dataclass(frozen=True)
class Scaling:
    """Mean and deviation of node and edge columns on training graphs."""

    node_mean: Doubles
    node_std: Doubles
    edge_mean: Doubles
    edge_std: Doubles

    @classmethod
    def of(cls, graphs: GraphSet) -> Scaling:
        """Of these graphs."""
        node, edge = graphs.x.astype(np.float64), graphs.edge_attr.astype(np.float64)

        def deviation(columns: Doubles) -> Doubles:
            std = columns.std(axis=0)
            return np.where(std < _LEAST_STD, 1.0, std)

        return cls(node.mean(axis=0), deviation(node), edge.mean(axis=0), deviation(edge))

    def nodes(self, graphs: GraphSet) -> Tensor:
        """Standardised node features."""
        return torch.from_numpy(((graphs.x - self.node_mean) / self.node_std).astype(np.float32))

    def edges(self, graphs: GraphSet) -> Tensor:
        """Standardised edge features."""
        return torch.from_numpy(((graphs.edge_attr - self.edge_mean) / self.edge_std).astype(np.float32))


def pinball(predicted: Tensor, z: Tensor) -> Tensor:
    """Mean pinball loss of `predicted [n,5,3]` for `z [n,5]`; labels that are NaN do not count."""
    known = torch.isfinite(z)
    error = torch.where(known, z, 0.0)[:, :, None] - predicted
    loss = torch.maximum(_LEVELS * error, (_LEVELS - 1.0) * error) * known[:, :, None]
    return (loss.sum((0, 2)) / (known.sum(0).clamp(min=1) * len(_LEVELS))).mean()


def _seed(seed: int) -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def _loss_of(net: GatV2Net, scaling: Scaling, graphs: GraphSet) -> Tensor:
    rows = torch.from_numpy(np.flatnonzero(graphs.book >= 0))
    predicted = net(scaling.nodes(graphs), torch.from_numpy(graphs.merged_edges()), scaling.edges(graphs))
    z = torch.from_numpy(encode(graphs.values).astype(np.float32))
    return pinball(predicted[rows].view(-1, gatv2.TARGETS, gatv2.QUANTILES), z[rows])


def _strange_loss(net: GatV2Net, scaling: Scaling, rng: np.random.Generator) -> Tensor:
    """By how much quantiles leave the limit on a random graph of random features."""
    graph = gatv2.random_graph(_STRANGE_NODES, _STRANGE_EDGES, rng)
    x = rng.uniform(-_STRANGE, _STRANGE, graph["x"].shape)
    edge_attr = rng.uniform(-_STRANGE, _STRANGE, graph["edge_attr"].shape)
    y = net(
        torch.from_numpy(((x - scaling.node_mean) / scaling.node_std).astype(np.float32)),
        torch.from_numpy(graph["edge_index"]),
        torch.from_numpy(((edge_attr - scaling.edge_mean) / scaling.edge_std).astype(np.float32)),
    )
    return torch.relu(y - _STRANGE_LIMIT).mean()


def _start_at_quantiles(net: GatV2Net, train: GraphSet) -> None:
    """Sets the head's bias so that training begins at the labels' own quantiles."""
    z = encode(train.values)
    levels = np.stack([np.nanquantile(z, level, axis=0) for level in QUANTILE_LEVELS], axis=1)
    steps = np.maximum(np.diff(levels, axis=1, prepend=0.0), 1e-2)
    with torch.no_grad():
        net.head.bias.copy_(torch.from_numpy(np.log(np.expm1(steps)).reshape(-1).astype(np.float32)))
        net.head.weight.mul_(0.1)


def train(
    train_set: GraphSet,
    held_out: GraphSet,
    settings: Settings,
    checkpoint: Path | None = None,
    label: str = "tuner",
) -> Trained:
    """Trains until the loss on `held_out` has not fallen for some epochs; gives the best weights.

    With `checkpoint` the state is kept after each epoch, and a run with the same settings and data goes on from there.
    """
    _seed(settings.seed)
    scaling = Scaling.of(train_set)
    net = GatV2Net()
    _start_at_quantiles(net, train_set)
    optimiser = torch.optim.AdamW(net.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs)
    identity = json.dumps({"settings": asdict(settings), "data": train_set.digest(), "held_out": held_out.digest()})
    history: list[dict[str, float]] = []
    best = (float("inf"), -1, {name: value.clone() for name, value in net.state_dict().items()})
    if checkpoint is not None and checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=False)
        if kept["identity"] == identity:
            net.load_state_dict(kept["net"])
            optimiser.load_state_dict(kept["optimiser"])
            schedule.load_state_dict(kept["schedule"])
            history, best = kept["history"], kept["best"]
    rest = range(len(history), settings.epochs)
    bar = tqdm(rest, desc=label, initial=len(history), total=settings.epochs, disable=None)
    for epoch in bar:
        if epoch - best[1] > settings.patience and best[1] >= 0:
            break
        losses, norm = _epoch(net, optimiser, scaling, train_set, settings, epoch)
        schedule.step()
        net.eval()
        with torch.no_grad():
            score = float(_loss_of(net, scaling, held_out))
        rate = float(schedule.get_last_lr()[0])
        history.append({"epoch": epoch, "train": losses, "held_out": score, "rate": rate, "gradient_norm": norm})
        history[-1]["weight_norm"] = float(sum(p.detach().square().sum() for p in net.parameters()) ** 0.5)
        if score < best[0]:
            best = (score, epoch, {name: value.clone() for name, value in net.state_dict().items()})
        bar.set_postfix(train=f"{losses:.4f}", held_out=f"{score:.4f}")
        if checkpoint is not None:
            state = {"identity": identity, "net": net.state_dict(), "optimiser": optimiser.state_dict()}
            state |= {"schedule": schedule.state_dict(), "history": history, "best": best}
            temporary = checkpoint.with_suffix(".tmp")
            torch.save(state, temporary)
            temporary.replace(checkpoint)
    net.load_state_dict(best[2])
    folded = gatv2.fold_scaling(net.weights(), scaling.node_mean, scaling.node_std, scaling.edge_mean, scaling.edge_std)
    return Trained(folded, history, best[1])


def _epoch(
    net: GatV2Net, optimiser: torch.optim.Optimizer, scaling: Scaling, graphs: GraphSet, settings: Settings, epoch: int
) -> tuple[float, float]:
    """One pass in an order that depends on seed and epoch only; gives mean loss and mean norm of the gradient."""
    net.train()
    rng = np.random.default_rng([settings.seed, epoch])
    order: Ints = rng.permutation(len(graphs))
    losses, norms = [], []
    for start in range(0, len(order), settings.batch_graphs):
        batch = graphs.take(order[start : start + settings.batch_graphs])
        if settings.edge_dropout > 0.0:
            batch = drop_edges(batch, settings.edge_dropout, rng)
        optimiser.zero_grad()
        loss = _loss_of(net, scaling, batch)
        (loss + _STRANGE_WEIGHT * _strange_loss(net, scaling, rng)).backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)))
        optimiser.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses)), float(np.mean(norms))
