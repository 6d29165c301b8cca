"""What the supervisor sleeps on: wake-ups from the control plane, news from the worker host, signals.

A signal only writes a byte; the loop reads it. A wake-up that is lost is made up for by polling.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from pathlib import Path
from types import FrameType

from trainerd.contracts import unix_sockets
from trainerd.contracts.messages import Connection

_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})


class WakeUps:
    """Sleeps until something happens; remembers whether somebody asked the process to stop."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._signals, writing_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing_end, warn_on_full_buffer=False)
        for number in _STOP_SIGNALS:
            signal.signal(number, _do_nothing)
        self.is_asked_to_stop = False

    def listen(self, wake_socket: Path) -> None:
        """Be woken up by datagrams too, from now on: others take it that the supervisor is up."""
        self._socket = unix_sockets.bind(wake_socket, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def wait(self, timeout_seconds: float, connection: Connection | None) -> None:
        """Sleep for `timeout_seconds`, or less if something happens; `connection` is left for others to read."""
        sources: list[int | socket.socket] = [self._signals]
        if self._socket is not None:
            sources.append(self._socket)
        if connection is not None:
            sources.append(connection.fileno())
        ready, _, _ = select.select(sources, [], [], timeout_seconds)
        if self._signals in ready:
            self.is_asked_to_stop |= not _STOP_SIGNALS.isdisjoint(os.read(self._signals, 1024))
        if self._socket in ready and self._socket is not None:
            _drain(self._socket)


def _drain(sock: socket.socket) -> None:
    try:
        while True:
            sock.recv(1)
    except BlockingIOError:
        return


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """The byte in the pipe says everything."""
