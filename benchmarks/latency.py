"""How long a person waits: `trainctl submit` to the first optimizer step, and `trainctl status`, with a warm daemon.

Both are given in units of a bare `python -c pass` of the same interpreter, taken in turns with them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, milliseconds, ratio_of_medians
from benchmarks.own_daemon import OwnDaemon, own_daemon
from trainerd.contracts.json_lines import read_lines
from trainerd.contracts.run_directory import RunDirectory

CONFIGURATION = """
name: latency
data: {kind: synthetic, samples: 256, inputs: {shape: [16]}, targets: {shape: [1]}, batch_size: 32}
model: {name: mlp, args: {hidden: [64, 64]}}
loss: {name: mse}
trainer: {max_epochs: 1, device: cpu}
resources: {cpus: 1}
"""


@dataclass
class Durations:
    """Seconds, one entry per repetition."""

    bare_python: list[float] = field(default_factory=list)
    status: list[float] = field(default_factory=list)
    bare_command: list[float] = field(default_factory=list)  # trainctl --version: the client's own start
    dry_run: list[float] = field(default_factory=list)  # the client, and the inspection in a fork
    to_first_step: list[float] = field(default_factory=list)
    submit: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)


def measure(repetitions: int = 15) -> Iterator[Figure]:
    with own_daemon() as daemon:
        taken = take_durations(daemon, repetitions)
    yield Figure(
        "trainctl submit to first step / python -c pass",
        ratio_of_medians(taken.to_first_step, taken.bare_python),
        at_most=15,
        parts={
            "python -c pass": milliseconds(taken.bare_python),
            "submit to first step": milliseconds(taken.to_first_step),
            "trainctl submit, the whole process": milliseconds(taken.submit),
            "trainctl --version: the client starts": milliseconds(taken.bare_command),
            "trainctl submit --dry-run: and inspects": milliseconds(taken.dry_run),
            **{name: milliseconds(seconds) for name, seconds in taken.parts.items()},
        },
    )
    yield Figure(
        "trainctl status / python -c pass",
        ratio_of_medians(taken.status, taken.bare_python),
        at_most=8,
        parts={"trainctl status": milliseconds(taken.status)},
    )


def take_durations(daemon: OwnDaemon, repetitions: int) -> Durations:
    """Measure everything in turns; the first turn warms up and does not count."""
    configuration = daemon.home.path / "latency.yaml"
    configuration.write_text(CONFIGURATION)
    for turn in range(repetitions + 1):
        if turn <= 1:
            taken = Durations()
        taken.bare_python.append(seconds_of(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)))
        taken.bare_command.append(seconds_of(lambda: daemon.call("trainctl", "--version")))
        taken.status.append(seconds_of(lambda: daemon.call("trainctl", "status")))
        taken.dry_run.append(seconds_of(lambda: daemon.call("trainctl", "submit", "--dry-run", str(configuration))))
        submit_once(daemon, configuration, taken)
    return taken


def submit_once(daemon: OwnDaemon, configuration: Path, taken: Durations) -> None:
    """Submit a run and wait for its end, so that the next one finds a free slot and a quiet machine.

    The time to the first step ends with the later of the first step and the end of the client, and is read from the
    wall clock, which the journal's times come from.
    """
    asked = time.time()
    run = daemon.call("trainctl", "submit", str(configuration), "-o", "id").strip()
    submitted = time.time()
    daemon.call("trainctl", "wait", run)
    times = event_times(RunDirectory(daemon.home.run(int(run))))
    taken.submit.append(submitted - asked)
    taken.to_first_step.append(max(times["first_step"], submitted) - asked)
    moments = {"asked": asked, **times}
    for start, end in (("asked", "admitted"), ("admitted", "started"), ("started", "first_step")):
        taken.parts.setdefault(f"{start} to {end}", []).append(moments[end] - moments[start])


def event_times(directory: RunDirectory) -> dict[str, float]:
    """Seconds since 1970 at which each kind of event came first."""
    lines: list[dict[str, Any]] = read_lines(directory.events)[0]
    return {line["event"]: datetime.fromisoformat(line["time"]).timestamp() for line in reversed(lines)}


def seconds_of(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
