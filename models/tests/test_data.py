from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tidegate_models import datasets, minute_bars, registry, schema
from tidegate_models.cli import main
from tidegate_models.quotes import NoQuotesError, UnknownVenueError, cell_quotes


def _frame(stamp: int, bid: str, quantity: str) -> bytes:
    data = {"u": 1, "s": "BTCUSDT", "b": bid, "B": quantity, "a": "101", "A": "7"}
    return f"{stamp} {json.dumps({'stream': 'btcusdt@bookTicker', 'data': data})}\n".encode()


def _program(folder: Path, script: str) -> Path:
    """In the engine's place."""
    program = folder / "tidegate"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_quotes_are_the_last_of_each_cell_and_stamps_may_be_microseconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = 1_723_161_256_000_000_000
    spot, futures = tmp_path / "spot_btcusdt_1.gz", tmp_path / "usdm_btcusdt_1.gz"
    with gzip.open(spot, "wb") as file:
        file.write(
            _frame(start, "100", "1") + _frame(start + 99_000_000, "100", "2") + _frame(start + 100_000_000, "99", "3")
        )
        file.write(b'1723161256100000001 {"stream":"btcusdt@trade","data":{}}\nbroken @bookTicker line\n')
    with gzip.open(futures, "wb") as file:
        file.write(_frame(start // 1000, "98", "4"))
    table = cell_quotes([spot, futures], 100)
    assert capsys.readouterr().err == "spot_btcusdt_1.gz: 1 of 4 quotes cannot be read and are left out\n"
    assert table["instrument"].tolist() == ["BTCUSDT.binance-spot"] * 2 + ["BTCUSDT.binance-usdm"]
    assert (table["cell"] - start // 100_000_000).tolist() == [0, 1, 0]
    assert table["bid_qty"].tolist() == [2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("spot_btcusdt_20230404.dat.gz", NoQuotesError, "no best quotes (bookTicker) in spot_btcusdt_20230404.dat.gz"),
        ("moon_btcusdt_20230404.dat.gz", UnknownVenueError, "moon_btcusdt_20230404.dat.gz: a capture's name begins"),
    ],
)
def test_captures_without_quotes_or_venue_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, error: type[Exception], message: str
) -> None:
    capture = tmp_path / "hftbacktest" / name
    capture.parent.mkdir()
    with gzip.open(capture, "wb") as file:
        file.write(b'1723161256100000001 {"stream":"btcusdt@trade","data":{}}\nbroken @bookTicker line\n')
    with pytest.raises(error):
        cell_quotes([capture], 100)
    program = _program(tmp_path, "exit 0")
    options = ["--engine", str(program), "--cache", str(tmp_path / "cache"), "--recorded", str(tmp_path)]
    assert main(["data", *options]) == 1
    assert f"tidegate-models: {message}" in capsys.readouterr().err


def test_a_missing_engine_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(datasets.EngineMissingError, match="make build"):
        datasets.find_engine(tmp_path / "tidegate")


def test_missing_captures_are_named(tmp_path: Path) -> None:
    binary = tmp_path / "tidegate"
    binary.write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="2024-08"):
        datasets.make(datasets.RECORDED[2], binary, tmp_path / "cache", tmp_path)
    data = registry.DataOptions(binary, tmp_path / "cache", tmp_path)
    for source in (minute_bars.KLINES[0], minute_bars.BITMEX):
        with pytest.raises(FileNotFoundError, match=source.name):
            minute_bars.load(data, [source])


def test_an_engine_that_fails_says_why(tmp_path: Path) -> None:
    program = _program(tmp_path, "echo the book is torn >&2; exit 3")
    with pytest.raises(RuntimeError, match="the book is torn"):
        datasets.run_engine(program, ["features"])
    source = datasets.Source("sim-1", seed=1, seconds=10)
    with pytest.raises(RuntimeError):
        datasets.make(source, program, tmp_path / "cache", tmp_path)
    with pytest.raises(RuntimeError):
        minute_bars.load(registry.DataOptions(program, tmp_path / "cache", tmp_path), minute_bars.SIMULATED)
    assert list((tmp_path / "cache").iterdir()) == [], "nothing half made is left in the cache"


def test_the_engine_has_the_schema_of_this_package(engine: Path) -> None:
    printed = subprocess.run([engine, "features", "--format", "json"], capture_output=True, text=True, check=True)
    assert json.loads(printed.stdout) == schema.document()


def test_a_simulated_market_becomes_labelled_graphs_and_rows(engine: Path, tmp_path: Path) -> None:
    from tidegate_models import fill, liquidity
    from tidegate_models.tuner import data

    source = datasets.Source("sim-5", seed=5, seconds=90)
    made = datasets.make(source, engine, tmp_path, tmp_path)
    assert datasets.make(source, engine, tmp_path, tmp_path).digest == made.digest
    market = data.load(made)
    graphs = data.labelled(market.graphs)
    assert len(graphs) > 100
    assert len(graphs.books) == 6
    books = graphs.book >= 0
    assert np.isfinite(graphs.values[books]).mean() > 0.8
    assert not np.isfinite(graphs.values[~books]).any()
    assert np.isfinite(graphs.x).all()
    loops = graphs.edge_index[0] == graphs.edge_index[1]
    assert (np.bincount(graphs.merged_edges()[1][loops], minlength=len(graphs.x)) == 1).all(), (
        "the engine joins each node with itself"
    )
    drops = liquidity.rows_of(made)
    assert set(np.unique(drops.labels[np.isfinite(drops.labels)])) <= {0.0, 1.0}
    orders = fill.rows_of(made)
    rates = np.nanmean(fill.by_horizon(orders).labels, axis=0)
    assert rates[0] < rates[1] < rates[2]
