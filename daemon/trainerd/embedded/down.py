"""`trainerd down`: asks the daemon of a home to end, and waits for it."""

from __future__ import annotations

import os
import pwd
import select
import signal
from collections.abc import Callable
from pathlib import Path

from trainerd.contracts.errors import NotPermitted, Unreachable
from trainerd.contracts.locks import holder_of
from trainerd.contracts.places import Home


def stop_daemon(home: Home, say: Callable[[str], None]) -> int:
    """End the daemon of `home` if there is one; returns 0 once there is none.

    Raises NotPermitted where it is somebody else's, Unreachable where it lives in another container.
    """
    try:
        pid = holder_of(home.lock("up"))
        if pid is None:
            say(f"no daemon runs on {home.path}")
            return 0
        daemon = _ask_to_end(home, pid)
    except PermissionError as error:
        raise NotPermitted(_owner_of(home.path), str(home.path)) from error
    if daemon is None:
        say(f"the daemon of {home.path} has just ended")
        return 0
    say(f"waiting for process {pid}: every run commits a checkpoint first")
    select.select([daemon], [], [])
    os.close(daemon)
    say(f"the daemon of {home.path} has ended; trainerd up goes on with its runs")
    return 0


def _ask_to_end(home: Home, pid: int) -> int | None:
    """Send SIGTERM to the daemon, and nobody else; a descriptor of it to wait on, or None where it has ended."""
    if pid == 0:
        raise Unreachable(f"the daemon of {home.path} lives in another container; end it there")
    try:
        daemon = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if holder_of(home.lock("up")) != pid:  # it has ended, and its number may be a stranger's
        os.close(daemon)
        return None
    try:
        signal.pidfd_send_signal(daemon, signal.SIGTERM)
    except ProcessLookupError:
        os.close(daemon)
        return None
    return daemon


def _owner_of(path: Path) -> str:
    """Whose `path` is; where it cannot be looked at, whose the directory is that forbids it."""
    for place in (path, *path.parents):
        try:
            uid = place.stat().st_uid
        except OSError:
            continue
        return _name_of(uid)
    raise AssertionError("the root directory can be looked at")


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
