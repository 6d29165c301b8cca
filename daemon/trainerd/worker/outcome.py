"""outcome.json: how a run's newest attempt ended. Written by whoever reaped it; replaced whole, never in place."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What there is to know about an attempt that has ended."""

    state: str  # a contracts.states.State, or "crashed"
    reason: str | None  # a contracts.states.Reason; None where the run goes on later
    exit_code: int | None
    signal: int | None
    step: int  # the last one done
    epoch: int  # finished ones, validation included
    monitor: dict[str, Any] | None  # name, mode, best, best_epoch, best_step, last
    model: dict[str, Any] | None  # path, step, epoch
    error: str | None
    attempt: int
    ended_at: str


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Put `outcome` on the disk for good: readers see the old file or this one. Raises OSError."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w") as file:
        json.dump(asdict(outcome), file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    _sync_directory(path.parent)


def read_outcome(path: Path) -> Outcome:
    """What `write_outcome` wrote. Raises OSError where there is none."""
    return Outcome(**json.loads(path.read_text()))


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
