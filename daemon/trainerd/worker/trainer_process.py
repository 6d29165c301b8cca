"""What a trainer does between its fork and its first line of training. Runs in the child only, once."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from trainerd.contracts.locks import PlaceLock
from trainerd.contracts.messages import Start
from trainerd.contracts.processes import set_process_title
from trainerd.contracts.run_directory import RunDirectory


class Train(Protocol):
    """trainerd.training.trainer.run_trainer: trains one attempt and returns the exit code."""

    def __call__(
        self,
        directory: RunDirectory,
        *,
        attempt: int,
        settled_order: int,
        accepted_data: str | None,
        say: Callable[[str], None],
    ) -> int: ...


def be_trainer(start: Start, train: Train) -> int:
    """Train one attempt in a run directory that is nobody else's meanwhile. Returns the exit code.

    The working directory is the run's own, so that a relative path in user code writes there and not into the
    daemon's. Raises AlreadyRunning where another process holds the directory; what escapes ends up in the run's log.
    """
    directory = RunDirectory(Path(start.run_dir))
    _write_to_log(directory.log)
    os.chdir(directory.path)
    set_process_title(f"trainerd trainer {start.run} {start.attempt}")
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(start.gpus)
    PlaceLock(directory.lock, "trainer")  # held until the process is gone: never released by hand
    _leave_stacks_in(directory.stacks(start.attempt))
    return train(
        directory,
        attempt=start.attempt,
        settled_order=start.settled_order,
        accepted_data=start.accepted_data,
        say=_say,
    )


def _write_to_log(path: Path) -> None:
    """Standard output and error go to the run's log, line by line; there is no standard input."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(nothing)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _leave_stacks_in(path: Path) -> None:
    """A crash, or SIGUSR1 before a hung trainer is killed, leaves every thread's stack in this file."""
    stacks = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    faulthandler.enable(stacks)
    faulthandler.register(signal.SIGUSR1, stacks, all_threads=True)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
