#!/usr/bin/env python3
"""Writes SUMMARY.md (what is in the tree) and, from the log of a test run, VERIFICATION.md (what was verified).

usage: report.py --out FOLDER [--binary FILE] [--log LOG [--list FILE --ignored FILE]]

LOG is what `make test` printed. Which tests each program has, and which of them are ignored, is asked of cargo
(`--list` and `--ignored` name files with the answers, standard output and error together, for who has them already).
Nothing is estimated: what the log does not say is not in the report, and says so. The log of a quiet run names no test
that passed, so the k-th result in it is held against the k-th program of the list, and names are believed only where
all counts agree.
"""

import argparse
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# As tests/run.sh builds them.
LIST = ("cargo", "test", "--locked", "--workspace", "--features", "tidegate/anchor", "--no-fail-fast", "--", "--list")
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;")


@dataclass
class Step:
    """A step of the run."""

    name: str
    verdict: str = "did not end"
    seconds: str = ""
    lines: list[str] = field(default_factory=list)


@dataclass
class Program:
    """A test program: its name and its tests."""

    name: str
    tests: list[str] = field(default_factory=list)

    @property
    def crate(self) -> str:
        """The crate that it belongs to, as far as its name tells."""
        return self.name.partition(" ")[0]


def steps(log: str) -> list[Step]:
    """The steps of a run of tests/run.sh."""
    found: list[Step] = []
    for raw in log.splitlines():
        line = ESCAPES.sub("", raw)
        if match := re.match(r"^-- (.+): (ok|SKIPPED|FAILED) \((\d+) s\)$", line):
            name, verdict, seconds = match.groups()
            if found and found[-1].name == name:
                found[-1].verdict, found[-1].seconds = verdict, seconds
        elif (match := re.match(r"^== (.+)$", line)) and not match[1].startswith("FAILED: "):
            found.append(Step(match[1]))
        elif found:
            found[-1].lines.append(line)
    return found


def programs(listing: str) -> list[Program]:
    """The test programs that cargo names, in the order in which it runs them."""
    found: list[Program] = []
    for raw in listing.splitlines():
        line = ESCAPES.sub("", raw).strip()
        if match := re.match(r"^Running (?:unittests )?(\S+) \((\S+)\)$", line):
            stem = re.sub(r"-[0-9a-f]{16}$", "", Path(match[2]).name).replace("_", "-")
            found.append(Program(f"{stem} {match[1]}"))
        elif match := re.match(r"^Doc-tests (\S+)$", line):
            found.append(Program(f"{match[1].replace('_', '-')} (documentation)"))
        elif found and (match := re.match(r"^(.+): (?:test|benchmark)$", line)):
            found[-1].tests.append(match[1])
    return found


def compliance(names: set[str] | None) -> list[str]:
    """The table of controls with what the run says of the tests that each row names."""
    lines = ["| requirement | where | tests | in this run |", "|---|---|---|---|"]
    for row in (ROOT / "engine/COMPLIANCE.md").read_text().splitlines():
        if not row.startswith("| ") or row.startswith("| requirement |"):
            continue
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        tests = re.findall(r"`([a-z0-9_]+)`", cells[-1])
        if names is None:
            said = "not known: counts of log and list differ"
        else:
            missing = [test for test in tests if test not in names]
            said = f"{len(tests)} passed" if not missing else f"not found or not passed: {', '.join(missing)}"
        lines.append(f"| {cells[0]} | {cells[1]} | {', '.join(f'`{test}`' for test in tests)} | {said} |")
    return lines


