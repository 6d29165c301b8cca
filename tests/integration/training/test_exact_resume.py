"""A run that was stopped inside an epoch and went on is, bit for bit, the run that was never stopped."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainerd.contracts.pages import Order
from trainerd.training import resume
from trainerd.training.checkpoints.snapshot import load
from trainerd.training.checkpoints.verify import list_checkpoints, verify

# Everything that exactness is easily lost by: shuffling, dropout, batch norm's buffers, a schedule, accumulation with a
# short last group, gradient clipping, early stopping.
CONFIGURATION = """
name: exact
seed: 3
data:
  kind: synthetic
  samples: 610
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
checkpoint: {every_steps: 7, every_minutes: null}
resources: {cpus: 1}
"""
STEPS_PER_EPOCH = 10  # 458 training samples in 29 batches, three to a group


def last_state(run: Any) -> tuple[dict[str, torch.Tensor], Any]:
    """Every tensor of the newest checkpoint, and everything in it that is not a tensor."""
    checkpoint = verify(list_checkpoints(run.directory.checkpoints)[0])
    tensors = {
        f"{name}:{key}": tensor
        for name in ("model.safetensors", "training.safetensors")
        for key, tensor in load_file(checkpoint.path / name).items()
    }
    document = json.loads((checkpoint.path / "training.json").read_bytes())
    del document["spec"]["source"]  # each trial's own path
    return tensors, document


def assert_same_end(run: Any, reference: Any) -> None:
    tensors, document = last_state(run)
    expected_tensors, expected_document = last_state(reference)
    assert document == expected_document
    assert tensors.keys() == expected_tensors.keys()
    different = [name for name, tensor in tensors.items() if not torch.equal(tensor, expected_tensors[name])]
    assert different == []
    assert run.metrics() == reference.metrics()
    assert run.directory.model.read_bytes() == reference.directory.model.read_bytes()
    assert run.events("finishing")[-1]["monitor"] == reference.events("finishing")[-1]["monitor"]


@pytest.fixture(scope="module")
def reference(make_shared_run: Callable[..., Any]) -> Any:
    """The same run, never stopped."""
    run = make_shared_run(CONFIGURATION, name="reference")
    assert run.train() == 0
    return run


def test_stopping_at_random_steps_inside_epochs_changes_no_bit(make_run: Callable[..., Any], reference: Any) -> None:
    """Issue line: `stop` commits a checkpoint of that very step; going on from it ends in the very same bits."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # shown where the test fails
    chooser = random.Random(seed)
    total = reference.events("finishing")[-1]["step"]
    inside_epochs = [step for step in range(1, total) if step % STEPS_PER_EPOCH]
    for trial in range(4):
        run = make_run(CONFIGURATION, name=f"trial-{trial}")
        stops = sorted(chooser.sample(inside_epochs, 3))
        for step in stops:
            assert run.train_until(step, chooser.choice([Order.STOP, Order.PAUSE, Order.INTERRUPT])) == 75
            assert verify(list_checkpoints(run.directory.checkpoints)[0]).manifest.step == step
        assert run.train() == 0
        assert [event["step"] for event in run.events("asked")] == stops
        assert [event["step"] for event in run.events("resumed")] == stops
        assert_same_end(run, reference)
        assert run.events("replay_differed") == []


def test_every_kind_of_step_is_stopped_at(make_run: Callable[..., Any], reference: Any) -> None:
    """The end of an epoch before its validation, the first step, the step of a periodic checkpoint."""
    run = make_run(CONFIGURATION)
    for step in (1, STEPS_PER_EPOCH, 14):
        assert run.train_until(step, Order.STOP) == 75
        assert run.events("asked")[-1]["step"] == step
    assert [event["epoch"] for event in run.events("epoch")] == [1]
    assert run.train() == 0
    assert_same_end(run, reference)


def test_a_stop_without_checkpoint_goes_on_from_the_last_one_and_repeats_the_steps(
    make_run: Callable[..., Any], reference: Any
) -> None:
    run = make_run(CONFIGURATION)
    assert run.train_until(25, Order.STOP_WITHOUT_CHECKPOINT) == 75
    assert run.train() == 0
    assert run.events("resumed")[-1]["step"] == 21
    assert run.events("replay_differed") == []
    assert_same_end(run, reference)


def test_tensorboards_own_reader_sees_one_gapless_curve(make_run: Callable[..., Any]) -> None:
    run = make_run(CONFIGURATION)
    for step in (13, 37):
        run.train_until(step, Order.STOP)
    run.train()

    accumulator = EventAccumulator(str(run.directory.tensorboard))
    accumulator.Reload()

    train = [event.step for event in accumulator.Scalars("train/loss")]
    assert train == list(range(1, run.events("finishing")[-1]["step"] + 1))
    values = {line["step"]: line["loss"] for line in run.metrics() if line["split"] == "val"}
    validation = {event.step: event.value for event in accumulator.Scalars("val/loss")}
    assert validation == pytest.approx(values)


