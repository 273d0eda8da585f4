from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# A fresh process, so that nothing has loaded ONNX Runtime before, and a home of its own. Numeric libraries may start
# threads of their own when they are loaded: they are told not to.
_PROGRAM = """
import os, tidegate_models
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
from tidegate_models import registry, runtime
artifact = registry.untrained("breaker-tuner", 1)
before = set(os.listdir("/proc/self/task"))
session = runtime.session(artifact.model)
for case in artifact.golden_inputs:
    runtime.run(session, case)
print(len(set(os.listdir("/proc/self/task")) - before))
"""


def test_no_file_and_no_thread_of_telemetry_appears(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in {"ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"}}
    environment |= {"HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "0", "a session starts no thread"
    left = [path for path in tmp_path.rglob("*") if "onnxruntime" in str(path) or path.name in {"deviceid"}]
    assert left == []
    assert not (tmp_path / ".cache" / "Microsoft").exists()
