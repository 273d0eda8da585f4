#!/usr/bin/env python3
"""Fetches ONNX Runtime's shared library, and its licences, out of its PyPI wheel: pinned, hash-checked, once.

usage: onnxruntime.py FOLDER

Later releases than this one switch usage data on by default, so the version is pinned on purpose; see
`engine/sidecar/src/native.rs`. Needs Python 3 with pip and nothing else.
"""

import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

VERSION = "1.28.0"
LIBRARY = f"libonnxruntime.so.{VERSION}"
# What has to go along with it.
LICENCES = ("LICENSE", "ThirdPartyNotices.txt")
# Wheels by SHA-256: x86_64, aarch64 (manylinux, CPython 3.11).
WHEELS = (
    "a166b78ee04f3a37fa1ef82034b6a3ce96d9684e582d4d30b296de83e9998bb5",
    "8d66f9ceb29909c70839e4e4fb3435c7b490050d8f162bd5f3aba4ca01ee517f",
)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pip_python(temporary: Path) -> str:
    """A Python that has pip: this one, else one in an environment of its own (some systems ship Python without)."""
    if importlib.util.find_spec("pip"):
        return sys.executable
    venv.create(temporary / "venv", with_pip=True)
    return str(temporary / "venv" / "bin" / "python")


def fetch(folder: Path) -> Path:
    """Puts the library into `folder`, unless what lies there is what was put there."""
    library, stamp = folder / LIBRARY, folder / f"{LIBRARY}.sha256"
    whole = library.is_file() and stamp.is_file() and stamp.read_text().strip() == sha256(library)
    if whole and all((folder / name).is_file() for name in LICENCES):
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        requirement = Path(temporary) / "requirement.txt"
        hashes = " ".join(f"--hash=sha256:{digest}" for digest in WHEELS)
        requirement.write_text(f"onnxruntime=={VERSION} {hashes}\n")
        command = [pip_python(Path(temporary)), "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp"]
        command += ["--abi", "cp311", "--require-hashes", "--dest", temporary, "--requirement", str(requirement)]
        subprocess.run(command, check=True)
        (wheel,) = Path(temporary).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            bytes_ = archive.read(f"onnxruntime/capi/{LIBRARY}")
            for name in LICENCES:
                (folder / name).write_bytes(archive.read(f"onnxruntime/{name}"))
        unfinished = Path(temporary) / LIBRARY
        unfinished.write_bytes(bytes_)
        stamp.write_text(sha256(unfinished) + "\n")
        # In one step: an engine that starts meanwhile sees the whole library or none.
        unfinished.replace(library)
    return library


def main() -> int:
    """The command line."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        print(fetch(Path(sys.argv[1])))
    except (OSError, ValueError, KeyError, subprocess.CalledProcessError, zipfile.BadZipFile) as error:
        print(f"ONNX Runtime {VERSION} cannot be fetched: {error}", file=sys.stderr)
        print("The engine runs without it, on its static profiles.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
