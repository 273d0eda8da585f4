"""`confidence`: will a trade in the direction of a signal earn its target within the rest of its timer?

The engine asks it at each LONG or SHORT, beside the formula. Outcomes are few, and those of a timer depend on each
other, so two forms compete at each training: a logistic regression held close to its base rate, and small boosted
trees. The one with the lower log loss on the check part is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from tidegate_models import binary, binary_report, confidence_data, contract, logistic, rowsets, schema, stats
from tidegate_models.artifact import Artifact
from tidegate_models.confidence_data import (
    BITSTAMP,
    COINBASE,
    SIMULATED_CHECK,
    SIMULATED_TEST,
    SIMULATED_TRAIN,
    SignalSet,
)
from tidegate_models.errors import ModelsError
from tidegate_models.label import Label
from tidegate_models.liquidity import NO_TRAINING, random_rows
from tidegate_models.logistic import Logistic, Pair
from tidegate_models.onnx_tools import opsets, to_bytes
from tidegate_models.outcomes import COLUMNS, Outcomes
from tidegate_models.registry import DataOptions
from tidegate_models.report import rounded
from tidegate_models.rowsets import RowSet, SplitRows
from tidegate_models.runtime import predict_rows
from tidegate_models.splits import newest_last

Doubles = npt.NDArray[np.float64]

NAME = "confidence"
OUTPUT = "probability"
# What the data sets are about: the engine's defaults.
LABEL = Label()
TIMER_S = 60 * LABEL.timer_minutes
HORIZONS_S = [TIMER_S]
TIMER_NS = TIMER_S * 1_000_000_000
# Between training, check and test no label may be open, and the market has moved on by a whole timer.
EMBARGO_NS = TIMER_NS
# Outcomes of recorded hours are few beside those of simulated ones; this often they count.
_REPEATS = 4

# Columns without a natural limit: the regression sees their logarithm.
LOGGED = np.isin(COLUMNS, ("spread_bp", "volatility", "recent_volatility", "sigma_left_bp"))
_TREES = {"trees": 120, "depth": 3, "rate": 0.05, "least_weight": 5.0}


class TrainingError(ModelsError):
    """Rows that nothing can be learnt from, and why."""


@dataclass(frozen=True)
class Chosen:
    """The better of two forms, and how good each was on the check part."""

    form: str
    fitted: Logistic | binary.Fitted
    check_loss: dict[str, float]

    def onnx(self) -> ModelProto:
        """Its graph."""
        if isinstance(self.fitted, Logistic):
            return logistic.to_onnx(self.fitted, OUTPUT)
        return binary.to_onnx([self.fitted], OUTPUT)

    def metrics(self) -> dict[str, float]:
        """For contracts: which form it is, and the losses it was chosen by."""
        losses = {f"check_log_loss_{name}": loss for name, loss in self.check_loss.items()}
        found: dict[str, float] = rounded({f"chosen_{self.form}": 1.0, **losses})
        return found

    def told(self) -> str:
        """For contracts, in words."""
        return f"form: {self.form}, by log loss on the check part"


def _crossed_loss(raw: Doubles, outcome: Doubles) -> float:
    """Log loss of calibrated probabilities: each half of the check part with the curve of the other, for a curve fits
    its own rows too well."""
    half = len(raw) // 2
    first, second = slice(None, half), slice(half, None)
    losses = [
        stats.log_loss(logistic.calibrate(raw[known], outcome[known])(raw[scored]), outcome[scored])
        for known, scored in ((first, second), (second, first))
    ]
    return float(np.concatenate(losses).mean())


def fit(train: Pair, check: Pair, seed: int) -> Chosen:
    """Trains both forms and takes the one that does better on the check part, whose rows are in their order in time."""
    for part, (_, outcome) in (("training", train), ("check", check)):
        if not 0.0 < outcome.mean() < 1.0:
            raise TrainingError(f"all {len(outcome)} rows of the {part} part have the same outcome")
    candidates: dict[str, Logistic | binary.Fitted] = {
        "logistic": logistic.fit(train, check, LOGGED),
        "boosting": binary.fit_boosting(train, check, seed=seed, **_TREES),  # type: ignore[arg-type]
    }
    raw = {name: fitted.raw(check[0]) for name, fitted in candidates.items()}
    losses = {name: _crossed_loss(p, check[1]) for name, p in raw.items()}
    form = min(losses, key=lambda name: losses[name])
    chosen = candidates[form]
    chosen.calibration = logistic.calibrate(raw[form], check[1])
    return Chosen(form, chosen, losses)


def build(
    name: str,
    chosen: Chosen,
    columns: list[contract.Column],
    training: contract.Training,
    golden: RowSet,
    label: Label = LABEL,
) -> Artifact:
    """The model as something that can be published."""
    model = chosen.onnx()
    spec = contract.columns_spec(
        "row", columns, OUTPUT, 1, "signals", schema.hashes()["signals"], [60 * label.timer_minutes], opsets(model),
        training, chosen.metrics(), label=label,
    )  # fmt: skip
    told = replace(training, sources=[*training.sources, chosen.told()])
    fitted = chosen.fitted
    curves = {chosen.form: fitted.curve} if fitted.curve else {}
    history = {"curves": curves, "calibration": vars(fitted.calibration)}
    cases = rowsets.golden_rows(golden, 9, training.seed)
    return Artifact(name, replace(spec, training=told), to_bytes(model), cases, history)


@dataclass(frozen=True)
class Parts:
    """Rows to train on, to choose and calibrate by, and to test on; and what the formula stated for the tests' rows."""

    rows: SplitRows
    formula: dict[str, Doubles]


