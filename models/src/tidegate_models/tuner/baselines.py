"""What the network has to beat: constants, the moving average, GARCH, gradient boosting.

Every baseline is fitted on the training graphs of a split and gives `z [rows, 5, 3]` for the book nodes of its test
graphs.
"""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import xgboost
from arch import arch_model

from tidegate_models.contract import QUANTILE_LEVELS
from tidegate_models.labels import CELL_NS, CELLS_PER_SECOND, Doubles, Ints
from tidegate_models.tuner.data import Market
from tidegate_models.tuner.experiment import Split
from tidegate_models.tuner.graphs import SCALES, GraphSet, encode

LEVELS = np.array(QUANTILE_LEVELS)
_EWMA_HALF_LIFE_S = 10.0
_SECONDS_A_YEAR = 365.0 * 86_400.0
_BOOST_ROUNDS = 150

# Thresholds of the shipped profiles: volatility, spread, imbalance (by venue), latency; the volatility rule's cooling.
SHIPPED = np.array([4.0, 10.0, 0.98, 250_000.0, 30.0])
_SHIPPED_IMBALANCE = {"binance-usdm": 0.99, "binance-coinm": 0.995}


def book_rows(graphs: GraphSet) -> Ints:
    """Rows of `x` that are order books."""
    return np.flatnonzero(graphs.book >= 0)


def _z(graphs: GraphSet) -> Doubles:
    return encode(graphs.values)[book_rows(graphs)]


def _quantiles(z: Doubles) -> Doubles:
    """`[5, 3]` of `[n, 5]`, ignoring what is not known."""
    return np.asarray(np.nanquantile(z, LEVELS, axis=0).T)


def static(split: Split, markets: dict[str, Market]) -> Doubles:
    """The quantiles that each kind of instrument had in training; of all instruments where it was not seen."""
    train, test = _z(split.train), _z(split.test)
    everywhere = _quantiles(train)
    predicted = np.broadcast_to(everywhere, (len(test), *everywhere.shape)).copy()
    train_book, test_book = (graphs.book[book_rows(graphs)] for graphs in (split.train, split.test))
    for number, name in enumerate(split.test.books):
        if name not in split.train.books:
            continue
        own = train[train_book == split.train.books.index(name)]
        if np.isfinite(own).any(axis=0).all():
            predicted[test_book == number] = _quantiles(own)
    return predicted


def shipped(split: Split, markets: dict[str, Market]) -> Doubles:
    """The thresholds of the static profiles, as if they were every quantile."""
    rows = book_rows(split.test)
    values = np.tile(SHIPPED, (len(rows), 1))
    for number, name in enumerate(split.test.books):
        venue = name.rpartition(".")[2]
        values[split.test.book[rows] == number, 2] = _SHIPPED_IMBALANCE.get(venue, SHIPPED[2])
    return np.repeat(encode(values)[:, :, None], len(LEVELS), axis=2)


def _shifted(split: Split, train_level: Doubles, test_level: Doubles) -> Doubles:
    """A level in z plus the quantiles that labels had around it in training, linear in the level."""
    train = _z(split.train)
    predicted = np.empty((len(test_level), train.shape[1], len(LEVELS)))
    for target in range(train.shape[1]):
        known = np.isfinite(train[:, target]) & np.isfinite(train_level[:, target])
        level, label = train_level[known, target], train[known, target]
        slope, offset = np.polyfit(level, label, 1) if level.std() > 1e-9 else (0.0, float(label.mean()))
        around = np.quantile(label - (slope * level + offset), LEVELS)
        fallback = float(np.median(level))
        now = np.where(np.isfinite(test_level[:, target]), test_level[:, target], fallback)
        predicted[:, target] = (slope * now + offset)[:, None] + around
    return np.maximum(predicted, 0.0)


def _smoothed(measures: Doubles) -> Doubles:
    """Exponential means of known values, by cells."""
    keep = 0.5 ** (1.0 / (_EWMA_HALF_LIFE_S * CELLS_PER_SECOND))
    state, out = np.full(measures.shape[1], np.nan), np.empty_like(measures)
    for index, now in enumerate(measures):
        state = np.where(np.isnan(state), now, np.where(np.isnan(now), state, keep * state + (1.0 - keep) * now))
        out[index] = state
    return out


def _at_graphs(graphs: GraphSet, markets: dict[str, Market], series: dict[tuple[str, str], Doubles]) -> Doubles:
    """Values of per-book cell series just before each book node's moment."""
    rows = book_rows(graphs)
    owner = graphs.graph_of_node()[rows]
    width = next(iter(series.values())).shape[1]
    found = np.full((len(rows), width), np.nan)
    for number, market in enumerate(graphs.markets):
        for book, name in enumerate(graphs.books):
            mine = np.flatnonzero((graphs.market[owner] == number) & (graphs.book[rows] == book))
            if not len(mine):
                continue
            values = series[market, name]
            cell = graphs.time_ns[owner[mine]] // CELL_NS - markets[market].first_cell[name] - 1
            found[mine] = values[np.clip(cell, 0, len(values) - 1)]
    return found


