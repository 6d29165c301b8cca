"""A run that goes on with other data or another configuration: refused, or applied in truth."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from trainerd.config import read_spec
from trainerd.contracts.pages import Order
from trainerd.data import open_source
from trainerd.training.checkpoints.snapshot import load
from trainerd.training.checkpoints.verify import list_checkpoints, verify

FROM_FILE = """
name: changed
data:
  kind: hdf5
  path: samples.h5
  inputs: {key: x, shape: [8]}
  targets: {key: y, shape: [1]}
  split: {val: 0.25}
  batch_size: 8
model: {name: mlp, args: {hidden: [8]}}
loss: {name: mse}
optimizer: {name: adamw, lr: 0.01, weight_decay: 0.1}
trainer: {max_epochs: 4, device: cpu, log_every_steps: 1}
checkpoint: {every_minutes: null}
resources: {cpus: 1}
"""


@pytest.fixture
def stopped(make_run: Callable[..., Any], tmp_path: Path) -> Any:
    """A run that was stopped at step 5, in its first epoch of 6."""
    write_samples(tmp_path / "samples.h5", seed=0)
    run = make_run(FROM_FILE)
    assert run.train_until(5, Order.STOP) == 75
    return run


def write_samples(path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        file["x"] = generator.standard_normal((64, 8)).astype(np.float32)
        file["y"] = generator.standard_normal((64, 1)).astype(np.float32)


def change_spec(run: Any, *changes: tuple[str, str]) -> None:
    text = run.directory.spec.read_text()
    for was, now in changes:
        assert was in text
        text = text.replace(was, now)
    run.directory.spec.write_text(text)


def last_event(run: Any, name: str) -> dict[str, Any]:
    event: dict[str, Any] = run.events(name)[-1]
    return event


def groups_of(run: Any) -> dict[str, Any]:
    """The optimizer's only group in the newest checkpoint."""
    [group] = load(verify(list_checkpoints(run.directory.checkpoints)[0])).training["optimizer"]["param_groups"]
    return dict(group)


def test_changed_data_ends_the_run_and_says_how_to_go_on_all_the_same(stopped: Any, tmp_path: Path) -> None:
    write_samples(tmp_path / "samples.h5", seed=1)
    assert stopped.train() == 1
    finishing = last_event(stopped, "finishing")
    assert (finishing["state"], finishing["reason"]) == ("failed", "data_error")
    assert str(tmp_path / "samples.h5") in finishing["error"]
    assert "--accept-changed-data" in finishing["error"]
    assert last_event(stopped, "first_step")["attempt"] == 1


def test_a_daemons_run_is_told_the_command_with_its_number(make_run: Callable[..., Any], tmp_path: Path) -> None:
    write_samples(tmp_path / "samples.h5", seed=0)
    run = make_run(FROM_FILE, name="7")
    run.train_until(5, Order.STOP)
    write_samples(tmp_path / "samples.h5", seed=1)
    run.train()
    assert "trainctl retry --accept-changed-data 7" in last_event(run, "finishing")["error"]


def test_accepted_data_is_trained_on_and_never_called_exact(stopped: Any, tmp_path: Path) -> None:
    write_samples(tmp_path / "samples.h5", seed=1)
    accepted = open_source(read_spec(stopped.directory.spec).data).fingerprint()
    assert stopped.train(accepted_data="xxh3:of something else") == 1
    assert stopped.train(accepted_data=accepted) == 0
    resumed = last_event(stopped, "resumed")
    assert resumed["exactness"] == "diverged_on_resume"
    assert "not the data" in resumed["differences"][0]


def test_once_a_checkpoint_is_of_the_accepted_data_it_is_the_runs_own(stopped: Any, tmp_path: Path) -> None:
    write_samples(tmp_path / "samples.h5", seed=1)
    accepted = open_source(read_spec(stopped.directory.spec).data).fingerprint()
    assert stopped.train_until(9, Order.STOP, accepted_data=accepted) == 75
    assert stopped.train() == 0
    assert [event["exactness"] for event in stopped.events("resumed")] == ["diverged_on_resume", "exact"]


@pytest.mark.parametrize("move", ["touch", "copy"])
def test_a_file_that_was_touched_or_copied_is_the_same_data(stopped: Any, tmp_path: Path, move: str) -> None:
    data = tmp_path / "samples.h5"
    if move == "touch":
        os.utime(data, (1, 1))
    else:
        shutil.copy(data, tmp_path / "elsewhere.h5")
        data.unlink()
        change_spec(stopped, (str(data), str(tmp_path / "elsewhere.h5")))
    assert stopped.train() == 0
    assert last_event(stopped, "resumed")["exactness"] == "exact"


