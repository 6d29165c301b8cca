"""The supervisor's process: makes its parts, ticks until it is asked to stop, and ends in an orderly way."""

from __future__ import annotations

import logging

from trainerd.contracts.errors import DiskError, ExitCode
from trainerd.contracts.locks import PlaceLock
from trainerd.contracts.places import Home
from trainerd.contracts.service_manager import READY, STOPPING, SignsOfLife, tell_service_manager
from trainerd.contracts.settings import Settings
from trainerd.contracts.states import WAITING, State
from trainerd.store.command_log import CommandLogReader
from trainerd.supervisor.complaints import Complaints
from trainerd.supervisor.lasting import LastingSupervisor
from trainerd.supervisor.loop import Supervisor
from trainerd.supervisor.shutdown import shut_down
from trainerd.supervisor.wake_ups import WakeUps

_log = logging.getLogger("trainerd.supervisor")
_BUSY_SECONDS = 0.2  # between two looks while a run is going on or waits for the worker host
_IDLE_SECONDS = 1.0


def run_supervisor(home: Home, settings: Settings) -> int:
    """Supervise the runs of `home` until SIGTERM or SIGINT; the process's exit code.

    Raises AlreadyRunning where another supervisor has the home, DiskError where the state cannot be used, or the
    command log does not reach as far as it.
    """
    lock = PlaceLock(home.lock("supervisor"), "supervisor")
    wake_ups = WakeUps()  # first, so that a signal is heeded from here on
    lasting = LastingSupervisor(home, settings, CommandLogReader(home.command_log))
    wake_ups.listen(home.wake_socket)
    complaints, signs_of_life = Complaints(_log), SignsOfLife()
    tell_service_manager(READY)
    while not wake_ups.is_asked_to_stop:
        has_ticked = _tick(lasting, complaints)
        signs_of_life.show()
        _sleep(lasting.supervisor, wake_ups, is_in_trouble=not has_ticked)
    _log.info("asked to stop: runs are interrupted, and go on when the daemon is started again")
    tell_service_manager(STOPPING)
    _shut_down(lasting.supervisor, wake_ups, settings, complaints)
    lasting.close()
    lock.release()
    return ExitCode.DONE


def _shut_down(supervisor: Supervisor, wake_ups: WakeUps, settings: Settings, complaints: Complaints) -> None:
    """End with the state as it is: one that is lost by now is folded anew at the next start."""

    def next_tick() -> None:
        _sleep(supervisor, wake_ups)
        _tick(supervisor, complaints)

    shut_down(supervisor, next_tick, settings.grace_seconds)


def _tick(supervisor: LastingSupervisor | Supervisor, complaints: Complaints) -> bool:
    """One tick; False where nothing could be stored."""
    trouble = "nothing could be stored, trying again"
    try:
        supervisor.tick()
        complaints.is_well(trouble)
        return True
    except DiskError as error:
        complaints.say(trouble, error)
        supervisor.start_over()
        return False


def _sleep(supervisor: Supervisor, wake_ups: WakeUps, *, is_in_trouble: bool = False) -> None:
    is_busy = _is_busy(supervisor) and not is_in_trouble
    wake_ups.wait(_BUSY_SECONDS if is_busy else _IDLE_SECONDS, supervisor.link.connection)


def _is_busy(supervisor: Supervisor) -> bool:
    """Whether something may happen of which nobody tells."""
    if supervisor.link.connection is None:
        return True
    settled = WAITING | {State.PAUSED}
    return any(record.state not in settled for record in supervisor.book.unended().values())
