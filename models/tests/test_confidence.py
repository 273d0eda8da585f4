from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from outcome_files import BEGIN_NS, TIMER_NS, market, write
from tidegate_models import (
    binary,
    confidence,
    confidence_data,
    contract,
    curves,
    logistic,
    outcomes,
    registry,
    repository,
    schema,
    splits,
)
from tidegate_models.cli import main
from tidegate_models.logistic import Logistic
from tidegate_models.onnx_tools import opsets, to_bytes
from tidegate_models.outcomes import COLUMNS, Outcomes, OutcomesError
from tidegate_models.runtime import predict_rows, run, session
from tidegate_models.verify import verify

MOMENTUM = COLUMNS.index("momentum")


def rows_of(frame: pd.DataFrame) -> Outcomes:
    return outcomes.merge([Outcomes(frame)])


def pair(seed: int, count: int, law: str = "linear") -> tuple[np.ndarray, np.ndarray]:
    """Features and outcomes by a law: a line in one column, or a pattern that no line follows."""
    rng = np.random.default_rng(seed)
    features = rng.lognormal(0.0, 0.7, (count, len(COLUMNS))).astype(np.float32)
    features[:, MOMENTUM] = rng.normal(size=count)
    x = features[:, MOMENTUM]
    odds = 1.5 * x if law == "linear" else np.where(np.abs(x) < 0.6, 3.0, -3.0)
    return features, (rng.random(count) < 1.0 / (1.0 + np.exp(-odds))).astype(np.float64)


def test_schema_of_signals_is_the_engines() -> None:
    signals = schema.document()["signals"]
    assert schema.hash_of(signals["features"]) == signals["hash"] == schema.hashes()["signals"]
    assert [column["index"] for column in signals["features"]] == list(range(21))
    assert (COLUMNS[0], COLUMNS[12], COLUMNS[20]) == ("book_imbalance", "formula", "sigma_left_bp")


def test_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    first, second = market(2), market(3, first=2)
    later, earlier = write(tmp_path, second), write(tmp_path, first)
    known = outcomes.read_all([later, earlier])
    assert len(known) == len(first) + len(second)
    assert (np.diff(known.event_ns) > 0).all(), "in the order of time, whatever the order of files"
    assert known.features().shape == (len(known), 21)
    assert np.isnan(known.features()[:, COLUMNS.index("volatility")]).any(), "what is absent stays so"
    assert np.isnan(known.versions()).all()
    again = outcomes.read_all([earlier, later, write(tmp_path, second, name="outcomes-1.parquet")])
    assert len(again) == len(known), "a row that was written twice counts once"
    assert again.digest() == known.digest()
    assert outcomes.read_all([earlier]).digest() != known.digest()
    assert known.label().startswith(
        "outcomes of signals, 45 rows, 2026-01-01T00:01:00Z to 2026-01-01T00:48:00Z, 0 with"
    )


def test_a_file_of_another_schema_is_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, market(1), digest="ab" * 32)
    with pytest.raises(OutcomesError) as caught:
        outcomes.read(path)
    for part in (path.name, "ab" * 32, schema.hashes()["signals"], outcomes.SCHEMA_KEY):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: rows.assign(stated=1.5), "stated is 1.5, expected a probability"),
        (lambda rows: rows.assign(action="NEUTRAL"), "action is 'NEUTRAL', expected LONG or SHORT"),
        (lambda rows: rows.assign(timer_end_ns=BEGIN_NS), "timer_end_ns is before event_ns"),
        (lambda rows: rows.assign(reached=None), "column reached is absent in 9 rows"),
    ],
)
def test_impossible_rows_are_refused(tmp_path: Path, change: object, expected: str) -> None:
    path = write(tmp_path, change(market(1)))  # type: ignore[operator]
    with pytest.raises(OutcomesError, match=expected):
        outcomes.read(path)


