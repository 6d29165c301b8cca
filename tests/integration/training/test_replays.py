"""What a run repeats after a crash is held against what it did before: an element of the state left out is seen."""

import random
import shutil
from collections.abc import Callable
from copy import copy as copy_object
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trainerd.contracts.pages import Order
from trainerd.contracts.run_directory import RunDirectory
from trainerd.training import resume, training_state
from trainerd.training.checkpoints.snapshot import RunState, load
from trainerd.training.checkpoints.verify import list_checkpoints, verify

CNN = """
name: cnn
seed: 3
data:
  kind: synthetic
  samples: 320
  inputs: {shape: [1, 8, 8]}
  targets: {shape: [2]}
  split: {val: 0.25, seed: 1}
  batch_size: 16
model: {name: cnn, args: {channels: [4, 8], dropout: 0.2, norm: batch}}
loss: {name: mse}
optimizer: {name: adamw, lr: 3e-3, weight_decay: 0.01}
schedule: {name: cosine, warmup_steps: 20}
trainer: {max_epochs: 14, device: cpu, accumulate: 3, grad_clip: 1.0, log_every_steps: 1}
early_stopping: {monitor: val_loss, patience: 3, min_delta: 0.004}
checkpoint: {every_minutes: null}
resources: {cpus: 1}
"""

LSTM = """
name: lstm
seed: 5
data:
  kind: synthetic
  samples: 320
  inputs: {shape: [6, 4]}
  targets: {shape: [2]}
  split: {val: 0.25, seed: 1}
  batch_size: 24
model: {target: "replayed_parts:Reader"}
loss: {target: "replayed_parts:LevelledLoss"}
optimizer: {name: sgd, lr: 0.2, args: {momentum: 0.9}}
schedule: {name: plateau, args: {patience: 1, min_delta: 0.05}}
trainer: {max_epochs: 30, device: cpu, log_every_steps: 1}
early_stopping: {monitor: val_loss, patience: 3, min_delta: 0.02}
checkpoint: {every_minutes: null}
resources: {cpus: 1}
"""

# A recurrent model that draws from every generator there is, and a loss that keeps a state.
LSTM_PARTS = """
import random
import numpy as np
import torch
from torch import nn


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 8, batch_first=True)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(8, 2)

    def forward(self, x_BTF):
        if self.training:
            x_BTF = x_BTF + 0.1 * np.random.standard_normal() + 0.1 * random.random()
        h_BTH, _ = self.lstm(x_BTF)
        return self.head(self.dropout(h_BTH[:, -1]))


class LevelledLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("level", torch.ones(()))

    def forward(self, output, target):
        loss = nn.functional.mse_loss(output, target)
        with torch.no_grad():
            self.level.mul_(0.95).add_(0.05 * loss)
        return loss / (1 + self.level)
"""

PARTS_OF_CNN = ("model", "buffers", "optimizer", "random.torch", "standing", "meter", "progress")
PARTS_OF_LSTM = (
    *("model", "optimizer", "schedule", "loss", "random.torch", "random.numpy", "random.python"),
    *("standing", "meter", "progress"),
)


@pytest.fixture(scope="module")
def make_trial(make_shared_run: Callable[..., Any]) -> Callable[[str, str], Any]:
    """A run of a configuration with its parts beside it."""

    def make(configuration: str, name: str) -> Any:
        run = make_shared_run(configuration, name=name)
        (run.directory.path.parent / "replayed_parts.py").write_text(LSTM_PARTS)
        return run

    return make


@pytest.fixture(scope="module")
def crashed(make_trial: Callable[[str, str], Any]) -> Callable[[str, str], Any]:
    """crashed(configuration, name): a run cut off in the last epoch before it converges, its newest checkpoint right
    behind the best epoch, so that no later one was committed. Both are known from a run that nothing happened to.
    """
    originals: dict[str, Any] = {}

    def crash(configuration: str, name: str) -> Any:
        whole, run = make_trial(configuration, f"{name}-whole"), make_trial(configuration, f"{name}-crashed")
        assert whole.train() == 0
        [finishing] = whole.events("finishing")
        assert finishing["reason"] == "early_stopping"
        run.first_step, run.last_step = finishing["monitor"]["best_step"] + 2, finishing["step"] - 3
        assert run.train_until(run.first_step, Order.STOP) == 75
        assert run.train_until(run.last_step, Order.STOP_WITHOUT_CHECKPOINT) == 75
        return run

    def copy(configuration: str, name: str) -> Any:
        if configuration not in originals:
            originals[configuration] = crash(configuration, name)
        original = originals[configuration]
        run = copy_object(original)
        run.directory = RunDirectory(original.directory.path.with_name(name))
        shutil.copytree(original.directory.path, run.directory.path)
        return run

    return copy


