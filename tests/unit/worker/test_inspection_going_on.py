"""What an inspector says of a run that is to go on: what has changed since its checkpoint, and whether it may."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from trainerd.config import compose, spec_to_yaml
from trainerd.contracts.messages import Inspect, Inspected
from trainerd.data import open_source
from trainerd.training.checkpoints.commit import MANIFEST, Manifest, commit_directory
from trainerd.training.checkpoints.snapshot import DOCUMENT_FILE, MODEL_FILE
from trainerd.worker.inspector import inspect

TEXT = """\
name: going-on
data:
  kind: hdf5
  path: samples.h5
  inputs: {key: x, shape: [8]}
  targets: {key: y, shape: [1]}
  batch_size: 8
model: {name: mlp, args: {hidden: [8]}}
loss: {name: mse}
optimizer: {name: adamw, lr: 0.01}
trainer: {max_epochs: 40, device: cpu}
"""
STEP = 424


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """The directory of a run that has committed one checkpoint, at step 424, after 26 epochs."""
    write_samples(tmp_path / "samples.h5", 0.0)
    directory = tmp_path / "7"
    save_checkpoint(directory, STEP)
    (directory / "spec.yaml").write_text(spec_to_yaml(compose(tmp_path / "run.yaml", TEXT).spec))
    return directory


def write_samples(path: Path, value: float) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = np.full((64, 8), value, np.float32)
        file["y"] = np.zeros((64, 1), np.float32)


def save_checkpoint(directory: Path, step: int, text: str = TEXT) -> Path:
    spec = compose(directory.parent / "run.yaml", text).spec
    training = {
        "spec": spec.model_dump(mode="json"),
        "data_fingerprint": open_source(spec.data).fingerprint(),
        "loss": None,
        "optimizer": {"$tensor": "training.optimizer"},
    }
    path = directory / "checkpoints" / f"step-{step:09d}"
    files = {DOCUMENT_FILE: json.dumps(training).encode(), MODEL_FILE: bytes(64)}
    path.parent.mkdir(parents=True, exist_ok=True)
    commit_directory(path, files, Manifest("7", 1, step, 26, periodic=True, pinned=False))
    return path


def ask(run_dir: Path, *overrides: str, accept: bool = False) -> Inspected:
    """What is said of the run as the control plane asks: its saved specification, from where its file came."""
    lines = (run_dir / "spec.yaml").read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("source:"))
    path = str(run_dir.parent / "run.yaml")
    return inspect(Inspect(path, text, list(overrides), run_dir=str(run_dir), accept_changed_data=accept), run_dir)


def verdicts(inspected: Inspected) -> dict[str, str]:
    return {change["key"]: change["verdict"] for change in inspected.changes}


def test_nothing_has_changed(run_dir: Path) -> None:
    inspected = ask(run_dir)
    assert (inspected.findings, inspected.warnings, inspected.changes) == ([], [], [])
    assert inspected.accepted_data is None


def test_every_change_is_listed_with_both_values_and_a_reason(run_dir: Path) -> None:
    inspected = ask(run_dir, "optimizer.lr=0.5", "resources.cpus=2")
    assert inspected.findings == []
    assert inspected.spec is not None
    assert inspected.spec["optimizer"]["lr"] == 0.5
    assert verdicts(inspected) == {"optimizer.lr": "applied", "resources.cpus": "kept"}
    [change, _] = inspected.changes
    assert (change["was"], change["now"]) == (0.01, 0.5)
    assert change["why"]


def test_a_change_that_cannot_be_is_refused_where_it_was_said(run_dir: Path) -> None:
    inspected = ask(run_dir, "data.batch_size=4", "optimizer.lr=0.5", "trainer.max_epochs=3")
    findings = {finding["key"]: finding for finding in inspected.findings}
    assert findings.keys() == {"data.batch_size", "trainer.max_epochs"}
    assert findings["data.batch_size"]["file"] == "override data.batch_size=4"
    assert (findings["data.batch_size"]["expected"], findings["data.batch_size"]["found"]) == ("8", "4")
    expected = {"data.batch_size": "refused", "optimizer.lr": "applied", "trainer.max_epochs": "refused"}
    assert verdicts(inspected) == expected


def test_changed_data_is_refused_unless_it_is_accepted(run_dir: Path) -> None:
    write_samples(run_dir.parent / "samples.h5", 1.0)
    [finding] = ask(run_dir).findings
    assert finding["key"] == "data"
    assert "until step 424" in finding["message"]
    assert "--accept-changed-data" in finding["message"]
    accepted = ask(run_dir, accept=True)
    assert accepted.findings == []
    assert accepted.accepted_data == open_source(compose(run_dir.parent / "run.yaml", TEXT).spec.data).fingerprint()


def test_accepting_the_same_data_accepts_nothing(run_dir: Path) -> None:
    assert ask(run_dir, accept=True).accepted_data is None


def test_a_relative_path_in_an_override_begins_where_the_configuration_lies(run_dir: Path) -> None:
    (run_dir.parent / "elsewhere").mkdir()
    (run_dir.parent / "samples.h5").rename(run_dir.parent / "elsewhere/samples.h5")
    inspected = ask(run_dir, "data.path=elsewhere/samples.h5")
    assert inspected.findings == []
    assert verdicts(inspected) == {"data.path": "applied"}


def _empty_manifest(checkpoint: Path) -> None:
    (checkpoint / MANIFEST).write_bytes(b"")


def _short_model(checkpoint: Path) -> None:
    (checkpoint / MODEL_FILE).write_bytes(bytes(63))


def _changed_document(checkpoint: Path) -> None:
    document = checkpoint / DOCUMENT_FILE
    document.write_bytes(document.read_bytes().replace(b"0.01", b"0.02"))


@pytest.mark.parametrize("damage", [_empty_manifest, _short_model, _changed_document])
def test_a_damaged_checkpoint_is_passed_over_for_an_older_one_and_left_alone(
    run_dir: Path, damage: Callable[[Path], Any]
) -> None:
    """An inspector writes nothing: setting it aside is the trainer's."""
    newer = save_checkpoint(run_dir, STEP + 10, TEXT.replace("lr: 0.01", "lr: 0.01, weight_decay: 0.3"))
    assert verdicts(ask(run_dir)) == {"optimizer.weight_decay": "applied"}
    damage(newer)
    assert ask(run_dir).changes == []
    assert newer.exists()


def test_a_run_without_a_checkpoint_has_nothing_to_compare(tmp_path: Path) -> None:
    write_samples(tmp_path / "samples.h5", 0.0)
    (tmp_path / "7").mkdir()
    (tmp_path / "7/spec.yaml").write_text(spec_to_yaml(compose(tmp_path / "run.yaml", TEXT).spec))
    inspected = ask(tmp_path / "7", "data.batch_size=4")
    assert (inspected.findings, inspected.changes) == ([], [])


def test_no_tensor_is_read(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint of gigabytes is compared in no time: its tensors here are no safetensors at all."""
    monkeypatch.setattr(torch, "load", None)
    assert ask(run_dir, "optimizer.lr=0.5").findings == []


def test_a_run_that_fills_the_disk_with_its_own_checkpoints_may_go_on(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New ones take the place of the old ones; what else a disk is full of is no reason less to refuse."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    [refused] = ask(run_dir).findings
    needed = int(refused["expected"].split()[2])
    with open(run_dir / "checkpoints" / f"step-{STEP:09d}" / "old", "wb") as held:
        held.truncate(needed)

    assert refused["key"] == "checkpoint.keep_periodic"
    assert ask(run_dir).findings == []
