from __future__ import annotations

import base64
import dataclasses
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from outcome_files import BEGIN_NS, TIMER_NS, market, write
from tidegate_models import __version__, drift, outcomes, registry, repository
from tidegate_models.live import Watcher, champion_stated
from tidegate_models.outcomes import Outcomes
from tidegate_models.verify import verify
from tidegate_models.watch_settings import LineError, Look, Settings, look_of, settings_of

# A day of events is 144 timers; three coins give nine rows a timer.
SETTINGS = Settings(least_rows=200, drift_rows=90, every_ns=1000 * TIMER_NS, test_share=0.3)
PATIENCE_S = 60.0


def at(timers: int) -> int:
    """The event time at which so many timers have ended."""
    return BEGIN_NS + timers * TIMER_NS


def look(watcher: Watcher, timers: int, champion: int | None = None, busy: bool = False) -> list[dict[str, Any]]:
    return list(watcher.look(Look(at(timers), champion, busy)))


def watcher_of(tmp_path: Path, rows: pd.DataFrame | None = None, **changed: Any) -> Watcher:
    if rows is not None:
        write(tmp_path / "outcomes", rows)
    settings = dataclasses.replace(SETTINGS, **changed)
    return Watcher(settings, tmp_path / "outcomes", tmp_path / "onnx", "confidence")


def rows_of(frame: pd.DataFrame) -> Outcomes:
    return outcomes.merge([Outcomes(frame)])


def test_a_better_model_is_published_and_told(tmp_path: Path) -> None:
    watcher = watcher_of(tmp_path, market(60))
    (event,) = look(watcher, 60)
    folder = tmp_path / "onnx" / "confidence" / "1"
    assert verify(folder).good
    stated = json.loads((folder / "contract.json").read_text())
    assert list(event) == [
        *("event", "model", "version", "why", "column", "rows", "trained_rows", "test_rows", "log_loss"),
        *("champion_log_loss", "brier", "champion_brier", "margin", "drift", "sha256", "took_s"),
    ]
    assert (event["event"], event["model"], event["version"], event["why"]) == ("challenger", "confidence", 1, "first")
    assert event["log_loss"] + 0.05 < event["champion_log_loss"]
    assert event["brier"] < event["champion_brier"]
    assert (event["rows"], event["column"], event["drift"], event["margin"]) == (540, None, None, 0.005)
    assert event["sha256"] == stated["files"]["model.onnx"]["sha256"]
    assert stated["created"] == "2026-01-01T10:00:00Z", "the time of the look, not the clock's"
    for key in ("log_loss", "champion_log_loss", "brier", "champion_brier", "rows", "test_rows", "gain", "gain_low"):
        assert key in stated["metrics"]
    assert stated["training"]["labels"]["rest of the timer"] == 540
    assert look(watcher, 60, champion=1) == [], "one training for one reason"


def test_figures_are_those_of_the_graph_on_later_rows(tmp_path: Path) -> None:
    watcher = watcher_of(tmp_path, market(60))
    (event,) = look(watcher, 60)
    rows = rows_of(market(60))
    test = rows.take(rows.event_ns >= np.sort(rows.event_ns)[len(rows) - event["test_rows"]])
    assert len(test) == event["test_rows"] == round(0.3 * 540)
    p = champion_stated(tmp_path / "onnx", "confidence", 1, test)
    assert event["brier"] == pytest.approx(((p - test.reached) ** 2).mean(), abs=1e-6)
    formula = champion_stated(tmp_path / "onnx", "confidence", None, test)
    assert event["champion_brier"] == pytest.approx(((formula - test.reached) ** 2).mean(), abs=1e-6)


def test_no_model_is_published_where_none_is_better(tmp_path: Path) -> None:
    rows = market(60)
    odds = 1.5 * (rows["momentum"] - 1.0)
    watcher = watcher_of(tmp_path, rows.assign(formula=1.0 / (1.0 + np.exp(-odds))))
    (event,) = look(watcher, 60)
    assert (event["event"], event["version"], event["sha256"]) == ("refused", None, None)
    assert re.fullmatch(
        r"log loss \S+ on 162 later rows, the formula has \S+: better by -\S+, expected at least 0.005", event["text"]
    )
    assert not (tmp_path / "onnx").exists()
    assert look(watcher, 60) == []