def test_changed_arguments_of_the_optimizer_are_applied_and_the_others_kept(stopped: Any) -> None:
    """torch keeps them beside the state, so that a state that is put back would bring the old ones back."""
    before = groups_of(stopped)
    change_spec(
        stopped, ("weight_decay: 0.1", "weight_decay: 0.3"), ("args: {}\n  lr", 'args: {"betas": [0.8, 0.9]}\n  lr')
    )
    assert stopped.train_until(6, Order.STOP) == 75
    after = groups_of(stopped)
    assert (after["weight_decay"], after["betas"]) == (0.3, (0.8, 0.9))
    untouched = [key for key in before if key not in ("weight_decay", "betas", "params")]
    assert [after[key] for key in untouched] == [before[key] for key in untouched]
    changes = {change["key"]: change["verdict"] for change in last_event(stopped, "resumed")["changes"]}
    assert changes == {"optimizer.weight_decay": "applied", "optimizer.args.betas": "applied"}
    assert last_event(stopped, "resumed")["exactness"] == "diverged_on_resume"


SECRETIVE = """
import torch


class Counting(torch.optim.SGD):
    # Keeps a state of its own in its group, and a value made of an argument under another name.
    def __init__(self, params, lr, decay_percent=10):
        super().__init__(params, lr, weight_decay=decay_percent / 100)
        for group in self.param_groups:
            group["updates"] = 0

    def step(self, closure=None):
        super().step()
        for group in self.param_groups:
            group["updates"] += 1
"""


def test_an_optimizer_that_keeps_a_state_in_its_groups_keeps_it(make_run: Callable[..., Any], tmp_path: Path) -> None:
    write_samples(tmp_path / "samples.h5", seed=0)
    (tmp_path / "counting_optimizer.py").write_text(SECRETIVE)
    run = make_run(
        FROM_FILE.replace("{name: adamw, lr: 0.01, weight_decay: 0.1}", '{target: "counting_optimizer:Counting"}')
    )
    run.train_until(5, Order.STOP)
    change_spec(run, ("args: {}\n  lr", 'args: {"decay_percent": 30}\n  lr'))
    run.train_until(7, Order.STOP)
    group = groups_of(run)
    assert (group["weight_decay"], group["updates"]) == (0.3, 7)


def test_a_schedule_of_another_kind_begins_where_the_run_stands(stopped: Any) -> None:
    change_spec(stopped, ('name: "constant"', 'name: "plateau"'))
    assert stopped.train() == 0
    assert last_event(stopped, "resumed")["changes"][0]["key"] == "schedule.name"


def test_a_run_with_a_plateau_goes_on_with_a_cosine(make_run: Callable[..., Any], tmp_path: Path) -> None:
    write_samples(tmp_path / "samples.h5", seed=0)
    run = make_run(FROM_FILE + "schedule: {name: plateau, args: {patience: 1}}\n")
    run.train_until(9, Order.STOP)
    change_spec(run, ('name: "plateau"', 'name: "cosine"'), ('{"patience": 1}', "{}"))
    assert run.train() == 0
    rates = {line["step"]: line["lr"] for line in run.metrics() if line["split"] == "train"}
    assert rates[24] < rates[20] < rates[10] < 0.01


def test_the_number_of_threads_stays_that_of_the_run(stopped: Any) -> None:
    change_spec(stopped, ("cpus: 1", "cpus: 2"))
    assert stopped.train() == 0
    assert last_event(stopped, "started")["threads"] == 1
    [change] = last_event(stopped, "resumed")["changes"]
    assert (change["key"], change["verdict"]) == ("resources.cpus", "kept")
    assert last_event(stopped, "resumed")["exactness"] == "exact"


def test_changes_that_touch_no_step_leave_a_replay_exact(stopped: Any) -> None:
    """Other lines and other patience: the steps behind the checkpoint come out the same, and nothing else is said."""
    stopped.train_until(16, Order.STOP_WITHOUT_CHECKPOINT)
    change_spec(
        stopped,
        ("log_every_steps: 1", "log_every_steps: 4"),
        ("early_stopping: null", 'early_stopping: {"patience": 3, "min_delta": 0.5}'),
    )
    assert stopped.train() == 0
    assert stopped.events("replay_differed") == []
    assert last_event(stopped, "replayed")["exactness"] == "exact"
    assert last_event(stopped, "resumed")["exactness"] == "exact"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("patience: 100", "patience: 1"), "early_stopping"),
        (("max_epochs: 4", "max_epochs: 1"), "finished"),
    ],
    ids=["less patience", "fewer epochs"],
)
@pytest.mark.parametrize("step", [8, 11, 12])
def test_a_run_that_is_to_end_sooner_brings_the_epoch_under_way_to_its_end(
    make_run: Callable[..., Any], tmp_path: Path, change: tuple[str, str], reason: str, step: int
) -> None:
    """Its validation included: stopped inside epoch 2, at its last update at the latest."""
    write_samples(tmp_path / "samples.h5", seed=0)
    run = make_run(FROM_FILE + 'early_stopping: {"patience": 100, "min_delta": 1000}\n')
    assert run.train_until(step, Order.STOP) == 75
    assert last_event(run, "finishing")["epoch"] == 1
    change_spec(run, change)

    assert run.train() == 0

    finishing = last_event(run, "finishing")
    assert (finishing["reason"], finishing["step"], finishing["epoch"]) == (reason, 12, 2)
    assert [line["step"] for line in run.metrics() if line["split"] == "val"] == [6, 12]


