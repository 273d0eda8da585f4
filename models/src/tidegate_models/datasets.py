"""Data sets, made by the engine and kept in a cache under the digest of what they were made from.

Python computes no feature: it runs `tidegate features` on captures, recorded or written by `tidegate simulate`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from tidegate_models import paths
from tidegate_models.quotes import cell_quotes

VECTOR_MS = 100
GRAPH_MS = 500
BAR_RULE = "time:0.1"

_KIND_FILES = {
    "features": "features.parquet",
    "bars": "bars.parquet",
    "nodes": "nodes.parquet",
    "edges": "edges.parquet",
}
_QUOTES_FILE = "quotes.parquet"
# Of simulated markets, gone as soon as the tables are made.
_CAPTURES_FOLDER = "captures"


@dataclass(frozen=True)
class Source:
    """A market of some minutes: recorded captures of a day, or a simulated run."""

    name: str
    patterns: tuple[str, ...] = ()
    seed: int = 0
    seconds: int = 0
    calm: bool = False

    @property
    def recorded(self) -> bool:
        """Whether it comes from a real venue."""
        return bool(self.patterns)

    @property
    def label(self) -> str:
        """For reports."""
        if self.recorded:
            return f"recorded {self.name}"
        return f"simulated seed {self.seed}, {self.seconds} s, {'calm' if self.calm else 'with regimes'}"


RECORDED = (
    Source("2023-04", ("hftbacktest/*_20230404.dat.gz", "hftbacktest/*_20230405.dat.gz")),
    Source("2024-07", ("hftbacktest/*_20240718.gz", "hftbacktest/*_20240719.gz")),
    Source("2024-08", ("hftbacktest/*_20240808.gz", "hftbacktest/*_20240809.gz")),
)


def _simulated(seed: int) -> Source:
    # Lengths differ, because the simulator's regimes begin at fixed parts of a run; one in four has none.
    seconds = 300 + (seed * 7919) % 600
    calm = seed % 4 == 0
    return Source(f"sim-{seed}", seed=seed, seconds=seconds, calm=calm)


SIMULATED_TRAIN = tuple(_simulated(seed) for seed in range(101, 133))
SIMULATED_CHECK = tuple(_simulated(seed) for seed in range(133, 139))
SIMULATED_TEST = tuple(_simulated(seed) for seed in range(139, 149))


class EngineMissingError(RuntimeError):
    """There is no engine binary to make data sets with."""


def find_engine(stated: Path | None) -> Path:
    """The binary: as stated, else in the target folders of the repository, else on the path."""
    targets = [os.environ.get("CARGO_TARGET_DIR"), str(paths.repository_root() / "target")]
    candidates = [stated] if stated else [Path(t) / "release" / "tidegate" for t in targets if t]
    found = next((path for path in candidates if path.is_file()), None) or (
        None if stated else shutil.which("tidegate")
    )
    if found is None:
        looked = ", ".join(str(path) for path in candidates)
        raise EngineMissingError(f"no engine at {looked}: build it (`make build`) or name it with --engine")
    return Path(found)


@functools.cache
def file_sha256(path: Path) -> str:
    """SHA-256 of a file, once a process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class DataSet:
    """The files of a source in the cache."""

    source: Source
    folder: Path
    digest: str

    def table(self, kind: str) -> pd.DataFrame:
        """`features` (a row an instrument and 100 ms), `bars` (100 ms), `nodes` or `edges` (500 ms)."""
        return pd.read_parquet(self.folder / _KIND_FILES[kind])

    def quotes(self) -> pd.DataFrame:
        """Best prices and quantities at the end of each 100 ms: see `quotes.cell_quotes`."""
        return pd.read_parquet(self.folder / _QUOTES_FILE)


