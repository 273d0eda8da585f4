"""What is trained on what, and tested on what: the same for networks and baselines.

`simulated` tests on markets of seeds that nothing else uses. `recorded-1` and `recorded-2` walk forward through the
recorded day with three venues: each trains on all simulated training markets and on what was recorded before the test,
less an embargo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tidegate_models import datasets
from tidegate_models.datasets import Source
from tidegate_models.splits import walk_forward
from tidegate_models.tuner import data
from tidegate_models.tuner.data import EMBARGO_NS, Market, labelled, random_clock
from tidegate_models.tuner.graphs import GraphSet, concatenate, only_self_loops, shuffled_edges

# Simulated graphs are taken every two seconds: those between differ little, and markets are cheap.
SIMULATED_EVERY = 4
# Recorded minutes are few beside simulated hours; this often they count.
RECORDED_REPEATS = 4
RECORDED_FOLDS = 2
# The recorded day with three venues: the only one on which a graph has something to say.
GRAPH_DAY = datasets.RECORDED[2]

VARIANTS = ("graph", "no-edges", "shuffled-edges")


@dataclass(frozen=True)
class Split:
    """Graphs to train on, to stop by, and to test on."""

    name: str
    train: GraphSet
    check: GraphSet
    test: GraphSet


def sources() -> list[Source]:
    """All markets of the experiment."""
    simulated = [*datasets.SIMULATED_TRAIN, *datasets.SIMULATED_CHECK, *datasets.SIMULATED_TEST]
    return [*datasets.RECORDED, *simulated]


def variant(name: str, graphs: GraphSet, seed: int) -> GraphSet:
    """The graphs as a variant sees them."""
    made: dict[str, Callable[[], GraphSet]] = {
        "graph": lambda: graphs,
        "no-edges": lambda: only_self_loops(graphs),
        "shuffled-edges": lambda: shuffled_edges(graphs, seed),
    }
    return made[name]()


def splits(markets: dict[str, Market], seed: int) -> list[Split]:
    """All splits; the first is the one whose network is exported."""

    def of(group: tuple[Source, ...], every: int) -> list[GraphSet]:
        return [labelled(markets[source.name].graphs, every) for source in group]

    train = of(datasets.SIMULATED_TRAIN, SIMULATED_EVERY)
    check = concatenate(of(datasets.SIMULATED_CHECK, SIMULATED_EVERY))
    test = concatenate(of(datasets.SIMULATED_TEST, SIMULATED_EVERY))
    earlier = of(datasets.RECORDED[:2], 1)
    day = labelled(markets[GRAPH_DAY.name].graphs)

    def training(recorded: list[GraphSet]) -> GraphSet:
        return random_clock(concatenate([*train, *recorded * RECORDED_REPEATS]), seed)

    made = [Split("simulated", training([*earlier, day]), check, test)]
    for number, fold in enumerate(walk_forward(day.time_ns, RECORDED_FOLDS, EMBARGO_NS, check_share=0.0), 1):
        known = training([*earlier, day.take(fold.train)])
        made.append(Split(f"recorded-{number}", known, check, day.take(fold.test)))
    return made


def with_variant(split: Split, name: str, seed: int) -> Split:
    """A split whose graphs are all those of a variant."""
    return replace(
        split,
        train=variant(name, split.train, seed),
        check=variant(name, split.check, seed),
        test=variant(name, split.test, seed),
    )


def label_counts(markets: dict[str, Market]) -> dict[str, int]:
    """Labels by horizon and source, over all targets of a book: a book and graph is one."""
    counts = {"10s recorded": 0, "10s simulated": 0, "60s recovery recorded": 0, "60s recovery simulated": 0}
    recorded = {source.name for source in datasets.RECORDED}
    for name, market in markets.items():
        kind = "recorded" if name in recorded else "simulated"
        known = np.isfinite(market.graphs.values)
        counts[f"10s {kind}"] += int(known[:, :4].any(axis=1).sum())
        counts[f"60s recovery {kind}"] += int(known[:, 4].sum())
    return counts


def load_markets(sets: list[datasets.DataSet]) -> dict[str, Market]:
    """Graphs of all data sets by the name of their source."""
    return {part.source.name: data.load(part) for part in sets}
