"""The inspections under way in a worker host: one forked inspector each, killed at its limit.

The inspector alone holds the connection, so its death is the end of file that the asking side sees. Where there is no
room for an inspector the host answers in its place, and says so.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from trainerd.contracts.errors import Finding
from trainerd.contracts.messages import Connection, Inspect, Inspected
from trainerd.worker.child import Child, fork_child

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inspection:
    """One inspector and the moment at which it is killed."""

    child: Child
    request: Inspect
    deadline: float  # time.monotonic()


class Inspections:
    """See the module. `become_inspector` is what a forked child does with its request."""

    def __init__(self, become_inspector: Callable[[Inspect, Connection], int]) -> None:
        self._become_inspector = become_inspector
        self._under_way: dict[int, Inspection] = {}

    def begin(self, request: Inspect, connection: Connection) -> Child | None:
        """Fork an inspector that answers on `connection`, which is closed here. None, and told, without room for it."""
        deadline = time.monotonic() + request.limit_seconds
        try:
            child = fork_child(lambda: self._become_inspector(request, connection), keep_fds=[connection.fileno()])
        except OSError as error:
            _log.error("no inspector for %s: %s", request.path, error)
            _say_that_none_could_start(error, connection)
            return None
        finally:
            connection.close()
        self._under_way[child.pid] = Inspection(child, request, deadline)
        return child

    def end(self, pid: int) -> None:
        """Reap an inspector that has ended."""
        inspection = self._under_way.pop(pid)
        exit_code, signal_number = inspection.child.reap()
        if exit_code != 0:
            _log.warning(
                "inspector of %s ended with %s", inspection.request.path, exit_code or f"signal {signal_number}"
            )

    def kill_late(self) -> None:
        for inspection in self._under_way.values():
            if time.monotonic() >= inspection.deadline:
                inspection.child.send(signal.SIGKILL)

    def seconds_left(self) -> float | None:
        """Time until the next deadline; None without inspections."""
        deadlines = [inspection.deadline for inspection in self._under_way.values()]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def has_child(self, pid: int) -> bool:
        return pid in self._under_way


def _say_that_none_could_start(why: OSError, connection: Connection) -> None:
    finding = Finding(f"nothing was checked: the worker host could not start an inspector: {why.strerror}")
    try:
        connection.send(Inspected(None, None, [finding.to_json()], []))
    except OSError as error:
        _log.warning("nobody hears that there is no inspector: %s", error)