def bars() -> list[str]:
    """The table of bars, as bench/RESULTS.md has it."""
    rows = [line for line in (ROOT / "bench/RESULTS.md").read_text().splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    kept = [cells for cells in split if len(cells) >= 7 and cells[0] != "what" and not cells[0].startswith("--")]
    lines = ["| figure | bar | measured | verdict | commit |", "|---|---|---|---|---|"]
    for cells in kept:
        lines.append(f"| {cells[2]} | {cells[3]} | {cells[4]} | {cells[5]} | {cells[-1]} |")
    verdicts = Counter("pass" if row[5] == "pass" else "other" for row in kept)
    summed = f"{verdicts['pass']} of {len(kept)} bars pass, as recorded there; this run measured none of them anew."
    return [summed, "", *lines]


def rust(step: Step | None, found: list[Program], ignored: list[Program]) -> tuple[list[str], set[str] | None]:
    """The section of the Rust tests, and the names of those that passed where they can be told."""
    if step is None:
        return ["The log has no step `tests`."], None
    results = [tuple(map(int, match.groups()[:3])) for line in step.lines if (match := RESULT.match(line))]
    failed = {match[1] for line in step.lines if (match := re.match(r"^    ([\w:]+)$", line))}
    failed |= {match[1] for line in step.lines if (match := re.match(r"^---- (\S+) stdout ----$", line))}
    total = [sum(result[index] for result in results) for index in range(3)]
    lines = [f"{total[0]} passed, {total[1]} failed, {total[2]} ignored in {len(results)} programs.", ""]
    agree = len(found) == len(results) and all(
        len(program.tests) == sum(result) for program, result in zip(found, results, strict=True)
    )
    if not agree:
        have = sum(len(program.tests) for program in found)
        lines.append(
            f"Counts of the log and of the list of tests differ ({len(found)} programs with {have} tests are listed), "
            "so no test is named here: make log and list from the same commit."
        )
        return lines, None
    by_crate: dict[str, list[int]] = {}
    for program, result in zip(found, results, strict=True):
        sums = by_crate.setdefault(program.name, [0, 0, 0])
        for index in range(3):
            sums[index] += result[index]
    lines += ["| program | passed | failed | ignored |", "|---|---|---|---|"]
    lines += [f"| {name} | {a} | {b} | {c} |" for name, (a, b, c) in by_crate.items() if a + b + c]
    # Where a program has failures that the log does not name, none of its tests is taken for passed.
    left = {(program.name, test) for program in ignored for test in program.tests}
    passed = set()
    for program, (_, bad, _) in zip(found, results, strict=True):
        names = [test for test in program.tests if test not in failed]
        if len(program.tests) - len(names) >= bad:
            names = [test for test in names if (program.name, test) not in left]
            passed |= {name.rpartition("::")[2].partition(" ")[0] for name in names}
    return lines, passed


def verification(log: str, listing: str, ignored: str) -> str:
    """The whole report."""
    ran = steps(log)
    if not ran:
        raise ValueError("the log has no step of tests/run.sh: expected what `make test` printed")
    counts = Counter(step.verdict for step in ran)
    lines = ["# Verification", "", "Made by `tools/dist/report.py` from the log of `make test`, and from nothing else."]
    lines += ["", f"{counts['ok']} steps passed, {counts['FAILED']} failed, {counts['SKIPPED']} were skipped"]
    lines[-1] += f", {counts['did not end']} did not end." if counts["did not end"] else "."
    lines += ["", "| step | verdict | seconds |", "|---|---|---|"]
    lines += [f"| {step.name} | {step.verdict} | {step.seconds} |" for step in ran]
    step = next((step for step in ran if step.name == "tests"), None)
    tests, names = rust(step, programs(listing), programs(ignored))
    lines += ["", "## Rust tests", "", *tests]
    python = [
        line for step in ran if step.name != "tests" for line in step.lines if re.search(r"\d+ passed.* in ", line)
    ]
    lines += ["", "## Other tests", "", *([f"* {line.strip('= ')}" for line in python] or ["The log names none."])]
    skipped = [f"* {step.name}: {line}" for step in ran for line in step.lines if line.startswith("SKIPPED: ")]
    lines += ["", "## Skipped", "", *(skipped or ["Nothing says that it was skipped."])]
    lines += [
        "",
        "## Controls",
        "",
        "A control is implemented where its tests pass; compliance is not ours to grant.",
        "",
    ]
    lines += [*compliance(names), "", "## Bars", "", *bars(), ""]
    return "\n".join(lines)


def lines_of(folder: Path, ends: tuple[str, ...]) -> tuple[int, int]:
    """Files below a folder that end so, and their lines; what git ignores does not count."""
    words = ("git", "ls-files", "-z", "-co", "--exclude-standard", "--", str(folder))
    try:
        said = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        paths = [ROOT / name for name in said.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        # No repository, as in a container's build.
        paths = list(folder.rglob("*"))
    files = [path for path in paths if path.name.endswith(ends) and "node_modules" not in path.parts]
    return len(files), sum(path.read_text(errors="replace").count("\n") for path in files if path.is_file())


def dependencies(package: str) -> int:
    """How many crates of others a package is made of."""
    words = ("cargo", "tree", "--locked", "-p", package, "--edges", "normal", "--prefix", "none", "--format", "{p}")
    said = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return len({tuple(line.split()[:2]) for line in said.splitlines() if line.strip() and "(/" not in line})


def summary(binary: Path | None) -> str:
    """What the tree holds, counted."""
    lines = ["# Summary", "", "Counted by `tools/dist/report.py`; README.md says what the parts are for."]
    lines += ["", "| part | Rust files | lines | crates of others |", "|---|---|---|---|"]
    manifests = [path for name in ("engine", "tools") for path in sorted((ROOT / name).glob("*/Cargo.toml"))]
    manifests += [ROOT / "bench/Cargo.toml", ROOT / "tests/Cargo.toml"]
    sums = [0, 0]
    for manifest in manifests:
        package = re.search(r'^name = "(.+)"', manifest.read_text(), re.MULTILINE)
        files, count = lines_of(manifest.parent, (".rs",))
        sums = [sums[0] + files, sums[1] + count]
        crates = dependencies(package[1]) if package else 0
        lines.append(f"| `{manifest.parent.relative_to(ROOT)}` | {files} | {count:,} | {crates} |")
    lines.append(f"| together | {sums[0]} | {sums[1]:,} | |")
    python = lines_of(ROOT / "models", (".py",))
    page = lines_of(ROOT / "engine/serve/page", ("main.js", "views.js", "charts.js", "controls.js", "css", "html"))
    lines += [
        "",
        f"Python package: {python[0]} files, {python[1]:,} lines. Dashboard: {page[0]} files, {page[1]:,} lines.",
    ]
    models = sorted(path.parent.name for path in (ROOT / "onnx").glob("*/CURRENT"))
    lines += [f"Models: {len(models)} ({', '.join(models)})."]
    if binary:
        said = subprocess.run(
            [binary, "--help"], check=True, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}
        )
        section = said.stdout.partition("Commands:\n")[2].partition("\n\n")[0]
        # A line that begins further in goes on with the one before.
        rows = re.sub(r"\n {6,}", " ", section).splitlines()
        commands = [row.strip().partition(" ") for row in rows if not row.strip().startswith("help ")]
        lines += ["", "| command | what it does |", "|---|---|"]
        lines += [f"| `tidegate {name}` | {about.strip()} |" for name, _, about in commands]
    return "\n".join(lines) + "\n"


def listed(path: str | None, *more: str) -> str:
    """Cargo's list of tests."""
    if path:
        return Path(path).read_text()
    said = subprocess.run(
        [*LIST, *more], cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if said.returncode != 0:
        raise ValueError(f"cargo cannot list the tests: {said.stdout.strip().splitlines()[-1:]}")
    return said.stdout


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder for the reports")
    parser.add_argument("--binary", help="the engine's binary, for its commands")
    parser.add_argument("--log", help="what `make test` printed")
    parser.add_argument("--list", help="what cargo said when it was asked for its tests")
    parser.add_argument("--ignored", help="the same with --ignored")
    arguments = parser.parse_args()
    out = Path(arguments.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "SUMMARY.md").write_text(summary(Path(arguments.binary) if arguments.binary else None))
        if arguments.log:
            log = Path(arguments.log).read_text(errors="replace")
            text = verification(log, listed(arguments.list), listed(arguments.ignored, "--ignored"))
            (out / "VERIFICATION.md").write_text(text)
        else:
            (out / "VERIFICATION.md").unlink(missing_ok=True)
            print("No VERIFICATION.md: make test 2>&1 | tee test.log, and then LOG=test.log", file=sys.stderr)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"report.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
