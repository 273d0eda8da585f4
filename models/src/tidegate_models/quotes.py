"""Best quotes of captures, a row for each instrument and cell of time: an ingredient of labels, never of features.

The queue at the touch is part of what decides whether a passive order is filled, and no feature holds it.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

# File name prefix to the engine's name of the venue.
_VENUES = {"spot": "binance-spot", "usdm": "binance-usdm", "cm": "binance-coinm"}
# Receive times below this are microseconds.
_LEAST_NANOSECONDS = 10**17


class UnknownVenueError(ValueError):
    """A capture whose name does not say which venue it is of."""


class NoQuotesError(ValueError):
    """Captures without a best quote."""


def cell_quotes(captures: Sequence[Path], cell_ms: int) -> pd.DataFrame:
    """The last best prices and quantities of each cell in which they were quoted.

    Columns: `instrument`, `cell` (receive time over the cell's length), `bid`, `bid_qty`, `ask`, `ask_qty`. Lines that
    cannot be read are left out, and a note on stderr says how many.
    """
    cell_ns = cell_ms * 1_000_000
    rows: dict[tuple[str, int], tuple[float, ...]] = {}
    for path in captures:
        venue = _venue(path)
        quotes = malformed = 0
        with gzip.open(path, "rb") as lines:
            for line in lines:
                if b"@bookTicker" not in line:
                    continue
                quotes += 1
                try:
                    symbol, stamp, values = _quote(line)
                except (ValueError, KeyError, TypeError):
                    malformed += 1
                    continue
                rows[f"{symbol}.{venue}", stamp // cell_ns] = values
        if malformed:
            print(f"{path.name}: {malformed} of {quotes} quotes cannot be read and are left out", file=sys.stderr)
    if not rows:
        names = ", ".join(path.name for path in captures)
        raise NoQuotesError(f"no best quotes (bookTicker) in {names}: labels of fills need them")
    table = pd.DataFrame([(*key, *values) for key, values in rows.items()])
    table.columns = pd.Index(["instrument", "cell", "bid", "bid_qty", "ask", "ask_qty"])
    return table.sort_values(["instrument", "cell"], ignore_index=True)


def _venue(path: Path) -> str:
    prefix = path.name.split("_", 1)[0]
    if prefix not in _VENUES:
        raise UnknownVenueError(f"{path.name}: a capture's name begins with its venue, one of {', '.join(_VENUES)}")
    return _VENUES[prefix]


def _quote(line: bytes) -> tuple[str, int, tuple[float, ...]]:
    """Symbol, receive time in ns, bid, its quantity, ask, its quantity."""
    stamp, _, frame = line.partition(b" ")
    quote = json.loads(frame)["data"]
    return quote["s"], _nanoseconds(int(stamp)), tuple(float(quote[key]) for key in ("b", "B", "a", "A"))


def _nanoseconds(stamp: int) -> int:
    return stamp if stamp >= _LEAST_NANOSECONDS else stamp * 1000