def test_a_champion_is_compared_by_its_own_graph(tmp_path: Path) -> None:
    watcher = watcher_of(tmp_path, market(60))
    (first,) = look(watcher, 60)
    assert first["version"] == 1
    # The same law for as long again: what is trained on more rows is not better by the margin.
    write(tmp_path / "outcomes", market(60, first=60, version=1))
    watcher.settings = dataclasses.replace(SETTINGS, every_ns=60 * TIMER_NS, margin=0.05)
    (second,) = look(watcher, 120, champion=1)
    assert (second["event"], second["why"], second["rows"]) == ("refused", "schedule", 1080)
    assert "version 1 has" in second["text"]
    # A law turned round: the version in force is worse than a coin.
    write(tmp_path / "outcomes", market(120, first=120, law=-1.5, version=1))
    watcher.settings = dataclasses.replace(SETTINGS, every_ns=60 * TIMER_NS, window_ns=120 * TIMER_NS)
    (third,) = look(watcher, 240, champion=1)
    assert (third["event"], third["version"]) == ("challenger", 2)
    assert third["champion_log_loss"] > 0.8 > third["log_loss"]
    assert third["rows"] == 1080, "older rows are not used"


def test_a_champion_that_is_not_there_is_told_once_and_nothing_is_trained(tmp_path: Path) -> None:
    watcher = watcher_of(tmp_path, market(60))
    (event,) = look(watcher, 60, champion=7)
    assert event["event"] == "failed"
    assert event["text"].startswith("confidence version 7 cannot be read: FileNotFoundError")
    assert look(watcher, 60, champion=7) == []
    (event,) = look(watcher, 60)
    assert event["why"] == "first", "nothing had been trained"
    path = tmp_path / "onnx" / "confidence" / "1" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    watcher.trained = None
    (event,) = look(watcher, 60, champion=1)
    assert "confidence version 1: model.onnx has SHA-256" in event["text"]


def test_nothing_is_trained_before_it_is_due(tmp_path: Path) -> None:
    watcher = watcher_of(tmp_path, market(60))
    for timers, told in [(10, ["fewer than 200 outcomes are known yet"]), (22, [])]:
        assert [event["text"] for event in look(watcher, timers)] == told, "198 rows are known"
    assert look(watcher, 60, busy=True) == [], "a challenger is on trial"
    (event,) = look(watcher, 60)
    assert event["why"] == "first"
    watcher.settings = dataclasses.replace(SETTINGS, every_ns=10 * TIMER_NS)
    assert look(watcher, 80) == [], "the schedule is there, but no row is new"
    write(tmp_path / "outcomes", market(10, first=60, version=1))
    (event,) = look(watcher, 80, champion=1)
    assert event["why"] == "schedule"


def test_labels_that_were_not_known_yet_are_not_used(tmp_path: Path) -> None:
    rows = market(60)
    watcher = watcher_of(tmp_path, rows)
    (early,) = look(watcher, 40)
    known = Watcher(SETTINGS, tmp_path / "known", tmp_path / "other", "confidence")
    write(tmp_path / "known", rows[rows["timer_end_ns"] <= at(40)])
    (alone,) = look(known, 40)
    assert {**early, "took_s": 0} == {**alone, "took_s": 0}
    assert early["rows"] == 360


