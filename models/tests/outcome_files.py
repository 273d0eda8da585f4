"""Outcomes as an engine would write them, of a market whose law is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tidegate_models import schema
from tidegate_models.outcomes import COLUMNS, SCHEMA_KEY

TIMER_NS = 600_000_000_000
# 2026-01-01, a whole number of timers.
BEGIN_NS = 1_767_225_600_000_000_000
COINS = ("BTC", "ETH", "SOL")

_FIELDS = [
    ("event_ns", pa.int64()),
    ("timer_end_ns", pa.int64()),
    ("sequence", pa.uint64()),
    ("coin", pa.string()),
    ("instrument", pa.string()),
    ("action", pa.string()),
    ("window", pa.string()),
    ("reference_simulated", pa.bool_()),
    *((name, pa.float64()) for name in ("target_bp", "fee_bp", "timer_minutes")),
    *((name, pa.float64()) for name in COLUMNS),
    ("reached", pa.bool_()),
    *((name, pa.float64()) for name in ("final_bp", "long_bp", "short_bp")),
    ("champion_version", pa.uint32()),
    ("champion", pa.float64()),
    ("challenger_version", pa.uint32()),
    ("challenger", pa.float64()),
    ("stated", pa.float64()),
]


def market(timers: int, seed: int = 1, first: int = 0, law: float = 1.5, version: int | None = None) -> pd.DataFrame:
    """Three signals a timer and coin. `momentum` moves the log odds of success by `law`; the formula knows nothing."""
    rng = np.random.default_rng([seed, first])
    rows: list[dict[str, Any]] = []
    for timer in range(first, first + timers):
        start = BEGIN_NS + timer * TIMER_NS
        for window, minute in (("ENTRY_WINDOW", 1), ("MID_TIMER", 4), ("EXIT_WINDOW", 8)):
            for number, coin in enumerate(COINS):
                columns = dict(zip(COLUMNS, rng.normal(1.0, 1.0, len(COLUMNS)), strict=True))
                side = -1.0 if rng.random() < 0.5 else 1.0
                columns |= {
                    "side": side,
                    "psc_ratio": 7.5 + number,
                    "minutes_left": 10.0 - minute,
                    "formula": rng.uniform(0.2, 0.5),
                }
                columns |= {name: float(rng.lognormal(0.0, 0.5)) for name in ("spread_bp", "sigma_left_bp")}
                odds = law * (columns["momentum"] - 1.0)
                reached = bool(rng.random() < 1.0 / (1.0 + np.exp(-odds)))
                rows.append(
                    {
                        "event_ns": start + minute * 60_000_000_000 + number,
                        "timer_end_ns": start + TIMER_NS,
                        "sequence": len(rows) + 1,
                        "coin": coin,
                        "instrument": f"{coin}USDT.binance-spot",
                        "action": "LONG" if side > 0 else "SHORT",
                        "window": window,
                        "reference_simulated": False,
                        "target_bp": 10.0,
                        "fee_bp": 5.0,
                        "timer_minutes": 10.0,
                        **columns,
                        "volatility": None if rng.random() < 0.2 else columns["volatility"],
                        "reached": reached,
                        "final_bp": 12.0 if reached else -8.0,
                        "long_bp": 1.0,
                        "short_bp": -1.0,
                        "champion_version": version,
                        "champion": None if version is None else columns["formula"],
                        "challenger_version": None,
                        "challenger": None,
                        "stated": columns["formula"],
                    }
                )
    return pd.DataFrame(rows)


def write(folder: Path, rows: pd.DataFrame, digest: str | None = None, name: str | None = None) -> Path:
    """A file of these rows, named by the end of the last timer as the engine does."""
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {SCHEMA_KEY: digest or schema.hashes()["signals"]}
    table = pa.Table.from_pandas(rows, pa.schema(_FIELDS), preserve_index=False)
    path = folder / (name or f"outcomes-{rows['timer_end_ns'].max()}.parquet")
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path
