"""What models predict, computed from the engine's features on a grid of 100 ms cells. Labels are not features.

A cell is `event_ns // 100 ms`; the engine writes at most one vector into each. A label at a cell looks at the cells
from it on, because what a model sees at a moment comes from before it. NaN means that the label cannot be known: too
few vectors in the horizon, or the data end within it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats32 = npt.NDArray[np.float32]

CELL_NS = 100_000_000
CELLS_PER_SECOND = 10

# A spread below this many bp counts as usual at most, as in the engine's spread rule.
NARROW_SPREAD_BP = 2.0
STRESS_SPREAD_RATIO = 2.0
STRESS_DEPTH_RATIO = 0.5
RECOVERY_LIMIT_S = 60
# Part of a horizon's cells that must hold a value.
LEAST_KNOWN = 0.5


@dataclass(frozen=True)
class Grid:
    """One instrument's columns on consecutive cells; `first` is the number of the first cell."""

    first: int
    columns: dict[str, Doubles]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> Doubles:
        return self.columns[name]

    def index(self, time_ns: Ints) -> Ints:
        """Index of the cell that begins at or before these times; may lie outside the grid."""
        return time_ns // CELL_NS - self.first


def grid(table: pd.DataFrame, names: list[str]) -> Grid:
    """Puts an instrument's vectors (columns `event_ns` and `names`) on cells; cells without a vector are NaN."""
    cells = table["event_ns"].to_numpy(np.int64) // CELL_NS
    first, last = int(cells.min()), int(cells.max())
    columns = {}
    for name in names:
        values = np.full(last - first + 1, np.nan)
        values[cells - first] = table[name].to_numpy(np.float64)
        columns[name] = values
    return Grid(first, columns)


def _windows(values: Doubles, cells: int, fill: float) -> npt.NDArray[np.float64]:
    """`[n, cells]`: each value with those after it; beyond the end `fill`."""
    padded = np.concatenate([values, np.full(cells - 1, fill)])
    return np.lib.stride_tricks.sliding_window_view(padded, cells)


def _ahead(values: Doubles, cells: int, highest: bool) -> Doubles:
    """Highest or lowest known value of a cell and the `cells - 1` after it; NaN where too few are known."""
    worst = -np.inf if highest else np.inf
    known = np.isfinite(values)
    counts = np.concatenate([[0], np.cumsum(known)])
    ends = np.minimum(np.arange(len(values)) + cells, len(values))
    enough = counts[ends] - counts[:-1] >= LEAST_KNOWN * cells
    whole = np.arange(len(values)) + cells <= len(values)
    windows = _windows(np.where(known, values, worst), cells, worst)
    extreme = windows.max(axis=1) if highest else windows.min(axis=1)
    return np.where(enough & whole & np.isfinite(extreme), extreme, np.nan)


def highest_ahead(values: Doubles, cells: int) -> Doubles:
    """Highest value within the horizon."""
    return _ahead(values, cells, highest=True)


def lowest_ahead(values: Doubles, cells: int) -> Doubles:
    """Lowest value within the horizon."""
    return _ahead(values, cells, highest=False)


def spread_measure(spread_ratio: Doubles, spread_bp: Doubles) -> Doubles:
    """What the engine's spread rule measures."""
    return np.where(spread_bp < NARROW_SPREAD_BP, np.minimum(spread_ratio, 1.0), spread_ratio)


def _runs(flags: Bools) -> tuple[Ints, Ints]:
    """Starts and ends (exclusive) of runs of true."""
    edges = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def stress_flags(spread_ratio: Doubles, depth_ratio: Doubles) -> Bools:
    """Cells under stress. A cell without a vector is as the one before it."""
    known = np.isfinite(spread_ratio) | np.isfinite(depth_ratio)
    with np.errstate(invalid="ignore"):
        stressed = (spread_ratio > STRESS_SPREAD_RATIO) | (depth_ratio < STRESS_DEPTH_RATIO)
    last_known = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
    return np.where(last_known >= 0, stressed[np.maximum(last_known, 0)], False)


def recovery_ahead(spread_ratio: Doubles, depth_ratio: Doubles, cells: int) -> Doubles:
    """Length in s of the longest stress that begins within the horizon, 0 without one, at most 60.

    Stress that has not ended with the data and has not lasted 60 s has no known length, nor has its horizon.
    """
    stressed = stress_flags(spread_ratio, depth_ratio)
    limit = RECOVERY_LIMIT_S * CELLS_PER_SECOND
    starts, ends = _runs(stressed)
    lengths = np.zeros(len(stressed))
    lengths[starts] = np.minimum(ends - starts, limit) / CELLS_PER_SECOND
    open_end = (ends == len(stressed)) & (ends - starts < limit)
    lengths[starts[open_end]] = np.inf
    longest = _windows(lengths, cells, 0.0).max(axis=1)
    coverage = highest_ahead(np.where(np.isfinite(depth_ratio), 0.0, np.nan), cells)
    return np.where(np.isfinite(longest) & np.isfinite(coverage), longest, np.nan)