SIMULATED = "simulated, seeds not trained on"
RECORDED_LATE = "recorded Bitstamp, the newest two fifths of its signals"
RECORDED_OTHER = "recorded Coinbase, an hour three years later"


def split(sets: list[SignalSet]) -> Parts:
    """Simulated markets by seed; the Bitstamp hours by time; the Coinbase hour is a test as a whole."""
    by_name = {part.source.name: part for part in sets}

    def of(group: tuple[confidence_data.SignalSource, ...]) -> list[tuple[SignalSet, Outcomes]]:
        return [(by_name[source.name], by_name[source.name].outcomes) for source in group]

    def rows(parts: list[tuple[SignalSet, Outcomes]]) -> RowSet:
        return rowsets.concatenate([known.rowset(part.source.name, part.source.recorded) for part, known in parts])

    hours = by_name[BITSTAMP.name]
    fold = newest_last(hours.outcomes.event_ns, hours.outcomes.known_ns, EMBARGO_NS, test_share=0.4)
    early, check, late = ([(hours, hours.outcomes.take(index))] for index in (fold.train, fold.check, fold.test))
    tests = {SIMULATED: of(SIMULATED_TEST), RECORDED_LATE: late, RECORDED_OTHER: of((COINBASE,))}
    return Parts(
        SplitRows(
            train=rows([*of(SIMULATED_TRAIN), *early * _REPEATS]),
            check=rows([*of(SIMULATED_CHECK), *check * _REPEATS]),
            tests={name: rows(parts) for name, parts in tests.items()},
        ),
        {name: np.concatenate([known.values("formula") for _, known in parts]) for name, parts in tests.items()},
    )


def train(name: str, data: DataOptions, seed: int, work: Path, fresh: bool) -> Artifact:
    """Trains both forms on recorded and simulated outcomes, and takes the better one."""
    sets = confidence_data.load(data)
    rows = split(sets).rows
    columns = rowsets.fills(COLUMNS, rows.train, {})
    training, check = rows.train.filled(columns), rows.check.filled(columns)
    chosen = fit(training.known(0), check.known(0), seed)
    described = contract.Training(
        sources=[part.source.label for part in sets if part.source not in (*SIMULATED_TEST, COINBASE)],
        digest=contract.sha256_text("".join(sorted(f"{part.digest}\n" for part in sets))),
        labels=rowsets.label_counts(rows, HORIZONS_S),
        seed=seed,
    )
    return build(NAME, chosen, columns, described, check)


