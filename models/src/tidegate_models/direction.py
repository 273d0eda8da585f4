"""`direction-forest`, `direction-boost`, `direction-lstm`: is the close higher after 60, 300, 900 s?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tidegate_models import binary, binary_report, contract, minute_bars, rowsets, schema
from tidegate_models.artifact import Artifact
from tidegate_models.labels import Bools, Doubles, Ints
from tidegate_models.liquidity import NO_TRAINING, random_fit, random_rows
from tidegate_models.minute_bars import BAR_S, COLUMNS, HORIZONS_S, STEPS, BarSet
from tidegate_models.onnx_tools import opsets, to_bytes
from tidegate_models.registry import DataOptions, MissingExtraError
from tidegate_models.rowsets import RowSet, SplitRows
from tidegate_models.runtime import predict_rows

FOREST, BOOST, LSTM = "direction-forest", "direction-boost", "direction-lstm"

_DAY_NS = 86_400_000_000_000
# Blocks of the intervals: days of recorded years, ten minutes of the short sources.
_LONG_BLOCK_NS, _SHORT_BLOCK_NS = _DAY_NS, 600_000_000_000


def _ns(date: str) -> int:
    return int(np.datetime64(date, "ns").astype(np.int64))


# Training lies before the check, the check before the test; four hours of features and a horizon lie between.
CHECK_FROM, TEST_FROM = _ns("2024-11-01"), _ns("2025-06-01")
EMBARGO_NS = _DAY_NS
# BitMEX bars of this time are left out of training: the Coinbase test is of the same hour of the same asset.
COINBASE_DAY = _ns("2018-04-24")
_TRAIN_ROWS, _CHECK_ROWS, _TEST_ROWS = 120_000, 40_000, 60_000
_TREES, _DEPTH, _LEAST_ROWS = 40, 7, 200
_SHORT_ROWS = 5_000
_MOVED = "closes that moved"


@dataclass(frozen=True)
class DirectionRows:
    """All bars, and which of them are for what; `moved [n,3]` says whether the close differs after each horizon."""

    rows: RowSet
    moved: Bools
    train: Ints
    check: Ints
    tests: dict[str, Ints]

    def split(self) -> SplitRows:
        """As rows without their past."""
        tests = {name: self.rows.take(index) for name, index in self.tests.items()}
        return SplitRows(self.rows.take(self.train), self.rows.take(self.check), tests)

    def windows(self, chosen: Ints, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """`[steps, rows, columns]`: each chosen bar with those before it, oldest first."""
        offsets = np.arange(-STEPS + 1, 1)
        return np.asarray(features[chosen[None, :] + offsets[:, None]])


def arrange(sets: list[BarSet], seed: int) -> DirectionRows:
    """Cuts bars by time, and draws as many as are trained on. Every bar used has half an hour of bars before it,
    so that all three models are trained and scored on the same rows; the Coinbase hour has all it can."""
    rows = rowsets.concatenate([part.rows for part in sets])
    streak = np.concatenate([part.streak for part in sets])
    names = np.array([name.split(" ", 1)[0] for name in rows.sources])[rows.source]
    klines = np.isin(names, [source.name for source in minute_bars.KLINES])
    bitmex = names == minute_bars.BITMEX.name
    usable = (streak >= STEPS) & np.isfinite(rows.labels).any(axis=1)
    time_ns = rows.time_ns
    same_hour = np.abs(time_ns - COINBASE_DAY) < 3 * _DAY_NS
    rng = np.random.default_rng(seed)

    def draw(flags: Bools, count: int) -> Ints:
        index = np.flatnonzero(flags & usable)
        return np.sort(rng.choice(index, count, replace=False)) if len(index) > count else index

    trained = (klines | (bitmex & ~same_hour)) & (time_ns < CHECK_FROM - EMBARGO_NS)
    tests = {
        "recorded klines from 2025-06 on, later than all training": draw(klines & (time_ns >= TEST_FROM), _TEST_ROWS),
        "recorded Coinbase hour, bars of mids": draw(names == minute_bars.COINBASE.name, _TEST_ROWS),
        "simulated, two hours": draw(np.isin(names, [source.name for source in minute_bars.SIMULATED]), _TEST_ROWS),
    }
    return DirectionRows(
        rows=rows,
        moved=np.concatenate([part.moved for part in sets]),
        train=draw(trained, _TRAIN_ROWS),
        check=draw(klines & (time_ns >= CHECK_FROM) & (time_ns < TEST_FROM - EMBARGO_NS), _CHECK_ROWS),
        tests={name: index for name, index in tests.items() if len(index)},
    )


def _described(sets: list[BarSet], rows: SplitRows, seed: int) -> contract.Training:
    digests = "".join(sorted(f"{part.digest}\n" for part in sets))
    return contract.Training(
        sources=[part.source.label for part in sets if part.source in (*minute_bars.KLINES, minute_bars.BITMEX)],
        digest=contract.sha256_text(digests),
        labels=rowsets.label_counts(rows, HORIZONS_S),
        seed=seed,
    )


def build(
    name: str, models: list[binary.Fitted], columns: list[contract.Column], training: contract.Training, golden: RowSet
) -> Artifact:
    """Forest or boosted trees as something that can be published."""
    model = binary.to_onnx(models, "p_up")
    bars = schema.hashes()["bars"]
    spec = contract.columns_spec(
        "row", columns, "p_up", len(HORIZONS_S), "bars", bars, HORIZONS_S, opsets(model), training, {}
    )
    curves = {f"{h} s": fitted.curve for h, fitted in zip(HORIZONS_S, models, strict=True)}
    calibration = {f"{h} s": vars(fitted.calibration) for h, fitted in zip(HORIZONS_S, models, strict=True)}
    history = {"curves": curves, "calibration": calibration}
    return Artifact(name, spec, to_bytes(model), rowsets.golden_rows(golden, 9, training.seed), history)


def train(name: str, data: DataOptions, seed: int, work: Path, fresh: bool) -> Artifact:
    """Trains a direction model."""
    sets = minute_bars.load(data)
    arranged = arrange(sets, seed)
    rows = arranged.split()
    columns = rowsets.fills(COLUMNS, rows.train, {})
    described = _described(sets, rows, seed)
    if name == LSTM:
        try:
            from tidegate_models import lstm_torch
        except ImportError as error:
            raise MissingExtraError(
                f"training {name} needs the train extra ({error.name} is missing): see models/README.md"
            ) from error
        return lstm_torch.train(arranged, columns, described, work / name, fresh)
    training, check = rows.train.filled(columns), rows.check.filled(columns)
    models = []
    for index in range(len(HORIZONS_S)):
        pair = training.known(index), check.known(index)
        fitted = (
            binary.fit_forest(*pair, seed=seed, trees=_TREES, depth=_DEPTH, least_rows=_LEAST_ROWS)
            if name == FOREST
            else binary.fit_boosting(*pair, seed=seed, least_weight=100.0)
        )
        models.append(fitted)
    return build(name, models, columns, described, check)


def evaluate(artifact: Artifact, data: DataOptions, seed: int, work: Path, reports: Path) -> dict[str, float]:
    """Scores the exported graph beside the base rate and two rules of thumb."""
    arranged = arrange(minute_bars.load(data), seed)
    columns = [contract.Column(**column) for column in artifact.spec.encoding["columns"]]
    filled = arranged.rows.filled(columns).features
    known = arranged.rows.labels[arranged.train]
    base: Doubles = np.nanmean(known, axis=0)
    returns = arranged.rows.features[:, COLUMNS.index("return_1")]
    rising = (returns[arranged.train] > 0)[:, None]
    # How often the close rose after a rise and after no rise, in training: momentum or reversal, whichever held.
    after = [np.nanmean(np.where(rising == flag, known, np.nan), axis=0) for flag in (False, True)]
    tests = {}
    for name, index in arranged.tests.items():
        inputs = arranged.windows(index, filled) if artifact.name == LSTM else filled[index]
        predicted = predict_rows(artifact.model, inputs)
        rows = arranged.rows.take(index)
        block = _SHORT_BLOCK_NS if len(index) < _SHORT_ROWS else _LONG_BLOCK_NS
        baseline = {"last return's sign": np.where((returns[index] > 0)[:, None], after[1], after[0])}
        tests[name] = binary_report.Test(rows, predicted, baseline, base, block, joint=True)
        if len(index) >= _SHORT_ROWS:
            # Without closes that stayed where they were: what is left is direction alone.
            moved = replace(rows, labels=np.where(arranged.moved[index], rows.labels, np.nan))
            up = np.where(arranged.moved[arranged.train], known, np.nan)
            alone = binary_report.Test(moved, predicted, {}, np.nanmean(up, axis=0), block, joint=True)
            tests[f"{_MOVED}: {name}"] = alone
    text = binary_report.Text(
        artifact.name,
        "Probability that the close is higher 60, 300, 900 s after a finished one-minute bar (an equal close counts as not higher).\n"
        f"{_ABOUT[artifact.name]}",
        [
            "An equal close counts as not higher, so part of what a model knows is when a price with coarse ticks will not move. The test\n"
            f"called '{_MOVED}' leaves those rows out; probabilities are not calibrated for it, so look at its AUC.",
            "Minute closes are close to a fair coin. An AUC of 0.53 is no trading strategy: costs are not in these figures.",
            f"Trained on bars before {np.datetime64(CHECK_FROM, 'ns').astype('datetime64[D]')}, stopped and calibrated on bars until {np.datetime64(TEST_FROM, 'ns').astype('datetime64[D]')}, tested later.",
            "The klines are seven smaller coins in selected, often violent months (files of the source below 4 MiB), not a sample of the market.",
            "The Coinbase hour is made of mids without trades; most windows longer than an hour are filled with medians there. It and the\n"
            "simulated hours show that the pipeline runs on other sources: their intervals say how little else.",
            "BitMEX bars within three days of the Coinbase hour are not trained on.",
        ],
    )
    return binary_report.write(artifact, reports / artifact.name, text, tests, HORIZONS_S, seed)


_ABOUT = {
    FOREST: f"A random forest a horizon ({_TREES} trees, depth {_DEPTH}), calibrated on later bars than it was trained on.",
    BOOST: "XGBoost, a model a horizon, stopped and calibrated on later bars than it was trained on.",
    LSTM: f"An LSTM over the last {STEPS} bars, one for all horizons, stopped by its loss on later bars than it was trained on.",
}


def untrained(name: str, seed: int) -> Artifact:
    """A variant for tests."""
    training = contract.Training([NO_TRAINING], "0" * 64, {}, seed)
    columns = [contract.Column(column) for column in COLUMNS]
    if name == LSTM:
        from tidegate_models import lstm

        return lstm.build(lstm.random_weights(seed), columns, training, lstm.random_windows(seed), {})
    models = [random_fit(len(COLUMNS), seed + index) for index in range(len(HORIZONS_S))]
    return build(name, models, columns, training, random_rows(len(COLUMNS), len(HORIZONS_S), seed))


STEP_MS = BAR_S * 1000
