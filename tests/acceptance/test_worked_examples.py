"""The worked examples of configs/, each run in the foreground. overnight.yaml's full run is test_demo.py's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demo.run import build_data
from trainerd.contracts.run_directory import RunDirectory

PROJECT = Path(__file__).resolve().parents[2]
CONFIGS = PROJECT / "configs"


@pytest.fixture(scope="module", autouse=True)
def data() -> None:
    build_data()


def train(name: str, directory: Path, *overrides: str) -> dict[str, Any]:
    """The outcome of `trainerd train configs/NAME.yaml`."""
    command = [str(Path(sys.executable).with_name("trainerd")), "train", str(CONFIGS / f"{name}.yaml"), *overrides]
    done = subprocess.run([*command, "--run-dir", str(directory)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outcome: dict[str, Any] = json.loads(RunDirectory(directory).outcome.read_text())
    return outcome


def test_there_is_a_test_for_every_example() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == {"overnight", "digits", "tiny"}


def test_digits_are_read_right_at_least_19_times_in_20(tmp_path: Path) -> None:
    outcome = train("digits", tmp_path / "run", "resources.cpus=1")

    assert outcome["state"] == "completed"
    assert outcome["monitor"]["name"] == "val_accuracy"
    assert outcome["monitor"]["best"] >= 0.95


def test_tiny_learns(tmp_path: Path) -> None:
    outcome = train("tiny", tmp_path / "run")

    lines = [json.loads(line) for line in RunDirectory(tmp_path / "run").metrics.read_text().splitlines()]
    validation = [line["loss"] for line in lines if line["split"] == "val"]
    assert outcome["state"] == "completed"
    assert len(validation) == 40
    assert outcome["monitor"]["best"] < validation[0] / 2
