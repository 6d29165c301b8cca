"""What one check of a configuration finds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from trainerd.contracts.messages import Inspect, Inspected
from trainerd.contracts.spec import RunSpec
from trainerd.worker.inspector import inspect

GOOD = """\
name: tiny
data: {kind: synthetic, samples: 64, inputs: {shape: [16]}, targets: {shape: [1]}, split: {val: 0.25}, batch_size: 8}
model: {name: mlp, args: {hidden: [8]}}
loss: {name: mse}
trainer: {max_epochs: 2, device: cpu}
"""


def inspect_text(tmp_path: Path, text: str, *overrides: str) -> Inspected:
    return inspect(Inspect(str(tmp_path / "tiny.yaml"), text, list(overrides)), tmp_path)


def keys_of(inspected: Inspected) -> list[Any]:
    return [finding.get("key") for finding in inspected.findings]


def test_a_good_configuration_comes_back_resolved(tmp_path: Path) -> None:
    inspected = inspect_text(tmp_path, GOOD, "seed=17")

    assert inspected.findings == []
    assert RunSpec.model_validate(inspected.spec).seed == 17
    assert inspected.spec_yaml is not None


def test_a_model_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large one takes long to build, and a person waits for the check."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "counted.py").write_text(
        "from torch import nn\nbuilt = []\nclass Net(nn.Linear):\n"
        "    def __init__(self):\n        super().__init__(16, 1)\n        built.append(self)\n"
    )
    model = "model: {name: mlp, args: {hidden: [8]}}"
    assert model in GOOD

    inspected = inspect_text(tmp_path, GOOD.replace(model, 'model: {target: "counted:Net"}'))

    assert inspected.findings == []
    assert len(sys.modules.pop("counted").built) == 1


def test_problems_of_data_and_of_the_model_are_reported_together(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "samples.h5", "w") as file:
        file["x"] = np.full((64, 16), np.nan, np.float32)
        file["y"] = np.zeros((64, 1), np.float32)
    text = GOOD.replace("kind: synthetic, samples: 64", "kind: hdf5, path: samples.h5").replace("hidden:", "hiden:")

    inspected = inspect_text(tmp_path, text, "data.inputs.key=x", "data.targets.key=y")

    assert inspected.spec is None
    assert keys_of(inspected) == ["data.inputs", "model.args.hiden"]


def test_data_that_contradicts_its_declaration_hides_no_problem_of_the_model(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "samples.h5", "w") as file:
        file["x"] = np.zeros((64, 12), np.float32)
        file["y"] = np.zeros((64, 1), np.float32)
    text = GOOD.replace("kind: synthetic, samples: 64", "kind: hdf5, path: samples.h5").replace("hidden:", "hiden:")

    inspected = inspect_text(tmp_path, text, "data.inputs.key=x", "data.targets.key=y")

    assert keys_of(inspected) == ["data.inputs.shape", "model.args.hiden"]


def test_a_problem_of_the_model_stands_where_its_key_stands(tmp_path: Path) -> None:
    inspected = inspect_text(tmp_path, GOOD.replace("hidden:", "hiden:"))

    [finding] = inspected.findings
    assert (Path(finding["file"]).name, finding["line"], finding["suggestion"]) == ("tiny.yaml", 3, "hidden")


def test_a_problem_of_an_override_names_the_override(tmp_path: Path) -> None:
    [finding] = inspect_text(tmp_path, GOOD, "model.args.hiden=3").findings

    assert "model.args.hiden=3" in finding["file"]


def test_checkpoints_that_do_not_fit_the_disk_are_refused(tmp_path: Path) -> None:
    """Found before the run, not after a night of it."""
    inspected = inspect_text(tmp_path, GOOD, f"checkpoint.keep_periodic={10**12}")

    assert keys_of(inspected) == ["checkpoint.keep_periodic"]


def test_user_code_beside_the_configuration_is_found_and_a_target_of_the_wrong_kind_is_not_called(
    tmp_path: Path,
) -> None:
    (tmp_path / "inspected_nets.py").write_text(
        "import pathlib\ndef net(**args):\n    pathlib.Path(__file__).with_name('called').touch()\n"
    )
    text = GOOD.replace("{name: mlp, args: {hidden: [8]}}", '{target: "inspected_nets:net"}')

    inspected = inspect_text(tmp_path, text)

    assert keys_of(inspected) == ["model.target"]
    assert not (tmp_path / "called").exists()


def test_more_samples_than_fit_in_memory_are_one_located_finding(tmp_path: Path) -> None:
    [finding] = inspect_text(tmp_path, GOOD, "data.samples=100000000000000").findings

    assert finding["key"] == "data"
    assert "memory" in finding["message"]


def test_more_gpus_than_the_machine_has_are_refused_with_their_place(tmp_path: Path) -> None:
    [finding] = inspect_text(tmp_path, GOOD + "resources: {gpus: 99}\n").findings

    assert (finding["key"], finding["line"], finding["found"]) == ("resources.gpus", 6, "99")


def test_an_override_with_a_colon_is_named_whole(tmp_path: Path) -> None:
    (tmp_path / "colon_parts.py").write_text("class Plain:\n    pass\n")
    text = GOOD.replace("model: {name: mlp, args: {hidden: [8]}}", "model: {target: 'colon_parts:Other'}")

    [finding] = inspect_text(tmp_path, text, "model.target=colon_parts:Plain").findings

    assert finding["file"] == "override model.target=colon_parts:Plain"
