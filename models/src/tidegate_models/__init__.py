"""Training, evaluation and export of the models that the Tidegate engine loads."""

import os

# Later releases of ONNX Runtime send telemetry unless told otherwise before they are loaded: nothing here may.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
