#!/usr/bin/env python3
"""Makes the distributable archives: `tidegate-VERSION-ARCH-linux.tar.gz` and `.zip`, with their checksums.

usage: dist.py --binary FILE --onnxruntime FOLDER [--out FOLDER] [--documents FOLDER] [--features LIST] [--level N]

The same inputs give the same bytes: names are sorted, owners and modes are fixed, and every time is SOURCE_DATE_EPOCH,
or the commit's where that is not set. Needs Python 3.11 and cargo, and nothing else.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# The first moment that a ZIP archive can name: 1980-01-02, whatever the time zone.
EARLIEST = 315_619_200
# What the ELF files may ask for of the host: the families whose symbols carry versions.
SYMBOLS = ("GLIBC", "GLIBCXX", "CXXABI", "GCC")


@dataclass(frozen=True)
class Entry:
    """A file of the archive: its bytes, or where they are."""

    content: bytes | Path
    executable: bool = False

    def read(self) -> bytes:
        """Its bytes."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


def command(*words: str) -> str:
    """What a command of the tree prints."""
    return subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def commit() -> str:
    """The commit that the tree is at, with a `+` where something in it differs; `unknown` outside a repository."""
    try:
        changed = command("git", "status", "--porcelain").strip()
        return command("git", "rev-parse", "HEAD").strip() + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("TIDEGATE_COMMIT", "unknown")


def epoch() -> int:
    """The time of every file in the archive."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        try:
            given = command("git", "log", "-1", "--format=%ct").strip()
        except (OSError, subprocess.CalledProcessError):
            raise ValueError("no repository to take the time from: set SOURCE_DATE_EPOCH") from None
    return max(int(given), EARLIEST)


def version() -> str:
    """The version of the workspace."""
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def required(*files: Path) -> dict[str, str]:
    """The newest symbol version of each family that ELF files ask for: what the host must have."""
    newest: dict[str, tuple[int, ...]] = {}
    for file in files:
        for family, number in re.findall(rb"\0([A-Z]+)_(\d+(?:\.\d+)+)(?=\0)", file.read_bytes()):
            name, parts = family.decode(), tuple(int(part) for part in number.split(b"."))
            if name in SYMBOLS:
                newest[name] = max(newest.get(name, (0,)), parts)
    return {name: ".".join(map(str, newest[name])) for name in SYMBOLS if name in newest}


def dependencies(features: str) -> list[dict[str, str]]:
    """The crates of others that the binary is made of."""
    machine = platform.machine()
    target = f"{machine}-unknown-linux-gnu"
    chosen = ["--features", features] if features else []
    tree = command(
        *("cargo", "tree", "--locked", "-p", "tidegate", "--edges", "normal", "--prefix", "none", "--format", "{p}"),
        *("--target", target, *chosen),
    )
    linked = {tuple(line.split()[:2]) for line in tree.splitlines() if line.strip()}
    metadata = command("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target)
    found = []
    for package in json.loads(metadata)["packages"]:
        if package["source"] and (package["name"], f"v{package['version']}") in linked:
            keys = ("name", "version", "license", "repository", "manifest_path")
            found.append({key: package[key] or "" for key in keys})
    return sorted(found, key=lambda package: (package["name"], package["version"]))


def licence_texts(packages: list[dict[str, str]]) -> str:
    """The licence files of crates, each text once with the crates that carry it."""
    texts: dict[str, list[str]] = {}
    for package in packages:
        folder = Path(package["manifest_path"]).parent
        for path in sorted(folder.iterdir()):
            if path.is_file() and re.match(r"(?i)(licen[cs]e|copying|copyright|notice|unlicense)", path.name):
                text = "\n".join(line.rstrip() for line in path.read_text(errors="replace").strip().splitlines())
                texts.setdefault(text, []).append(f"{package['name']} {package['version']} ({path.name})")
    parts = [f"{'=' * 100}\n{chr(10).join(owners)}\n{'-' * 100}\n{text}\n" for text, owners in texts.items()]
    return "\n".join(sorted(parts))


def third_party(packages: list[dict[str, str]]) -> str:
    """The list of crates of others, a line each."""
    lines = [
        "Crates that the binary is made of (cargo metadata): name, version, licence, repository.",
        "Their licence texts are in THIRD-PARTY-TEXTS.txt. ONNX Runtime and uPlot have files of their own here.",
        "",
    ]
    lines += [f"{p['name']}  {p['version']}  {p['license'] or '(see its text)'}  {p['repository']}" for p in packages]
    return "\n".join(lines) + "\n"


def licences(onnxruntime: Path, features: str) -> dict[str, Entry]:
    """The folder of licences."""
    packages = dependencies(features)
    found = {
        "licences/LICENSE": Entry(ROOT / "LICENSE"),
        "licences/THIRD-PARTY": Entry(third_party(packages).encode()),
        "licences/THIRD-PARTY-TEXTS.txt": Entry(licence_texts(packages).encode()),
        "licences/uPlot.LICENSE": Entry(ROOT / "engine/serve/page/vendor/LICENSE"),
    }
    for name in ("LICENSE", "ThirdPartyNotices.txt"):
        path = onnxruntime / name
        if not path.is_file():
            raise ValueError(f"{path} is missing: `make runtime` fetches it")
        found[f"licences/onnxruntime.{name}"] = Entry(path)
    return found


def tree(folder: Path, under: str) -> Iterator[tuple[str, Entry]]:
    """The files below a folder that are part of the project: what the repository knows, else all."""
    try:
        names = command("git", "ls-files", "-z", "-co", "--exclude-standard", "--", str(folder)).split("\0")
        files = [ROOT / name for name in names if name]
    except (OSError, subprocess.CalledProcessError):
        files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        yield f"{under}/{path.relative_to(folder)}", Entry(path, os.access(path, os.X_OK))


def contents(arguments: argparse.Namespace) -> dict[str, Entry]:
    """Everything in the archive but its checksums, by path."""
    binary = Path(arguments.binary)
    folder = Path(arguments.onnxruntime)
    libraries = [path for path in folder.glob("libonnxruntime.so.*") if path.suffix != ".sha256"]
    if not binary.is_file():
        raise ValueError(f"{binary} is missing: `make build` makes it")
    if len(libraries) != 1:
        raise ValueError(f"{folder}: expected one libonnxruntime.so.VERSION; `make runtime` fetches it")
    about = {"version": version(), "commit": commit(), "machine": platform.machine(), "features": arguments.features}
    needs = required(binary, libraries[0])
    found = {
        "bin/tidegate": Entry(binary, executable=True),
        f"lib/{libraries[0].name}": Entry(libraries[0]),
        "sbin/tidegate-tune-host": Entry(HERE / "sbin/tidegate-tune-host", executable=True),
        "README.md": Entry(ROOT / "README.md"),
        "DEPLOY.md": Entry(HERE / "DEPLOY.md"),
        "BUILD.json": Entry((json.dumps({**about, "needs": needs}, indent=1) + "\n").encode()),
    }
    found |= dict(tree(ROOT / "onnx", "onnx"))
    found |= dict(tree(HERE / "etc", "etc"))
    found |= dict(tree(HERE / "systemd", "systemd"))
    found |= dict(tree(ROOT / "tools/ops", "ops"))
    found |= licences(folder, arguments.features)
    if arguments.documents:
        for name in ("SUMMARY.md", "VERIFICATION.md"):
            path = Path(arguments.documents) / name
            if path.is_file():
                found[name] = Entry(path)
    return dict(sorted(found.items()))


def write_tar(path: Path, files: list[tuple[str, bytes, bool]], when: int, level: int) -> None:
    """A tar.gz whose bytes depend on nothing but its files and the time."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", level, raw, mtime=when) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content, executable in files:
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(content), when, 0o755 if executable else 0o644
            info.uname = info.gname = "root"
            archive.addfile(info, io.BytesIO(content))


