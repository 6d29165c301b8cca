"""`trainerd up`: one process that keeps the three of the daemon alive, and stops them in the right order.

It owns nothing but their lives: no run, no log, no state. When it is killed outright they end in an orderly way too.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable

from trainerd.contracts.errors import Unreachable
from trainerd.contracts.locks import PlaceLock
from trainerd.contracts.places import Home
from trainerd.contracts.settings import Settings
from trainerd.embedded.notify_socket import NotifySocket
from trainerd.embedded.part import Part
from trainerd.embedded.readiness import accepts_orders, has_come_up

_log = logging.getLogger(__name__)
_NOT_READY_SECONDS = 0.05
_IDLE_SECONDS = 1.0
_LOOK_FOR_NOTICES_SECONDS = 0.5
_FAILED_STARTS = 3  # before it was ever ready: then the daemon gives up and says so
MARGIN_SECONDS = 10.0  # beyond the grace, for what has to be written and reaped after it
_END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class EmbeddedDaemon:
    """The daemon of one home. Call `run` once, from the main thread."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self._home = home
        self._settings = settings
        self._notices = NotifySocket()
        environment = {**os.environ, "TRAINERD_HOME": str(home.path), "TRAINERD_SOCKET": str(home.control_socket)}
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):  # of whoever has started this process
            environment.pop(name, None)
        limit = settings.watchdog_seconds
        watched = {**environment, "NOTIFY_SOCKET": self._notices.name, "WATCHDOG_USEC": str(round(limit * 1e6))}
        self._supervisor, self._control = Part("supervisor", watched, limit), Part("control", watched, limit)
        self._worker = Part("worker", environment, None)  # its end is that of all trainers: a person's to decide
        self._parts = (self._supervisor, self._control, self._worker)
        self._is_ready = False
        self._is_asked_to_end = False

    def run(self, announce_ready: Callable[[], None]) -> int:
        """Keep the daemon alive until SIGTERM, SIGINT or SIGHUP, then stop it; returns 0.

        Raises AlreadyRunning where the home has a daemon, Unreachable where a part of it never comes up.
        """
        lock = PlaceLock(self._home.lock("up"), "daemon")
        signals = _signals_as_bytes((*_END_SIGNALS, signal.SIGCHLD))
        for part in self._parts:
            part.start()
        try:
            while not self._is_asked_to_end:
                self._hear(signals)
                self._kill_the_silent()
                self._restart_the_dead()
                self._note_who_has_come_up()
                self._announce_once_ready(announce_ready)
            if not self._is_ready:
                _log.warning("asked to end before it was ready")
        finally:
            self._stop()
            signals.close()
            self._notices.close()
            lock.release()
        return 0

    def _hear(self, signals: socket.socket) -> None:
        """Wait for a signal, or until it is time to look again."""
        with selectors.DefaultSelector() as selector:
            selector.register(signals, selectors.EVENT_READ)
            if selector.select(_IDLE_SECONDS if self._is_settled() else _NOT_READY_SECONDS):
                received = signals.recv(64)
                self._is_asked_to_end = any(number in _END_SIGNALS for number in received)

    def _kill_the_silent(self) -> None:
        """What shows no sign of life, stopped or stuck, is killed, and so started again."""
        alive = {notice.pid for notice in self._notices.receive() if notice.is_sign_of_life}
        for part in self._parts:
            silent_seconds = part.kill_if_silent(has_spoken=part.pid in alive)
            if silent_seconds is not None:
                _log.error("trainerd %s has shown no sign of life for %.0f s and is killed", part.name, silent_seconds)

    def _is_settled(self) -> bool:
        return self._is_ready and all(part.pid and part.has_come_up for part in self._parts)

    def _restart_the_dead(self) -> None:
        if self._is_asked_to_end:
            return
        for part in self._parts:
            why = part.note_death()
            if why:
                _log.warning("trainerd %s %s; starting it again", part.name, why)
            if not self._is_ready and part.failed_starts >= _FAILED_STARTS:
                raise Unreachable(
                    f"trainerd {part.name} does not come up: it {why}, {part.failed_starts} times in a row"
                )
            part.restart_if_due()

    def _note_who_has_come_up(self) -> None:
        for part in self._parts:
            part.has_come_up = part.has_come_up or (part.pid is not None and has_come_up(self._home, part.name))

    def _announce_once_ready(self, announce_ready: Callable[[], None]) -> None:
        if not self._is_ready and not self._is_asked_to_end and accepts_orders(self._home):
            self._is_ready = True
            announce_ready()

    def _stop(self) -> None:
        """The supervisor first: it has every run commit a checkpoint, and tells the worker host to end.

        The control plane answers meanwhile, so people see what the daemon waits for.
        """
        patience = self._settings.grace_seconds + MARGIN_SECONDS
        self._end(self._supervisor, patience)
        if not self._worker.wait(1.0):  # it may have missed the supervisor's word
            self._end(self._worker, patience)
        self._end(self._control, MARGIN_SECONDS)

    def _end(self, part: Part, patience_seconds: float) -> None:
        """Ask it to end, and kill it where it takes too long; it may ask for more time while it makes progress."""
        part.ask_to_end()
        deadline = time.monotonic() + patience_seconds
        while not part.wait(_LOOK_FOR_NOTICES_SECONDS):
            asked = [notice.more_seconds for notice in self._notices.receive() if notice.pid == part.pid]
            deadline = max([deadline, *(time.monotonic() + seconds for seconds in asked if seconds is not None)])
            if time.monotonic() >= deadline:
                _log.error("trainerd %s has not ended in time and is killed", part.name)
                part.kill()


def _signals_as_bytes(numbers: tuple[signal.Signals, ...]) -> socket.socket:
    """A socket on which every signal of `numbers` arrives as one byte; the handlers themselves do nothing."""
    receiver, sender = socket.socketpair()
    receiver.setblocking(False)
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.detach(), warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return receiver