def evaluate(artifact: Artifact, data: DataOptions, seed: int, work: Path, reports: Path) -> dict[str, float]:
    """Scores the exported graph beside the base rate and the formula."""
    parts = split(confidence_data.load(data))
    columns = [contract.Column(**column) for column in artifact.spec.encoding["columns"]]
    base = np.array([parts.rows.train.labels.mean()])
    tests = {}
    for name, rows in parts.rows.tests.items():
        # What the formula did not state cannot be set beside it.
        both = np.isfinite(parts.formula[name])
        test, formula = rows.take(both), {"formula": parts.formula[name][both][:, None]}
        predicted = predict_rows(artifact.model, test.filled(columns).features)
        tests[name] = binary_report.Test(test, predicted, formula, base, TIMER_NS, drawn=("formula",))
    choice = {key: value for key, value in artifact.spec.metrics.items() if key.startswith(("chosen_", "check_"))}
    return choice | binary_report.write(
        artifact, reports / NAME, _text(artifact), tests, HORIZONS_S, seed, extra={"choice": choice}
    )


def _text(artifact: Artifact) -> binary_report.Text:
    losses = ", ".join(
        f"{name} {artifact.spec.metrics[key]:.4g}"
        for name in ("logistic", "boosting")
        if (key := f"check_log_loss_{name}") in artifact.spec.metrics
    )
    return binary_report.Text(
        NAME,
        "Probability that a trade in the direction of a LONG or SHORT signal earns 10 bp after costs at some\n"
        "time within the rest of its ten-minute timer: what the formula's confidence claims to be. Two forms\n"
        "were trained, a logistic regression held close to the base rate and boosted trees; the one with the\n"
        f"lower log loss on the check part is this model ({losses}).",
        [
            "**Recorded rows are dozens, of one coin and two venues, in 2015 and 2018.** Their timers are the\n"
            "blocks of the tables: with so few, no interval tells this model from the base rate or from the\n"
            "formula unless the difference is gross, and none says how either does today, on other coins, or at\n"
            "other costs.",
            "The rest is simulated. How often a simulated market earns 10 bp within minutes is a property of the\n"
            "simulator: the model's order of signals may carry over, its probabilities need not. Training on a\n"
            "venue's own outcomes (`tidegate-models watch`) is what repairs that, and it offers only what beats\n"
            "the version in force on later outcomes.",
            "The reference price was made up in all rows. Each market was run with two, one that makes its\n"
            "signals LONG and one that makes them SHORT: the rows of both sides are of the same moments and not\n"
            "independent. Blocks of the tables hold both.",
            "A formula that states 0 or 1 and is wrong costs up to 13.8 nats in the log loss: look at its Brier\n"
            "score too.",
            f"Between training, check and test of the Bitstamp hours lie {TIMER_S} s, counted from when a label\n"
            f"was known. A recorded row of training or check counts {_REPEATS} times, in the base rate too.",
        ],
    )


def untrained(name: str, seed: int) -> Artifact:
    """A variant for tests."""
    rng = np.random.default_rng(seed)
    columns = len(COLUMNS)
    weights = rng.normal(0.0, 0.3, columns)
    fitted = Logistic(LOGGED, rng.normal(size=columns), rng.uniform(0.5, 2.0, columns), weights, float(rng.normal()))
    chosen = Chosen("logistic", fitted, {})
    training = contract.Training([NO_TRAINING], "0" * 64, {}, seed)
    named = [contract.Column(column) for column in COLUMNS]
    return build(NAME, chosen, named, training, random_rows(columns, 1, seed))
