"""How soon a run steps again after its trainer was killed (SIGKILL), with a small model and a warm daemon.

In seconds, as people wait for it. Nothing is ordered in between: the run goes on from its last checkpoint by itself.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from benchmarks.figure import Figure, milliseconds
from benchmarks.own_daemon import own_daemon
from trainerd.contracts.json_lines import read_lines
from trainerd.contracts.run_directory import RunDirectory

CONFIGURATION = """
name: recovery
data: {kind: synthetic, samples: 8192, inputs: {shape: [16]}, targets: {shape: [1]}, batch_size: 32}
model: {name: mlp, args: {hidden: [64, 64]}}
loss: {name: mse}
trainer: {max_epochs: 100000000, device: cpu}
checkpoint: {every_steps: 200}
resources: {cpus: 1}
"""
_LOOK_AGAIN_SECONDS = 0.01
_LONGEST_SECONDS = 60.0


@dataclass(frozen=True)
class Recovery:
    """Seconds from the kill until each thing had happened; all from the wall clock, as journals have it."""

    ended: float  # the worker host has recorded the end
    started: float  # the next trainer has started
    first_step: float  # and has done a step


def measure(repetitions: int = 9) -> Iterator[Figure]:
    with own_daemon() as daemon:
        configuration = daemon.home.path / "recovery.yaml"
        configuration.write_text(CONFIGURATION)
        run = daemon.call("trainctl", "submit", str(configuration), "-o", "id").strip()
        directory = RunDirectory(daemon.home.run(int(run)))
        taken = [recover_once(directory) for _ in range(repetitions + 1)][1:]  # the first warms up
        daemon.call("trainctl", "kill", run)
    yield Figure(
        "SIGKILL of a trainer to the first step after it",
        median(recovery.first_step for recovery in taken),
        unit="s",
        at_most=1,
        parts={
            "to the record of its end": milliseconds([recovery.ended for recovery in taken]),
            "to the start of the next one": milliseconds([recovery.started for recovery in taken]),
            "to its first step": milliseconds([recovery.first_step for recovery in taken]),
        },
    )


def recover_once(directory: RunDirectory) -> Recovery:
    """Kill the trainer of a run as soon as its newest attempt has committed a checkpoint; wait for the next one's step.

    So no kill is a second failure in a row, after which the run would wait before it is tried again.
    """
    attempt = max([1, *(line["attempt"] for line in read_lines(directory.events)[0])])
    _await(directory, "checkpoint", attempt)
    started = _await(directory, "started", attempt)
    killed = time.time()
    os.kill(started["pid"], signal.SIGKILL)
    what_follows = (("ended", attempt), ("started", attempt + 1), ("first_step", attempt + 1))
    times = [_await(directory, event, number)["time"] for event, number in what_follows]
    return Recovery(*(datetime.fromisoformat(moment).timestamp() - killed for moment in times))


def _await(directory: RunDirectory, event: str, attempt: int) -> dict[str, Any]:
    """The first line of this event of this attempt. Raises TimeoutError where it does not come."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < deadline:
        for line in read_lines(directory.events)[0]:
            if (line["event"], line["attempt"]) == (event, attempt):
                return line
        time.sleep(_LOOK_AGAIN_SECONDS)
    raise TimeoutError(f"attempt {attempt} of {directory.path}: no {event}")
