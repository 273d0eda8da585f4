"""The whole loop on a simulated day: signal, position, outcome, label, better model; and the same without Python."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

Entry = dict[str, Any]

DAY_S = 86_400
# Positions that a day of six coins and three windows a timer must lead to, of 2,592 signals.
LEAST_POSITIONS = 2_000


def simulate(engine: Path, folder: Path, seconds: int, seed: int) -> list[Path]:
    """Captures of a thin market."""
    command: list[str | Path] = [
        engine,
        "simulate",
        "--thin",
        "--out",
        folder,
        "--seconds",
        str(seconds),
        "--seed",
        str(seed),
    ]
    subprocess.run(command, capture_output=True, check=True)
    return sorted(folder.glob("*.gz"))


def learn(engine: Path, captures: list[Path], folder: Path, program: list[str]) -> Entry:
    """Signals of captures, traded on paper and learnt from; gives the report."""
    configuration = folder.with_suffix(".toml")
    (folder / "onnx").mkdir(parents=True)
    configuration.write_text(
        f"""
[ml_microstructure]
confidence = "model"
# The formula's bar is one for a formula that says too much.
min_confidence = 0.0
[ml_microstructure.learning]
training = true
program = {json.dumps(program)}
every_hours = 4
least_outcomes = 300
trial_outcomes = 150
margin = 0.005
challenger_share = 0.3
[superp]
max_leverage = 50
[trading]
balance = 1000000
max_positions = 24
"""
    )
    inputs: list[str | Path] = [part for path in captures for part in ("--input", path)]
    command: list[str | Path] = [engine, "signals", *inputs, "--config", configuration, "--trade", "--out", folder]
    command += ["--models", folder / "onnx", "--audit", folder / "audit", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    report: Entry = json.loads(done.stdout)
    return report


def entries(engine: Path, folder: Path) -> list[Entry]:
    """Everything in the audit log, which must verify."""
    subprocess.run([engine, "audit", "verify", folder / "audit"], capture_output=True, check=True)
    command: list[str | Path] = [engine, "audit", "export", folder / "audit", "--as", "jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


TRAINER = [sys.executable, "-m", "tidegate_models.cli"]


def executed(filled: dict[int, list[Entry]], ids: list[int], value: str) -> tuple[Decimal, Decimal]:
    """Quantity and fees of some orders' executions, whose value is the stated one but for a millionth each."""
    parts = [part for number in ids for part in filled.get(number, [])]
    worth = sum((Decimal(part["qty"]) * Decimal(part["price"]) for part in parts), Decimal(0))
    assert abs(worth - Decimal(value)) <= Decimal(len(parts)) / 1_000_000
    fees = sum((Decimal(part["fee"]) for part in parts), Decimal(0))
    return sum((Decimal(part["qty"]) for part in parts), Decimal(0)), fees


def explain(log: list[Entry]) -> None:
    """Every position follows from what else the log says, to the last millionth, and nothing executed for nobody."""
    by_kind: dict[str, list[Entry]] = defaultdict(list)
    for entry in log:
        by_kind[entry["kind"]].append(entry["body"])
    signals = {signal["sequence"]: signal for signal in by_kind["signal"]}
    ratings = {rating["sequence"]: rating for rating in by_kind["rating"]}
    accepted = {verdict["client_id"] for verdict in by_kind["paper-verdict"] if verdict["accepted"]}
    orders = {order["client_id"]: order for order in by_kind["paper-order"]}
    filled: dict[int, list[Entry]] = defaultdict(list)
    for execution in by_kind["paper-execution"]:
        filled[execution["client_id"]].append(execution)
    assert signals.keys() == ratings.keys()
    total = Decimal(0)
    traded: list[int] = []
    for position in by_kind["position"]:
        signal, rating = signals[position["signal"]], ratings[position["signal"]]
        assert position["confidence"] == pytest.approx(rating["confidence"], abs=1e-12)
        said = rating["formula"] if rating["stated_by"] == "formula" else rating[rating["stated_by"]]["probability"]
        # The log's text has all digits; who reads JSON may round the last one.
        assert rating["confidence"] == pytest.approx(said, abs=1e-12)
        assert rating["formula"] == pytest.approx(signal["confidence"], abs=1e-12)
        assert position["symbol"] == signal["symbol"]
        # Rounding to lots makes it smaller; the fill is a few milliseconds later than the price it was sized at.
        assert position["leverage"] <= rating["leverage"] * 1.002
        assert position["side"] == {"LONG": "buy", "SHORT": "sell"}[signal["action"]]
        total += Decimal(position["profit"])
        assert Decimal(position["profit"]) >= -Decimal(position["margin"]), "no more than its margin"
        entry, closes = position["entry_order"], position["close_orders"]
        traded += [number for number in (entry, *closes) if number in filled]
        if position["ending"] not in ("timer", "margin"):
            continue
        assert {number for number in (entry, *closes) if number in filled} <= accepted
        opened, entry_fees = executed(filled, [entry], position["entry_value"])
        closed, exit_fees = executed(filled, closes, position["exit_value"])
        assert opened == closed == Decimal(position["filled"]) > 0
        assert entry_fees + exit_fees == Decimal(position["fees"])
        assert orders[entry]["side"] == position["side"]
        assert {orders[number]["side"] for number in closes} == {"buy", "sell"} - {position["side"]}
        assert position["signal_ns"] < position["entry_ns"] < position["exit_ns"] <= position["event_ns"]
        assert position["ending"] == "margin" or position["exit_ns"] >= position["timer_end_ns"]
        gain = Decimal(position["exit_value"]) - Decimal(position["entry_value"])
        gain = gain if position["side"] == "buy" else -gain
        gain += Decimal(position["borne_by_product"]) - Decimal(position["fees"]) - Decimal(position["funding"])
        assert gain == Decimal(position["profit"])
    assert sorted(traded) == sorted(filled), "each execution is some position's, and of one alone"
    settled = [position for position in by_kind["position"] if position["ending"] != "open"]
    balance = settled[-1]["balance"]["total"]
    assert balance == pytest.approx(float(1_000_000 + total), abs=1e-6), "money is conserved"


