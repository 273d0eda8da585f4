"""What became of the engine's signals: its Parquet files, a row for each LONG or SHORT whose timer was seen to its end.

A row holds what was known at the signal, what the formula and the models stated, and whether the trade earned its
target.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tidegate_models import schema
from tidegate_models.errors import ModelsError
from tidegate_models.label import Label
from tidegate_models.rowsets import RowSet

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

PATTERN = "outcomes-*.parquet"
SCHEMA_KEY = "tidegate.signals.schema"
COLUMNS = tuple(schema.signal_names())

# Columns beside those of the model, by the Arrow type that the engine writes, and whether a row may be without.
_OTHERS: dict[str, tuple[str, bool]] = {
    "event_ns": ("int64", False),
    "timer_end_ns": ("int64", False),
    "sequence": ("uint64", False),
    "coin": ("string", False),
    "instrument": ("string", False),
    "action": ("string", False),
    "window": ("string", False),
    "reference_simulated": ("bool", False),
    "target_bp": ("double", False),
    "fee_bp": ("double", False),
    "timer_minutes": ("double", False),
    "reached": ("bool", False),
    "final_bp": ("double", True),
    "long_bp": ("double", True),
    "short_bp": ("double", True),
    "champion_version": ("uint32", True),
    "champion": ("double", True),
    "challenger_version": ("uint32", True),
    "challenger": ("double", True),
    "stated": ("double", False),
}
_TYPES = _OTHERS | dict.fromkeys(COLUMNS, ("double", True))
_ACTIONS = ("LONG", "SHORT")
# What makes a row the row it is: an engine that reads a capture again writes it again.
_IDENTITY = ["event_ns", "coin", "instrument", "action"]
_DIGESTED = ["event_ns", "timer_end_ns", "reached", "stated", *COLUMNS]


class OutcomesError(ModelsError):
    """A file of outcomes that cannot be used: which, what was found and what was expected."""


@dataclass(frozen=True)
class Outcomes:
    """Rows by time of their signal."""

    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def event_ns(self) -> Ints:
        """When the signals were given."""
        return self.frame["event_ns"].to_numpy(np.int64)

    @property
    def known_ns(self) -> Ints:
        """When the labels were known: the timers' ends."""
        return self.frame["timer_end_ns"].to_numpy(np.int64)

    @property
    def reached(self) -> Doubles:
        """The labels, 1 where the target was earned."""
        return self.frame["reached"].to_numpy(np.float64)

    def values(self, column: str) -> Doubles:
        """A column of numbers; NaN where it is absent."""
        return self.frame[column].to_numpy(np.float64)

    def check_label(self, expected: Label, file: str) -> None:
        """Refuses rows that are about something else: their labels cannot be learnt beside others."""
        columns = ["target_bp", "fee_bp", "timer_minutes"]
        for target, fee, timer in self.frame[columns].drop_duplicates().itertuples(index=False):
            if (target, fee, timer) != (expected.target_bp, expected.fee_bp, expected.timer_minutes):
                raise OutcomesError(f"{file}: rows about {Label(target, fee, int(timer))}, expected {expected}")

    def versions(self) -> Doubles:
        """The version that was in force at each signal; NaN for the formula."""
        return self.values("champion_version")

    def features(self) -> npt.NDArray[np.float32]:
        """The model's columns `[rows,21]`; NaN where they are absent."""
        return self.frame[list(COLUMNS)].to_numpy(np.float32)

    def take(self, rows: Ints | Bools) -> Outcomes:
        """These rows."""
        return Outcomes(self.frame[rows] if rows.dtype == np.bool_ else self.frame.iloc[rows])

    def rowset(self, market: str, recorded: bool) -> RowSet:
        """As rows of a market: its coins are its instruments."""
        coins = self.frame["coin"].astype(str)
        names = sorted(set(coins))
        numbers = {name: number for number, name in enumerate(names)}
        return RowSet(
            features=self.features(),
            labels=self.reached[:, None],
            time_ns=self.event_ns,
            source=np.array([numbers[coin] for coin in coins], np.int64),
            sources=tuple(f"{market} {name}" for name in names),
            recorded=np.full(len(self), recorded),
        )

    def digest(self) -> str:
        """SHA-256 over what a training sees of the rows."""
        total = hashlib.sha256()
        for name in _DIGESTED:
            values = self.frame[name].to_numpy()
            total.update(f"{name}\n".encode())
            total.update(np.ascontiguousarray(values).tobytes())
        return total.hexdigest()

    def label(self) -> str:
        """For contracts: how many, from when to when, and whether their reference price was made up."""
        made_up = int(self.frame["reference_simulated"].to_numpy(np.bool_).sum())
        span = f"{_moment(int(self.event_ns.min()))} to {_moment(int(self.event_ns.max()))}" if len(self) else "none"
        return f"outcomes of signals, {len(self)} rows, {span}, {made_up} with a reference price that is made up"


