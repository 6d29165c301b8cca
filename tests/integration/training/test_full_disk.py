"""A full disk costs a run nothing: its ballast makes room for one last checkpoint, from which it goes on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from trainerd.contracts.run_directory import RunDirectory
from trainerd.training.checkpoints.verify import list_checkpoints, verify

CONFIGURATION = """\
name: full
seed: 3
data: {kind: synthetic, samples: 128, inputs: {shape: [8]}, targets: {shape: [1]}, split: {val: 0.25}, batch_size: 8}
model: {name: mlp, args: {hidden: [16], dropout: 0.1}}
loss: {name: mse}
trainer: {max_epochs: 3, device: cpu, log_every_steps: 1}
early_stopping: {monitor: val_loss, patience: 3}
checkpoint: {every_steps: 5, every_minutes: null}
resources: {cpus: 1}
"""


class FullDisk:
    """From a write on, every write fails while `ballast` is there; nobody else makes room."""

    def __init__(self, ballast: Path, full_from: int) -> None:
        self.writes = 0
        self._ballast = ballast
        self._full_from = full_from

    def pass_on(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def write(*arguments: Any) -> Any:
            self.writes += 1
            if self.writes >= self._full_from and self._ballast.exists():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*arguments)

        return write


@contextmanager
def full_disk(directory: RunDirectory, full_from: int) -> Iterator[FullDisk]:
    disk = FullDisk(directory.ballast, full_from)
    with pytest.MonkeyPatch.context() as patch:
        for call in ("write", "pwrite"):
            patch.setattr(os, call, disk.pass_on(getattr(os, call)))
        yield disk


@pytest.fixture(scope="module")
def uninterrupted(make_shared_run: Callable[..., Any]) -> Any:
    run = make_shared_run(CONFIGURATION, "uninterrupted")
    assert run.train() == 0
    return run


@pytest.mark.dies("the room on the disk of a run")
@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.torture)])
def test_a_disk_that_is_full_at_any_write_blocks_the_run_at_a_step_boundary_with_a_checkpoint(
    make_run: Callable[..., Any], uninterrupted: Any, stride: int
) -> None:
    """Journal, metrics, steps, event file, each file of a checkpoint: whichever write meets it first."""
    blocked = 0
    for number, full_from in enumerate(range(1, 1000, stride)):
        run = make_run(CONFIGURATION, f"run-{number}")
        with full_disk(run.directory, full_from) as disk:
            exit_code = run.train()
        if disk.writes < full_from:
            break
        blocked += exit_code == 75
        assert_can_go_on(run, exit_code)
        assert run.train() == 0 if exit_code == 75 else exit_code == 0
        assert_same(run, uninterrupted)
    assert blocked > 5


def assert_can_go_on(run: Any, exit_code: int) -> None:
    """Blocked, with a checkpoint of the step that it has reached; or it has ended all the same, just before the end."""
    finishing = run.events("finishing")[-1]
    if exit_code == 0:
        assert finishing["state"] == "completed"
        return
    assert (finishing["state"], finishing["reason"]) == ("blocked", "disk_full")
    assert str(run.directory.path) in finishing["error"]
    if finishing["step"]:
        assert finishing["needed_bytes"] > 1 << 20
        assert newest_step(run) == finishing["step"]


def assert_same(run: Any, expected: Any) -> None:
    newest, reference = (max(each.directory.checkpoints.glob("step-*")) for each in (run, expected))
    for name in ("model.safetensors", "training.safetensors"):
        assert (newest / name).read_bytes() == (reference / name).read_bytes(), name
    assert run.metrics() == expected.metrics()
    assert run.events("replay_differed") == []


def test_without_ballast_a_full_disk_blocks_the_run_and_it_goes_on_from_the_checkpoint_before(
    make_run: Callable[..., Any], uninterrupted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The protection taken out: the steps since the last checkpoint have to be done again."""
    run = make_run(CONFIGURATION)
    monkeypatch.setattr("trainerd.training.ballast.Ballast.give_up", lambda _: False)
    with full_disk(run.directory, 25):
        assert run.train() == 75
    finishing = run.events("finishing")

    assert not finishing or newest_step(run) < finishing[-1]["step"]

    monkeypatch.undo()
    run.directory.ballast.unlink()
    assert run.train() == 0
    assert_same(run, uninterrupted)


def newest_step(run: Any) -> int:
    return max(verify(path).manifest.step for path in list_checkpoints(run.directory.checkpoints))
