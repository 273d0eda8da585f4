"""Live training: reads outcomes as they come, decides when to train, and offers what beats the version in force.

Everything follows event time and the rows: equal files and equal looks give equal events, but for the time they took.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tidegate_models import confidence, contract, curves, drift, outcomes, repository, rowsets, schema, stats
from tidegate_models.artifact import Artifact
from tidegate_models.confidence import Doubles, TrainingError
from tidegate_models.errors import ModelsError
from tidegate_models.label import Label
from tidegate_models.outcomes import COLUMNS, Outcomes, OutcomesError
from tidegate_models.report import rounded
from tidegate_models.rowsets import RowSet
from tidegate_models.runtime import predict_rows
from tidegate_models.splits import Fold, newest_last
from tidegate_models.watch_settings import Look, Settings

Event = dict[str, Any]

# Fewer rows than these say nothing; how many are worth a training is for `least_rows` to say.
_LEAST_TRAIN, _LEAST_CHECK, _LEAST_TEST = 20, 10, 10
_SEED = 1


class ChampionError(ModelsError):
    """The version in force cannot be compared with, and why."""


class Folder:
    """The engine's files; each is read once, and one that cannot be read is told of once."""

    def __init__(self, path: Path, label: Label) -> None:
        self.path, self.label = path, label
        self._seen: set[tuple[str, int, int]] = set()

    def new(self) -> Iterator[Outcomes | OutcomesError]:
        """What has come since the last time. A file that is another under its old name is a new one."""
        for found, path in sorted(self._listed(), key=lambda one: (one[0].st_mtime_ns, one[1])):
            state = (path.name, found.st_size, found.st_mtime_ns)
            if state in self._seen:
                continue
            self._seen.add(state)
            try:
                rows = outcomes.read(path)
                rows.check_label(self.label, path.name)
                yield rows
            except OutcomesError as error:
                if isinstance(error.__cause__, OSError):
                    # Not the file's fault: it may well be read the next time.
                    self._seen.discard(state)
                yield error

    def _listed(self) -> Iterator[tuple[os.stat_result, Path]]:
        for path in self.path.glob(outcomes.PATTERN):
            # One may be tidied away since it was listed.
            with contextlib.suppress(FileNotFoundError):
                yield path.stat(), path


@dataclass(frozen=True)
class Trained:
    """The last training: when, on which rows, and what was newest then."""

    at_ns: int
    rows: Outcomes
    newest: Outcomes


@dataclass(frozen=True)
class Due:
    """Why a training is due; for drift, what has changed and by how much."""

    why: str
    drift: drift.Drift | None = None


@dataclass(frozen=True)
class Score:
    """A version on test rows: what it says of them."""

    stated: Doubles
    outcome: Doubles

    def log_loss(self) -> float:
        """Mean, nats."""
        return float(stats.log_loss(self.stated, self.outcome).mean())

    def brier(self) -> float:
        """Mean squared error."""
        return float(stats.brier(self.stated, self.outcome).mean())


def newest(rows: Outcomes, count: int) -> Outcomes:
    """The newest rows: rows are in their order in time."""
    return rows.take(np.arange(max(0, len(rows) - count), len(rows)))


def champion_stated(root: Path, name: str, version: int | None, rows: Outcomes) -> Doubles:
    """What the version in force says of rows, by its own graph; the formula's confidence where none is.

    It may have been trained on some of these rows itself, which favours nobody but it.
    """
    if version is None:
        return rows.values("formula")
    folder = root / name / str(version)
    try:
        stated = json.loads((folder / repository.CONTRACT_FILE).read_bytes())
        model = (folder / repository.MODEL_FILE).read_bytes()
        encoding = stated["encoding"]
        columns = [contract.Column(**column) for column in encoding["columns"]]
        promised, named = stated["files"][repository.MODEL_FILE]["sha256"], stated["schemas"].get("signals")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ChampionError(f"{name} version {version} cannot be read: {type(error).__name__}: {error}") from error
    if (found := hashlib.sha256(model).hexdigest()) != promised:
        raise ChampionError(f"{name} version {version}: model.onnx has SHA-256 {found}, the contract says {promised}")
    if named != (expected := schema.hashes()["signals"]):
        raise ChampionError(f"{name} version {version}: schemas.signals is {named}, expected {expected}")
    values = rows.features()[:, [COLUMNS.index(column.name) for column in columns]]
    fill = np.array([column.fill for column in columns], np.float32)
    return predict_rows(model, np.where(np.isfinite(values), values, fill).astype(np.float32))[:, 0]


