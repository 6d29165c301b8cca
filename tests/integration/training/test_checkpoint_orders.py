"""A run that is asked for a checkpoint makes a pinned one of that very step, trains on, and says when it is durable."""

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

from trainerd.contracts.json_lines import read_lines
from trainerd.contracts.pages import Order, OrdersPage, PulseWriter
from trainerd.training.checkpoints import writer
from trainerd.training.checkpoints.verify import list_checkpoints, read_manifest, verify
from trainerd.training.run import Run

STEPS_PER_EPOCH = 12
CONFIGURATION = """
name: ordered
data:
  kind: synthetic
  samples: 512
  inputs: {shape: [16]}
  targets: {shape: [1]}
  split: {val: 0.25, seed: 0}
  batch_size: 32
model: {name: mlp, args: {hidden: [32, 32]}}
loss: {name: mse}
optimizer: {name: adamw, lr: 1e-3}
trainer: {max_epochs: 4, device: cpu}
checkpoint: {every_steps: 10, every_minutes: null, keep_periodic: 1}
resources: {cpus: 1}
"""
LAST_STEP = 4 * STEPS_PER_EPOCH


def train_with_orders(run: Any, at: dict[int, list[Order]]) -> int:
    """Run the next attempt, giving orders 1, 2, ... the moment that it beats at their steps; its exit code."""
    page = OrdersPage(run.directory.orders_page, writable=True)
    beat = PulseWriter.beat

    def beat_and_order(pulse: PulseWriter, step: int) -> None:
        beat(pulse, step)
        for order in at.pop(step, []):
            page.give(order, page.newest() + 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PulseWriter, "beat", beat_and_order)
        return run.train()  # type: ignore[no-any-return]


def pinned(run: Any) -> list[int]:
    """The steps of the pinned checkpoints, newest first; every checkpoint there is must verify."""
    manifests = [verify(path).manifest for path in list_checkpoints(run.directory.checkpoints)]
    return [manifest.step for manifest in manifests if manifest.pinned]


def obeyed(run: Any) -> list[tuple[int, int]]:
    """(step, order) of the commits that obeyed one."""
    return [(event["step"], event["order"]) for event in run.events("checkpoint") if event["order"] is not None]


@pytest.mark.parametrize(
    "step",
    [17, 20, STEPS_PER_EPOCH, LAST_STEP],
    ids=["inside an epoch", "when one is due", "an epoch's end", "the end"],
)
def test_an_ordered_checkpoint_is_of_the_next_step_boundary_and_stays(make_run: Callable[..., Any], step: int) -> None:
    run = make_run(CONFIGURATION)
    assert train_with_orders(run, {step: [Order.CHECKPOINT]}) == 0
    assert pinned(run) == [step]
    assert obeyed(run) == [(step, 1)]
    assert [(event["order"], event["step"]) for event in run.events("asked")] == [("checkpoint", step)]
    assert run.events("finishing")[-1]["step"] == LAST_STEP
    if step == 20:
        assert read_manifest(run.directory.checkpoint(20)).periodic


@pytest.mark.parametrize("order", [Order.STOP, Order.PAUSE, Order.INTERRUPT])
def test_a_run_that_ends_meanwhile_pins_its_last_checkpoint(make_run: Callable[..., Any], order: Order) -> None:
    """At an epoch's end the order for a checkpoint would wait for the validation, which the other one leaves out."""
    run = make_run(CONFIGURATION)
    assert train_with_orders(run, {STEPS_PER_EPOCH: [Order.CHECKPOINT, order]}) == 75
    assert pinned(run) == [STEPS_PER_EPOCH]
    assert obeyed(run) == [(STEPS_PER_EPOCH, 1)]


def test_an_order_that_comes_after_the_last_look_is_obeyed_by_the_last_checkpoint(
    make_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, conclude = make_run(CONFIGURATION), Run.finished

    def order_and_finish(trained: Run) -> Any:
        OrdersPage(run.directory.orders_page, writable=True).give(Order.CHECKPOINT, 1)
        return conclude(trained)

    monkeypatch.setattr(Run, "finished", order_and_finish)
    assert run.train() == 0
    assert pinned(run) == [LAST_STEP]
    assert obeyed(run) == [(LAST_STEP, 1)]


def test_a_stop_without_checkpoint_leaves_the_order_unobeyed(make_run: Callable[..., Any]) -> None:
    run = make_run(CONFIGURATION)
    both = [Order.CHECKPOINT, Order.STOP_WITHOUT_CHECKPOINT]
    assert train_with_orders(run, {STEPS_PER_EPOCH: both}) == 75
    assert pinned(run) == []
    assert obeyed(run) == []


@pytest.mark.parametrize("order", list(Order)[1:])
def test_every_end_waits_for_what_is_being_written(make_run: Callable[..., Any], order: Order) -> None:
    """The trainer's last words stand behind the line of every commit, also of those begun before the order came."""
    run = make_run(CONFIGURATION)
    assert train_with_orders(run, {20: [order], 19: [Order.CHECKPOINT]}) == 75
    names = [event["event"] for event in read_lines(run.directory.events)[0]]
    assert obeyed(run) == [(19, 1)]
    assert names.index("finishing") > max(place for place, name in enumerate(names) if name == "checkpoint")
    steps = {event["step"] for event in run.events("checkpoint")}
    assert steps >= {19, 20}  # a periodic one was due at the step of the order


def test_a_disk_that_stays_full_blocks_the_run_and_leaves_the_older_checkpoint(
    make_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = writer.commit_directory

    def refuse_step_20(path: Any, *arguments: Any) -> Any:
        if path.name.endswith("20"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return commit(path, *arguments)

    monkeypatch.setattr(writer, "commit_directory", refuse_step_20)
    run = make_run(CONFIGURATION)
    assert run.train() == 75
    finishing = run.events("finishing")[-1]
    assert (finishing["state"], finishing["reason"]) == ("blocked", "disk_full")
    kept = [verify(path).manifest.step for path in list_checkpoints(run.directory.checkpoints)]
    assert kept
    assert max(kept) < 20
