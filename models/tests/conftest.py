"""Shared fixtures. Tests that need PyTorch are marked `torch` and skipped, loudly, where it is not installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

HAS_TORCH = importlib.util.find_spec("torch") is not None and importlib.util.find_spec("torch_geometric") is not None
REPOSITORY = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = pytest.mark.skip(reason="SKIPPED: PyTorch is not installed (pip install 'tidegate-models[train]')")
    for item in items:
        if "torch" in item.keywords and not HAS_TORCH:
            item.add_marker(skip)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not HAS_TORCH:
        terminalreporter.write_line(
            "NOTE: no PyTorch here: training and parity were not tested", yellow=True, bold=True
        )


@pytest.fixture
def repository_root() -> Path:
    return REPOSITORY
