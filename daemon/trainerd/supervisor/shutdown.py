"""The orderly end of a supervisor: every trainer saves and ends, to go on when the daemon is started again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from trainerd.contracts.pages import Phase, read_pulse
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.service_manager import ask_for_time
from trainerd.contracts.states import LIVE, State
from trainerd.supervisor.loop import Supervisor
from trainerd.supervisor.orders import interrupt
from trainerd.supervisor.trainer_lock import is_trainer_alive

_log = logging.getLogger(__name__)
_REAP_SECONDS = 10.0  # how long a killed trainer may take to be reaped


def shut_down(supervisor: Supervisor, next_tick: Callable[[], None], grace_seconds: float) -> None:
    """Interrupt all trainers, wait until they have ended, then have the worker host end.

    `next_tick` sleeps until something happens and ticks. Trainers that take longer than `grace_seconds`, and do not
    bring a checkpoint to disk meanwhile, are killed, and count as interrupted all the same.
    """
    supervisor.is_closing = True
    _interrupt_trainers(supervisor)
    patience = _Patience(grace_seconds)
    while waiting := [record for record in _with_trainers(supervisor) if not record.killed_by_daemon]:
        for record in waiting:
            if patience.is_at_its_end(record, _directory(supervisor, record)):
                _log.warning("run %d %s: killed, it made no progress for %g s", record.id, record.name, grace_seconds)
                supervisor.book.put(record.updated(killed_by_daemon=True))
                supervisor.link.kill((record.id, record.attempt))
        next_tick()
    deadline = time.monotonic() + _REAP_SECONDS
    while _with_trainers(supervisor) and time.monotonic() < deadline:
        next_tick()
    supervisor.link.quit()


class _Patience:
    """How long the end of each run is waited for: `grace_seconds`, and anew with every sign that it is being saved."""

    def __init__(self, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._deadline = time.monotonic() + grace_seconds
        self._last_beat_ns: dict[int, int] = {}
        self._deadlines: dict[int, float] = {}  # of runs that have shown progress

    def is_at_its_end(self, record: RunRecord, directory: RunDirectory) -> bool:
        pulse = read_pulse(directory.pulse_page, record.attempt)
        is_saving = pulse is not None and pulse.phase in (Phase.CHECKPOINT, Phase.ENDING)
        if pulse is not None and is_saving and self._last_beat_ns.get(record.id) != pulse.beat_ns:
            self._last_beat_ns[record.id] = pulse.beat_ns
            self._deadlines[record.id] = time.monotonic() + self._grace_seconds
            ask_for_time(self._grace_seconds + _REAP_SECONDS)
        return time.monotonic() >= self._deadlines.get(record.id, self._deadline)


def _interrupt_trainers(supervisor: Supervisor) -> None:
    for record in supervisor.book.unended().values():
        if record.state in (State.STARTING, State.RUNNING):
            try:
                interrupt(_directory(supervisor, record))
            except (OSError, ValueError) as error:
                _log.warning("run %d: cannot be interrupted: %s", record.id, error)


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