def test_what_is_in_the_embargo_changes_nothing(tmp_path: Path) -> None:
    """A column that tells the outcome, but only in rows between the parts, leaves the same model and figures."""
    rows = market(60)
    (plain,) = look(watcher_of(tmp_path / "plain", rows), 60)
    test_from = np.sort(rows["event_ns"])[len(rows) - plain["test_rows"]]
    open_or_late = (rows["event_ns"] < test_from) & (rows["timer_end_ns"] > test_from - SETTINGS.embargo_ns)
    assert open_or_late.sum() >= 9
    planted = rows.copy()
    planted.loc[open_or_late, "depth"] = np.where(rows.loc[open_or_late, "reached"], 90.0, -90.0)
    (found,) = look(watcher_of(tmp_path / "planted", planted), 60)
    assert {**found, "took_s": 0, "sha256": 0} == {**plain, "took_s": 0, "sha256": 0}
    models = [tmp_path / part / "onnx" / "confidence" / "1" / "model.onnx" for part in ("plain", "planted")]
    assert models[0].read_bytes() == models[1].read_bytes()


def test_equal_files_and_looks_give_equal_events_and_versions(tmp_path: Path) -> None:
    told = []
    for part in ("a", "b"):
        watcher = watcher_of(tmp_path / part, market(60))
        events = look(watcher, 60)
        write(tmp_path / part / "outcomes", market(20, first=60, seed=2, version=1).assign(spread_bp=30.0))
        events += look(watcher, 80, champion=1)
        told.append([{**event, "took_s": 0} for event in events])
    assert told[0] == told[1]
    assert len(told[0]) == 2
    for file in ("model.onnx", "contract.json", "golden.json"):
        first, second = (tmp_path / part / "onnx" / "confidence" / "1" / file for part in ("a", "b"))
        assert first.read_bytes() == second.read_bytes(), file


def test_a_population_that_has_changed_is_trained_on_once(tmp_path: Path) -> None:
    watcher = watcher_of(tmp_path, market(60), calibration_limit=1.0)
    assert look(watcher, 60)[0]["why"] == "first"
    write(tmp_path / "outcomes", market(10, first=60, version=1))
    assert look(watcher, 70, champion=1) == [], "the same market"
    write(tmp_path / "outcomes", market(10, first=70, version=1).assign(sigma_left_bp=40.0, spread_bp=9.0))
    (event,) = look(watcher, 80, champion=1)
    assert event["why"] == "population"
    assert event["column"] in ("sigma_left_bp", "spread_bp")
    assert event["drift"] > 0.25
    write(tmp_path / "outcomes", market(20, first=80, version=1).assign(sigma_left_bp=40.0, spread_bp=9.0))
    assert look(watcher, 90, champion=1) == [], "what has stayed as it was at the training is no news"
    assert look(watcher, 100, champion=1) == []
    write(tmp_path / "outcomes", market(10, first=100, version=1).assign(sigma_left_bp=40.0, momentum=9.0))
    (event,) = look(watcher, 110, champion=1)
    assert (event["why"], event["column"]) == ("population", "momentum"), "something else has changed"


def test_probabilities_that_no_longer_come_true_are_noticed(tmp_path: Path) -> None:
    honest = market(60, law=0.0)
    watcher = watcher_of(tmp_path, honest.assign(stated=0.5, formula=0.5), population_limit=100.0)
    assert look(watcher, 60)[0]["why"] == "first"
    write(tmp_path / "outcomes", market(10, first=60, law=0.0).assign(stated=0.5, formula=0.5))
    assert look(watcher, 70) == []
    late = market(10, first=70, law=0.0).assign(stated=0.8, formula=0.8)
    write(tmp_path / "outcomes", late)
    (event,) = look(watcher, 80)
    assert (event["why"], event["column"]) == ("calibration", None)
    assert event["drift"] == pytest.approx(0.8 - late["reached"].mean(), abs=1e-6)
    assert look(watcher, 80) == [], "the next rows have to say it again"


