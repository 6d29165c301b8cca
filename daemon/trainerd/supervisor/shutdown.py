"""The orderly end of a supervisor: every trainer saves and ends, to go on when the daemon is started again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import LIVE, State
from trainerd.supervisor.loop import Supervisor
from trainerd.supervisor.orders import interrupt
from trainerd.supervisor.trainer_lock import is_trainer_alive

_log = logging.getLogger(__name__)
_REAP_SECONDS = 10.0  # how long a killed trainer may take to be reaped


def shut_down(supervisor: Supervisor, next_tick: Callable[[], None], grace_seconds: float) -> None:
    """Interrupt all trainers, wait until they have ended, then have the worker host end.

    `next_tick` sleeps until something happens and ticks. Trainers that take longer than `grace_seconds` are killed,
    and count as interrupted all the same.
    """
    supervisor.is_closing = True
    _interrupt_trainers(supervisor)
    if not _wait_for_trainers(supervisor, next_tick, grace_seconds):
        for record in _with_trainers(supervisor):
            _log.warning("run %d %s: killed, it did not end within %g s", record.id, record.name, grace_seconds)
            supervisor.book.put(record.updated(killed_by_daemon=True))
            supervisor.link.kill((record.id, record.attempt))
        _wait_for_trainers(supervisor, next_tick, _REAP_SECONDS)
    supervisor.link.quit()


def _interrupt_trainers(supervisor: Supervisor) -> None:
    for record in supervisor.book.unended().values():
        if record.state in (State.STARTING, State.RUNNING):
            try:
                interrupt(_directory(supervisor, record))
            except (OSError, ValueError) as error:
                _log.warning("run %d: cannot be interrupted: %s", record.id, error)


def _wait_for_trainers(supervisor: Supervisor, next_tick: Callable[[], None], limit_seconds: float) -> bool:
    deadline = time.monotonic() + limit_seconds
    while _with_trainers(supervisor) and time.monotonic() < deadline:
        next_tick()
    return not _with_trainers(supervisor)


def _with_trainers(supervisor: Supervisor) -> list[RunRecord]:
    """The live runs whose trainer has not ended, as far as the worker host says, or their lock while it is away."""
    return [
        record
        for record in supervisor.book.unended().values()
        if record.state in LIVE and _has_trainer(supervisor, record)
    ]


def _has_trainer(supervisor: Supervisor, record: RunRecord) -> bool:
    living = supervisor.link.living
    if living is None:
        return _may_be_alive(_directory(supervisor, record))
    attempt = (record.id, record.attempt)
    return attempt in living or attempt in supervisor.link.announced


def _may_be_alive(directory: RunDirectory) -> bool:
    try:
        return is_trainer_alive(directory)
    except OSError as error:
        _log.warning("run directory %s: nobody can tell whether its trainer lives: %s", directory.path.name, error)
        return False


def _directory(supervisor: Supervisor, record: RunRecord) -> RunDirectory:
    return RunDirectory(supervisor.home.run(record.id))
