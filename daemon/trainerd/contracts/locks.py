"""One process per place: a lock on a file, held until the process dies.

lockf, not flock: a flock stays held by forked children (data workers), a POSIX record lock does not (fcntl(2)). Who
holds one is asked of the kernel, never of the file: the number in it stays when the process that wrote it has died.
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path

from trainerd.contracts.errors import AlreadyRunning

_FLOCK = "hhqqi0q"  # struct flock (fcntl(2)): type, whence, start, length, pid; padded to its alignment
_WHOLE_FILE = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class PlaceLock:
    """Holds `path` locked while this object and this process live. Raises AlreadyRunning, naming the holder.

    The file must not be opened a second time in the same process: closing any descriptor of it drops the lock.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._path, self._what = path, what
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _ask_for_holder(self._fd)
            os.close(self._fd)
            raise AlreadyRunning(what, str(path.parent), holder) from error
        with suppress(OSError):  # for people only: a full disk is no reason not to start
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def check_kept(self) -> None:
        """Raises AlreadyRunning where the file was taken away: somebody else may hold the place by now."""
        try:
            is_kept = os.path.samestat(os.stat(self._path), os.fstat(self._fd))
        except FileNotFoundError:
            is_kept = False
        if not is_kept:
            what = f"{self._what} (its lock was taken away)"
            raise AlreadyRunning(what, str(self._path.parent), holder_of(self._path))

    def release(self) -> None:
        os.close(self._fd)


def holder_of(path: Path) -> int | None:
    """The process that holds `path` locked; None if none does. Not for one that may hold it itself.

    Only asks: it never holds the lock for a moment. 0 stands for a holder that has no number here, because it lives in
    another container.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return _ask_for_holder(fd)
    finally:
        os.close(fd)


def _ask_for_holder(fd: int) -> int | None:
    kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, _WHOLE_FILE))
    return None if kind == fcntl.F_UNLCK else max(0, pid)