def test_only_the_version_in_force_answers_for_its_calibration(tmp_path: Path) -> None:
    watcher = watcher_of(
        tmp_path, market(60, law=0.0).assign(stated=0.5, formula=0.5), population_limit=100.0, margin=10.0
    )
    look(watcher, 60)
    write(tmp_path / "outcomes", market(10, first=60, law=0.0).assign(stated=0.95, formula=0.95))
    repository.publish(
        tmp_path / "onnx",
        "confidence",
        3,
        *(lambda made: (made.spec, made.model, made.golden_inputs))(registry.untrained("confidence", 1)),
    )
    assert look(watcher, 70, champion=3) == [], "the formula stated it"
    trial = market(10, first=70, law=0.0, version=3).assign(champion=0.5, challenger_version=4, challenger=0.95)
    write(tmp_path / "outcomes", trial.assign(stated=0.95))
    assert look(watcher, 80, champion=3) == [], "a challenger on trial stated it"
    write(tmp_path / "outcomes", trial.assign(stated=0.5, event_ns=trial["event_ns"] + 1))
    assert look(watcher, 80, champion=3) == [], "what the version in force stated came true"
    (event,) = look(watcher, 80)
    assert event["why"] == "calibration"


def test_index_of_a_population() -> None:
    rng = np.random.default_rng(1)
    before, same, other = rng.normal(size=2000), rng.normal(size=400), rng.normal(1.0, 1.0, 400)
    value, chance = drift.index_of(before, same)
    assert value < chance < 0.1
    assert drift.index_of(before, other)[0] > 0.5
    # By hand: two bins of halves, then 9 of 10 in one; a half is added to each count.
    value, _ = drift.index_of(np.repeat([0.0, 1.0], 10), np.repeat([0.0, 1.0], [18, 2]))
    q, p = np.array([10.5, 10.5]) / 21.0, np.array([18.5, 2.5]) / 21.0
    assert value == pytest.approx(((p - q) * np.log(p / q)).sum())
    assert drift.index_of(np.full(100, 3.0), np.full(100, 3.0)) == (0.0, 0.0)
    for moved in (2.9, 3.1):
        assert drift.index_of(np.full(100, 3.0), np.full(100, moved))[0] > 1.0, "a constant that moves either way"
    absent = np.where(np.arange(100) < 50, np.nan, rng.normal(size=100))
    assert drift.index_of(rng.normal(size=100), absent)[0] > 0.5, "absent values are a bin of their own"
    level = 10.0 + 0.001 * rng.normal(size=300)
    assert drift.index_of(level, level + 0.01)[0] > 1.0
    assert drift.index_of(level, level + 0.01, grain=0.1)[0] == 0.0, "not below the grain"
    assert drift.index_of(level, level + 0.2, grain=0.1)[0] > 1.0
    coins = np.concatenate([level, level - 2.0])
    assert drift.index_of(coins, coins + 0.05, grain=0.1)[0] == 0.0
    assert drift.index_of(coins, level, grain=0.1)[0] > 0.5, "a coin is missing"


def test_few_timers_do_not_prove_a_calibration_wrong() -> None:
    rows = market(60, law=0.0).assign(stated=0.7)
    found = drift.calibration(rows_of(rows), 0.1)
    assert found is not None
    assert found.value == pytest.approx(0.7 - rows["reached"].mean())
    assert drift.calibration(rows_of(rows), 0.3) is None, "within the limit"
    assert drift.calibration(rows_of(rows[:36]), 0.0) is None, "four timers"
    # Coins that move as one: twelve timers are twelve witnesses, not 108, and eight of twelve is no proof.
    together = market(12).assign(stated=0.5, reached=lambda r: (r["timer_end_ns"] // TIMER_NS) % 3 > 0)
    assert drift.calibration(rows_of(together), 0.1) is None


def all_reached_late() -> pd.DataFrame:
    rows = market(60)
    return rows.assign(reached=rows["reached"] | (rows.index >= len(rows) - 170))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (all_reached_late(), "all 162 rows of the test part have the same outcome"),
        (market(3), "rows in the training part, expected at least 20"),
        (market(60).assign(formula=np.nan), "0 rows in the test part, expected at least 10"),
    ],
)
def test_what_cannot_be_trained_is_told_once(tmp_path: Path, rows: pd.DataFrame, expected: str) -> None:
    watcher = watcher_of(tmp_path, rows, least_rows=20)
    (event,) = look(watcher, 60)
    assert event["event"] == "skipped"
    assert expected in event["text"]
    assert look(watcher, 60) == []
    write(tmp_path / "outcomes", market(1, first=60).assign(formula=np.nan, reached=True))
    again = [event["text"] for event in look(watcher, 61)]
    assert again != [event["text"]], "anew only with another text"


