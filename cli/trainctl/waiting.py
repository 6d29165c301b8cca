"""Waiting for what the daemon has not done yet: an order that is on disk, a run that goes on."""

from __future__ import annotations

import time
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from trainctl.daemon import Daemon
from trainctl.problems import ReportedError
from trainctl.terminal import say
from trainerd.contracts.errors import ExitCode
from trainerd.contracts.states import SETTLED, State

Json = dict[str, Any]

_LOOK_SECONDS = 30  # one request to wait; the daemon answers at once when it is over
_PAUSE_SECONDS = 0.2
_SEVERITY = (ExitCode.DONE, ExitCode.RESUMABLE, ExitCode.FAILED)


class Until(StrEnum):
    """What is waited for, as the control plane names it."""

    SETTLED = "settled"  # ended or paused
    HALTED = "halted"  # no order is ending its trainer any more
    CHECKPOINTED = "checkpointed"  # no checkpoint is ordered and not yet committed, or the run is settled

    def is_true_of(self, run: Json) -> bool:
        match self:
            case Until.SETTLED:
                return run["state"] in SETTLED
            case Until.HALTED:
                return run["state"] not in (State.PAUSING, State.STOPPING)
            case Until.CHECKPOINTED:
                return run["pending_checkpoint"] is None or run["state"] in SETTLED


def await_command(daemon: Daemon, number: int) -> None:
    """Return once an order that the daemon has taken is carried out. Raises ReportedError where it was refused."""
    say(
        f"the supervisor is away; order {number} is on disk and is carried out when it is back (Ctrl+C leaves it there)"
    )
    while (answer := daemon.command(number))["state"] == "pending":
        time.sleep(_PAUSE_SECONDS)
    if answer["state"] == "refused":
        raise ReportedError(answer["problem"])


def await_run(
    daemon: Daemon, reference: str, until: Until = Until.SETTLED, deadline: float | None = None
) -> Json | None:
    """The run once it is what is waited `until`; None if it is not by `deadline` (time.monotonic())."""
    while True:
        left = _LOOK_SECONDS if deadline is None else deadline - time.monotonic()
        run = daemon.wait(reference, max(0, min(_LOOK_SECONDS, left)), until)
        if until.is_true_of(run):
            return run
        if deadline is not None and time.monotonic() >= deadline:
            return None


def exit_code_of(runs: Iterable[Json]) -> ExitCode:
    """How the runs have ended, as one exit code: the worst of them."""
    return max((_end_code(State(run["state"])) for run in runs), key=_SEVERITY.index, default=ExitCode.DONE)


def _end_code(state: State) -> ExitCode:
    match state:
        case State.COMPLETED:
            return ExitCode.DONE
        case State.STOPPED | State.PAUSED:
            return ExitCode.RESUMABLE
        case _:
            return ExitCode.FAILED