def write_zip(path: Path, files: list[tuple[str, bytes, bool]], when: int, level: int) -> None:
    """The same files as ZIP, with the same promise."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for name, content, executable in files:
            info = zipfile.ZipInfo(name, time.gmtime(when)[:6])
            info.create_system, info.compress_type = 3, zipfile.ZIP_DEFLATED
            info.external_attr = (0o100755 if executable else 0o100644) << 16
            archive.writestr(info, content)


def sha256(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def make(arguments: argparse.Namespace) -> list[Path]:
    """Writes the archives and what proves them."""
    top = f"tidegate-{version()}-{platform.machine()}-linux"
    files = [(name, entry.read(), entry.executable) for name, entry in contents(arguments).items()]
    sums = "".join(f"{sha256(content)}  {name}\n" for name, content, _ in files)
    files.append(("SHA256SUMS", sums.encode(), False))
    files = sorted((f"{top}/{name}", content, executable) for name, content, executable in files)
    out, when = Path(arguments.out), epoch()
    out.mkdir(parents=True, exist_ok=True)
    archives = [out / f"{top}.tar.gz", out / f"{top}.zip"]
    for path, write in zip(archives, (write_tar, write_zip), strict=True):
        unfinished = path.with_name(path.name + ".part")
        write(unfinished, files, when, arguments.level)
        unfinished.replace(path)
    lines = [f"{sha256(path.read_bytes())}  {path.name}\n" for path in archives]
    (out / "SHA256SUMS").write_text("".join(lines))
    return archives


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, help="the engine's binary")
    parser.add_argument("--onnxruntime", required=True, help="folder with ONNX Runtime's library and licences")
    parser.add_argument("--out", default=str(ROOT / "dist"), help="where the archives go")
    parser.add_argument("--documents", help="folder with SUMMARY.md and VERIFICATION.md, if they were made")
    parser.add_argument("--features", default="", help="features of the binary, for its list of crates")
    parser.add_argument("--level", type=int, default=9, choices=range(1, 10), help="compression")
    arguments = parser.parse_args()
    try:
        for path in make(arguments):
            print(f"{path}  {path.stat().st_size:,} bytes")
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(error.cmd[:3])}: {error.stderr.strip()}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"dist.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
