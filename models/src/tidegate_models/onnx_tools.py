"""ONNX files that hold a model and nothing else: no paths, no stack traces, the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import ModelProto, NodeProto

PRODUCER = "tidegate-models"


def _strip_nodes(nodes: Iterable[NodeProto]) -> None:
    for node in nodes:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            attribute.doc_string = ""


def strip(model: ModelProto) -> ModelProto:
    """Removes doc strings, metadata and shape hints, in place: exporters put source paths into them."""
    graph = model.graph
    _strip_nodes(graph.node)
    for value in [*graph.input, *graph.output]:
        value.doc_string = ""
        del value.metadata_props[:]
    for tensor in graph.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    for function in model.functions:
        function.doc_string = ""
        del function.metadata_props[:]
        del function.value_info[:]
        _strip_nodes(function.node)
    del graph.value_info[:]
    del graph.metadata_props[:]
    del model.metadata_props[:]
    graph.doc_string = model.doc_string = model.domain = ""
    model.producer_name, model.producer_version, model.model_version = PRODUCER, "", 0
    return model


def to_bytes(model: ModelProto) -> bytes:
    """The stripped model, serialised so that equal models give equal bytes."""
    return bytes(strip(model).SerializeToString(deterministic=True))


def opsets(model: ModelProto) -> dict[str, int]:
    """Version by operator domain; the default domain by its full name."""
    return {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
