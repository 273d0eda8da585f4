"""Best quotes of captures, a row for each instrument and cell of time: an ingredient of labels, never of features.

The queue at the touch is part of what decides whether a passive order is filled, and no feature holds it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

# File name prefix to the engine's name of the venue.
_VENUES = {"spot": "binance-spot", "usdm": "binance-usdm", "cm": "binance-coinm"}
# Receive times below this are microseconds.
_LEAST_NANOSECONDS = 10**17


def cell_quotes(captures: Sequence[Path], cell_ms: int) -> pd.DataFrame:
    """The last best prices and quantities of each cell in which they were quoted.

    Columns: `instrument`, `cell` (receive time over the cell's length), `bid`, `bid_qty`, `ask`, `ask_qty`.
    """
    cell_ns = cell_ms * 1_000_000
    rows: dict[tuple[str, int], tuple[float, float, float, float]] = {}
    for path in captures:
        venue = _VENUES[path.name.split("_", 1)[0]]
        with gzip.open(path, "rb") as lines:
            for line in lines:
                if b"@bookTicker" not in line:
                    continue
                stamp, _, frame = line.partition(b" ")
                try:
                    quote = json.loads(frame)["data"]
                    key = (f"{quote['s']}.{venue}", _nanoseconds(int(stamp)) // cell_ns)
                    values = (float(quote["b"]), float(quote["B"]), float(quote["a"]), float(quote["A"]))
                except (ValueError, KeyError, TypeError):
                    continue
                rows[key] = values
    table = pd.DataFrame([(*key, *values) for key, values in rows.items()])
    table.columns = pd.Index(["instrument", "cell", "bid", "bid_qty", "ask", "ask_qty"])
    return table.sort_values(["instrument", "cell"], ignore_index=True)


def _nanoseconds(stamp: int) -> int:
    return stamp if stamp >= _LEAST_NANOSECONDS else stamp * 1000
