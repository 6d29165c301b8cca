"""Unix sockets whose paths may be longer than the 107 bytes that sockaddr_un holds (unix(7)).

A long path is reached through /proc/self/fd/N of its directory, so a home may lie anywhere.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_PATH_LIMIT_BYTES = 107


def connect(
    path: Path, kind: socket.SocketKind = socket.SOCK_STREAM, timeout_seconds: float | None = None
) -> socket.socket:
    """A socket connected to `path`. Raises OSError as connect(2) does."""
    client = socket.socket(socket.AF_UNIX, kind)
    try:
        client.settimeout(timeout_seconds)
        _with_short_address(path, client.connect)
    except BaseException:
        client.close()
        raise
    return client


def bind(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A socket bound to `path`, mode 0600, replacing a dead one. The caller holds the lock that makes it alone."""
    server = socket.socket(socket.AF_UNIX, kind)
    try:
        path.unlink(missing_ok=True)
        previous = os.umask(0o177)
        try:
            _with_short_address(path, server.bind)
        finally:
            os.umask(previous)
    except BaseException:
        server.close()
        raise
    return server


def send_wake_up(path: Path) -> None:
    """Send one empty datagram to `path` if somebody listens; polling makes up for one that is lost, or never sent."""
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as waker:
        _with_short_address(path, lambda address: waker.sendto(b"", address))


def _with_short_address(path: Path, use: Callable[[str], object]) -> None:
    if len(os.fsencode(path)) <= _PATH_LIMIT_BYTES:
        use(str(path))
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        use(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)
