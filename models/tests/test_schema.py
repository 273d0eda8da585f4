from __future__ import annotations

from tidegate_models import minute_bars, schema
from tidegate_models.fill import FEATURES
from tidegate_models.gatv2 import EDGE_COLUMNS, NODE_COLUMNS
from tidegate_models.labels import TUNER_COLUMNS
from tidegate_models.liquidity import COLUMNS
from tidegate_models.tuner.data import edge_columns, node_columns


def test_hash_of_features_is_recomputed() -> None:
    features = schema.document()["features"]
    assert [feature["index"] for feature in features] == list(range(64))
    assert schema.hash_of(features) == schema.hashes()["features"]


def test_hash_of_the_graph_is_recomputed() -> None:
    assert schema.graph_hash() == schema.hashes()["graph"]
    assert len(node_columns()) == NODE_COLUMNS
    assert len(edge_columns()) == EDGE_COLUMNS


def test_hash_of_bars_is_recomputed() -> None:
    bars = schema.document()["bars"]
    assert schema.hash_of(bars["features"]) == bars["hash"]
    assert set(minute_bars.COLUMNS) <= {feature["name"] for feature in bars["features"]}


def test_columns_of_models_are_features_of_the_engine() -> None:
    names = set(schema.feature_names())
    for columns in (COLUMNS, FEATURES, TUNER_COLUMNS):
        assert set(columns) <= names


def test_a_changed_definition_changes_the_hash() -> None:
    changed = [dict(feature) for feature in schema.document()["features"]]
    changed[3]["version"] += 1
    assert schema.hash_of(changed) != schema.hashes()["features"]
