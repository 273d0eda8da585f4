"""ONNX Runtime, as this package uses it: one thread, no spinning, CPU only. The only module that imports it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime  # noqa: E402  (the variable above must be set first)

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
