"""`trainerd train`: a run in the foreground. Ctrl+C reaches a process of its own; the rest happens in this one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.polling import poll
from trainerd.contracts.errors import AlreadyRunning, NotAllowed, SpecificationRefused
from trainerd.main import main
from trainerd.worker.foreground import train_in_foreground

FILE = Path("tiny.yaml")
CONFIGURATION = """\
name: tiny
data: {kind: synthetic, samples: 256, inputs: {shape: [8]}, targets: {shape: [1]}, split: {val: 0.25}, batch_size: 32}
model: {name: mlp, args: {hidden: [8]}}
loss: {name: mse}
trainer: {max_epochs: 2, device: cpu}
resources: {cpus: 1}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's working directory."""
    (tmp_path / FILE).write_text(CONFIGURATION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def endless(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`trainerd train` of a run without an end; its messages go to a file, because a full pipe would hold it up."""
    command = [sys.executable, "-m", "trainerd.main", "train", str(FILE), "trainer.max_epochs=1000000"]
    with open(folder / "messages", "w") as messages:
        process = subprocess.Popen(command, stderr=messages)
    yield process
    process.kill()
    process.wait()


def wait_until_it_says(process: subprocess.Popen[bytes], messages: Path, text: str) -> None:
    def has_said() -> bool:
        said = messages.read_text()
        assert text in said or process.poll() is None, f"it has ended without saying {text!r}: {said}"
        return text in said

    poll(has_said, lambda: f"it says {text!r}: {messages.read_text()}", 60)


def outcome_in(directory: Path) -> dict[str, Any]:
    outcome: dict[str, Any] = json.loads((directory / "outcome.json").read_text())
    return outcome


def go_on(directory: Path, *overrides: str) -> tuple[int, list[str]]:
    """(exit code, messages) of one more `trainerd train` on the directory."""
    said: list[str] = []
    return train_in_foreground(FILE, overrides, directory, said.append), said


def test_ctrl_c_saves_and_the_same_directory_goes_on_to_the_end(folder: Path, endless: subprocess.Popen[bytes]) -> None:
    """One lock, one journal, two attempts; a third is refused because the run has completed."""
    directory, messages = folder / "runs/tiny-1", folder / "messages"
    wait_until_it_says(endless, messages, "epoch 3/")
    assert f"run directory: {directory}" in messages.read_text()
    with pytest.raises(AlreadyRunning, match=str(endless.pid)):
        go_on(directory)

    endless.send_signal(signal.SIGINT)

    assert endless.wait(60) == 75
    interrupted = outcome_in(directory)
    assert interrupted["state"] == "interrupted"
    assert f"--run-dir {directory}" in messages.read_text()
    epochs = interrupted["epoch"] + 2
    exit_code, said = go_on(directory, f"trainer.max_epochs={epochs}")
    outcome = outcome_in(directory)
    assert exit_code == 0
    assert (outcome["state"], outcome["attempt"]) == ("completed", 2)
    assert (outcome["epoch"], outcome["step"]) == (epochs, epochs * 6)
    assert said[-1] == f"model: {directory / 'model.safetensors'} (epoch {outcome['model']['epoch']})"
    with pytest.raises(NotAllowed, match="has completed"):
        go_on(directory)


def test_a_run_without_a_directory_gets_the_next_free_one(folder: Path) -> None:
    (folder / "runs/tiny-1").mkdir(parents=True)

    assert train_in_foreground(FILE, [], None, lambda _: None) == 0

    assert outcome_in(folder / "runs/tiny-2")["state"] == "completed"


def test_a_configuration_with_problems_is_refused_before_a_directory_is_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["trainerd", "train", str(FILE), "model.args.hiden=3", "--run-dir", "never"])

    with pytest.raises(SystemExit) as exit_of:
        main()

    assert exit_of.value.code == 78
    assert "did you mean hidden?" in capsys.readouterr().err
    assert not (folder / "never").exists()


def test_a_file_that_is_not_there_is_refused_by_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["trainerd", "train", "nowhere.yaml"])

    with pytest.raises(SystemExit) as exit_of:
        main()

    assert exit_of.value.code == 78
    assert "nowhere.yaml" in capsys.readouterr().err
    assert not (folder / "runs").exists()


def test_what_has_changed_since_the_checkpoint_is_told_applied_or_refused(folder: Path) -> None:
    directory = folder / "runs/tiny-1"
    stop_inside_an_epoch(directory)

    with pytest.raises(SpecificationRefused, match=r"data\.batch_size: cannot change"):
        go_on(directory, "data.batch_size=16")
    exit_code, said = go_on(directory, "optimizer.lr=0.5", "resources.cpus=2")

    assert exit_code == 0
    assert "optimizer.lr: 0.001 -> 0.5: applied (from the next step on)" in said
    assert any(line.startswith("resources.cpus: 1 -> 2: kept (") for line in said)


def test_other_data_is_refused_before_anything_is_written_and_may_be_accepted(folder: Path) -> None:
    directory = folder / "runs/tiny-1"
    write_samples(folder / "samples.h5", 0.0)
    (folder / FILE).write_text(
        CONFIGURATION.replace("kind: synthetic, samples: 256", "kind: hdf5, path: samples.h5")
        .replace("inputs: {", "inputs: {key: x, ")
        .replace("targets: {", "targets: {key: y, ")
    )
    stop_inside_an_epoch(directory)
    journal = (directory / "events.jsonl").read_bytes()
    write_samples(folder / "samples.h5", 1.0)

    with pytest.raises(SpecificationRefused, match="--accept-changed-data"):
        go_on(directory)
    assert (directory / "events.jsonl").read_bytes() == journal

    said: list[str] = []
    assert train_in_foreground(FILE, [], directory, said.append, accept_changed_data=True) == 0
    assert any("diverged_on_resume" in line for line in said)


def stop_inside_an_epoch(directory: Path) -> None:
    """A run in `directory` that somebody interrupts after its first epoch."""

    def interrupt(line: str) -> None:
        if line.startswith("epoch 1/"):
            signal.raise_signal(signal.SIGINT)

    assert train_in_foreground(FILE, [], directory, interrupt) == 75


def write_samples(path: Path, value: float) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = np.full((256, 8), value, np.float32)
        file["y"] = np.zeros((256, 1), np.float32)
