"""What a quant does: an export while the engine runs, which takes it over without losing an event."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidegate_models.cli import main

TUNER = "breaker-tuner"
PATIENCE_S = 60.0


def run_json(*command: str | Path) -> dict[str, Any]:
    """What a command prints as JSON."""
    done = subprocess.run([*command, "--format", "json"], capture_output=True, text=True, check=True)
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def wait_for(events: Path, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first event of the models that is wanted."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        # The last line may be half written.
        lines = events.read_text().split("\n")[:-1] if events.exists() else []
        for event in map(json.loads, lines):
            if wanted(event):
                return dict(event)
        time.sleep(0.02)
    raise AssertionError(f"it did not come: {lines}")


@pytest.fixture
def captures(engine: Path, tmp_path: Path) -> list[Path]:
    market = tmp_path / "market"
    subprocess.run(
        [engine, "simulate", "--out", market, "--seed", "5", "--seconds", "120"], capture_output=True, check=True
    )
    return sorted(market.glob("*.gz"))


def test_an_export_is_taken_over_by_a_running_engine(
    loading_engine: Path, captures: list[Path], repository_root: Path, tmp_path: Path
) -> None:
    models, output = tmp_path / "onnx", tmp_path / "run"
    shutil.copytree(repository_root / "onnx" / TUNER / "1", models / TUNER / "1")
    configuration = tmp_path / "tidegate.toml"
    sources = "".join(f"[[sources]]\npath = {json.dumps(str(path))}\n" for path in captures)
    configuration.write_text(
        f"""{sources}
[engine]
wait = "park"
[replay]
speed = "10"
[models]
directory = {json.dumps(str(models))}
every_ms = 250
shadow_runs = 5
shadow_divergence = 1000.0
[output]
directory = {json.dumps(str(output))}
"""
    )
    running = subprocess.Popen(
        [loading_engine, "run", "--format", "json", "--config", configuration],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        env=os.environ,
    )
    try:
        first = wait_for(output / "models.jsonl", lambda event: event["event"] == "promoted")
        assert (first["from"], first["to"]) == (None, 1)
        # Random weights answer otherwise than trained ones: they show which version advises.
        assert main(["export", TUNER, "--untrained", "--seed", "7", "--out", str(models)]) == 0
        taken = wait_for(output / "models.jsonl", lambda event: event["event"] == "promoted" and event["to"] == 2)
        assert (taken["from"], taken["shadow"]["runs"]) == (1, 5)
        printed, _ = running.communicate(timeout=PATIENCE_S)
    finally:
        running.kill()
    assert running.returncode == 0
    summary = json.loads(printed)
    assert summary["models"]["in_force"] == {TUNER: 2}
    assert (summary["models"]["refusals"], summary["models"]["faults"], summary["allocations_hot"]) == ({}, 0, 0)
    advised = (output / "adjustments.jsonl").read_text().splitlines()
    versions = [json.loads(line).get("advice", {}).get("version") for line in advised]
    assert {1, 2} <= set(versions)
    # Every event of the market came through, as without models.
    inputs = [part for path in captures for part in ("--input", path)]
    alone = run_json(loading_engine, "replay", *inputs)
    for key in ("frames", "gaps", "resyncs", "features_digest"):
        assert summary[key] == alone[key], key