def test_the_last_word_of_a_stopped_run_names_the_model_that_it_left(make_run: Callable[..., Any]) -> None:
    run = make_run(CONFIGURATION)
    run.train_until(35, Order.STOP)
    finishing = run.events("finishing")[-1]
    assert finishing["state"] == "stopped"
    assert finishing["reason"] == "user_stop"
    assert finishing["model"]["epoch"] == finishing["monitor"]["best_epoch"]
    assert Path(finishing["model"]["path"]).exists()


@pytest.mark.dies("the newest checkpoint (damaged)")
def test_a_damaged_newest_checkpoint_costs_steps_but_no_bit(make_run: Callable[..., Any], reference: Any) -> None:
    run = make_run(CONFIGURATION)
    run.train_until(30, Order.STOP)
    newest = list_checkpoints(run.directory.checkpoints)[0]
    content = bytearray((newest / "training.safetensors").read_bytes())
    content[-1] ^= 1
    (newest / "training.safetensors").write_bytes(content)

    assert run.train() == 0

    assert run.events("checkpoint_skipped")[0]["path"] == newest.name
    assert run.events("replay_differed") == []
    assert_same_end(run, reference)


@pytest.mark.dies("all checkpoints of a run (damaged)")
def test_when_every_checkpoint_is_damaged_the_run_fails_and_says_so(make_run: Callable[..., Any]) -> None:
    run = make_run(CONFIGURATION)
    run.train_until(30, Order.STOP)
    for checkpoint in list_checkpoints(run.directory.checkpoints):
        (checkpoint / "manifest.json").write_bytes(b"")
    assert run.train() == 1
    finishing = run.events("finishing")[-1]
    assert (finishing["state"], finishing["reason"]) == ("failed", "corrupt_checkpoint")
    assert run.events("first_step")[-1]["attempt"] == 1


@pytest.mark.parametrize(
    ("element", "path"),
    [
        ("batch norm's buffers", "model:features"),
        ("the optimizer", "optimizer"),
        ("the random generators", "random"),
        ("early stopping", "standing"),
        ("the running averages", "meter"),
        ("the position in the epoch", "progress"),
    ],
)
def test_an_element_of_the_state_that_is_left_out_is_seen(
    make_run: Callable[..., Any], reference: Any, monkeypatch: pytest.MonkeyPatch, element: str, path: str
) -> None:
    """The state of step 34 with one element of step 3: a test of exactness that would pass with it proves nothing."""
    run, early = make_run(CONFIGURATION), make_run(CONFIGURATION, name="early")
    early.train_until(3, Order.STOP)
    run.train_until(34, Order.STOP)
    left_out = load(verify(list_checkpoints(early.directory.checkpoints)[0]))

    def load_without_element(checkpoint: Any) -> Any:
        state = load(checkpoint)
        if path.startswith("model"):
            names = [name for name in state.model if "running" in name]
            return replace(state, model={**state.model, **{name: left_out.model[name] for name in names}})
        return replace(state, training={**state.training, path: left_out.training[path]})

    monkeypatch.setattr(resume, "load", load_without_element)
    run.train()

    def end_of(trial: Any) -> Any:
        means = [event["train_loss"] for event in trial.events("epoch")]
        return trial.metrics(), means, trial.events("finishing")[-1]["monitor"], trial.directory.model.read_bytes()

    assert end_of(run) != end_of(reference), f"{element} changed nothing"


def test_a_checkpoint_due_at_an_epochs_last_step_holds_the_whole_epoch(make_run: Callable[..., Any]) -> None:
    """It waits for the validation, so the last checkpoint and the model say the epoch that they are of."""
    run = make_run(CONFIGURATION, overrides=(f"checkpoint.every_steps={STEPS_PER_EPOCH}", "trainer.max_epochs=3"))
    assert run.train() == 0
    finishing = run.events("finishing")[-1]
    assert finishing["model"]["epoch"] == finishing["monitor"]["best_epoch"]
    assert verify(list_checkpoints(run.directory.checkpoints)[0]).manifest.epoch == 3


def test_another_order_of_samples_is_refused_on_resume(make_run: Callable[..., Any]) -> None:
    run = make_run(CONFIGURATION)
    run.train_until(13, Order.STOP)
    run.directory.spec.write_text(run.directory.spec.read_text().replace("batch_size: 16", "batch_size: 8"))
    assert run.train() == 1
    assert "data.batch_size: cannot change in a run that has trained to step 13" in run.events("finishing")[-1]["error"]


def test_a_change_that_may_be_is_applied_and_named(make_run: Callable[..., Any]) -> None:
    run = make_run(CONFIGURATION)
    run.train_until(13, Order.STOP)
    run.directory.spec.write_text(run.directory.spec.read_text().replace("lr: 0.003", "lr: 0.001"))
    assert run.train() == 0
    [change] = run.events("resumed")[-1]["changes"]
    assert (change["key"], change["was"], change["now"], change["verdict"]) == ("optimizer.lr", 0.003, 0.001, "applied")