def ewma(split: Split, markets: dict[str, Market]) -> Doubles:
    """Exponential means (half life 10 s) of what the rules measure; the spread's for the recovery."""
    series = {}
    for name, market in markets.items():
        for book, measures in market.measures.items():
            smooth = _smoothed(measures)
            series[name, book] = encode(np.column_stack([smooth, smooth[:, 1]]))
    train, test = (_at_graphs(graphs, markets, series) for graphs in (split.train, split.test))
    return _shifted(split, train, test)


def _second_returns(market: Market, book: str) -> Doubles:
    """Log returns of the mid in % between whole seconds, the last known mid of each; 0 where nothing moved."""
    mid = market.mid[book]
    padded = np.concatenate([np.full(-len(mid) % CELLS_PER_SECOND, np.nan), mid])
    last = padded.reshape(-1, CELLS_PER_SECOND)
    known = np.isfinite(last)
    column = CELLS_PER_SECOND - 1 - np.argmax(known[:, ::-1], axis=1)
    values = np.where(known.any(axis=1), last[np.arange(len(last)), column], np.nan)
    index = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), 0))
    returns = np.diff(np.log(values[index]), prepend=np.nan)
    return np.nan_to_num(100.0 * returns)


def garch(split: Split, markets: dict[str, Market]) -> Doubles:
    """GARCH(1,1) on one-second returns, fitted on the training markets, for the volatility; constants for the rest.

    The level is the forecast volatility of the next ten seconds, annualised.
    """
    used = [split.train.markets[i] for i in np.unique(split.train.market)]
    pooled = [_second_returns(markets[name], book) for name in used for book in markets[name].mid]
    returns = np.concatenate(pooled)
    scale = float(1.0 / max(returns.std(), 1e-9))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = arch_model(returns * scale, mean="Zero", vol="GARCH", p=1, q=1, rescale=False).fit(disp="off")
    omega, alpha, beta = (float(fitted.params[name]) for name in ("omega", "alpha[1]", "beta[1]"))
    series = {}
    for name, market in markets.items():
        for book in market.mid:
            volatility = _garch_forecast(_second_returns(market, book) * scale, omega, alpha, beta) / (scale * 100.0)
            cells = np.repeat(np.log1p(volatility / SCALES[0]), CELLS_PER_SECOND)
            extra = len(cells) - len(market.mid[book])
            # A second's forecast is known when the second is over.
            known = np.concatenate([np.full(CELLS_PER_SECOND, cells[0]), cells[:-CELLS_PER_SECOND]])[extra:]
            series[name, book] = np.repeat(known[:, None], split.train.values.shape[1], axis=1)
    train, test = (_at_graphs(graphs, markets, series) for graphs in (split.train, split.test))
    predicted = static(split, markets)
    predicted[:, 0] = _shifted(split, train, test)[:, 0]
    return predicted


def _garch_forecast(returns: Doubles, omega: float, alpha: float, beta: float) -> Doubles:
    """Annualised volatility over the ten seconds after each return."""
    persistence = min(alpha + beta, 0.9999)
    long_run = omega / (1.0 - persistence)
    weight = (1.0 - persistence**10) / (10.0 * (1.0 - persistence))
    variance, out = long_run, np.empty(len(returns))
    for index, value in enumerate(returns):
        variance = omega + alpha * value * value + beta * variance
        out[index] = long_run + weight * (variance - long_run)
    return np.sqrt(np.maximum(out, 0.0) * _SECONDS_A_YEAR)


def boosting(split: Split, markets: dict[str, Market]) -> Doubles:
    """Gradient-boosted quantile regression on the same columns of the book's own node."""
    train_z, rows = _z(split.train), book_rows(split.test)
    features: npt.NDArray[np.float32] = split.train.x[book_rows(split.train)]
    predicted = np.empty((len(rows), train_z.shape[1], len(LEVELS)))
    settings = {
        "objective": "reg:quantileerror",
        "quantile_alpha": LEVELS,
        "tree_method": "hist",
        "max_depth": 4,
        "eta": 0.06,
        "subsample": 0.7,
        "min_child_weight": 20,
        "nthread": 1,
        "seed": 1,
    }
    for target in range(train_z.shape[1]):
        known = np.isfinite(train_z[:, target])
        matrix = xgboost.QuantileDMatrix(features[known], train_z[known, target], nthread=1)
        model = xgboost.train(settings, matrix, _BOOST_ROUNDS)
        predicted[:, target] = model.predict(xgboost.DMatrix(split.test.x[rows], nthread=1))
    return np.sort(np.maximum(predicted, 0.0), axis=2)


BASELINES = {
    "static quantiles": static,
    "shipped thresholds": shipped,
    "EWMA": ewma,
    "GARCH(1,1)": garch,
    "boosting": boosting,
}