def test_missing_columns_and_torn_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, market(1))
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["momentum"]), path)
    with pytest.raises(OutcomesError, match="column momentum is absent, expected double"):
        outcomes.read(path)
    pq.write_table(table.set_column(2, "sequence", table["sequence"].cast(pa.int64())), path)
    with pytest.raises(OutcomesError, match="column sequence is int64, expected uint64"):
        outcomes.read(path)
    whole = write(tmp_path, market(1)).read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"no parquet"):
        path.write_bytes(content)
        with pytest.raises(OutcomesError, match="no Parquet file that can be read"):
            outcomes.read(path)


def test_no_label_of_a_part_is_open_within_the_embargo_of_the_next() -> None:
    rows = rows_of(market(60))
    fold = splits.newest_last(rows.event_ns, rows.known_ns, TIMER_NS, 0.3, 0.25)
    train, check, test = (rows.take(index) for index in (fold.train, fold.check, fold.test))
    assert len(train) > len(check) > 0
    assert len(test) == pytest.approx(0.3 * len(rows), abs=3)
    assert train.known_ns.max() <= check.event_ns.min() - TIMER_NS
    assert check.known_ns.max() <= test.event_ns.min() - TIMER_NS
    used = np.concatenate([fold.train, fold.check, fold.test])
    assert len(set(used)) == len(used) < len(rows), "no row is in two parts, those of the embargo are in none"
    assert not len(splits.newest_last(rows.event_ns[:9], rows.known_ns[:9], TIMER_NS).train)


def test_what_is_only_known_within_the_embargo_cannot_be_used() -> None:
    """A column that tells the outcome in rows of the embargo, and nowhere else, changes nothing of the model."""
    rows = rows_of(market(60))
    fold = splits.newest_last(rows.event_ns, rows.known_ns, TIMER_NS)
    inside = np.setdiff1d(np.arange(len(rows)), np.concatenate([fold.train, fold.check, fold.test]))
    assert len(inside) >= 18
    planted = rows.frame.copy()
    planted.loc[inside, "depth"] = np.where(rows.reached[inside] > 0.5, 50.0, -50.0)
    planted.loc[inside, "reached"] = rows.reached[inside] < 0.5

    def trained(known: Outcomes) -> bytes:
        features, reached = np.nan_to_num(known.features()), known.reached
        train, check = ((features[index], reached[index]) for index in (fold.train, fold.check))
        return to_bytes(confidence.fit(train, check, seed=1).onnx())

    assert trained(Outcomes(planted)) == trained(rows)


def test_the_better_form_is_chosen() -> None:
    few = confidence.fit(pair(1, 150), pair(2, 80), seed=1)
    assert few.form == "logistic"
    assert few.metrics() == {
        "chosen_logistic": 1.0,
        "check_log_loss_logistic": pytest.approx(few.check_loss["logistic"], abs=1e-5),
        "check_log_loss_boosting": pytest.approx(few.check_loss["boosting"], abs=1e-5),
    }
    many = confidence.fit(pair(1, 1500, "bent"), pair(2, 500, "bent"), seed=1)
    assert many.form == "boosting"
    for chosen in (few, many):
        train, check = chosen.fitted.curve["train"], chosen.fitted.curve["check"]
        assert len(train) == len(check) > 2
        assert train[-1] < train[0], "a curve of training for the screens"
    with pytest.raises(confidence.TrainingError, match="all 80 rows of the check part have the same outcome"):
        confidence.fit(pair(1, 150), (pair(2, 80)[0], np.zeros(80)), seed=1)


@pytest.mark.parametrize("law", ["linear", "bent"])
def test_graph_gives_what_the_trained_form_gives(law: str) -> None:
    chosen = confidence.fit(pair(1, 1500, law), pair(2, 500, law), seed=1)
    content = to_bytes(chosen.onnx())
    features = pair(3, 200, law)[0]
    features[0], features[1], features[2] = 0.0, 1e6, -1e6
    found = predict_rows(content, features)[:, 0]
    np.testing.assert_allclose(found, chosen.fitted.predict(features), atol=2e-5)
    assert ((found > 0.0) & (found < 1.0)).all()
    assert run(session(content), {"features": features[:1]})["probability"].shape == (1, 1)
    assert opsets(chosen.onnx())["ai.onnx"] == 18


