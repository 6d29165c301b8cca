"""A run that people or the daemon's end interrupt inside an epoch ends in the very bits of one that nobody interrupted.

Through the real programs. Every kind of step, many times over, is tried in integration/training/test_exact_resume.py.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from live_daemon import LiveDaemon, own_environment

from tests.frozen_trainer import await_order, events, frozen_inside_epoch, newest_checkpoint, points
from tests.polling import poll
from trainerd.contracts.pages import Order
from trainerd.contracts.run_directory import RunDirectory

STEPS_PER_EPOCH = 51  # 1215 training samples in 152 batches, three to a group: the last batch and group are short
EPOCHS = 4  # the first is the best one (nothing improves by 10), and patience is 3
EXACT = """\
name: exact
seed: 5
data:
  kind: synthetic
  samples: 1620
  inputs: {shape: [1, 8, 8]}
  targets: {shape: [2]}
  split: {val: 0.25, seed: 1}
  batch_size: 8
model: {name: cnn, args: {channels: [4, 8], dropout: 0.2, norm: batch}}
loss: {name: mse}
optimizer: {name: adamw, lr: 3e-3, weight_decay: 0.01}
schedule: {name: cosine, warmup_steps: 20}
trainer: {max_epochs: 30, device: cpu, accumulate: 3, grad_clip: 1.0, log_every_steps: 1}
early_stopping: {monitor: val_loss, patience: 3, min_delta: 10}
checkpoint: {every_minutes: null}
resources: {cpus: 1}
"""
STUCK = """\
import os, signal
from pathlib import Path
import torch


class Stuck(torch.nn.Linear):
    \"\"\"Its first step never ends. Leaves `step-<n>` behind once it has begun and has been interrupted n times.\"\"\"

    def forward(self, x_BF):
        float(x_BF.sum())  # no fake tensor gets beyond this
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing)
        for times in range(100):
            Path(f"step-{times}").touch()
            os.read(reading, 1)
"""


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration, one file for all: every checkpoint names it."""
    path = tmp_path_factory.mktemp("exact") / "exact.yaml"
    path.write_text(EXACT)
    return path


@pytest.fixture(scope="module")
def uninterrupted(daemon: LiveDaemon, exact: Path) -> RunDirectory:
    """What the run is when nobody interrupts it."""
    run = daemon.submit(exact)
    assert daemon.trainctl("wait", run).returncode == 0
    directory = RunDirectory(Path(daemon.show(run)["run_dir"]))
    outcome = json.loads(directory.outcome.read_text())
    assert (outcome["reason"], outcome["step"]) == ("early_stopping", EPOCHS * STEPS_PER_EPOCH)
    return directory


def test_stop_and_ctrl_c_inside_epochs_change_no_bit(
    daemon: LiveDaemon, exact: Path, tmp_path: Path, uninterrupted: RunDirectory
) -> None:
    """`trainctl stop`, then `trainerd train` on a copy of the run's directory, then Ctrl+C, then `trainerd train`.

    Each time a checkpoint of the very step at which it stopped is committed, and the next attempt goes on from it.
    """
    run = daemon.submit(exact)
    directory = RunDirectory(Path(daemon.show(run)["run_dir"]))
    with frozen_in_epoch(2, directory, attempt=1) as step:
        stopping = subprocess.Popen(["trainctl", "stop", run], env=daemon.environment)
        await_order(Order.STOP, directory)
    assert stopping.wait(timeout=60) == 0
    assert_stopped_at(step, directory)
    assert daemon.show(run)["state"] == "stopped"

    copy = RunDirectory(tmp_path / "copy")
    shutil.copytree(directory.path, copy.path)
    with training(exact, copy.path) as process:
        with frozen_in_epoch(3, copy, attempt=2) as step:
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.wait(timeout=60) == 75
    assert_stopped_at(step, copy)

    with training(exact, copy.path) as process:
        assert process.wait(timeout=60) == 0, messages_of(copy.path).read_text()
    assert_same_end(copy, uninterrupted)