TUNER_COLUMNS = [
    "realised_vol_10s",
    "spread_ratio",
    "spread_bp",
    "imbalance_10",
    "feed_latency_excess_us",
    "depth_ratio",
]


def tuner_measures(cells: Grid) -> Doubles:
    """What the four rules measure in each cell, `[n, 4]`: volatility, spread, imbalance, latency."""
    return np.stack(
        [
            cells["realised_vol_10s"],
            spread_measure(cells["spread_ratio"], cells["spread_bp"]),
            np.abs(cells["imbalance_10"]),
            np.maximum(cells["feed_latency_excess_us"], 0.0),
        ],
        axis=1,
    )


def tuner_labels(cells: Grid, horizon_ms: int) -> Doubles:
    """The tuner's five targets at each cell, `[n, 5]`."""
    length = horizon_ms * CELLS_PER_SECOND // 1000
    measures = tuner_measures(cells)
    highest = [highest_ahead(measures[:, rule], length) for rule in range(measures.shape[1])]
    return np.stack([*highest, recovery_ahead(cells["spread_ratio"], cells["depth_ratio"], length)], axis=1)


def depth_drop(depth_ratio: Doubles, horizon_s: int) -> Doubles:
    """1 where depth within 10 bp falls below half of its usual value within the horizon, 0 where not.

    NaN where it is below already, or cannot be known. The cell itself is what the model sees: it does not count.
    """
    lowest = np.append(lowest_ahead(depth_ratio, horizon_s * CELLS_PER_SECOND)[1:], np.nan)
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(lowest) & (depth_ratio >= STRESS_DEPTH_RATIO)
        return np.where(usable, (lowest < STRESS_DEPTH_RATIO).astype(np.float64), np.nan)


@dataclass(frozen=True)
class Tape:
    """Trades of one instrument on the cells of a grid: what passive orders are judged by."""

    low: Doubles
    high: Doubles
    bought: Doubles
    sold: Doubles


def tape(bars: pd.DataFrame, cells: Grid) -> Tape:
    """Puts 100 ms bars on a grid; a cell without trades has no price and no volume."""
    index = bars["start_ns"].to_numpy(np.int64) // CELL_NS - cells.first
    inside = (index >= 0) & (index < len(cells))
    index, rows = index[inside], bars[inside]

    def column(values: npt.ArrayLike, empty: float) -> Doubles:
        full = np.full(len(cells), empty)
        full[index] = np.asarray(values, np.float64)
        return full

    sold = rows["volume"].to_numpy(np.float64) - rows["bought"].to_numpy(np.float64)
    return Tape(
        column(rows["low"], np.inf), column(rows["high"], -np.inf), column(rows["bought"], 0.0), column(sold, 0.0)
    )


def fill_label(trades: Tape, start: int, side: int, price: float, ahead: float, size: float, horizon_s: int) -> float:
    """Whether a passive order would be filled, by a trade-through proxy; NaN where the data end before.

    A bid (`side` 1) of `size` at `price` with `ahead` in front of it counts as filled when a trade goes below its
    price, or when what was sold in cells that traded at its price or below exceeds `ahead + size`; an ask the other way
    round.
    Cancellations in front of the order and sales at better prices within a cell are not seen.
    """
    end = start + horizon_s * CELLS_PER_SECOND
    if end > len(trades.low):
        return np.nan
    cells = slice(start, end)
    # Prices are sums of floats: a trade is through the order's price when it is so by more than rounding.
    slack = price * 1e-9
    if side > 0:
        reached, through, volume = (
            trades.low[cells] <= price + slack,
            trades.low[cells] < price - slack,
            trades.sold[cells],
        )
    else:
        reached, through, volume = (
            trades.high[cells] >= price - slack,
            trades.high[cells] > price + slack,
            trades.bought[cells],
        )
    return float(bool(through.any()) or float(volume[reached].sum()) > ahead + size)


def up_label(close: Doubles, time_ns: Ints, horizon_s: int, bar_s: int) -> Doubles:
    """1 where the close is higher after the horizon, 0 where lower or equal; NaN without a bar at that time."""
    steps = horizon_s // bar_s
    wanted = time_ns + steps * bar_s * 1_000_000_000
    position = np.searchsorted(time_ns, wanted)
    found = position < len(time_ns)
    safe = np.minimum(position, len(time_ns) - 1)
    found &= time_ns[safe] == wanted
    return np.where(found, (close[safe] > close).astype(np.float64), np.nan)
