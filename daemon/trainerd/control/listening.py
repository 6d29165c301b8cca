"""The control socket: systemd's, where it passed one, else our own, which nobody but the owner can reach."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from pathlib import Path

from trainerd.contracts import unix_sockets
from trainerd.contracts.errors import AlreadyRunning
from trainerd.control.peer import read_peer

_FIRST_FD = 3  # sd_listen_fds(3)
_CONNECT_SECONDS = 1.0


class ControlSocket:
    """A listening socket, and whether its name in the file system is ours to remove."""

    def __init__(self, path: Path, environment: MutableMapping[str, str]) -> None:
        passed = take_passed_socket(environment)
        self.socket = passed or _listen(path)
        self._path = path
        self._file = None if passed else _file_at(path)

    def close(self) -> None:
        self.socket.close()
        if self._file is not None and _file_at(self._path) == self._file:
            self._path.unlink(missing_ok=True)


def take_passed_socket(environment: MutableMapping[str, str]) -> socket.socket | None:
    """The socket that systemd passed to this process, if it did; its announcement is not inherited further."""
    announced = {name: environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    if announced["LISTEN_PID"] != str(os.getpid()) or not announced["LISTEN_FDS"].isdigit():
        return None
    if int(announced["LISTEN_FDS"]) < 1:
        return None
    passed = socket.socket(fileno=_FIRST_FD)
    passed.set_inheritable(False)
    return passed


def _listen(path: Path) -> socket.socket:
    """A socket of mode 0600; a directory that is made for it has mode 0700, one that exists stays as it is.

    Raises AlreadyRunning where somebody listens there: the daemon of another home may have been given the same socket.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_to_replace_a_living_one(path)
    listener = unix_sockets.bind(path)
    listener.listen(socket.SOMAXCONN)
    return listener


def _refuse_to_replace_a_living_one(path: Path) -> None:
    try:
        with unix_sockets.connect(path, timeout_seconds=_CONNECT_SECONDS) as listener:
            holder = read_peer(listener).pid
    except (TimeoutError, BlockingIOError):  # there, with more callers than it has answered yet
        holder = None
    except OSError:
        return
    raise AlreadyRunning("control plane", str(path), holder)


def _file_at(path: Path) -> tuple[int, int] | None:
    """What tells one file from the next of the same name; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
