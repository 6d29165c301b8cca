"""Holds a run's trainer still strictly inside an epoch, and reads off its files where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.polling import poll
from trainerd.contracts.json_lines import read_lines
from trainerd.contracts.pages import Order, OrdersPage, PulsePage
from trainerd.contracts.run_directory import RunDirectory

Json = dict[str, Any]


@contextmanager
def frozen_inside_epoch(aim: int, directory: RunDirectory, attempt: int) -> Iterator[int]:
    """The trainer of this attempt stands still at step `aim` or soon after it, inside an epoch, until the block ends.

    So whatever is asked of it in the block is asked at this step, however busy the machine is: the trainer is stopped
    as soon as it has started, and then let go for moments until it has come far enough. It may be killed in the block.
    """
    started = poll(lambda: start_of(directory, attempt), f"attempt {attempt} has started", seconds=60)
    trainer = psutil.Process(started["pid"])
    steps_per_epoch = started["steps_per_epoch"]
    try:
        poll(
            lambda: _stands_at(aim, trainer, directory, attempt, steps_per_epoch),
            lambda: f"attempt {attempt} stands still at step {aim}: {events(directory)[-3:]}",
            seconds=60,
        )
        yield pulse_step(directory)
    finally:
        with suppress(psutil.NoSuchProcess):  # whoever killed it in the block may not have reaped it yet, or just now
            trainer.resume()


def _stands_at(aim: int, trainer: psutil.Process, directory: RunDirectory, attempt: int, steps_per_epoch: int) -> bool:
    """Whether the trainer stands at `aim` or later and inside an epoch; else it goes on until the next look."""
    if trainer.status() != psutil.STATUS_STOPPED:
        trainer.suspend()
        return False
    step = pulse_step(directory)
    has_stepped = any(event["attempt"] == attempt for event in events(directory, "first_step"))  # else an older pulse
    if has_stepped and step >= aim and 1 <= step % steps_per_epoch <= steps_per_epoch - 2:  # so is the update under way
        return True
    trainer.resume()
    return False


def start_of(directory: RunDirectory, attempt: int) -> Json | None:
    """The journal's word of an attempt's start."""
    return next((event for event in events(directory, "started") if event["attempt"] == attempt), None)


def await_resumption(directory: RunDirectory, attempt: int) -> Json:
    """The journal's word of how this attempt goes on."""
    found = poll(
        lambda: [event for event in events(directory, "resumed") if event["attempt"] == attempt],
        "the run goes on",
        seconds=60,
    )
    return found[0]


def pulse_step(directory: RunDirectory) -> int:
    """The step that the trainer has shown last; 0 where none has."""
    return PulsePage(directory.pulse_page).read().step if directory.pulse_page.exists() else 0


def await_order(order: Order, directory: RunDirectory, before: int = 0) -> None:
    """Wait until the trainer is asked for `order` by a number above `before`."""
    poll(lambda: order_number(order, directory) > before, f"the trainer is asked to {order.name}", seconds=60)


def order_number(order: Order, directory: RunDirectory) -> int:
    return OrdersPage(directory.orders_page).number(order)


def newest_checkpoint(directory: RunDirectory) -> Path:
    return max(directory.checkpoints.glob("step-*"))


def newest_committed(directory: RunDirectory, attempt: int) -> int:
    """The step of the newest checkpoint that the journal knows of when this attempt ends; 0 where there is none."""
    steps = [event["step"] for event in events(directory, "checkpoint") if event["attempt"] <= attempt]
    return max(steps, default=0)


def events(directory: RunDirectory, *names: str) -> list[Json]:
    """The whole lines of the journal, or those of these kinds."""
    if not directory.events.exists():
        return []
    return [event for event in read_lines(directory.events)[0] if not names or event["event"] in names]


def points(directory: RunDirectory) -> list[Json]:
    """All metric lines, without what is true of one attempt only."""
    lines = read_lines(directory.metrics)[0]
    return [{key: value for key, value in line.items() if key not in ("time", "samples_per_second")} for line in lines]
