"""The ballast: disk space that a run keeps back, so that a full disk still leaves room for one last checkpoint.

A file of the run directory, allocated but never written. Whoever meets a full disk has it given up and writes again;
the run then ends at its next step boundary, with a checkpoint, and goes on once there is room.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from trainerd.contracts.full_disk import is_for_want_of_space

Result = TypeVar("Result")

_LINES_BYTES = 1 << 20  # for what the journal, the metrics and the last words need beside the checkpoint
_AND_MORE_BYTES = 16 << 20  # or it would be blocked again after a few steps


class Ballast:
    """One attempt's. Main thread and checkpoint writer may both call `give_up`; the rest is the main thread's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._tell: Callable[[], None] = lambda: None
        self._is_refused = False
        self._checkpoint_bytes = 0
        self.is_given_up = False

    def when_given_up(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, from whichever thread, once the ballast is given up."""
        self._tell = tell

    def reserve(self, checkpoint_bytes: int) -> None:
        """Keep back what a checkpoint of this size needs. Raises OSError where the disk has no room for it.

        Where the ballast has been given up before, it is needed for the end that is under way.
        """
        self._checkpoint_bytes = checkpoint_bytes
        with self._lock:
            if not self.is_given_up:
                self._allocate()

    def give_up(self) -> bool:
        """Make room for whoever has met a full disk; whether writing again may succeed."""
        with self._lock:
            if not self.is_given_up and self._path.exists():
                self._path.unlink()
                self.is_given_up = True
        if self.is_given_up:
            self._tell()
        return self.is_given_up

    def make_room_for(self, write: Callable[[], Result]) -> Result:
        """Do what writes; once more where the disk was full and the ballast has made room. Raises OSError."""
        try:
            return write()
        except OSError as error:
            if not is_for_want_of_space(error) or not self.give_up():
                raise
        return write()

    def explains(self, error: OSError) -> bool:
        """Whether the run's own disk was full, and not some other one that user code writes to."""
        if not is_for_want_of_space(error):
            return False
        free = shutil.disk_usage(self._path.parent).free
        return self.is_given_up or self._is_refused or free < _LINES_BYTES

    @property
    def needed_bytes(self) -> int | None:
        """What the disk must have free for the run to go on for a while: the ballast, the next checkpoint, and more."""
        return self._bytes + self._checkpoint_bytes + _AND_MORE_BYTES if self._checkpoint_bytes else None

    @property
    def _bytes(self) -> int:
        return self._checkpoint_bytes + _LINES_BYTES

    def _allocate(self) -> None:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.posix_fallocate(fd, 0, self._bytes)
        except OSError as error:
            self._is_refused = is_for_want_of_space(error)
            self._path.unlink()  # a part of it helps nobody
            raise
        finally:
            os.close(fd)