def test_a_run_whose_environment_has_changed_says_so(stopped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "0.0.1")
    assert stopped.train() == 0
    resumed = last_event(stopped, "resumed")
    assert resumed["exactness"] == "within_tolerance"
    assert any(difference.startswith("torch: ") for difference in resumed["differences"])


def test_a_run_that_goes_on_with_other_code_is_never_called_exact(make_run: Callable[..., Any], tmp_path: Path) -> None:
    write_samples(tmp_path / "samples.h5", seed=0)
    code = tmp_path / "changing_loss.py"
    code.write_text("def loss(output, target):\n    return ((output - target) ** 2).mean()\n")
    run = make_run(FROM_FILE.replace("{name: mse}", '{target: "changing_loss:loss"}'))
    run.train_until(5, Order.STOP)
    run.train_until(7, Order.STOP)
    del sys.modules["changing_loss"]
    code.write_text("def loss(output, target):\n    return ((output - target) ** 4).mean()\n")
    os.utime(code, (1, 1))  # the compiled file is that of the time before
    run.train_until(9, Order.STOP)
    assert [event["exactness"] for event in run.events("resumed")] == ["exact", "diverged_on_resume"]
    assert last_event(run, "resumed")["differences"] == ["the code of changing_loss has changed"]


def test_code_that_a_package_only_passes_on_is_looked_at_where_it_is_defined(
    make_run: Callable[..., Any], tmp_path: Path
) -> None:
    write_samples(tmp_path / "samples.h5", seed=0)
    (tmp_path / "passing").mkdir()
    (tmp_path / "passing" / "__init__.py").write_text("from passing.inner import loss\n")
    inner = tmp_path / "passing" / "inner.py"
    inner.write_text("def loss(output, target):\n    return ((output - target) ** 2).mean()\n")
    run = make_run(FROM_FILE.replace("{name: mse}", '{target: "passing:loss"}'))
    run.train_until(5, Order.STOP)
    del sys.modules["passing"], sys.modules["passing.inner"]
    inner.write_text("def loss(output, target):\n    return ((output - target) ** 4).mean()\n")
    os.utime(inner, (1, 1))

    run.train_until(7, Order.STOP)

    assert last_event(run, "resumed")["exactness"] == "diverged_on_resume"
    assert last_event(run, "resumed")["differences"] == ["the code of passing.inner has changed"]


@pytest.mark.parametrize(("monitor", "label"), [("val_error", "diverged_on_resume"), ("val_loss", "exact")])
def test_other_code_of_a_metric_counts_where_that_metric_decides(
    make_run: Callable[..., Any], tmp_path: Path, monitor: str, label: str
) -> None:
    """By it the learning rate, the best weights and the end may go; else it is only looked at."""
    write_samples(tmp_path / "samples.h5", seed=0)
    code = tmp_path / "changing_metric.py"
    code.write_text("def error(output, target):\n    return (output - target).abs().mean()\n")
    watching = f'early_stopping: {{monitor: {monitor}, patience: 5}}\nmetrics: [{{target: "changing_metric:error"}}]\n'
    run = make_run(FROM_FILE + watching)
    run.train_until(8, Order.STOP)
    del sys.modules["changing_metric"]
    code.write_text("def error(output, target):\n    return (output - target).square().mean()\n")
    os.utime(code, (1, 1))

    run.train_until(10, Order.STOP)

    assert last_event(run, "resumed")["exactness"] == label


def test_a_run_that_computes_in_another_precision_than_before_is_never_called_nearly_the_same(
    stopped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`precision: auto` is bf16 on one GPU and float32 on another."""
    monkeypatch.setattr("trainerd.training.precision._choose", lambda _: "bf16")

    stopped.train_until(7, Order.STOP)

    assert last_event(stopped, "resumed")["exactness"] == "diverged_on_resume"
    assert "autocast: None -> torch.bfloat16" in last_event(stopped, "resumed")["differences"]


def test_a_run_whose_checkpoints_are_gone_does_not_begin_anew_in_silence(stopped: Any) -> None:
    shutil.rmtree(stopped.directory.checkpoints)
    assert stopped.train() == 1
    finishing = last_event(stopped, "finishing")
    assert (finishing["state"], finishing["reason"]) == ("failed", "corrupt_checkpoint")
    assert "its checkpoints are gone" in finishing["error"]
    assert len(stopped.events("first_step")) == 1


def test_a_run_that_never_had_a_checkpoint_begins_at_the_start(make_run: Callable[..., Any], tmp_path: Path) -> None:
    write_samples(tmp_path / "samples.h5", seed=0)
    run = make_run(FROM_FILE)
    run.train_until(3, Order.STOP_WITHOUT_CHECKPOINT)
    assert run.train() == 0
    assert run.events("resumed") == []


def test_what_the_daemon_has_given_stands_in_the_journal(
    make_run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-0000-1111,GPU-2222-3333")
    write_samples(tmp_path / "samples.h5", seed=0)
    run = make_run(FROM_FILE)
    run.train_until(1, Order.STOP)
    assert last_event(run, "started")["gpus"] == ["GPU-0000-1111", "GPU-2222-3333"]
    assert json.dumps(last_event(run, "started"))
