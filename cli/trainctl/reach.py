"""Reaching the daemon: the first control socket that answers, or what was tried and what to do about it."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Sequence
from pathlib import Path

from trainerd.contracts import unix_sockets
from trainerd.contracts.errors import NotPermitted, TrainerdError, Unreachable
from trainerd.contracts.locks import holder_of
from trainerd.contracts.places import user_home, user_socket


def connect(sockets: Sequence[Path]) -> socket.socket:
    """A connection to the first of `sockets` that somebody listens on.

    Raises NotPermitted naming the owner of one that is not ours to use, else Unreachable naming all that were tried.
    """
    failures: dict[Path, OSError] = {}
    for path in sockets:
        try:
            return unix_sockets.connect(path)
        except OSError as error:
            failures[path] = error
    raise _explain(failures)


def is_alive(sockets: Sequence[Path]) -> bool:
    """Whether a `trainerd up` lives behind one of `sockets`, whoever listens there at the moment."""
    return any(_is_held(home / "up.lock") for path in sockets for home in _homes_of(path))


def _homes_of(path: Path) -> list[Path]:
    """Where the daemon behind a control socket may have its home."""
    named = os.environ.get("TRAINERD_HOME")
    is_users = path == user_socket(os.environ)
    return [path.parent, *([Path(named)] if named else []), *([user_home(os.environ)] if is_users else [])]


def _is_held(lock: Path) -> bool:
    try:
        return holder_of(lock) is not None
    except OSError:
        return False


def _explain(failures: dict[Path, OSError]) -> TrainerdError:
    for path, error in failures.items():
        if isinstance(error, PermissionError):
            return NotPermitted(_owner(path))
    tried = ", ".join(f"{path} ({error.strerror or error})" for path, error in failures.items())
    return Unreachable(f"no daemon answers; tried {tried}; start one with: trainerd up --detach")


def _owner(path: Path) -> str:
    """Who owns the socket, or the nearest directory above it that we may look at."""
    for place in (path, *path.parents):
        try:
            user = os.stat(place).st_uid
        except OSError:
            continue
        try:
            return pwd.getpwuid(user).pw_name
        except KeyError:
            return f"user {user}"
    return "somebody else"
