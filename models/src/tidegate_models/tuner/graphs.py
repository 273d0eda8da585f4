"""Sets of market graphs with labels, as flat arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tidegate_models.contract import TUNER_TARGETS
from tidegate_models.gatv2 import EDGE_COLUMNS, NODE_COLUMNS, TARGETS, Graph

SCALES = np.array([scale for _, _, scale in TUNER_TARGETS])
TARGET_NAMES = [name for name, _, _ in TUNER_TARGETS]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def encode(values: Doubles) -> Doubles:
    """z of target values `[..., 5]`."""
    return np.asarray(np.log1p(np.maximum(values, 0.0) / SCALES))


def decode(z: Doubles, target: int) -> Doubles:
    """Values of a target from its z."""
    return np.asarray(np.expm1(z) * SCALES[target])


@dataclass(frozen=True)
class GraphSet:
    """Graphs one after the other.

    `node_ptr [graphs+1]` and `edge_ptr [graphs+1]` say which rows of `x [nodes,24]`, `values [nodes,5]` (labels in the
    targets' units, NaN where there is none), `book [nodes]` (index into `books`, -1 for nodes that are no order book),
    `edge_index [2,edges]` (within its graph) and `edge_attr [edges,8]` belong to a graph. `time_ns` and `market` (index
    into `markets`) say when and where it was taken.
    """

    x: Floats
    values: Doubles
    book: Ints
    node_ptr: Ints
    edge_index: Ints
    edge_attr: Floats
    edge_ptr: Ints
    time_ns: Ints
    market: Ints
    markets: list[str]
    books: list[str]

    def __post_init__(self) -> None:
        if self.x.shape[1:] != (NODE_COLUMNS,) or self.edge_attr.shape[1:] != (EDGE_COLUMNS,):
            raise ValueError(f"graphs have {self.x.shape[1:]} node and {self.edge_attr.shape[1:]} edge columns")
        if self.values.shape != (len(self.x), TARGETS):
            raise ValueError(f"labels have shape {self.values.shape}")

    def __len__(self) -> int:
        return len(self.time_ns)

    def graph(self, index: int) -> Graph:
        """One graph, as the model takes it."""
        nodes = slice(self.node_ptr[index], self.node_ptr[index + 1])
        edges = slice(self.edge_ptr[index], self.edge_ptr[index + 1])
        return {"x": self.x[nodes], "edge_index": self.edge_index[:, edges], "edge_attr": self.edge_attr[edges]}

    def graph_of_node(self) -> Ints:
        """Index of the graph of every node."""
        return np.repeat(np.arange(len(self)), np.diff(self.node_ptr))

    def take(self, graphs: Ints) -> GraphSet:
        """These graphs, in this order."""
        nodes, node_ptr = _rows(self.node_ptr, graphs)
        edges, edge_ptr = _rows(self.edge_ptr, graphs)
        return replace(
            self,
            x=self.x[nodes],
            values=self.values[nodes],
            book=self.book[nodes],
            node_ptr=node_ptr,
            edge_index=self.edge_index[:, edges],
            edge_attr=self.edge_attr[edges],
            edge_ptr=edge_ptr,
            time_ns=self.time_ns[graphs],
            market=self.market[graphs],
        )

    def merged_edges(self) -> Ints:
        """Edges of all graphs as those of one: `[2,edges]`, indices into `x`."""
        offsets = np.repeat(self.node_ptr[:-1], np.diff(self.edge_ptr))
        return self.edge_index + offsets

    def with_edges(self, edge_index: Ints, edge_attr: Floats, edge_ptr: Ints) -> GraphSet:
        """The same nodes joined in another way."""
        return replace(self, edge_index=edge_index, edge_attr=edge_attr, edge_ptr=edge_ptr)

    def digest(self) -> str:
        """SHA-256 over everything a model can learn from."""
        state = hashlib.sha256()
        for array in (self.x, self.values, self.node_ptr, self.edge_index, self.edge_attr, self.edge_ptr, self.time_ns):
            state.update(np.ascontiguousarray(array).tobytes())
        return state.hexdigest()


def _rows(pointers: Ints, graphs: Ints) -> tuple[Ints, Ints]:
    """Row numbers of the chosen graphs and their new pointers."""
    counts = np.diff(pointers)[graphs]
    new = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    starts = np.repeat(pointers[:-1][graphs] - new[:-1], counts)
    return starts + np.arange(new[-1]), new


def concatenate(sets: list[GraphSet]) -> GraphSet:
    """All graphs of several sets; equal names of markets and books become one."""
    markets = sorted({name for part in sets for name in part.markets})
    books = sorted({name for part in sets for name in part.books})

    def renumber(indices: Ints, old: list[str], new: list[str]) -> Ints:
        table = np.array([new.index(name) for name in old] + [-1], np.int64)
        return table[indices]

    def pointers(parts: list[Ints]) -> Ints:
        counts = np.concatenate([np.diff(part) for part in parts])
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    return GraphSet(
        x=np.concatenate([part.x for part in sets]),
        values=np.concatenate([part.values for part in sets]),
        book=np.concatenate([renumber(part.book, part.books, books) for part in sets]),
        node_ptr=pointers([part.node_ptr for part in sets]),
        edge_index=np.concatenate([part.edge_index for part in sets], axis=1),
        edge_attr=np.concatenate([part.edge_attr for part in sets]),
        edge_ptr=pointers([part.edge_ptr for part in sets]),
        time_ns=np.concatenate([part.time_ns for part in sets]),
        market=np.concatenate([renumber(part.market, part.markets, markets) for part in sets]),
        markets=markets,
        books=books,
    )


def only_self_loops(graphs: GraphSet) -> GraphSet:
    """The ablation without a market: every node sees itself and nothing else."""
    keep = graphs.edge_index[0] == graphs.edge_index[1]
    return _keep_edges(graphs, keep)


def _keep_edges(graphs: GraphSet, keep: npt.NDArray[np.bool_]) -> GraphSet:
    kept = np.concatenate([[0], np.cumsum(keep)]).astype(np.int64)[graphs.edge_ptr]
    return graphs.with_edges(graphs.edge_index[:, keep], graphs.edge_attr[keep], kept)


def drop_edges(graphs: GraphSet, share: float, rng: np.random.Generator) -> GraphSet:
    """Without a random share of the edges; self loops stay."""
    loops = graphs.edge_index[0] == graphs.edge_index[1]
    return _keep_edges(graphs, loops | (rng.random(len(loops)) >= share))


def shuffled_edges(graphs: GraphSet, seed: int) -> GraphSet:
    """The ablation with a wrong market: sources of all edges but self loops are drawn anew within their graph."""
    rng = np.random.default_rng(seed)
    sizes = np.repeat(np.diff(graphs.node_ptr), np.diff(graphs.edge_ptr))
    loops = graphs.edge_index[0] == graphs.edge_index[1]
    edge_index = graphs.edge_index.copy()
    edge_index[0] = np.where(loops, edge_index[0], (rng.random(len(sizes)) * sizes).astype(np.int64))
    return graphs.with_edges(edge_index, graphs.edge_attr, graphs.edge_ptr)
