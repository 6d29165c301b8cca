"""How an attempt ends, as its trainer sees it: the last word that it writes into the journal, and its exit code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from trainerd.contracts.errors import CorruptCheckpoint, DataError, Diverged, ExitCode, SpecificationRefused
from trainerd.contracts.full_disk import is_for_want_of_space
from trainerd.contracts.outcome import CRASHED
from trainerd.contracts.pages import Order
from trainerd.contracts.states import Reason, State
from trainerd.training.checkpoints.verify import Damaged
from trainerd.training.state_tree import Unsaveable


@dataclass(frozen=True)
class Ending:
    """What the trainer says of its end."""

    state: str  # a State, or CRASHED
    reason: Reason | None  # None: the run goes on later (paused, interrupted)
    error: str | None = None

    @property
    def exit_code(self) -> ExitCode:
        if self.state == State.COMPLETED:
            return ExitCode.DONE
        return ExitCode.FAILED if self.state in (State.FAILED, CRASHED) else ExitCode.RESUMABLE


FINISHED = Ending(State.COMPLETED, Reason.FINISHED)
CONVERGED = Ending(State.COMPLETED, Reason.EARLY_STOPPING)
BY_ORDER = {
    Order.STOP: Ending(State.STOPPED, Reason.USER_STOP),
    Order.STOP_WITHOUT_CHECKPOINT: Ending(State.STOPPED, Reason.USER_STOP),
    Order.PAUSE: Ending(State.PAUSED, None),
    Order.INTERRUPT: Ending(State.INTERRUPTED, None),
}


def blocked(disk: Path, why: str) -> Ending:
    """The end of an attempt that met a full disk: the run goes on once there is room."""
    return Ending(State.BLOCKED, Reason.DISK_FULL, f"the disk of {disk} is full: {why}")


def ending_of(error: BaseException) -> Ending:
    """What an error that ended the attempt means for the run: failed for good, or crashed and perhaps retried."""
    message = str(error) or type(error).__name__
    match error:
        case Diverged():
            return Ending(State.FAILED, Reason.DIVERGED, message)
        case DataError():
            return Ending(State.FAILED, Reason.DATA_ERROR, message)
        case CorruptCheckpoint():
            return Ending(State.FAILED, Reason.CORRUPT_CHECKPOINT, message)
        case Damaged():
            return Ending(State.FAILED, Reason.CORRUPT_CHECKPOINT, message)
        case SpecificationRefused() | Unsaveable():
            return Ending(State.FAILED, Reason.ERROR, message)
        case torch.OutOfMemoryError() | MemoryError():
            return Ending(CRASHED, Reason.OUT_OF_MEMORY, message)
        case RuntimeError() if "DefaultCPUAllocator" in message:  # torch has no type for it on the CPU
            return Ending(CRASHED, Reason.OUT_OF_MEMORY, message)
        case OSError() if is_for_want_of_space(error):
            return Ending(CRASHED, Reason.DISK_FULL, message)
    return Ending(CRASHED, Reason.ERROR, f"{type(error).__name__}: {message}")
