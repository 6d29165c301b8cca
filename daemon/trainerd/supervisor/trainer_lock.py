"""Whether a run's trainer lives, whoever started it: it holds a lock on its run directory until it dies."""

from __future__ import annotations

from trainerd.contracts.locks import holder_of
from trainerd.contracts.run_directory import RunDirectory


def is_trainer_alive(directory: RunDirectory) -> bool:
    """Whether some process holds the run's lock. Raises OSError where nobody can tell."""
    return holder_of(directory.lock) is not None