def make(source: Source, engine: Path, cache: Path, recorded: Path) -> DataSet:
    """Takes a data set from the cache, or has the engine make it."""
    inputs = recorded_files(source.name, source.patterns, recorded)
    identity = {
        "engine": file_sha256(engine),
        "inputs": {path.name: file_sha256(path) for path in inputs},
        "simulated": None if source.recorded else [source.seed, source.seconds, source.calm],
        "every": [VECTOR_MS, GRAPH_MS, BAR_RULE],
        "quotes": 1,
    }

    def write(folder: Path) -> None:
        options = ["--calm"] if source.calm else []
        captures = inputs or simulate(engine, folder, source.seed, source.seconds, options)
        _extract(engine, captures, folder)
        cell_quotes(captures, VECTOR_MS).to_parquet(folder / _QUOTES_FILE)

    return DataSet(source, *cached(cache, source.label, identity, write))


def recorded_files(name: str, patterns: Sequence[str], recorded: Path) -> list[Path]:
    """Files of a recorded source, of which there must be some; none for a source without patterns."""
    found = sorted(path for pattern in patterns for path in recorded.glob(pattern))
    if patterns and not found:
        raise FileNotFoundError(f"no captures of {name} under {recorded}: set TIDEGATE_DATA or --recorded")
    return found


def cached(cache: Path, label: str, identity: dict[str, Any], write: Callable[[Path], None]) -> tuple[Path, str]:
    """The folder of what was made from `identity`, and its digest.

    Where there is none, `write` fills a folder beside it that gets its name when it is whole.
    """
    folder = cache / hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
    if not folder.is_dir():
        temporary = cache / f".{folder.name}.{os.getpid()}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            write(temporary)
            shutil.rmtree(temporary / _CAPTURES_FOLDER, ignore_errors=True)
            (temporary / "source.json").write_text(json.dumps({"source": label, **identity}, indent=1))
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder, _content_digest(folder)


def _content_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a data set's tables; kept beside them once it is known."""
    kept = folder / "digest"
    if kept.exists():
        return kept.read_text(encoding="ascii").strip()
    lines = [f"{path.name}:{file_sha256(path)}\n" for path in sorted(folder.glob("*.parquet"))]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    kept.write_text(f"{digest}\n", encoding="ascii")
    return digest


def make_all(sources: Sequence[Source], engine: Path, cache: Path, recorded: Path) -> list[DataSet]:
    """Data sets of all sources, with a bar."""
    return [make(source, engine, cache, recorded) for source in tqdm(sources, desc="data sets", disable=None)]


def digest_of(sets: Sequence[DataSet]) -> str:
    """SHA-256 over the digests of data sets."""
    return hashlib.sha256("".join(sorted(f"{part.digest}\n" for part in sets)).encode()).hexdigest()


def run_engine(engine: Path, arguments: Sequence[str | Path]) -> None:
    """Runs the engine; its own message is the error's."""
    done = subprocess.run([engine, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{engine.name} {arguments[0]} failed with {done.returncode}: {done.stderr.strip()[-2000:]}")


def simulate(engine: Path, folder: Path, seed: int, seconds: int, options: Sequence[str] = ()) -> list[Path]:
    """Captures of a simulated market, for as long as a data set is made in the folder."""
    out = folder / _CAPTURES_FOLDER
    run_engine(engine, ["simulate", "--out", out, "--seed", str(seed), "--seconds", str(seconds), *options])
    return sorted(out.glob("*.gz"))


def _extract(engine: Path, inputs: Sequence[Path], folder: Path) -> None:
    files = {kind: folder / name for kind, name in _KIND_FILES.items()}
    vectors: list[str | Path] = [
        "--out",
        files["features"],
        "--every-ms",
        str(VECTOR_MS),
        "--bars",
        files["bars"],
        "--bar",
        BAR_RULE,
    ]
    graphs: list[str | Path] = [
        "--graph",
        files["nodes"],
        "--graph-edges",
        files["edges"],
        "--graph-every-ms",
        str(GRAPH_MS),
    ]
    run_engine(engine, ["features", "--input", *inputs, *vectors, *graphs])