def test_a_torn_file_is_told_once_and_read_when_it_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "outcomes", market(30))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    write(tmp_path / "outcomes", market(30, first=30))
    watcher = watcher_of(tmp_path, least_rows=500)
    (event, fewer) = look(watcher, 60)
    assert event["event"] == "failed"
    assert event["text"].startswith(f"{path.name}: no Parquet file that can be read")
    assert fewer["text"] == "fewer than 500 outcomes are known yet"
    assert look(watcher, 60) == []
    assert len(watcher.rows) == 270, "the other file was read"
    path.write_bytes(whole)
    (event,) = look(watcher, 60)
    assert (event["why"], event["rows"]) == ("first", 540)


def test_a_file_of_another_schema_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "outcomes", market(1), digest="cd" * 32)
    (event, _) = look(watcher_of(tmp_path), 1)
    assert event["event"] == "failed"
    assert path.name in event["text"]
    assert "cd" * 32 in event["text"]


def test_outcomes_about_something_else_are_told_and_left_alone(tmp_path: Path) -> None:
    rows = market(60)
    strangers = [rows.assign(target_bp=25.0), rows.assign(fee_bp=1.0), rows.assign(timer_minutes=20.0)]
    for number, stranger in enumerate(strangers):
        write(tmp_path / "outcomes", stranger, name=f"outcomes-{number}.parquet")
    watcher = watcher_of(tmp_path, rows)
    *told, trained = look(watcher, 60)
    expected = "10 bp after fees of 5 bp a side, in timers of 10 minutes"
    assert sorted(event["text"] for event in told) == [
        f"outcomes-0.parquet: rows about {expected.replace('10 bp', '25 bp')}, expected {expected}",
        f"outcomes-1.parquet: rows about {expected.replace('5 bp', '1 bp')}, expected {expected}",
        f"outcomes-2.parquet: rows about {expected.replace('10 minutes', '20 minutes')}, expected {expected}",
    ]
    assert (trained["version"], trained["rows"]) == (1, 540)
    contract = json.loads((tmp_path / "onnx" / "confidence" / "1" / "contract.json").read_text())
    assert contract["encoding"]["label"] == {"target_bp": 10.0, "fee_bp": 5.0, "timer_minutes": 10}
    # Told which they are, an engine's watcher takes those.
    (only,) = look(watcher_of(tmp_path / "other", rows.assign(target_bp=25.0), target_bp=25.0), 60)
    assert only["version"] == 1
    contract = json.loads((tmp_path / "other" / "onnx" / "confidence" / "1" / "contract.json").read_text())
    assert contract["encoding"]["label"]["target_bp"] == 25.0


def test_a_repository_that_cannot_be_written_is_an_error_of_each_look_until_it_can(tmp_path: Path) -> None:
    watcher = watcher_of(tmp_path, market(60))
    in_the_way = tmp_path / "onnx"
    in_the_way.write_text("a file")
    for _ in range(2):
        with pytest.raises(OSError, match="onnx"):
            look(watcher, 60)
    in_the_way.unlink()
    (event,) = look(watcher, 60)
    assert (event["event"], event["version"]) == ("challenger", 1), "the rows are not lost"
    assert look(watcher, 60) == [], "the same rows are not trained on again"


def test_versions_are_signed_where_there_is_a_key(tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="cryptography is not installed (pip install 'tidegate-models[sign]')")
    key = tmp_path / "key"
    key.write_bytes(base64.b64encode(bytes(range(32))))
    watcher = watcher_of(tmp_path, market(60))
    watcher.key_file = key
    assert look(watcher, 60)[0]["version"] == 1
    assert (tmp_path / "onnx" / "confidence" / "1" / "contract.json.sig").exists()


