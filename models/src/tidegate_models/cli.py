"""The `tidegate-models` command.

Heavy libraries are imported by the commands that need them: `watch` must say first on which core and with how many
threads they run.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tidegate_models import paths, registry
from tidegate_models.errors import ModelsError

_EXAMPLES = """\
examples:
  tidegate-models data                                   data sets from recorded captures and simulated markets
  tidegate-models train breaker-tuner                    needs the train extra
  tidegate-models evaluate breaker-tuner                 writes models/reports/breaker-tuner/
  tidegate-models export breaker-tuner                   the next version, under onnx/
  tidegate-models export breaker-tuner --untrained --seed 7 --version 2 --out onnx-trial
  tidegate-models verify onnx/breaker-tuner/1
  tidegate-models curves                                 training.json of versions that were exported without
  tidegate-models watch --outcomes run/data/outcomes --out onnx --log run/logs/training.log --poll 60
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; gives the exit code: 0 good, 1 refused or failed, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except (ModelsError, OSError, ValueError, RuntimeError) as error:
        print(f"tidegate-models: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tidegate-models",
        description="Training, evaluation and export of the models that the Tidegate engine loads.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about)
        command.set_defaults(command=run)
        return command

    data = add("data", _data, "Make data sets with the engine, or take them from the cache")
    _data_options(data)
    train = add("train", _train, "Train a model on its data sets")
    train.add_argument("model", choices=registry.NAMES)
    train.add_argument("--seed", type=int, default=1)
    train.add_argument("--fresh", action="store_true", help="start anew even if a checkpoint is there")
    train.add_argument("--work", type=Path, default=None, help="where the trained model goes (default: run/models)")
    _data_options(train)
    evaluate = add("evaluate", _evaluate, "Score a trained model out of sample and write its report")
    evaluate.add_argument("model", choices=registry.NAMES)
    evaluate.add_argument("--seed", type=int, default=1)
    evaluate.add_argument("--work", type=Path, default=None)
    evaluate.add_argument("--reports", type=Path, default=None, help="default: models/reports")
    _data_options(evaluate)
    export = add("export", _export, "Write a version to the model repository")
    export.add_argument("model", choices=registry.NAMES)
    export.add_argument("--version", type=int, default=None, help="default: one above the highest")
    export.add_argument("--out", type=Path, default=None, help="the repository (default: onnx)")
    export.add_argument("--work", type=Path, default=None)
    export.add_argument("--untrained", action="store_true", help="random weights from --seed: for trials only")
    export.add_argument("--seed", type=int, default=1)
    export.add_argument("--key", type=Path, default=None, help="Ed25519 private key: also write contract.json.sig")
    export.add_argument("--created", default=None, metavar="RFC3339", help="date in the contract (default: now)")
    export.add_argument(
        "--current",
        action="store_true",
        help="put it in force at the next start, without shadow (a running engine takes it over by itself)",
    )
    told = add("curves", _curves, "Write training.json of versions that were exported without, from their reports")
    told.add_argument(
        "folders", nargs="*", type=Path, metavar="FOLDER", help="default: those under onnx that have none"
    )
    told.add_argument("--reports", type=Path, default=None, help="default: models/reports")
    watch = add("watch", _watch, "Train on outcomes as they come, beside an engine that asks on standard input")
    watch.add_argument("--outcomes", type=Path, required=True, help="folder of the engine's outcomes-*.parquet")
    watch.add_argument("--out", type=Path, required=True, help="the repository that versions are read from and go to")
    watch.add_argument("--log", type=Path, required=True, help="file to append what happens to, for people")
    watch.add_argument("--name", default="confidence", help="the model's name (default: confidence)")
    watch.add_argument("--key", type=Path, default=None, help="Ed25519 private key: also write contract.json.sig")
    watch.add_argument(
        "--poll",
        type=float,
        default=None,
        metavar="SECONDS",
        help="without an engine: look by itself so often, with default settings, and read no standard input",
    )
    check = add("verify", _verify, "Check version folders: hashes, contract, graph, golden cases")
    check.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="default: all under onnx")
    return parser


def _data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", type=Path, default=None, help="the tidegate binary (default: looked for)")
    parser.add_argument("--cache", type=Path, default=None, help="default: ~/.cache/tidegate/models")
    parser.add_argument("--recorded", type=Path, default=None, help="recorded data (default: TIDEGATE_DATA)")


def _data(options: argparse.Namespace) -> int:
    registry.data_sets(registry.DataOptions.of(options))
    return 0


def _train(options: argparse.Namespace) -> int:
    work = options.work or paths.work_folder()
    artifact = registry.train(options.model, registry.DataOptions.of(options), options.seed, work, options.fresh)
    print(f"{options.model}: trained, {len(artifact.model)} bytes, in {artifact.save(work)}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from tidegate_models.artifact import Artifact

    work = options.work or paths.work_folder()
    reports = options.reports or paths.reports_folder()
    artifact = Artifact.load(work, options.model)
    metrics = registry.evaluate(artifact, registry.DataOptions.of(options), options.seed, work, reports)
    artifact.with_metrics(metrics).save(work)
    print(f"{options.model}: report in {reports / options.model}")
    return 0


def _export(options: argparse.Namespace) -> int:
    from tidegate_models import curves, repository
    from tidegate_models.artifact import Artifact

    out = options.out or paths.model_repository()
    if options.untrained:
        artifact = registry.untrained(options.model, options.seed)
    else:
        artifact = Artifact.load(options.work or paths.work_folder(), options.model)
    version = repository.next_version(out, artifact.name) if options.version is None else options.version
    created = datetime.datetime.fromisoformat(options.created) if options.created else None
    folder = repository.publish(
        out,
        artifact.name,
        version,
        artifact.spec,
        artifact.model,
        artifact.golden_inputs,
        key_file=options.key,
        created=created,
        make_current=options.current,
        training=lambda contract: curves.document(artifact.history, contract),
    )
    return _print_verdicts([folder])


def _curves(options: argparse.Namespace) -> int:
    from tidegate_models import curves, repository

    reports = options.reports or paths.reports_folder()
    without = [folder for folder in _committed() if not (folder / repository.TRAINING_FILE).exists()]
    for folder in options.folders or without:
        told = curves.from_report(folder.resolve(), reports)
        if told is None:
            print(f"nothing  {folder}  its report has no curve")
            continue
        repository.add_training(folder, told)
        points = ", ".join(f"{curve['name']}: {len(curve['points'])} points" for curve in told["curves"])
        print(f"written  {folder / repository.TRAINING_FILE}  {points}")
    return 0


def _watch(options: argparse.Namespace) -> int:
    from tidegate_models import watch

    return watch.run(watch.Places(options.outcomes, options.out, options.log, options.name, options.key), options.poll)


def _verify(options: argparse.Namespace) -> int:
    return _print_verdicts(options.folders or _committed())


def _committed() -> list[Path]:
    from tidegate_models import repository

    root = paths.model_repository()
    return [
        root / name / str(version)
        for name in sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        for version in repository.versions(root, name)
    ]


def _print_verdicts(folders: Sequence[Path]) -> int:
    from tidegate_models.verify import verify

    bad = 0
    for folder in folders:
        verdict = verify(folder.resolve())
        if verdict.good:
            print(
                f"good     {folder}  {verdict.golden_cases} golden cases, "
                f"largest difference {verdict.largest_difference:.2g}"
            )
            continue
        bad += 1
        for reason in verdict.reasons:
            print(f"refused  {folder}  {reason}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
