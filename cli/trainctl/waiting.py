"""Waiting for what the daemon has not done yet: an order that is on disk, a run that goes on."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from trainctl.daemon import Daemon
from trainctl.problems import ReportedError
from trainctl.terminal import say
from trainerd.contracts.errors import ExitCode, StateAway
from trainerd.contracts.states import State
from trainerd.contracts.waiting import Until

Json = dict[str, Any]

_LOOK_SECONDS = 30  # one request to wait; the daemon answers at once when it is over
_PAUSE_SECONDS = 0.2
_SEVERITY = (ExitCode.DONE, ExitCode.RESUMABLE, ExitCode.FAILED)


def await_command(daemon: Daemon, number: int) -> None:
    """Return once an order that the daemon has taken is carried out. Raises ReportedError where it was refused."""
    say(
        f"the supervisor is away; order {number} is on disk and is carried out when it is back (Ctrl+C leaves it there)"
    )
    while (answer := _ask_about(daemon, number))["state"] == "pending":
        time.sleep(_PAUSE_SECONDS)
    if answer["state"] == "refused":
        raise ReportedError(answer["problem"])


def _ask_about(daemon: Daemon, number: int) -> Json:
    """What became of an order; pending as long as the state is away that could tell."""
    try:
        return daemon.command(number)
    except StateAway:
        return {"state": "pending"}


def await_run(
    daemon: Daemon, reference: str, until: Until = Until.SETTLED, deadline: float | None = None
) -> Json | None:
    """The run once it is what is waited `until`; None if it is not by `deadline` (time.monotonic())."""
    while True:
        left = _LOOK_SECONDS if deadline is None else deadline - time.monotonic()
        run = daemon.wait(reference, max(0, min(_LOOK_SECONDS, left)), until)
        if is_over(run, until):
            return run
        if deadline is not None and time.monotonic() >= deadline:
            return None


def is_over(run: Json, until: Until) -> bool:
    """Whether a run, as the daemon shows it, is what is waited `until`."""
    return until.is_true_of(State(run["state"]), run["pending_checkpoint"])


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
