"""The control socket: systemd's, where it passed one, else our own, which nobody but the owner can reach."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

from trainerd.contracts import unix_sockets

_FIRST_FD = 3  # sd_listen_fds(3)


class ControlSocket:
    """A listening socket, and whether its name in the file system is ours to remove."""

    def __init__(self, path: Path, environment: MutableMapping[str, str]) -> None:
        passed = take_passed_socket(environment)
        self._path = None if passed else path
        self.socket = passed or _listen(path)

    def close(self) -> None:
        self.socket.close()
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()


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
    """A socket of mode 0600; a directory that is made for it has mode 0700, one that exists stays as it is."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    listener = unix_sockets.bind(path)
    listener.listen(socket.SOMAXCONN)
    return listener
