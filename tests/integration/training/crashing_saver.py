"""`python crashing_saver.py FOLDER`: a trainer's checkpoints, killed at every system call that brings them to disk.

For N = 1, 2, ... a child saves in FOLDER/N and is killed (SIGKILL) just before the Nth call, until one gets through.
It announces on its standard output, FOLDER/N/told, each step that it has been told to be durable.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from trainerd.contracts.journal import Journal
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.spec import Checkpoint
from trainerd.training.checkpoints.keeper import CheckpointKeeper
from trainerd.training.checkpoints.snapshot import RunState

CALLS = ("pwrite", "fsync", "rename", "replace", "unlink", "rmdir")  # what changes a directory or a file for good
STATE_BYTES = 1 << 20


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for number in itertools.count(1):
        directory = folder / str(number)
        directory.mkdir()
        pid = os.fork()
        if pid == 0:
            _save_until_killed(directory, number)
        if os.waitpid(pid, 0)[1] == 0:
            return


def _save_until_killed(directory: Path, number: int) -> None:
    told = os.open(directory / "told", os.O_WRONLY | os.O_CREAT)
    tell, exit_code = os.write, 1
    try:
        journal = Journal(RunDirectory(directory).events, attempt=1)
        keeper = CheckpointKeeper(
            RunDirectory(directory),
            Checkpoint(keep_periodic=1),
            journal,
            1,
            lambda: None,
            holds_best=True,
            obeyed=lambda _: None,
        )
        os.setpriority = lambda *_: None  # soon over on a busy machine too
        _kill_at_call(number)
        for step in (5, 10, 20, 30):
            state = _state(step)
            keeper.hold_best(state) if step == 20 else keeper.save(state, periodic=True)
            if step == 10:
                keeper.save(state, order=1)
            state.model["weight"].fill_(-1)  # training goes on
            keeper.commit_waiting_best()
            keeper.settle()
            tell(told, f"{step}\n".encode())
        exit_code = 0
    finally:
        os._exit(exit_code)


def _state(step: int) -> RunState:
    weight = torch.full((STATE_BYTES // 4,), float(step))
    return RunState(step, 0, {"weight": weight}, {"progress": {"step": step}})


def _kill_at_call(number: int) -> None:
    """Let `number` - 1 of the calls through, from whatever thread, and die at the next one."""
    calls = itertools.count(1)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def count_and_call(*arguments: Any, **named: Any) -> Any:
            if next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **named)

        return count_and_call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    os.fsync = counted(lambda _fd: None)  # a kill loses nothing of the page cache: no need to wait for the disk


if __name__ == "__main__":
    main(Path(sys.argv[1]))
