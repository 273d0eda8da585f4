"""Shared fixtures. What was skipped, and why, is said loudly at the end of a run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tidegate_models import datasets

HAS_TORCH = importlib.util.find_spec("torch") is not None and importlib.util.find_spec("torch_geometric") is not None
REPOSITORY = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = "no PyTorch here (pip install 'tidegate-models[train]'): training and parity are not tested"
    for item in items:
        if "torch" in item.keywords and not HAS_TORCH:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # File, line and reason of each.
    skipped = [report.longrepr for report in terminalreporter.stats.get("skipped", [])]
    for reason, count in Counter(reason.removeprefix("Skipped: ") for _, _, reason in skipped).items():
        terminalreporter.write_line(f"NOTE: {count} SKIPPED: {reason}", yellow=True, bold=True)


@pytest.fixture
def repository_root() -> Path:
    return REPOSITORY


@pytest.fixture
def engine() -> Path:
    stated = os.environ.get("TIDEGATE_ENGINE")
    try:
        return datasets.find_engine(Path(stated) if stated else None)
    except datasets.EngineMissingError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(str(error))


@pytest.fixture
def loading_engine(engine: Path) -> Path:
    """An engine that can load models: it has ONNX Runtime beside it, which in CI it must."""
    version = REPOSITORY / "onnx" / "breaker-tuner" / "1"
    checked = subprocess.run([engine, "model", "check", version], capture_output=True, text=True, check=False)
    if "make runtime" in checked.stderr:
        assert "CI" not in os.environ, checked.stderr
        pytest.skip("the engine has no ONNX Runtime (make runtime): what it loads is not tested")
    return engine
