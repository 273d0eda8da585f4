from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tidegate_models import artifact, curves, limits, registry, repository
from tidegate_models.cli import main
from tidegate_models.verify import verify

COMMITTED = [(name, 1) for name in registry.NAMES]


def history(repository_root: Path, name: str) -> Any:
    return json.loads((repository_root / "models" / "reports" / name / "history.json").read_text())


@pytest.mark.parametrize(("name", "version"), COMMITTED)
def test_committed_versions_say_how_they_were_trained(repository_root: Path, name: str, version: int) -> None:
    folder = repository_root / "onnx" / name / str(version)
    content = (folder / "training.json").read_bytes()
    assert len(content) <= limits.TRAINING_BYTES_MAX
    told = json.loads(content)
    assert told["format"] == "tidegate.training.v1"
    assert told["contract"] == hashlib.sha256((folder / "contract.json").read_bytes()).hexdigest()
    made = curves.from_report(folder, repository_root / "models" / "reports")
    assert told == made, "it is what its report says"
    assert content == repository.training_json(told)
    for curve in told["curves"]:
        assert [point["epoch"] for point in curve["points"]] == list(range(1, len(curve["points"]) + 1))


def test_the_tuner_shows_the_run_that_was_exported(repository_root: Path) -> None:
    told = json.loads((repository_root / "onnx" / "breaker-tuner" / "1" / "training.json").read_text())
    [curve] = told["curves"]
    run = history(repository_root, "breaker-tuner")["runs"]["simulated.graph"]
    assert [point["validation"] for point in curve["points"]] == [epoch["held_out"] for epoch in run["epochs"]]
    lowest = min(curve["points"], key=lambda point: point["validation"])
    assert lowest["epoch"] == run["best_epoch"] + 1


def test_an_export_says_it_and_a_version_without_gets_it_from_its_report(tmp_path: Path, repository_root: Path) -> None:
    made = registry.untrained("liquidity", 1)
    trained = artifact.Artifact(
        made.name, made.spec, made.model, made.golden_inputs, history(repository_root, "liquidity")
    )
    trained.with_metrics({"simulated_1s_auc": 0.902546}).save(tmp_path / "work")
    out = tmp_path / "onnx"
    assert main(["export", "liquidity", "--work", str(tmp_path / "work"), "--out", str(out)]) == 0
    folder = out / "liquidity" / "1"
    told = json.loads((folder / "training.json").read_text())
    assert [curve["name"] for curve in told["curves"]] == ["1 s", "5 s", "30 s"]
    assert told["contract"] == hashlib.sha256((folder / "contract.json").read_bytes()).hexdigest()
    assert verify(folder).good, "it is no part of the gate"

    old = tmp_path / "old" / "liquidity" / "1"
    shutil.copytree(repository_root / "onnx" / "liquidity" / "1", old)
    (old / "training.json").unlink()
    reports = ["--reports", str(repository_root / "models" / "reports")]
    assert main(["curves", str(old), *reports]) == 0
    committed = repository_root / "onnx" / "liquidity" / "1" / "training.json"
    assert (old / "training.json").read_bytes() == committed.read_bytes()
    assert main(["curves", str(old), *reports]) == 1, "what is there stays"
    assert sorted(path.name for path in old.parent.iterdir()) == ["1"], "nothing hidden is left behind"


def test_another_trainings_report_is_refused(tmp_path: Path, repository_root: Path) -> None:
    reports = repository_root / "models" / "reports"
    folder = tmp_path / "fill" / "1"
    shutil.copytree(repository_root / "onnx" / "fill" / "1", folder)
    path = folder / "contract.json"
    contract = json.loads(path.read_text())
    for change, reason in (
        ({"metrics": contract["metrics"] | {"simulated_1s_auc": 0.5001234}}, "it has no simulated_1s_auc"),
        ({"training": contract["training"] | {"labels": {}}}, "its labels are others"),
        ({"metrics": {}}, "has no figures"),
    ):
        path.write_text(json.dumps(contract | change))
        with pytest.raises(curves.CurvesError, match=reason):
            curves.from_report(folder, reports)


def test_histories_without_curves_and_too_long_ones() -> None:
    assert curves.document({}, b"{}") is None
    assert curves.document({"curves": {"1 s": {}}}, b"{}") is None
    assert curves.document({"runs": {"recorded-1.graph": {"epochs": []}}}, b"{}") is None
    long = {"curves": {"1 s": {"train": [0.5] * 2001, "check": [0.5] * 2001}}}
    with pytest.raises(curves.CurvesError, match="2000 points"):
        curves.document(long, b"{}")
    wide = {
        "format": "x",
        "contract": "",
        "loss": "",
        "curves": [{"name": "n" * limits.TRAINING_BYTES_MAX, "points": []}],
    }
    with pytest.raises(repository.RepositoryError, match=r"training\.json would have"):
        repository.training_json(wide)