class Watcher:
    """What is known of outcomes and trainings, from look to look."""

    def __init__(self, settings: Settings, folder: Path, root: Path, name: str, key_file: Path | None = None) -> None:
        self.settings, self.root, self.name, self.key_file = settings, root, name, key_file
        self.folder = Folder(folder, settings.label)
        self.rows = outcomes.empty()
        self.trained: Trained | None = None
        self._told: tuple[str, str] | None = None

    def read(self) -> list[Event]:
        """Takes in new files; tells of those that cannot be read."""
        found = list(self.folder.new())
        if new := [rows for rows in found if isinstance(rows, Outcomes)]:
            self.rows = outcomes.merge([self.rows, *new])
        return [_event("failed", text=str(error)) for error in found if isinstance(error, OutcomesError)]

    def newest_ns(self) -> int | None:
        """When the last label that has been read was known."""
        return int(self.rows.known_ns.max()) if len(self.rows) else None

    def look(self, look: Look) -> Iterator[Event]:
        """What there is to say as of a moment: nothing, mostly."""
        yield from self.read()
        oldest = look.event_ns - self.settings.window_ns
        # Rows that are too old for this look are too old for all later ones.
        self.rows = self.rows.take(self.rows.event_ns >= oldest)
        # A label is used from the time on at which it was known, whenever its file was written.
        known = self.rows.take(self.rows.known_ns <= look.event_ns)
        if look.busy:
            return
        if self.trained is None and len(known) < self.settings.least_rows:
            # Without a number: it is told once, not at each look.
            text = f"fewer than {self.settings.least_rows} outcomes are known yet"
            yield from self._told_once(_event("skipped", text=text))
        elif (due := self._due(known, look)) is not None:
            yield from self._told_once(self._train(due, known, look))

    def _told_once(self, event: Event) -> list[Event]:
        """A reason why nothing could be trained is told when it changes."""
        if event["event"] not in ("skipped", "failed"):
            self._told = None
            return [event]
        telling = (event["event"], event["text"])
        before, self._told = self._told, telling
        return [] if telling == before else [event]

    def _due(self, rows: Outcomes, look: Look) -> Due | None:
        settings, trained = self.settings, self.trained
        if trained is None:
            return Due("first")
        later = rows.take(rows.known_ns > trained.at_ns)
        if not len(later):
            return None
        if look.event_ns - trained.at_ns >= settings.every_ns:
            return Due("schedule")
        if len(later) >= settings.drift_rows:
            recent = newest(later, settings.drift_rows)
            found = drift.population(trained.rows, trained.newest, recent, look.champion, settings.population_limit)
            if found is not None:
                return Due(found.kind, found)
        own = drift.stated_by(later, look.champion)
        if len(own) >= settings.drift_rows:
            found = drift.calibration(newest(own, settings.drift_rows), settings.calibration_limit)
            if found is not None:
                return Due(found.kind, found)
        return None

    def _train(self, due: Due, rows: Outcomes, look: Look) -> Event:
        """Trains, compares out of sample, and publishes what is better."""
        began = time.monotonic()
        try:
            fold = self._fold(rows)
            stated = champion_stated(self.root, self.name, look.champion, rows.take(fold.test))
            # The formula states nothing where the engine could not compute it: no comparison is possible there.
            fold = replace(fold, test=fold.test[np.isfinite(stated)])
            champion = Score(stated[np.isfinite(stated)], rows.take(fold.test).reached)
            self._check_parts(rows, fold)
        except TrainingError as error:
            return _event("skipped", text=str(error))
        except ModelsError as error:
            return _event("failed", text=str(error))
        # From here on it counts as a training, whatever it shows: the same rows are not trained on again. One that
        # breaks off counts as none, and is tried again at the next look.
        before, self.trained = self.trained, Trained(look.event_ns, rows, newest(rows, self.settings.drift_rows))
        try:
            return self._compare(due, rows, look, fold, champion, began)
        except Exception:
            self.trained = before
            raise

    def _compare(self, due: Due, rows: Outcomes, look: Look, fold: Fold, champion: Score, began: float) -> Event:
        """Trains the challenger and sets it beside the version in force."""
        artifact, challenger = self._fit(rows, fold, look)
        figures = _figures(rows, fold, champion, challenger, self.settings.margin)
        told = {
            "model": self.name,
            "version": None,
            "why": due.why,
            "column": due.drift.column if due.drift else None,
            **figures,
            "drift": rounded(due.drift.value) if due.drift else None,
            "sha256": None,
        }
        gain = champion.log_loss() - challenger.log_loss()
        if gain >= self.settings.margin:
            told["version"] = self._publish(artifact, look, champion, challenger, rows.take(fold.test), figures)
            told["sha256"] = hashlib.sha256(artifact.model).hexdigest()
            return _event("challenger", **told, took_s=_since(began))
        in_force = "the formula" if look.champion is None else f"version {look.champion}"
        text = (
            f"log loss {challenger.log_loss():.6g} on {len(fold.test)} later rows, {in_force} has "
            f"{champion.log_loss():.6g}: better by {gain:.6g}, expected at least {self.settings.margin:g}"
        )
        return _event("refused", **told, took_s=_since(began), text=text)

    def _fold(self, rows: Outcomes) -> Fold:
        return newest_last(rows.event_ns, rows.known_ns, self.settings.embargo_ns, self.settings.test_share)

    @staticmethod
    def _check_parts(rows: Outcomes, fold: Fold) -> None:
        parts = {
            "training": (fold.train, _LEAST_TRAIN),
            "check": (fold.check, _LEAST_CHECK),
            "test": (fold.test, _LEAST_TEST),
        }
        for name, (index, least) in parts.items():
            if len(index) < least:
                raise TrainingError(f"{len(index)} rows in the {name} part, expected at least {least}")
            if len(set(rows.take(index).reached)) < 2:
                raise TrainingError(f"all {len(index)} rows of the {name} part have the same outcome")

    def _fit(self, rows: Outcomes, fold: Fold, look: Look) -> tuple[Artifact, Score]:
        """The challenger as it would be published, and what exactly this graph says of the test rows."""
        train, check, test = (_rowset(rows.take(part)) for part in (fold.train, fold.check, fold.test))
        columns = rowsets.fills(COLUMNS, train, {})
        chosen = confidence.fit(train.filled(columns).known(0), check.filled(columns).known(0), _SEED)
        made_up = int(rows.frame["reference_simulated"].to_numpy(np.bool_).sum())
        in_force = "the formula" if look.champion is None else f"version {look.champion}"
        training = contract.Training(
            sources=[rows.label(), f"live: compared with {in_force} on the newest {len(fold.test)} rows"],
            digest=rows.digest(),
            labels={"rest of the timer": len(rows), "of them with a reference price that is made up": made_up},
            seed=_SEED,
        )
        artifact = confidence.build(self.name, chosen, columns, training, check.filled(columns), self.settings.label)
        features = test.filled(columns).features
        return artifact, Score(predict_rows(artifact.model, features)[:, 0], test.labels[:, 0])

    def _publish(
        self, artifact: Artifact, look: Look, champion: Score, challenger: Score, test: Outcomes, figures: Event
    ) -> int:
        """Writes the next version; the engine takes it on trial. Its date is the look's, not the clock's."""
        gain = stats.log_loss(champion.stated, champion.outcome) - stats.log_loss(challenger.stated, challenger.outcome)
        # Rows of a timer are one witness.
        interval = stats.bootstrap_mean(gain, test.known_ns, _SEED)
        extra = {"gain": interval.value, "gain_low": interval.low, "gain_high": interval.high}
        metrics = {key: float(value) for key, value in (figures | extra).items() if np.isfinite(value)}
        artifact = artifact.with_metrics(rounded(artifact.spec.metrics | metrics))
        version = repository.next_version(self.root, self.name)
        repository.publish(
            self.root,
            self.name,
            version,
            artifact.spec,
            artifact.model,
            artifact.golden_inputs,
            key_file=self.key_file,
            created=datetime.datetime.fromtimestamp(look.event_ns // 1_000_000_000, datetime.UTC),
            training=lambda content: curves.document(artifact.history, content),
        )
        return version


def _rowset(rows: Outcomes) -> RowSet:
    return rows.rowset("live", recorded=True)


def _figures(rows: Outcomes, fold: Fold, champion: Score, challenger: Score, margin: float) -> Event:
    found: Event = {
        "rows": len(rows),
        "trained_rows": len(fold.train),
        "test_rows": len(fold.test),
        "log_loss": challenger.log_loss(),
        "champion_log_loss": champion.log_loss(),
        "brier": challenger.brier(),
        "champion_brier": champion.brier(),
        "margin": margin,
    }
    figures: Event = rounded(found)
    return figures


def _event(kind: str, **told: Any) -> Event:
    return {"event": kind, **told}


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)
