"""One-minute bars with the engine's features, from recorded tables and long simulated markets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from tidegate_models.datasets import cached, file_sha256, find_engine, recorded_files, run_engine, simulate
from tidegate_models.labels import Bools, Ints, up_label
from tidegate_models.registry import DataOptions
from tidegate_models.rowsets import RowSet, concatenate

HORIZONS_S = [60, 300, 900]
BAR_S = 60
STEPS = 30
_MINUTE_NS = 60_000_000_000

# Funding and volatility index cover few of the instruments, the week's angle few weeks of each: they are left out.
COLUMNS = [
    "return_1", "return_5", "return_15", "return_60", "return_240", "realised_vol_15", "realised_vol_60",
    "realised_vol_240", "parkinson_vol_60", "range_15", "range_60", "volume_ratio_5_60", "taker_buy_share_1",
    "taker_buy_share_15", "taker_buy_share_60", "rsi_14", "macd_histogram", "bollinger_position_20", "ema_distance_20",
    "ema_distance_50", "ema_distance_200", "atr_14", "close_location", "minute_of_day_sin", "minute_of_day_cos",
]  # fmt: skip


@dataclass(frozen=True)
class BarSource:
    """Recorded tables of an instrument, or a simulated market."""

    name: str
    patterns: tuple[str, ...] = ()
    seed: int = 0
    seconds: int = 0

    @property
    def recorded(self) -> bool:
        """Whether it comes from a real venue."""
        return bool(self.patterns)

    @property
    def label(self) -> str:
        """For reports."""
        return (
            f"recorded {self.name}" if self.recorded else f"simulated seed {self.seed}, {self.seconds} s, with regimes"
        )


_SYMBOLS = ("ALGO", "AVAX", "DOT", "FIL", "LINK", "LTC", "NEAR")
KLINES = tuple(BarSource(f"{s}USDT-usdm", (f"isda_binance_1m/{s}USDT-1m-*.csv.zst",)) for s in _SYMBOLS)
BITMEX = BarSource("XBTUSD-bitmex", ("bitmex_xbtusd_1m/XBTUSD-1m-*.csv.gz",))
COINBASE = BarSource(
    "BTCUSD-coinbase-2018-04-24",
    (
        "gdax_orderbook_ml/snapshot_bids.csv.gz",
        "gdax_orderbook_ml/snapshot_asks.csv.gz",
        "gdax_orderbook_ml/l2update_15min_[1-4].csv.gz",
    ),
)
SIMULATED = (BarSource("sim-901", seed=901, seconds=3600), BarSource("sim-902", seed=902, seconds=3600))
ALL = (*KLINES, BITMEX, COINBASE, *SIMULATED)


@dataclass(frozen=True)
class BarSet:
    """Bars of a source: rows of all instruments; how many minutes in a row end with each, and whether its close differs
    from the one after each horizon, `[n,3]`."""

    source: BarSource
    digest: str
    rows: RowSet
    streak: Ints
    moved: Bools


def load(data: DataOptions, sources: Sequence[BarSource] = ALL) -> list[BarSet]:
    """Bars of sources, from the cache or the engine."""
    engine = find_engine(data.engine)
    return [
        _read(source, *_make(source, engine, data.cache, data.recorded))
        for source in tqdm(sources, desc="minute bars", disable=None)
    ]


def _make(source: BarSource, engine: Path, cache: Path, recorded: Path) -> tuple[Path, str]:
    inputs = recorded_files(source.name, source.patterns, recorded)
    identity = {
        "engine": file_sha256(engine),
        "inputs": {path.name: file_sha256(path) for path in inputs},
        "simulated": None if source.recorded else [source.seed, source.seconds],
        "bar": BAR_S,
    }

    def write(folder: Path) -> None:
        captures = inputs or simulate(engine, folder, source.seed, source.seconds)
        bars = folder / "bars.parquet"
        run_engine(engine, ["features", "--input", *captures, "--bars", bars, "--bar", f"time:{BAR_S}"])

    folder, digest = cached(cache, source.label, identity, write)
    return folder / "bars.parquet", digest


def _read(source: BarSource, path: Path, digest: str) -> BarSet:
    table = pd.read_parquet(path)
    parts, streaks, moved = [], [], []
    for name, bars in table.groupby("instrument"):
        bars = bars.sort_values("end_ns")
        end_ns = bars["end_ns"].to_numpy(np.int64)
        close = bars["close"].to_numpy(np.float64)
        labels = np.stack([up_label(close, end_ns, horizon, BAR_S) for horizon in HORIZONS_S], axis=1)
        parts.append(
            RowSet(
                features=bars[COLUMNS].to_numpy(np.float32),
                labels=labels,
                time_ns=end_ns,
                source=np.zeros(len(bars), np.int64),
                sources=(f"{source.name} {name}",),
                recorded=np.full(len(bars), source.recorded),
            )
        )
        streaks.append(streak(end_ns))
        falls = np.stack([up_label(-close, end_ns, horizon, BAR_S) for horizon in HORIZONS_S], axis=1)
        moved.append((labels == 1.0) | (falls == 1.0))
    return BarSet(source, digest, concatenate(parts), np.concatenate(streaks), np.concatenate(moved))


def streak(end_ns: Ints) -> Ints:
    """For each bar the number of bars that end with it and follow each other minute by minute."""
    broken = np.diff(end_ns, prepend=end_ns[0] - 2 * _MINUTE_NS) != _MINUTE_NS
    index = np.arange(len(end_ns))
    last_break = np.maximum.accumulate(np.where(broken, index, 0))
    return (index - last_break + 1).astype(np.int64)
