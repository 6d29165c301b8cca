"""Whether a run's trainer lives, whoever started it: it holds a lock on its run directory until it dies."""

from __future__ import annotations

import fcntl
import os

from trainerd.contracts.run_directory import RunDirectory


def is_trainer_alive(directory: RunDirectory) -> bool:
    """Whether some process holds the run's lock. Takes it for a moment, so only where no trainer is being started."""
    try:
        fd = os.open(directory.lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)
