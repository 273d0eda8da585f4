from __future__ import annotations

import base64
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tidegate_models import limits, registry, repository, schema
from tidegate_models.artifact import Artifact
from tidegate_models.cli import main
from tidegate_models.verify import verify


@pytest.fixture
def version(tmp_path: Path) -> Path:
    artifact = registry.untrained("breaker-tuner", 7)
    return repository.publish(tmp_path, artifact.name, 3, artifact.spec, artifact.model, artifact.golden_inputs)


def test_what_is_written_passes(version: Path) -> None:
    verdict = verify(version)
    assert verdict.good, verdict.reasons
    assert verdict.golden_cases >= 8
    assert verdict.largest_difference == 0.0
    assert sorted(path.name for path in version.iterdir()) == ["contract.json", "golden.json", "model.onnx"]
    assert sorted(path.name for path in version.parent.iterdir()) == ["3"], "nothing hidden is left behind"
    repository.set_current(version.parents[1], version.parent.name, 3)
    assert (version.parent / "CURRENT").read_text() == "3\n"


def test_contract_has_every_key_of_the_format(version: Path) -> None:
    contract = json.loads((version / "contract.json").read_text())
    keys = "format name version kind created inputs outputs schemas opset encoding training metrics latency_budget_us"
    assert list(contract) == [*keys.split(), "tolerance", "files"]
    assert contract["opset"] == {"ai.onnx": 18, "ai.tidegate": 1}
    assert contract["inputs"][0] == {"name": "x", "type": "float32", "shape": ["nodes", 24]}
    assert contract["outputs"][0]["shape"] == ["nodes", 15]
    names = [target["name"] for target in contract["encoding"]["targets"]]
    assert names == ["volatility", "spread", "imbalance", "latency", "recovery"]
    assert set(contract["training"]) == {"sources", "digest", "labels", "seed"}


def test_a_version_is_never_changed(version: Path) -> None:
    artifact = registry.untrained("breaker-tuner", 8)
    with pytest.raises(repository.RepositoryError, match="never changed"):
        repository.publish(version.parents[1], artifact.name, 3, artifact.spec, artifact.model, artifact.golden_inputs)


