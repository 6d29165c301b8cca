"""Data and models that contradict the configuration are refused before anything is queued, each problem by its name.

The six mistakes of the configuration itself: test_trainctl_runs.py. Every other contradiction: tests/unit.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from live_daemon import LiveDaemon, own_environment, what_is_queued

CONFIGURATION = """\
name: refused
data:
  kind: parquet
  path: data.parquet
  inputs: {key: x, shape: [16], range: [0, 1]}
  targets: {key: y, shape: [1], range: [0, 1]}
  split: {val: 0.25, seed: 0}
  batch_size: 16
model: {name: mlp}
loss: {name: mse}
trainer: {max_epochs: 3, device: cpu}
resources: {cpus: 1}
"""
NETS = """\
import pathlib
import torch


class NotAModel:
    def __init__(self):
        pathlib.Path(__file__).with_name("called").touch()


class TooWide(torch.nn.Linear):
    def __init__(self):
        super().__init__(16, 3)
"""


def write_hdf5(folder: Path) -> None:
    """Another shape and another dtype than the configuration declares."""
    with h5py.File(folder / "data.h5", "w") as file:
        file["x"], file["y"] = np.zeros((64, 8), np.float32), np.zeros((64, 1), np.float64)


def write_parquet(folder: Path) -> None:
    """Everything as declared, but for two values."""
    x, y = np.zeros((64, 16), np.float32), np.zeros((64, 1), np.float32)
    x[40, 3], y[63] = np.nan, 1.5
    columns = {"x": pa.FixedSizeListArray.from_arrays(x.ravel(), 16), "y": y.ravel()}
    pyarrow.parquet.write_table(pa.table(columns), folder / "data.parquet")


REFUSALS = {
    "shape and dtype": (
        {"kind: parquet": "kind: hdf5", "data.parquet": "data.h5"},
        [
            ("data.inputs.shape", "expected shape [16], found [8]"),
            ("data.targets.dtype", "expected float32, found float64"),
        ],
    ),
    "values, and an output that cannot meet the loss": (
        {"name: mlp": 'target: "refused_nets:TooWide"'},
        [
            ("data.inputs: row 40", "expected finite values, found nan"),
            ("data.targets: row 63", "expected values in [0, 1], found 1.5"),
            ("loss", "found output [16, 3] float32 and target [16, 1] float32"),
        ],
    ),
    "a target of another kind": (
        {
            "name: mlp": 'target: "refused_nets:NotAModel"',
            "kind: parquet": "kind: synthetic",
            "path: data.parquet": "samples: 64",
            "key: x, ": "",
            "key: y, ": "",
        },
        [("model.target", "expected a torch.nn.Module subclass, found class NotAModel")],
    ),
}


@pytest.mark.parametrize("contradiction", REFUSALS)
def test_submit_refuses_what_contradicts_the_configuration_and_queues_nothing(
    daemon: LiveDaemon, tmp_path: Path, contradiction: str
) -> None:
    configuration = write_files(tmp_path, contradiction)
    before = what_is_queued(daemon)

    refused = daemon.trainctl("submit", configuration)

    assert_refused(contradiction, refused.returncode, refused.stderr)
    assert not (tmp_path / "called").exists()
    assert what_is_queued(daemon) == before


def test_check_refuses_the_same_without_a_daemon(tmp_path: Path) -> None:
    """All three at a time: each starts an interpreter with torch."""
    checking = {}
    for contradiction in REFUSALS:
        (tmp_path / contradiction).mkdir()
        command = ["trainctl", "check", str(write_files(tmp_path / contradiction, contradiction))]
        checking[contradiction] = subprocess.Popen(command, env=own_environment(), stderr=subprocess.PIPE, text=True)

    for contradiction, check in checking.items():
        said = check.communicate(timeout=60)[1]
        assert_refused(contradiction, check.returncode, said)
        assert not (tmp_path / contradiction / "called").exists()


def assert_refused(contradiction: str, exit_code: int, said: str) -> None:
    """Exit 78, and each finding names field, expectation and what was found."""
    assert exit_code == 78, said
    expected = REFUSALS[contradiction][1]
    findings = sorted(said.splitlines())
    assert len(findings) == len(expected), said
    for (field, told), finding in zip(expected, findings, strict=True):
        assert f": {field}: " in finding
        assert told in finding


def write_files(folder: Path, contradiction: str) -> Path:
    (folder / "refused_nets.py").write_text(NETS)
    write_hdf5(folder)
    write_parquet(folder)
    text = CONFIGURATION
    for old, new in REFUSALS[contradiction][0].items():
        text = text.replace(old, new)
    (folder / "refused.yaml").write_text(text)
    return folder / "refused.yaml"