def test_a_column_that_never_changes_in_training_has_no_weight() -> None:
    features, outcome = pair(1, 300)
    features[:, 0] = 7.0
    fitted = logistic.fit((features, outcome), pair(2, 50), confidence.LOGGED)
    features[:, 0] = -3.0
    moved = fitted.raw(features)
    features[:, 0] = 7.0
    np.testing.assert_array_equal(moved, fitted.raw(features))


def test_calibration_repairs_what_is_too_sure_and_little_says_little() -> None:
    rng = np.random.default_rng(1)
    truth = rng.uniform(0.2, 0.8, 20_000)
    outcome = (rng.random(20_000) < truth).astype(float)
    logit = np.log(truth / (1 - truth))
    sure = 1 / (1 + np.exp(-(3 * logit + 1)))
    fitted = logistic.calibrate(sure, outcome)
    assert fitted(sure) == pytest.approx(truth, abs=0.02)
    few = logistic.calibrate(np.full(4, 0.5), np.array([1.0, 1.0, 1.0, 0.0]))
    assert 0.5 < few(np.array([0.5]))[0] < 0.7, "four rows lead only some way from what the model says"
    wrong = logistic.calibrate(1 - truth, outcome)
    assert wrong.slope == 0.0
    assert wrong(truth)[0] == pytest.approx(outcome.mean(), abs=1e-3), "the rate alone, not a curve that falls"
    assert logistic.calibrate(np.full(30, 0.5), np.zeros(30))(np.array([0.5]))[0] < 0.2


def test_logistic_graph_computes_the_definition() -> None:
    columns = len(COLUMNS)
    weights = np.zeros(columns)
    weights[MOMENTUM], spread_bp = 2.0, COLUMNS.index("spread_bp")
    weights[spread_bp] = -1.0
    fitted = Logistic(
        confidence.LOGGED, np.zeros(columns), np.full(columns, 2.0), weights, 0.25, binary.Calibration(0.5, -0.1)
    )
    row = np.zeros((1, columns), np.float32)
    row[0, MOMENTUM], row[0, spread_bp] = 3.0, np.e**2
    odds = 2.0 * 3.0 / 2.0 - 2.0 / 2.0 + 0.25
    expected = 1.0 / (1.0 + np.exp(-(0.5 * odds - 0.1)))
    assert predict_rows(to_bytes(logistic.to_onnx(fitted, "probability")), row)[0, 0] == pytest.approx(
        expected, abs=1e-6
    )


def test_contract_names_the_new_source(tmp_path: Path) -> None:
    artifact = registry.untrained("confidence", 7)
    folder = repository.publish(tmp_path, artifact.name, 1, artifact.spec, artifact.model, artifact.golden_inputs)
    stated = json.loads((folder / "contract.json").read_text())
    assert (stated["kind"], stated["encoding"]["source"]) == ("row", "signals")
    assert stated["schemas"] == {"signals": schema.hashes()["signals"]}
    assert [column["name"] for column in stated["encoding"]["columns"]] == list(COLUMNS)
    assert stated["outputs"] == [{"name": "probability", "type": "float32", "shape": [1, 1], "range": [0.0, 1.0]}]
    assert verify(folder).good
    stated["encoding"]["source"] = "tides"
    assert any("encoding.source is 'tides', expected one of" in reason for reason in contract.refusals(stated))


def _signal_sets(folder: Path) -> list[confidence_data.SignalSet]:
    sets = []
    for number, source in enumerate(confidence_data.ALL):
        path = write(folder / source.name, market(16, seed=number).assign(reference_simulated=True))
        sets.append(confidence_data.SignalSet(source, f"{number:064}", outcomes.read(path)))
    return sets


