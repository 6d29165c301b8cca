"""Hearing that the state has changed: datagrams from the supervisor make it fast, polling makes up for lost ones.

Owns the changed socket of the home. Never reads the state itself: whoever waits looks for what they wait for.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from trainerd.contracts import unix_sockets
from trainerd.contracts.errors import StateAway

POLL_SECONDS = 0.25
_DATAGRAM_BYTES = 64

Found = TypeVar("Found")


class Changes:
    """Wakes everybody who waits for the next change, on one event loop."""

    def __init__(self) -> None:
        self._next = asyncio.Event()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the control plane is shutting down: nobody should wait any longer."""
        return self._closed

    def upcoming(self) -> asyncio.Event:
        """The event that the next change sets. Take it before looking, so that no change falls in between."""
        return self._next

    def announce(self) -> None:
        self._next.set()
        self._next = asyncio.Event()

    def close(self) -> None:
        """Let everybody who waits go, now and from now on."""
        self._closed = True
        self.announce()

    async def wait_until(self, look: Callable[[], Found | None], seconds: float) -> Found | None:
        """What `look` finds, as soon as it finds something; None after `seconds`, or at shutdown.

        While the state is being rebuilt there is nothing to be found.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        found: Found | None = None
        while True:
            change = self.upcoming()
            with suppress(StateAway):
                found = look()
            remaining_seconds = deadline - loop.time()
            if found is not None or remaining_seconds <= 0 or self.closed:
                return found
            await wait_for_event(change, min(remaining_seconds, POLL_SECONDS))


async def wait_for_event(event: asyncio.Event, seconds: float) -> None:
    """Return once `event` is set, or after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


class ChangedSocket:
    """Announces a change for every burst of datagrams that arrives at `path`. Made and closed on the event loop."""

    def __init__(self, path: Path, changes: Changes) -> None:
        self._changes = changes
        self._path = path
        self._socket = unix_sockets.bind(path, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._drain)

    def _drain(self) -> None:
        try:
            while True:
                self._socket.recv(_DATAGRAM_BYTES)
        except BlockingIOError:
            self._changes.announce()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)
