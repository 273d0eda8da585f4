"""Market graphs of the engine with labels from its feature vectors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tidegate_models import schema
from tidegate_models.contract import TUNER_HORIZON_MS
from tidegate_models.datasets import DataSet
from tidegate_models.gatv2 import EDGE_COLUMNS, NODE_COLUMNS, TARGETS
from tidegate_models.labels import TUNER_COLUMNS, Doubles, Ints, grid, tuner_labels, tuner_measures
from tidegate_models.tuner.graphs import GraphSet

_DAY_S = 86_400.0
_FUNDINGS_A_DAY = 3
# Labels look 10 s ahead, the recovery among them another 60 s.
EMBARGO_NS = (TUNER_HORIZON_MS + 60_000) * 1_000_000


@dataclass(frozen=True)
class Market:
    """A data set as graphs, with what the baselines look at: measures and mid of each book on 100 ms cells."""

    graphs: GraphSet
    first_cell: dict[str, int]
    measures: dict[str, Doubles]
    mid: dict[str, Doubles]


def node_columns() -> list[str]:
    """Names of the 24 node columns, in their order."""
    return [slot["name"] for slot in schema.graph()["node_slots"]]


def edge_columns() -> list[str]:
    """Names of the 8 edge columns, in their order."""
    return list(schema.graph()["edge_slots"])


def load(data: DataSet) -> Market:
    """Reads nodes, edges and vectors of a data set and labels every book of every graph."""
    nodes = data.table("nodes").sort_values(["event_ns", "node"], ignore_index=True)
    edges = data.table("edges").sort_values(["event_ns", "target", "source", "kind"], ignore_index=True)
    times, node_ptr = _pointers(nodes["event_ns"])
    edge_times, edge_ptr = _pointers(edges["event_ns"])
    if not np.array_equal(times, edge_times):
        raise ValueError(f"{data.source.label}: nodes and edges are of different moments")
    is_book = nodes["kind"].to_numpy() == "book"
    names = sorted(set(nodes["name"].to_numpy()[is_book]))
    index = {name: number for number, name in enumerate(names)}
    book = np.array([index.get(name, -1) if flag else -1 for name, flag in zip(nodes["name"], is_book, strict=True)])
    values = np.full((len(nodes), TARGETS), np.nan)
    moments = nodes["event_ns"].to_numpy(np.int64)
    first_cell, measures, mid = {}, {}, {}
    for name, vectors in data.table("features").groupby("instrument"):
        cells = grid(vectors, [*TUNER_COLUMNS, "mid"])
        labels = tuner_labels(cells, TUNER_HORIZON_MS)
        rows = np.flatnonzero(book == index[str(name)])
        position = cells.index(moments[rows])
        inside = (position >= 0) & (position < len(cells))
        values[rows[inside]] = labels[position[inside]]
        first_cell[str(name)], measures[str(name)] = cells.first, tuner_measures(cells)
        mid[str(name)] = cells["mid"]
    absent = nodes["present"].to_numpy() < 1.0
    values[absent] = np.nan
    graphs = GraphSet(
        x=nodes[node_columns()].to_numpy(np.float32),
        values=values,
        book=book.astype(np.int64),
        node_ptr=node_ptr,
        edge_index=edges[["source", "target"]].to_numpy(np.int64).T.copy(),
        edge_attr=edges[edge_columns()].to_numpy(np.float32),
        edge_ptr=edge_ptr,
        time_ns=times,
        market=np.zeros(len(times), np.int64),
        markets=[data.source.name],
        books=names,
    )
    if graphs.x.shape[1] != NODE_COLUMNS or graphs.edge_attr.shape[1] != EDGE_COLUMNS:
        raise ValueError("the engine's graph has another number of columns than the network")
    return Market(graphs, first_cell, measures, mid)


def _pointers(event_ns: pd.Series) -> tuple[Ints, Ints]:
    times, counts = np.unique(event_ns.to_numpy(np.int64), return_counts=True)
    return times, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def labelled(graphs: GraphSet, every: int = 1) -> GraphSet:
    """Graphs with a label at least, every so many of them."""
    known = np.isfinite(graphs.values).any(axis=1)
    keep = np.unique(graphs.graph_of_node()[known])
    return graphs.take(keep[::every])


def random_clock(graphs: GraphSet, seed: int) -> GraphSet:
    """Gives every graph another time of day.

    All markets here last minutes and lie near one hour, and simulated regimes begin at fixed parts of a run: whatever a
    network learnt from the clock would be an accident. With a random clock it learns that the clock tells nothing.
    """
    rng = np.random.default_rng(seed)
    names = node_columns()
    clock = names.index("vpin")
    regime = np.flatnonzero(graphs.x[:, names.index("is_regime")] > 0.5)
    second = rng.uniform(0.0, _DAY_S, len(regime))
    angle = second / _DAY_S * 2.0 * np.pi
    x = graphs.x.copy()
    x[regime, clock] = np.sin(angle)
    x[regime, clock + 1] = np.cos(angle)
    x[regime, clock + 2] = rng.random(len(regime)) < 2.0 / 7.0
    x[regime, clock + 3] = 1.0 - (second * _FUNDINGS_A_DAY / _DAY_S) % 1.0
    return replace(graphs, x=x)