def stated(**changed: Any) -> str:
    return json.dumps(dataclasses.asdict(SETTINGS) | changed)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (stated(margin="x"), 'settings.margin: is "x", expected a number from 0 to 10'),
        (stated(margin=-0.1), "settings.margin: is -0.1, expected a number from 0 to 10"),
        (stated(margin=None), "settings.margin: is null"),
        (stated(least_rows=1.5), "settings.least_rows: is 1.5, expected a whole number"),
        (stated(least_rows=True), "settings.least_rows: is true"),
        (stated(test_share=1.0), "settings.test_share: is 1.0, expected a number from 0.05 to 0.9"),
        (stated(population_limit=float("nan")), "settings.population_limit: is NaN"),
        (stated(core=-1), "settings.core: is -1"),
        (stated(speed=1), "settings.speed: there is no such setting"),
        ('{"margin": 0.1}', "settings.every_ns: is absent"),
        ("[1]", "settings: is [1], expected an object"),
        ("margin", "settings: no JSON"),
    ],
)
def test_bad_settings_are_named(line: str, expected: str) -> None:
    with pytest.raises(LineError, match=re.escape(expected)):
        settings_of(line)


def test_good_lines_are_understood() -> None:
    assert settings_of(stated()) == SETTINGS
    assert settings_of(stated(core=1, margin=0)).core == 1
    assert look_of('{"look": {"event_ns": 5, "champion": null, "busy": false}}') == Look(5, None, False)
    assert look_of('{"look": {"event_ns": 5, "champion": 3, "busy": true}}') == Look(5, 3, True)
    for line, expected in [
        ("{}", "look: is null"),
        ('{"look": {"event_ns": 5}}', "look.champion: is absent"),
        ('{"look": {"event_ns": "5", "champion": null, "busy": false}}', 'look.event_ns: is "5"'),
        ('{"look": {"event_ns": 5, "champion": 0, "busy": false}}', "look.champion: is 0"),
        ('{"look": {"event_ns": 5, "champion": null, "busy": 1}}', "look.busy: is 1"),
    ]:
        with pytest.raises(LineError, match=re.escape(expected)):
            look_of(line)