def test_a_second_ctrl_c_ends_trainerd_train_at_once(exact: Path, tmp_path: Path) -> None:
    """Where the step does not end, the first one alone would wait for ever."""
    (exact.parent / "stuck_nets.py").write_text(STUCK)
    model = 'model={target: "stuck_nets:Stuck", args: {in_features: 4, out_features: 4}}'
    overrides = [model, "data.inputs.shape=[4]", "data.targets.shape=[4]"]
    with training(exact, tmp_path / "run", *overrides) as process:
        await_file(tmp_path / "step-0", process)
        os.killpg(process.pid, signal.SIGINT)
        await_file(tmp_path / "step-1", process)

        os.killpg(process.pid, signal.SIGINT)

        assert process.wait(timeout=60) == 130

    assert list(RunDirectory(tmp_path / "run").checkpoints.glob("step-*")) == []


def test_runs_go_on_by_themselves_when_the_daemon_has_been_down(
    daemon: LiveDaemon, exact: Path, uninterrupted: RunDirectory
) -> None:
    """The one that was training before the one that was waiting; neither needs an order."""
    run, waiting = daemon.submit(exact), daemon.submit(exact, "trainer.max_epochs=1")
    directory = RunDirectory(Path(daemon.show(run)["run_dir"]))
    with frozen_in_epoch(2, directory, attempt=1) as step:
        down = subprocess.Popen(["trainerd", "down"], env=daemon.environment, stderr=subprocess.DEVNULL)
        await_order(Order.INTERRUPT, directory)
    assert down.wait(timeout=60) == 0
    daemon.await_end()
    assert_stopped_at(step, directory)

    daemon.start()

    assert daemon.trainctl("wait", run, waiting, "--timeout", "60").returncode == 0
    shown = daemon.show(run)
    assert (shown["state"], shown["reason"], shown["attempt"]) == ("completed", "early_stopping", 2)
    assert shown["ended_at"] < daemon.show(waiting)["started_at"]
    assert_same_end(directory, uninterrupted)


@contextmanager
def training(configuration: Path, directory: Path, *overrides: str) -> Iterator[subprocess.Popen[bytes]]:
    """`trainerd train` under way, in a process group of its own; it works, and leaves its messages, beside its run."""
    with open(messages_of(directory), "wb") as messages:
        process = subprocess.Popen(
            ["trainerd", "train", str(configuration), "--run-dir", str(directory), *overrides],
            cwd=directory.parent,
            env=own_environment(),
            stdout=messages,
            stderr=messages,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def messages_of(directory: Path) -> Path:
    return directory.with_name("messages")


def await_file(path: Path, process: subprocess.Popen[bytes]) -> None:
    poll(lambda: path.exists() or process.poll() is not None, f"{path.name} is there", seconds=60)
    assert path.exists(), messages_of(path).read_text()


@contextmanager
def frozen_in_epoch(epoch: int, directory: RunDirectory, attempt: int) -> Iterator[int]:
    """The trainer of this attempt stands still at this step, strictly inside this epoch or a later one."""
    aim = (epoch - 1) * STEPS_PER_EPOCH + random.randint(1, STEPS_PER_EPOCH // 2)
    with frozen_inside_epoch(aim, directory, attempt) as step:
        yield step


def assert_stopped_at(step: int, directory: RunDirectory) -> None:
    """The run ended with the update that was under way, inside an epoch, and its newest checkpoint is of that one."""
    ended = json.loads(directory.outcome.read_text())["step"]
    assert ended in (step, step + 1)
    assert ended % STEPS_PER_EPOCH, "it stopped between two epochs"
    assert newest_checkpoint(directory).name == f"step-{ended:09d}"


def assert_same_end(directory: RunDirectory, uninterrupted: RunDirectory) -> None:
    """The same tensors, losses, decisions and product, and not one step done twice."""
    assert [event["step"] for event in events(directory, "resumed")] == [
        event["step"] for event in events(directory, "asked")
    ]
    ended, expected = newest_checkpoint(directory), newest_checkpoint(uninterrupted)
    assert ended.name == expected.name
    for name in ("model.safetensors", "training.safetensors", "training.json"):
        assert (ended / name).read_bytes() == (expected / name).read_bytes(), name
    assert directory.model.read_bytes() == uninterrupted.model.read_bytes()
    assert points(directory) == points(uninterrupted)
    assert [line["step"] for line in points(directory) if line["split"] == "train"] == list(
        range(1, EPOCHS * STEPS_PER_EPOCH + 1)
    )
    outcomes = [json.loads(each.outcome.read_text()) for each in (directory, uninterrupted)]
    assert outcomes[0]["monitor"] == outcomes[1]["monitor"]
    assert outcomes[0]["reason"] == "early_stopping"
