"""One process per place: a lock on a file, held until the process dies.

lockf, not flock: a flock stays held by forked children (data workers), a POSIX record lock does not (fcntl(2)).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from trainerd.contracts.errors import AlreadyRunning


class PlaceLock:
    """Holds `path` locked while this object and this process live. Raises AlreadyRunning, naming the holder.

    The file must not be opened a second time in the same process: closing any descriptor of it drops the lock.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).strip()
            os.close(self._fd)
            raise AlreadyRunning(what, str(path.parent), int(holder) if holder.isdigit() else None) from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        os.close(self._fd)


def holder_of(path: Path) -> int | None:
    """The process that holds `path` locked; None if none does. Not for one that may hold it itself."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return int(os.pread(fd, 32, 0))
    finally:
        os.close(fd)
    return None
