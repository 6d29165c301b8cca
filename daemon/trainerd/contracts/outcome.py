"""outcome.json: how a run's newest attempt ended. Replaced whole, never in place.

Written by whoever reaped the trainer (the worker host or the foreground); by the supervisor where there was none.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainerd.contracts.durable_files import replace_durably

CRASHED = "crashed"  # the state of an attempt without a good end: the supervisor decides what becomes of the run

_IN_THE_JOURNAL = ("state", "reason", "exit_code", "signal", "error", "step", "epoch")


@dataclass(frozen=True)
class Outcome:
    """What there is to know about an attempt that has ended."""

    state: str  # a contracts.states.State, or CRASHED
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

    def ended_fields(self) -> dict[str, Any]:
        """What the journal's ENDED line says of it."""
        return {name: getattr(self, name) for name in _IN_THE_JOURNAL}


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Put `outcome` on the disk for good: readers see the old file or this one. Raises OSError."""
    replace_durably(path, json.dumps(asdict(outcome), indent=2) + "\n")


def read_outcome(path: Path) -> Outcome:
    """What `write_outcome` wrote. Raises OSError where there is none."""
    return Outcome(**json.loads(path.read_text()))