@pytest.fixture(scope="module")
def early_states(make_trial: Callable[[str, str], Any]) -> Callable[[str], RunState]:
    """early_states(configuration): the state after three steps."""
    runs: dict[str, Any] = {}

    def find(configuration: str) -> RunState:
        if configuration not in runs:
            runs[configuration] = make_trial(configuration, f"early-{len(configuration)}")
            assert runs[configuration].train_until(3, Order.STOP) == 75
        return newest_state(runs[configuration])

    return find


def labels_of(run: Any) -> set[str]:
    events = [event for name in ("resumed", "replay_differed", "replayed") for event in run.events(name)]
    return {event["exactness"] for event in events}


@pytest.mark.parametrize("configuration", [CNN, LSTM], ids=["cnn", "lstm"])
def test_every_step_behind_the_checkpoint_is_repeated_bit_for_bit(
    crashed: Callable[[str, str], Any], configuration: str
) -> None:
    run = crashed(configuration, f"true-{len(configuration)}")

    assert run.train() == 0

    [replayed] = run.events("replayed")
    assert run.events("resumed")[-1]["step"] == run.first_step
    assert (replayed["step"], replayed["steps"]) == (run.last_step, run.last_step - run.first_step)
    assert labels_of(run) == {"exact"}


@pytest.mark.parametrize(
    ("configuration", "part"),
    [(CNN, part) for part in PARTS_OF_CNN] + [(LSTM, part) for part in PARTS_OF_LSTM],
    ids=[f"cnn-{part}" for part in PARTS_OF_CNN] + [f"lstm-{part}" for part in PARTS_OF_LSTM],
)
def test_a_part_of_the_state_that_is_left_out_is_seen_while_the_run_goes_on(
    crashed: Callable[[str, str], Any],
    early_states: Callable[[str], RunState],
    monkeypatch: pytest.MonkeyPatch,
    configuration: str,
    part: str,
) -> None:
    """The newest state with one part of an early one: no such run is called exact."""
    run, early = crashed(configuration, f"{part}-{len(configuration)}"), early_states(configuration)
    monkeypatch.setattr(resume, "load", lambda checkpoint: without(part, load(checkpoint), early))

    run.train()

    [differed, *_] = run.events("replay_differed")
    assert differed["exactness"] != "exact"
    assert run.events("replayed")[-1]["exactness"] != "exact"


def newest_state(run: Any) -> RunState:
    return load(verify(list_checkpoints(run.directory.checkpoints)[0]))


def without(part: str, state: RunState, early: RunState) -> RunState:
    """`state` with one part of `early` in its place."""
    if part in ("model", "buffers"):
        names = [name for name in state.model if part == "model" or "running" in name]
        assert names
        return replace(state, model={**state.model, **{name: early.model[name] for name in names}})
    section, _, element = part.partition(".")
    value = early.training[section]
    if element:
        value = {**state.training[section], element: value[element]}
    return replace(state, training={**state.training, section: value})


def test_a_state_that_does_not_come_back_whole_is_never_called_exact(
    crashed: Callable[[str, str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen at once, not only where the steps differ: here nothing draws from numpy's generator."""
    run = crashed(CNN, "not-whole")
    monkeypatch.setattr(training_state.random_state, "restore", lambda *_: random.seed(1))

    run.train()

    resumed = run.events("resumed")[-1]
    assert resumed["exactness"] == "diverged_on_resume"
    assert "random" in " ".join(resumed["differences"])


def test_a_crash_before_the_first_checkpoint_is_replayed_from_the_start(make_trial: Callable[[str, str], Any]) -> None:
    run = make_trial(CNN, "from-the-start")
    assert run.train_until(4, Order.STOP_WITHOUT_CHECKPOINT) == 75
    assert run.train_until(7, Order.STOP) == 75
    [replayed] = run.events("replayed")
    assert (replayed["step"], replayed["steps"], replayed["exactness"]) == (4, 4, "exact")
    assert run.events("resumed") == []


def test_an_attempt_that_ends_within_the_replay_says_how_far_it_came(make_trial: Callable[[str, str], Any]) -> None:
    """And the next one compares the rest."""
    run = make_trial(CNN, "within")
    run.train_until(1, Order.STOP)
    run.train_until(4, Order.STOP_WITHOUT_CHECKPOINT)
    run.train_until(3, Order.STOP)
    run.train_until(7, Order.STOP)
    assert [(event["step"], event["steps"]) for event in run.events("replayed")] == [(3, 2), (4, 1)]
    assert labels_of(run) == {"exact"}


def test_what_a_checkpoint_has_made_unrepeatable_is_forgotten(make_trial: Callable[[str, str], Any]) -> None:
    run = make_trial(CNN.replace("every_minutes: null", "every_steps: 5"), "forgotten")
    run.train_until(23, Order.STOP_WITHOUT_CHECKPOINT)
    assert Path(run.directory.steps).stat().st_size == 3 * 32
    run.train()
    assert run.events("replayed")[-1]["steps"] == 3
