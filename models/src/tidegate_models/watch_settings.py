"""What an engine sets for live training, and what it asks: the lines that `watch` reads, checked.

Nothing heavy is imported here: the core that everything is to run on is among the settings.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from typing import Any

from tidegate_models.errors import ModelsError
from tidegate_models.label import Label

_HOUR_NS = 3_600_000_000_000
_SECOND_NS = 1_000_000_000


class LineError(ModelsError):
    """A line that says nothing that can be done, and what was expected."""


@dataclass(frozen=True)
class Settings:
    """How live training goes; the defaults are those of a watch without an engine, and the engine's own."""

    # Time between trainings, of events.
    every_ns: int = 24 * _HOUR_NS
    # Time without rows between training, check and test, from when a label was known: a timer at least.
    embargo_ns: int = 600 * _SECOND_NS
    # How far back rows are used.
    window_ns: int = 30 * 24 * _HOUR_NS
    # Fewest labelled rows before the first training.
    least_rows: int = 500
    # What a challenger's log loss must be lower by than that of the version in force, nats a row.
    margin: float = 0.005
    # Population stability index of a column beyond which the market is another than the one that was trained on.
    population_limit: float = 0.25
    # Difference of stated and observed probability beyond which, where 95 % speak for it, one is not calibrated.
    calibration_limit: float = 0.1
    # Rows of the recent past that are compared.
    drift_rows: int = 300
    # Core to run on; none: wherever the system puts it.
    core: int | None = None
    # Share of rows, the newest, that versions are compared on.
    test_share: float = 0.25
    # What outcomes are about: rows that are about something else are not used.
    target_bp: float = 10.0
    fee_bp: float = 5.0
    timer_minutes: int = 10

    @property
    def label(self) -> Label:
        """What outcomes are about."""
        return Label(self.target_bp, self.fee_bp, self.timer_minutes)


# Lowest and highest of each; a `float` may be whole, an `int` has no fraction.
_RANGES: dict[str, tuple[type, float, float]] = {
    "every_ns": (int, 1, 2**63 - 1),
    "embargo_ns": (int, 0, 2**63 - 1),
    "window_ns": (int, 1, 2**63 - 1),
    "least_rows": (int, 1, 10**9),
    "margin": (float, 0.0, 10.0),
    "population_limit": (float, 0.0, 100.0),
    "calibration_limit": (float, 0.0, 1.0),
    "drift_rows": (int, 10, 10**9),
    "core": (int, 0, 4095),
    "test_share": (float, 0.05, 0.9),
    "target_bp": (float, 0.0, 1e4),
    "fee_bp": (float, -1e3, 1e4),
    "timer_minutes": (int, 1, 10_080),
}
_OPTIONAL = ("core",)


@dataclass(frozen=True)
class Look:
    """Outcomes may be there as of an event time; which version is in force; whether a challenger is on trial."""

    event_ns: int
    champion: int | None
    busy: bool


def _object(text: str, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise LineError(f"{what}: no JSON ({error})") from error
    if not isinstance(found, dict):
        raise LineError(f"{what}: is {_short(found)}, expected an object")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _number(where: str, value: Any, kind: type, low: float, high: float) -> None:
    """Refuses what is not of a kind and within its range."""
    expected = f"a {'whole ' if kind is int else ''}number from {low:g} to {high:g}"
    right = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    if not right or not math.isfinite(value) or not low <= value <= high:
        raise LineError(f"{where}: is {_short(value)}, expected {expected}")


def settings_of(text: str) -> Settings:
    """The first line of an engine: all settings, and no others."""
    stated = _object(text, "settings")
    known = [field.name for field in fields(Settings)]
    for key in stated:
        if key not in known:
            raise LineError(f"settings.{key}: there is no such setting, expected {', '.join(known)}")
    for key in known:
        if key not in stated:
            raise LineError(f"settings.{key}: is absent")
        if stated[key] is not None or key not in _OPTIONAL:
            _number(f"settings.{key}", stated[key], *_RANGES[key])
    return Settings(**stated)


def look_of(text: str) -> Look:
    """A later line of an engine."""
    stated = _object(text, "line").get("look")
    if not isinstance(stated, dict):
        raise LineError(f"look: is {_short(stated)}, expected an object with event_ns, champion and busy")
    for key in ("event_ns", "champion", "busy"):
        if key not in stated:
            raise LineError(f"look.{key}: is absent")
    _number("look.event_ns", stated["event_ns"], int, 0, 2**63 - 1)
    if stated["champion"] is not None:
        _number("look.champion", stated["champion"], int, 1, 2**32 - 1)
    if not isinstance(stated["busy"], bool):
        raise LineError(f"look.busy: is {_short(stated['busy'])}, expected true or false")
    return Look(stated["event_ns"], stated["champion"], stated["busy"])