class Process:
    """A watch as an engine starts it."""

    def __init__(self, tmp_path: Path, *options: str) -> None:
        self.log = tmp_path / "logs" / "training.log"
        places = {"--outcomes": tmp_path / "outcomes", "--out": tmp_path / "onnx", "--log": self.log}
        stated = [str(part) for option in places.items() for part in option]
        self.running = subprocess.Popen(
            [sys.executable, "-m", "tidegate_models.cli", "watch", *stated, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.running.stdout is not None
        for line in self.running.stdout:
            self._lines.put(line)

    def say(self, line: str) -> None:
        assert self.running.stdin is not None
        self.running.stdin.write(f"{line}\n")
        self.running.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """The next line, which must come soon: nothing stays in a buffer."""
        heard: dict[str, Any] = json.loads(self._lines.get(timeout=PATIENCE_S))
        return heard

    def end(self) -> tuple[int, list[str], str]:
        """Closes standard input: exit code, what was said and not heard, and what was written elsewhere."""
        assert self.running.stdin is not None
        assert self.running.stderr is not None
        self.running.stdin.close()
        code = self.running.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code, list(self._lines.queue), self.running.stderr.read()


def ask(timers: int, champion: int | None, busy: bool = False) -> str:
    return json.dumps({"look": {"event_ns": at(timers), "champion": champion, "busy": busy}})


def test_a_process_keeps_to_the_protocol(tmp_path: Path) -> None:
    write(tmp_path / "outcomes", market(60))
    (tmp_path / "outcomes" / "outcomes-1.parquet").write_bytes(b"torn")
    core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    process = Process(tmp_path)
    process.say(stated(core=core))
    python = ".".join(str(part) for part in sys.version_info[:3])
    assert process.hear() == {"event": "ready", "version": __version__, "python": python}
    if core is not None:
        tasks = list(Path(f"/proc/{process.running.pid}/task").iterdir())
        allowed = {re.search(r"Cpus_allowed_list:\t(.*)", (task / "status").read_text())[1] for task in tasks}  # type: ignore[index]
        assert allowed == {str(core)}, "every thread of every library"
        assert os.getpriority(os.PRIO_PROCESS, process.running.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
    process.say(ask(10, None))
    told = process.hear()
    assert (told["event"], told["text"][:19]) == ("failed", "outcomes-1.parquet:")
    assert process.hear() == {"event": "skipped", "text": "fewer than 200 outcomes are known yet"}
    assert process.hear() == {"event": "looked", "event_ns": at(10)}
    process.say(ask(60, None))
    told = process.hear()
    assert (told["event"], told["version"]) == ("challenger", 1)
    assert process.hear() == {"event": "looked", "event_ns": at(60)}
    process.say("nonsense")
    assert process.hear()["text"].startswith("line: no JSON")
    process.say(ask(60, 1))
    assert process.hear() == {"event": "looked", "event_ns": at(60)}
    code, out, errors = process.end()
    assert (code, out, errors) == (0, [], "")
    lines = process.log.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \w", line) for line in lines)
    words = [line.split(" ")[1].rstrip(":") for line in lines]
    assert words == ["settings", "ready", "failed", "skipped", "challenger", "failed", "ended"]
    assert verify(tmp_path / "onnx" / "confidence" / "1").good


def test_a_process_ends_with_2_for_bad_settings_and_0_for_none(tmp_path: Path) -> None:
    bad, none, core = Process(tmp_path), Process(tmp_path), Process(tmp_path)
    bad.say(stated(margin=-1))
    core.say(stated(core=4095))
    assert none.end()[:2] == (0, [])
    code, out, _ = bad.end()
    assert code == 2
    assert [json.loads(line) for line in out] == [
        {"event": "failed", "text": "settings.margin: is -1, expected a number from 0 to 10"}
    ]
    if hasattr(os, "sched_setaffinity"):
        code, out, _ = core.end()
        assert code == 2
        assert json.loads(out[0])["text"].startswith("settings.core: is 4095, which this process may not run on")


def test_without_an_engine_it_looks_by_itself(tmp_path: Path) -> None:
    write(tmp_path / "outcomes", market(60))
    process = Process(tmp_path, "--poll", "0.1", "--name", "trial")
    assert process.hear()["event"] == "ready"
    told = process.hear()
    assert (told["event"], told["model"], told["version"]) == ("challenger", "trial", 1)
    assert process.hear() == {"event": "looked", "event_ns": at(60)}
    time.sleep(0.3)
    write(tmp_path / "outcomes", market(1, first=60))
    assert process.hear() == {"event": "looked", "event_ns": at(61)}, "only when labels have come"
    process.running.terminate()
    assert process.end()[:2] == (0, [])


def test_by_itself_it_wants_a_folder_that_is_there(tmp_path: Path) -> None:
    code, out, said = Process(tmp_path, "--poll", "0.1").end()
    assert (code, out) == (1, [])
    assert said.endswith(f"--outcomes {tmp_path / 'outcomes'}: no such folder\n")


def test_the_version_in_force_is_the_pointers(tmp_path: Path) -> None:
    assert repository.in_force(tmp_path, "confidence") is None
    artifact = registry.untrained("confidence", 1)
    for version in (1, 2):
        repository.publish(tmp_path, "confidence", version, artifact.spec, artifact.model, artifact.golden_inputs)
    assert repository.in_force(tmp_path, "confidence") is None, "none was tried"
    repository.set_current(tmp_path, "confidence", 2)
    assert repository.in_force(tmp_path, "confidence") == 2
    (tmp_path / "confidence" / "CURRENT").write_text("two\n")
    with pytest.raises(repository.RepositoryError, match="'two', expected a version"):
        repository.in_force(tmp_path, "confidence")


def test_no_heavy_library_is_loaded_before_it_is_known_where_it_may_run() -> None:
    code = "import sys, tidegate_models.cli, tidegate_models.watch; print([m for m in sys.modules if m in sys.argv])"
    heavy = ["numpy", "onnx", "onnxruntime", "pandas", "scipy", "sklearn", "xgboost"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
