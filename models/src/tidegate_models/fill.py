"""`fill`: will a passive order at the touch be filled? Labels are a trade-through proxy, not fills."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tidegate_models import binary, binary_report, contract, rowsets, schema
from tidegate_models.artifact import Artifact
from tidegate_models.datasets import DataSet
from tidegate_models.labels import CELL_NS, CELLS_PER_SECOND, Doubles, Floats32, Ints, fill_label, grid, tape
from tidegate_models.liquidity import (
    NO_TRAINING,
    described,
    load_sets,
    random_fit,
    random_rows,
    split,
)
from tidegate_models.onnx_tools import opsets, to_bytes
from tidegate_models.registry import DataOptions
from tidegate_models.rowsets import RowSet, SplitRows
from tidegate_models.runtime import predict_rows

NAME = "fill"
HORIZONS_S = [1, 5, 30]
FEATURES = [
    "spread_bp", "imbalance_1", "imbalance_5", "imbalance_10", "trade_flow_1s", "trade_flow_10s", "vpin",
    "realised_vol_10s", "realised_vol_60s", "trade_rate_1s", "trade_rate_10s", "message_rate_1s", "message_rate_10s",
    "cancel_ratio", "return_1s", "return_10s", "range_10s", "volume_ratio", "depth_ratio", "spread_ratio",
]  # fmt: skip
# Quantities are in units of the quantity at the touch of the order's side.
PARAMETERS = {"queue_ahead": 1.0, "order_size": 0.1, "side": 1.0, "horizon_s": 5.0}
COLUMNS = [*FEATURES, *PARAMETERS]
_TURNED = ("imbalance_1", "imbalance_5", "imbalance_10", "trade_flow_1s", "trade_flow_10s", "return_1s", "return_10s")
ORIENTATION = binary.Orientation(COLUMNS.index("side"), tuple(COLUMNS.index(name) for name in _TURNED))
# More queue or size never helps, more time never hurts.
MONOTONE = [{"queue_ahead": -1, "order_size": -1, "horizon_s": 1}.get(name, 0) for name in COLUMNS]
_EVERY_CELLS = 20
_QUOTE_AGE_CELLS = 10


def _held(values: Doubles) -> Doubles:
    """The last known value of the last second."""
    known = np.isfinite(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    fresh = (last >= 0) & (np.arange(len(values)) - last <= _QUOTE_AGE_CELLS)
    return np.where(fresh, values[np.maximum(last, 0)], np.nan)


def rows_of(data: DataSet) -> RowSet:
    """Orders of random size and place in the queue on both sides, every two seconds of each instrument, all horizons.

    An order is placed at the best price quoted at the end of a cell; trades from the next cell on count.
    """
    bars, quotes = data.table("bars"), data.quotes()
    parts = []
    for name, table in data.table("features").groupby("instrument"):
        own_quotes = quotes[quotes["instrument"] == name]
        if own_quotes.empty:
            continue
        cells = grid(table, FEATURES)
        trades = tape(bars[bars["instrument"] == name], cells)
        touch = {}
        position = own_quotes["cell"].to_numpy(np.int64) - cells.first
        inside = (position >= 0) & (position < len(cells))
        for column in ("bid", "bid_qty", "ask", "ask_qty"):
            values = np.full(len(cells), np.nan)
            values[position[inside]] = own_quotes[column].to_numpy(np.float64)[inside]
            touch[column] = _held(values)
        rng = np.random.default_rng([*data.source.name.encode(), *str(name).encode()])
        rows, labels, at = [], [], []
        usable = np.isfinite(cells["depth_ratio"]) & np.isfinite(touch["bid"]) & np.isfinite(touch["ask"])
        for cell in np.flatnonzero(usable)[::_EVERY_CELLS]:
            state = [cells[column][cell] for column in FEATURES]
            for side in (1, -1):
                ahead, size = rng.uniform(0.0, 1.5), 10.0 ** rng.uniform(-2.0, 0.5)
                price, unit = (touch["bid"], touch["bid_qty"]) if side > 0 else (touch["ask"], touch["ask_qty"])
                for horizon in HORIZONS_S:
                    label = fill_label(
                        trades, cell + 1, side, price[cell], ahead * unit[cell], size * unit[cell], horizon
                    )
                    rows.append([*state, ahead, size, side, horizon])
                    labels.append(label)
                    at.append(cell)
        if rows:
            parts.append(
                RowSet(
                    features=np.array(rows, np.float32),
                    labels=np.array(labels, np.float64)[:, None],
                    time_ns=(cells.first + np.array(at, np.int64)) * CELL_NS,
                    source=np.zeros(len(rows), np.int64),
                    sources=(f"{data.source.name} {name}",),
                    recorded=np.full(len(rows), data.source.recorded),
                )
            )
    if not parts:
        empty: Floats32 = np.empty((0, len(COLUMNS)), np.float32)
        none: Ints = np.empty(0, np.int64)
        return RowSet(empty, np.empty((0, 1)), none, none, (data.source.name,), none.astype(np.bool_))
    return rowsets.concatenate(parts)


def by_horizon(rows: RowSet) -> RowSet:
    """The same rows with a label column for each horizon: NaN for the others. For reports and counts."""
    horizon = rows.features[:, COLUMNS.index("horizon_s")]
    labels = np.stack([np.where(horizon == h, rows.labels[:, 0], np.nan) for h in HORIZONS_S], axis=1)
    return RowSet(rows.features, labels, rows.time_ns, rows.source, rows.sources, rows.recorded)


def build(
    fitted: binary.Fitted, columns: list[contract.Column], training: contract.Training, golden: RowSet
) -> Artifact:
    """The model as something that can be published."""
    model = binary.to_onnx([fitted], "p_fill", orientation=ORIENTATION)
    features = schema.hashes()["features"]
    spec = contract.columns_spec(
        "row", columns, "p_fill", 1, "features", features, HORIZONS_S, opsets(model), training, {}
    )
    history = {"curves": {"all horizons": fitted.curve}, "calibration": vars(fitted.calibration)}
    return Artifact(NAME, spec, to_bytes(model), rowsets.golden_rows(golden, 9, training.seed), history)


def train(name: str, data: DataOptions, seed: int, work: Path, fresh: bool) -> Artifact:
    """Trains one boosted model for all horizons, monotone in queue, size and time."""
    sets = load_sets(data)
    rows = split({part.source.name: rows_of(part) for part in sets})
    columns = rowsets.fills(FEATURES, rows.train, PARAMETERS)
    training, check = rows.train.filled(columns), rows.check.filled(columns)
    oriented = [(ORIENTATION(features), outcome) for features, outcome in (training.known(0), check.known(0))]
    fitted = binary.fit_boosting(oriented[0], oriented[1], monotone=MONOTONE, depth=5, trees=300, seed=seed)
    counted = SplitRows(
        by_horizon(rows.train), by_horizon(rows.check), {k: by_horizon(v) for k, v in rows.tests.items()}
    )
    return build(fitted, columns, described(sets, counted, HORIZONS_S, seed), check)


def _simple(features: Floats32) -> Doubles:
    """What one would look at first: queue and size against the pace of trading, and time."""
    columns = {name: features[:, COLUMNS.index(name)].astype(np.float64) for name in COLUMNS}
    wanted = columns["queue_ahead"] + columns["order_size"]
    return np.stack(
        [np.log(wanted + 0.01), np.log1p(np.maximum(columns["trade_rate_10s"], 0)), np.log(columns["horizon_s"])],
        axis=1,
    )


def evaluate(artifact: Artifact, data: DataOptions, seed: int, work: Path, reports: Path) -> dict[str, float]:
    """Scores the exported graph beside base rates by horizon and a logistic regression."""
    rows = split({part.source.name: rows_of(part) for part in load_sets(data)})
    columns = [contract.Column(**column) for column in artifact.spec.encoding["columns"]]
    features, outcome = rows.train.filled(columns).known(0)
    logistic = make_pipeline(StandardScaler(), LogisticRegression()).fit(_simple(features), outcome)
    base: Doubles = np.nanmean(by_horizon(rows.train).labels, axis=0)
    tests = {}
    for name, test in rows.tests.items():
        filled = test.filled(columns)
        predicted = np.repeat(predict_rows(artifact.model, filled.features), len(HORIZONS_S), axis=1)
        simple = logistic.predict_proba(_simple(filled.features))[:, 1]
        baseline = np.repeat(simple[:, None], len(HORIZONS_S), axis=1)
        tests[name] = binary_report.Test(
            by_horizon(test), predicted, {"logistic on queue, pace and time": baseline}, base
        )
    text = binary_report.Text(
        NAME,
        "Probability that a passive order at the touch would be filled within 1, 5 or 30 s, given `queue_ahead` and `order_size` (both in\n"
        "units of the quantity at the touch of its side), `side` (+1 buys) and `horizon_s`.\n\n"
        "**Labels are a trade-through proxy on 100 ms bars, not fills**: an order counts as filled when a trade goes through its price,\n"
        "or when what was traded against its side in bars that reached its price exceeds queue plus size.",
        [
            "The proxy does not see cancellations ahead of the order (too few fills) nor, within a bar, trades at better prices (too many).",
            "Orders are random: queue uniform in 0 to 1.5 touch quantities, size log-uniform in 0.01 to 3.2. Real orders are not.",
            "Quantities at the touch come from the captures' quote stream and are used for labels only; no feature holds them, so the\n"
            "caller states the queue.",
            f"A placed order stays where it is for its whole horizon; labels look {max(HORIZONS_S)} s ahead ({max(HORIZONS_S) * CELLS_PER_SECOND} bars).",
        ],
    )
    return binary_report.write(artifact, reports / NAME, text, tests, HORIZONS_S, seed)


def untrained(name: str, seed: int) -> Artifact:
    """A variant for tests."""
    training = contract.Training([NO_TRAINING], "0" * 64, {}, seed)
    columns = [contract.Column(column) for column in FEATURES]
    columns += [contract.Column(column, default, parameter=True) for column, default in PARAMETERS.items()]
    return build(random_fit(len(COLUMNS), seed), columns, training, random_rows(len(COLUMNS), 1, seed))
