"""Made-up market graphs with a known dependence on neighbours: for tests, and for a first file before there is data."""

from __future__ import annotations

import numpy as np

from tidegate_models.gatv2 import EDGE_COLUMNS, NODE_COLUMNS, TARGETS
from tidegate_models.tuner.graphs import SCALES, GraphSet

_STEP_NS = 500_000_000


def synthetic_graphs(graphs: int, seed: int, venues: int = 3, assets: int = 2) -> GraphSet:
    """`graphs` snapshots of `venues * assets` books with their venues, assets and a regime node.

    A book's labels follow from a slow common factor, its own state and its asset's other books, times noise.
    """
    rng = np.random.default_rng(seed)
    books = venues * assets
    nodes = venues + assets + books + 1
    first_book, regime = venues + assets, nodes - 1
    pairs = [(node, node) for node in range(nodes)]
    for book in range(books):
        node, venue, asset = first_book + book, book % venues, venues + book // venues
        pairs += [(venue, node), (node, venue), (asset, node), (node, asset), (regime, node), (node, regime)]
        pairs += [
            (first_book + other, node) for other in range(books) if other != book and other // venues == book // venues
        ]
    edge_index = np.array(pairs, np.int64).T
    kinds = np.zeros((nodes, 4), np.float32)
    kinds[:venues, 0] = kinds[venues:first_book, 1] = kinds[first_book:regime, 2] = kinds[regime, 3] = 1.0

    factor = np.zeros(graphs)
    for step in range(1, graphs):
        factor[step] = 0.97 * factor[step - 1] + 0.25 * rng.normal()
    x = rng.normal(size=(graphs, nodes, NODE_COLUMNS)).astype(np.float32)
    x[:, :, :4] = kinds
    x[:, regime, 4] = factor
    own = x[:, first_book:regime, 5].reshape(graphs, assets, venues)
    shared = own.mean(axis=2, keepdims=True)
    level = (0.5 * factor[:, None, None] + 0.5 * own + 0.8 * shared).reshape(graphs, books)
    values = np.full((graphs, nodes, TARGETS), np.nan)
    noise = rng.normal(size=(graphs, books, TARGETS)) * 0.4
    values[:, first_book:regime] = SCALES * np.exp(level[:, :, None] * 0.6 + noise)
    owner = np.full((graphs, nodes), -1, np.int64)
    owner[:, first_book:regime] = np.arange(books)
    return GraphSet(
        x=x.reshape(-1, NODE_COLUMNS),
        values=values.reshape(-1, TARGETS),
        book=owner.reshape(-1),
        node_ptr=np.arange(graphs + 1, dtype=np.int64) * nodes,
        edge_index=np.tile(edge_index, (1, graphs)),
        edge_attr=rng.normal(size=(graphs * edge_index.shape[1], EDGE_COLUMNS)).astype(np.float32),
        edge_ptr=np.arange(graphs + 1, dtype=np.int64) * edge_index.shape[1],
        time_ns=np.arange(graphs, dtype=np.int64) * _STEP_NS,
        market=np.zeros(graphs, np.int64),
        markets=["synthetic"],
        books=[f"book{index}" for index in range(books)],
    )
