"""Outcomes of signals in recorded captures and simulated markets, made by the engine and kept in the cache.

A timer has ten minutes, and only a signal whose timer is seen to its end has an outcome: captures of some minutes
have none, which leaves the Bitstamp hours and the Coinbase hour of all recorded ones. Neither has the reference price
that the PSC ratio needs, so the engine makes one up. Which price decides only whether all signals of a market are LONG
or SHORT: each market is run with one of either sort, so that a model learns both sides.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tidegate_models import outcomes, schema
from tidegate_models.datasets import Source, cached, file_sha256, find_engine, recorded_files, run_engine, simulate
from tidegate_models.label import Label
from tidegate_models.outcomes import Outcomes
from tidegate_models.registry import DataOptions

SIDES = ("long", "short")


@dataclass(frozen=True)
class SignalSource(Source):
    """A market of ten-minute timers; around one of `references` lies the made-up price of each side."""

    references: tuple[float, float] = (5.0, 1e7)


BITSTAMP = SignalSource("bitstamp-2015-05-01", ("ob_analytics/2015-05-01.log.xz",))
COINBASE = SignalSource(
    "coinbase-2018-04-24",
    (
        "gdax_orderbook_ml/snapshot_bids.csv.gz",
        "gdax_orderbook_ml/snapshot_asks.csv.gz",
        "gdax_orderbook_ml/l2update_15min_[1-4].csv.gz",
    ),
)


def _simulated(seed: int) -> SignalSource:
    # Regimes begin at fixed parts of a run, so lengths differ; one in four has none. A run begins with a timer, and the
    # seconds beyond the last one show its end. A ratio is a level that says nothing of a market: references differ by
    # orders of magnitude, so that none can be learnt from it.
    seconds = 2400 + 600 * ((seed * 7919) % 5) + 10
    draw = np.random.default_rng(seed).uniform(size=2)
    long, short = 10.0 ** (-0.3 + 2.6 * draw[0]), 10.0 ** (6.0 + 2.0 * draw[1])
    references = (float(f"{long:.3g}"), float(f"{short:.3g}"))
    return SignalSource(f"sim-{seed}", (), seed, seconds, seed % 4 == 0, references)


SIMULATED_TRAIN = tuple(_simulated(seed) for seed in range(1101, 1110))
SIMULATED_CHECK = tuple(_simulated(seed) for seed in range(1110, 1114))
SIMULATED_TEST = tuple(_simulated(seed) for seed in range(1114, 1119))
ALL = (BITSTAMP, COINBASE, *SIMULATED_TRAIN, *SIMULATED_CHECK, *SIMULATED_TEST)


@dataclass(frozen=True)
class SignalSet:
    """Outcomes of both sides of a market."""

    source: SignalSource
    digest: str
    outcomes: Outcomes


def load(data: DataOptions, sources: tuple[SignalSource, ...] = ALL) -> list[SignalSet]:
    """Outcomes of sources, from the cache or the engine."""
    engine = find_engine(data.engine)
    return [_make(source, engine, data.cache, data.recorded) for source in tqdm(sources, desc="outcomes", disable=None)]


def _make(source: SignalSource, engine: Path, cache: Path, recorded: Path) -> SignalSet:
    inputs = recorded_files(source.name, source.patterns, recorded)
    identity = {
        "engine": file_sha256(engine),
        "inputs": {path.name: file_sha256(path) for path in inputs},
        "simulated": None if source.recorded else [source.seed, source.seconds, source.calm],
        "references": list(source.references),
        "signals": schema.hashes()["signals"],
        "label": Label().to_json(),
    }

    def write(folder: Path) -> None:
        options = ["--calm"] if source.calm else []
        captures = inputs or _spot(simulate(engine, folder, source.seed, source.seconds, options))
        for side, price in zip(SIDES, source.references, strict=True):
            _extract(engine, captures, folder, side, price, source.seed or 1)

    folder, digest = cached(cache, source.label, identity, write)
    rows = outcomes.read_all(sorted(folder.glob("*.parquet")))
    rows.check_label(Label(), source.label)
    return SignalSet(source, digest, rows)


def _spot(captures: list[Path]) -> list[Path]:
    """The captures of the venue whose books signals are given on: those of the others change nothing of them."""
    found = [path for path in captures if path.name.startswith("spot_")]
    if not found:
        raise FileNotFoundError(f"no spot_* among the simulated captures {[path.name for path in captures]}")
    return found


def _extract(engine: Path, captures: list[Path], folder: Path, side: str, price: float, seed: int) -> None:
    """Files of one side, beside those of the other."""
    out = folder / side
    reference: list[str | Path] = ["--simulated-reference", f"{price:.12g}", "--seed", str(seed)]
    run_engine(engine, ["signals", "--input", *captures, *reference, "--outcomes", out])
    for path in sorted(out.glob(outcomes.PATTERN)):
        path.rename(folder / f"{side}-{path.name}")
    shutil.rmtree(out, ignore_errors=True)
