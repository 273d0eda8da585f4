"""ONNX Runtime, as this package uses it: one thread, no spinning, CPU only. The only module that imports it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

Array = npt.NDArray[np.generic]


def session(model: bytes | Path) -> onnxruntime.InferenceSession:
    """A session that computes on the calling thread only.

    `model` is a serialised graph or the path of one.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    content = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(open_session: onnxruntime.InferenceSession, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs by name of one run."""
    names = [output.name for output in open_session.get_outputs()]
    return dict(zip(names, open_session.run(names, dict(inputs)), strict=True))


def predict_rows(model: bytes, features: npt.NDArray[np.float32], batch: int = 8192) -> npt.NDArray[np.float64]:
    """Outputs `[rows,k]` of a graph made for one row, for many: the exported graph itself, with its batch set free.

    `features` is `[rows,n]`, or `[steps,rows,n]` for a sequence.
    """
    loaded = onnx.load_model_from_string(model)
    axis = features.ndim - 2
    for port, dimension in ((loaded.graph.input[0], axis), (loaded.graph.output[0], 0)):
        shape = port.type.tensor_type.shape.dim[dimension]
        shape.ClearField("dim_value")
        shape.dim_param = "rows"
    opened = session(loaded.SerializeToString())
    name = loaded.graph.output[0].name
    parts = [
        run(
            opened,
            {
                "features": np.ascontiguousarray(
                    np.take(features, range(start, min(start + batch, features.shape[axis])), axis)
                )
            },
        )[name]
        for start in range(0, features.shape[axis], batch)
    ]
    return np.concatenate(parts).astype(np.float64)