@pytest.mark.parametrize("name", ["model.onnx", "golden.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_damage_is_noticed(version: Path, name: str, damage: str) -> None:
    path = version / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    else:
        content = content[: len(content) // 2]
    path.write_bytes(bytes(content))
    verdict = verify(version)
    assert not verdict.good
    assert name in verdict.reasons[0]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("format", "tidegate.model.v9", "format"),
        ("version", 4, "the folder"),
        ("kind", "oracle", "kind"),
        ("opset", {"ai.onnx": 17}, "opsets"),
        ("schemas", {"graph": "00"}, "trained on graph schema"),
        ("tolerance", -1.0, "tolerance"),
        ("outputs", [{"name": "y", "type": "float32", "shape": ["nodes", 3], "range": [0, 20]}], "outputs are"),
        ("outputs", [{"name": "y", "type": "float32", "shape": ["nodes", 15], "range": [0, 0.1]}], "its range"),
    ],
)
def test_a_wrong_contract_is_refused(version: Path, key: str, value: object, reason: str) -> None:
    path = version / "contract.json"
    contract = json.loads(path.read_text())
    contract[key] = value
    path.write_text(json.dumps(contract))
    reasons = verify(version).reasons
    assert any(reason in entry for entry in reasons), reasons


def test_a_missing_or_broken_contract_is_a_reason_and_no_crash(version: Path) -> None:
    (version / "contract.json").write_text("{")
    assert not verify(version).good
    (version / "contract.json").unlink()
    assert "contract.json" in verify(version).reasons[0]


def test_names_versions_and_sizes_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = registry.untrained("liquidity", 1)
    rest = (artifact.spec, artifact.model, artifact.golden_inputs)
    for name, number in (("../evil", 1), ("Model", 1), ("", 1), ("a" * 25, 1), ("liquidity", 0), ("liquidity", 2**32)):
        with pytest.raises(repository.RepositoryError, match="expected"):
            repository.publish(tmp_path, name, number, *rest)
    assert main(["export", "liquidity", "--untrained", "--version", "0", "--out", str(tmp_path)]) == 1
    with pytest.raises(repository.RepositoryError, match="golden cases"):
        repository.publish(tmp_path, "liquidity", 1, artifact.spec, artifact.model, artifact.golden_inputs[:3])
    oversize = bytes(limits.MODEL_BYTES_MAX + 1)
    with pytest.raises(repository.RepositoryError, match=r"model\.onnx would have"):
        repository.publish(tmp_path, "liquidity", 1, artifact.spec, oversize, artifact.golden_inputs)
    monkeypatch.setitem(repository.BYTES_MAX, "golden.json", 100)
    with pytest.raises(repository.RepositoryError, match=r"golden\.json would have"):
        repository.publish(tmp_path, "liquidity", 1, *rest)
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [], "a refused version leaves nothing"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tolerance": 0.011}, "tolerance"),
        ({"latency_budget_us": 1001}, "latency_budget_us"),
        ({"schemas": {}}, "does not name 'features'"),
        ({"schemas": schema.hashes() | {"tides": "0" * 64}}, "no such schema"),
    ],
)
def test_what_the_engine_would_refuse_is_not_exported(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    artifact = registry.untrained("liquidity", 1)
    spec = dataclasses.replace(artifact.spec, **change)
    with pytest.raises(repository.RepositoryError, match=reason):
        repository.publish(tmp_path, "liquidity", 1, spec, artifact.model, artifact.golden_inputs)
    assert list(tmp_path.iterdir()) == []


def test_an_artifact_survives_saving(tmp_path: Path) -> None:
    artifact = registry.untrained("fill", 2)
    artifact.save(tmp_path)
    loaded = Artifact.load(tmp_path, "fill")
    assert loaded.model == artifact.model
    assert loaded.spec == artifact.spec
    assert len(loaded.golden_inputs) == len(artifact.golden_inputs)
    with pytest.raises(FileNotFoundError, match="train liquidity"):
        Artifact.load(tmp_path, "liquidity")


def test_signature_is_of_the_contract(tmp_path: Path) -> None:
    ed25519 = pytest.importorskip(
        "cryptography.hazmat.primitives.asymmetric.ed25519",
        reason="cryptography is not installed (pip install 'tidegate-models[sign]')",
    )
    key = ed25519.Ed25519PrivateKey.generate()
    key_file = tmp_path / "key"
    key_file.write_bytes(base64.b64encode(key.private_bytes_raw()))
    arguments = ["export", "breaker-tuner", "--untrained", "--out", str(tmp_path), "--key", str(key_file)]
    assert main(arguments) == 0
    folder = tmp_path / "breaker-tuner" / "1"
    signature = base64.b64decode((folder / "contract.json.sig").read_text())
    assert len(signature) == 64
    key.public_key().verify(signature, (folder / "contract.json").read_bytes())


@pytest.mark.parametrize("name", registry.NAMES)
def test_export_and_verify_by_the_command(tmp_path: Path, name: str) -> None:
    created = ["--created", "2026-01-01T00:00:00+00:00"]
    for folder in ("a", "b"):
        arguments = ["export", name, "--untrained", "--seed", "7", "--version", "2", "--out", str(tmp_path / folder)]
        assert main([*arguments, *created]) == 0
    first, second = (tmp_path / folder / name / "2" for folder in ("a", "b"))
    for file in ("model.onnx", "contract.json", "golden.json"):
        assert (first / file).read_bytes() == (second / file).read_bytes(), f"{file} is made the same twice"
    assert main(["verify", str(first)]) == 0
    (first / "model.onnx").write_bytes(b"")
    assert main(["verify", str(first)]) == 1
    assert main(["export", name, "--untrained", "--version", "2", "--out", str(tmp_path / "b")]) == 1


def test_committed_versions_pass(repository_root: Path) -> None:
    folders = sorted(path.parent for path in (repository_root / "onnx").glob("*/*/contract.json"))
    assert folders, "versions are committed"
    for folder in folders:
        verdict = verify(folder)
        assert verdict.good, (folder, verdict.reasons)


def test_committed_graphs_hold_no_traces_of_the_machine(repository_root: Path) -> None:
    for path in (repository_root / "onnx").glob("*/*/model.onnx"):
        content = path.read_bytes()
        for trace in (b"/home/", b"/tmp/", b"/root/", b"site-packages", b".py"):
            assert trace not in content, (path, trace)
        assert len(content) < 2_000_000


def test_versions_are_counted(version: Path, tmp_path: Path) -> None:
    assert repository.versions(tmp_path, "breaker-tuner") == [3]
    assert repository.next_version(tmp_path, "breaker-tuner") == 4
    assert repository.next_version(tmp_path, "other") == 1
    shutil.copytree(version, version.parent / ".5.tmp")
    assert repository.next_version(tmp_path, "breaker-tuner") == 4, "half of a version is none"
    for folder in ("0", "02", "+7", "\u0663", "4294967296", "4294967295", "10"):
        (version.parent / folder).mkdir()
    assert repository.versions(tmp_path, "breaker-tuner") == [3, 10, 4294967295], "the engine sees no others"
