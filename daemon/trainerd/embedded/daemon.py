"""`trainerd up`: one process that keeps the three of the daemon alive, and stops them in the right order.

It owns nothing but their lives: no run, no log, no state. When it is killed outright they end in an orderly way too.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
from collections.abc import Callable

from trainerd.contracts.errors import Unreachable
from trainerd.contracts.locks import PlaceLock
from trainerd.contracts.places import Home
from trainerd.contracts.settings import Settings
from trainerd.embedded.part import NAMES, Part
from trainerd.embedded.readiness import accepts_orders, has_come_up

_log = logging.getLogger(__name__)
_NOT_READY_SECONDS = 0.05
_IDLE_SECONDS = 1.0
_FAILED_STARTS = 3  # before it was ever ready: then the daemon gives up and says so
MARGIN_SECONDS = 10.0  # beyond the grace, for what has to be written and reaped after it
_END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class EmbeddedDaemon:
    """The daemon of one home. Call `run` once, from the main thread."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self._home = home
        self._settings = settings
        environment = {**os.environ, "TRAINERD_HOME": str(home.path), "TRAINERD_SOCKET": str(home.control_socket)}
        self._supervisor, self._control, self._worker = (Part(name, environment) for name in NAMES)
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
                self._restart_the_dead()
                self._note_who_has_come_up()
                self._announce_once_ready(announce_ready)
            if not self._is_ready:
                _log.warning("asked to end before it was ready")
        finally:
            self._stop()
            signals.close()
            lock.release()
        return 0

    def _hear(self, signals: socket.socket) -> None:
        """Wait for a signal, or until it is time to look again."""
        with selectors.DefaultSelector() as selector:
            selector.register(signals, selectors.EVENT_READ)
            if selector.select(_IDLE_SECONDS if self._is_settled() else _NOT_READY_SECONDS):
                received = signals.recv(64)
                self._is_asked_to_end = any(number in _END_SIGNALS for number in received)

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
        _end(self._supervisor, patience)
        if not self._worker.wait(1.0):  # it may have missed the supervisor's word
            _end(self._worker, patience)
        _end(self._control, MARGIN_SECONDS)


def _end(part: Part, patience_seconds: float) -> None:
    part.ask_to_end()
    if not part.wait(patience_seconds):
        _log.error("trainerd %s has not ended within %g s and is killed", part.name, patience_seconds)
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