def test_a_day_of_trading_makes_a_better_model(loading_engine: Path, tmp_path: Path) -> None:
    captures = simulate(loading_engine, tmp_path / "market", DAY_S, 3)
    report = learn(loading_engine, captures, tmp_path / "run", TRAINER)
    trading, learning = report["trading"], report["learning"]
    assert trading["counters"]["closed"] >= LEAST_POSITIONS
    assert "unbalanced" not in trading
    assert report["allocations_hot"] in (0, None)
    assert not report["reference_simulated"], "the market has a TON of its own"
    log = entries(loading_engine, tmp_path / "run")
    explain(log)
    told = [entry["body"] for entry in log if entry["kind"] == "training"]
    promoted = [event for event in told if event["event"] == "promoted"]
    refused = [event for event in told if event["event"] == "refused"]
    assert refused, "and one that was no better out of sample is not offered, or loses its trial"
    assert len(promoted) == learning["promoted"] >= 1
    assert learning["declined"] + learning["refused"] == len(refused) >= 1
    for event in promoted:
        standing = event["standing"]
        assert standing["outcomes"] >= 150
        assert standing["champion_log_loss"] - standing["challenger_log_loss"] >= 0.005
        assert standing["gain"] > 2.0 * standing["gain_error"]
    # What a version stated is a probability: it beats the formula on the same signals.
    in_force = report["models"][f"confidence {learning['in_force']}"]
    assert in_force["calibration"]["brier"] < in_force["formula"]["brier"]
    assert in_force["calibration"]["error"] < in_force["formula"]["error"]
    assert {"formula", "champion", "challenger"} <= report["arms"].keys()
    written = (tmp_path / "run" / "logs" / "microstructure_training.log").read_text()
    assert re.search(r"(?m)^[0-9T:.-]+Z promoted: event_ns [0-9]+, .*by trial", written)
    assert "refused: " in written


def test_the_same_market_gives_the_same_models_and_the_same_log(loading_engine: Path, tmp_path: Path) -> None:
    captures = simulate(loading_engine, tmp_path / "market", 6 * 3_600, 5)
    reports, roots = [], []
    for name in ("one", "two"):
        report = learn(loading_engine, captures, tmp_path / name, TRAINER)
        reports.append({key: report[key] for key in ("digest", "models", "arms", "learning", "trading")})
        leaves = [entry["leaf"] for entry in entries(loading_engine, tmp_path / name)]
        roots.append(leaves)
    assert reports[0]["learning"]["offered"] >= 1
    assert reports[0] == reports[1]
    # The session's and the configuration's entries name this run; all that happened in it is the same.
    assert roots[0][3:-1] == roots[1][3:-1]


def test_without_a_trainer_the_engine_goes_on_and_says_so(loading_engine: Path, tmp_path: Path) -> None:
    captures = simulate(loading_engine, tmp_path / "market", 7_200, 2)
    report = learn(loading_engine, captures, tmp_path / "run", ["no-such-trainer"])
    learning = report["learning"]
    assert report["complete"] > 100
    assert learning["fallbacks"] == report["signals"]
    assert learning["failures"] >= 1
    assert "the engine goes on" in learning["trainer"]
    told = [entry["body"] for entry in entries(loading_engine, tmp_path / "run") if entry["kind"] == "training"]
    assert "unavailable" in {event["event"] for event in told}
    # One that dies at once is no other case.
    report = learn(loading_engine, captures, tmp_path / "dying", [sys.executable, "-c", "raise SystemExit(3)"])
    assert "lost" in report["learning"]["trainer"]