def _moment(time_ns: int) -> str:
    return datetime.datetime.fromtimestamp(time_ns // 1_000_000_000, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read(path: Path) -> Outcomes:
    """A file of the engine's, checked."""
    try:
        with pq.ParquetFile(path) as file:
            stated = (file.metadata.metadata or {}).get(SCHEMA_KEY.encode())
            found = None if stated is None else stated.decode("utf-8", "replace")
            expected = schema.hashes()["signals"]
            if found != expected:
                raise OutcomesError(f"{path.name}: {SCHEMA_KEY} is {found or 'absent'}, expected {expected}")
            _check_types(path, file.schema_arrow)
            frame = file.read(columns=list(_TYPES), use_threads=False).to_pandas(use_threads=False)
    except (pa.ArrowException, OSError, EOFError) as error:
        raise OutcomesError(f"{path.name}: no Parquet file that can be read: {error}") from error
    _check_values(path, frame)
    return Outcomes(frame)


def _check_types(path: Path, found: pa.Schema) -> None:
    for name, (kind, optional) in _TYPES.items():
        index = found.get_field_index(name)
        if index < 0:
            raise OutcomesError(f"{path.name}: column {name} is absent, expected {kind}")
        stated = str(found.field(index).type).removeprefix("large_").removesuffix("_view")
        if stated != kind and not (optional and stated == "null"):
            raise OutcomesError(f"{path.name}: column {name} is {found.field(index).type}, expected {kind}")


def _check_values(path: Path, frame: pd.DataFrame) -> None:
    for name, (_, optional) in _TYPES.items():
        if not optional and (missing := int(frame[name].isna().sum())):
            raise OutcomesError(f"{path.name}: column {name} is absent in {missing} rows, expected in all")
    for action in sorted(set(frame["action"]) - set(_ACTIONS)):
        raise OutcomesError(f"{path.name}: action is {action!r}, expected {' or '.join(_ACTIONS)}")
    stated = frame["stated"].to_numpy(np.float64)
    for value in stated[~((stated >= 0.0) & (stated <= 1.0))]:
        raise OutcomesError(f"{path.name}: stated is {value}, expected a probability")
    if len(frame) and (frame["timer_end_ns"] < frame["event_ns"]).any():
        raise OutcomesError(f"{path.name}: timer_end_ns is before event_ns, expected at or after it")


def merge(parts: Iterable[Outcomes]) -> Outcomes:
    """All rows by time, each once: of two accounts of a signal the later one holds, as in a run that was begun anew."""
    frames = [part.frame for part in parts if len(part)]
    if not frames:
        return empty()
    whole = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    whole = whole.drop_duplicates(_IDENTITY, keep="last")
    return Outcomes(whole.sort_values([*_IDENTITY, "sequence"], kind="stable", ignore_index=True))


def empty() -> Outcomes:
    """No row, all columns."""
    plain = {"string": "object", "double": "float64", "uint32": "float64"}
    return Outcomes(pd.DataFrame({name: pd.Series(dtype=plain.get(kind, kind)) for name, (kind, _) in _TYPES.items()}))


def read_all(files: Sequence[Path]) -> Outcomes:
    """Several files."""
    return merge(read(path) for path in files)