def test_training_and_report_on_outcomes_of_all_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = _signal_sets(tmp_path / "sets")
    monkeypatch.setattr(confidence_data, "load", lambda data: sets)
    data = registry.DataOptions(None, tmp_path, tmp_path)
    artifact = registry.train("confidence", data, 1, tmp_path, True)
    assert artifact.spec.encoding["source"] == "signals"
    assert not {source.label for source in confidence_data.SIMULATED_TEST} & set(artifact.spec.training.sources)
    assert artifact.spec.training.sources[-1].startswith("form: ")
    metrics = registry.evaluate(artifact, data, 1, tmp_path, tmp_path / "reports")
    assert metrics["simulated_600s_brier"] < metrics["simulated_600s_brier_base"], "the law is found"
    assert {"chosen_logistic", "chosen_boosting"} & set(metrics)
    report = (tmp_path / "reports" / "confidence" / "README.md").read_text()
    for part in ("formula, 600 s", "log loss gain over it", "Recorded rows are dozens", "made up in all rows"):
        assert part in report
    again = registry.train("confidence", data, 1, tmp_path, True)
    assert again.model == artifact.model
    artifact.with_metrics(metrics).save(tmp_path / "work")
    options = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "onnx")]
    assert main(["export", "confidence", *options]) == 0
    folder = tmp_path / "onnx" / "confidence" / "1"
    told = json.loads((folder / "training.json").read_text())
    assert told == curves.from_report(folder, tmp_path / "reports"), "the report is of this version, figure for figure"


def test_each_market_is_run_with_a_reference_of_either_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tmp_path / "engine"
    engine.write_bytes(b"an engine")
    recorded = tmp_path / "data" / "ob_analytics" / "2015-05-01.log.xz"
    recorded.parent.mkdir(parents=True)
    recorded.write_bytes(b"a capture")
    asked: list[list[str]] = []

    def run_engine(program: Path, arguments: list[str | Path]) -> None:
        assert program == engine
        asked.append([str(argument) for argument in arguments])
        rows = market(2)
        write(Path(arguments[-1]), rows.assign(action="LONG" if len(asked) == 1 else "SHORT"))

    monkeypatch.setattr(confidence_data, "run_engine", run_engine)
    data = registry.DataOptions(engine, tmp_path / "cache", tmp_path / "data")
    (made,) = confidence_data.load(data, (confidence_data.BITSTAMP,))
    assert [arguments[:-1] for arguments in asked] == [
        ["signals", "--input", str(recorded), "--simulated-reference", price, "--seed", "1", "--outcomes"]
        for price in ("5", "10000000")
    ]
    assert sorted(set(made.outcomes.frame["action"])) == ["LONG", "SHORT"]
    assert len(made.outcomes) == 36
    (again,) = confidence_data.load(data, (confidence_data.BITSTAMP,))
    assert (len(asked), again.digest) == (2, made.digest), "the second time it comes from the cache"


def test_the_engine_writes_what_is_read_here(engine: Path, tmp_path: Path) -> None:
    """A simulated market of one timer: each of its two coins has a signal a window, and the same for the other side."""
    source = confidence_data.SignalSource("sim-7", seed=7, seconds=610, calm=True)
    (made,) = confidence_data.load(registry.DataOptions(engine, tmp_path, tmp_path), (source,))
    rows = made.outcomes
    assert len(rows) == 12
    counted = rows.frame.groupby(["coin", "action", "window"]).size()
    assert (counted == 1).all()
    assert set(rows.frame["coin"]) == {"BTC", "ETH"}
    assert rows.frame["reference_simulated"].all()
    np.testing.assert_array_equal(rows.values("side"), np.where(rows.frame["action"] == "LONG", 1.0, -1.0))
    np.testing.assert_array_equal(rows.values("stated"), rows.values("formula"))
    left = (rows.known_ns - rows.event_ns) / 60e9
    np.testing.assert_allclose(rows.values("minutes_left"), left, rtol=1e-9)
    assert np.isnan(rows.versions()).all(), "no model stated anything"
