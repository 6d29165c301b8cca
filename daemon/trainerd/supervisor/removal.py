"""Takes the directories of removed runs away: at first their names, and then, unhurried, what was in them.

Each is noted (store/removals.py): a removal proves that all commands up to it have had their turn.
"""

from __future__ import annotations

import logging
import shutil
import threading
from contextlib import suppress
from pathlib import Path

from trainerd.contracts.durable_files import sync_directory
from trainerd.store.removals import forget_removal, note_removal
from trainerd.supervisor.complaints import Complaints

_log = logging.getLogger(__name__)
_PREFIX = "removing-"


def set_aside(runs: Path, run_id: int, command_number: int) -> None:
    """Note a removal, and take the run's directory away; doing it again changes nothing.

    Raises OSError; where it is PermissionError, nothing was done.
    """
    note_removal(runs, run_id, command_number)
    try:
        _rename(runs / str(run_id), runs / f"{_PREFIX}{run_id}")
    except PermissionError:
        forget_removal(runs, run_id)
        raise
    sync_directory(runs)


def _rename(directory: Path, aside: Path) -> None:
    with suppress(FileNotFoundError):
        if directory.exists() and aside.exists():  # it was born again before a tick that had removed it could commit
            shutil.rmtree(aside, ignore_errors=True)
        directory.rename(aside)


class Deletion:
    """Deletes what was set aside, in a thread: a large run must not hold up the supervisor.

    One that was cut off is made good at the next start.
    """

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._is_due = True  # for what a supervisor before this one has left
        self._thread: threading.Thread | None = None
        self._complaints = Complaints(_log)

    def ask_for(self) -> None:
        """Something was set aside, and the state is about to forget it."""
        self._is_due = True

    def go_on(self) -> None:
        """Begin to delete if there is anything to delete, and nothing is being deleted. Returns at once."""
        if not self._is_due or (self._thread and self._thread.is_alive()):
            return
        trouble = "what was removed cannot be deleted yet, and is tried again"
        try:
            if left := list(self._runs.glob(f"{_PREFIX}*")):
                thread = threading.Thread(target=_delete, args=(left,), name="deletion", daemon=True)
                thread.start()
                self._thread = thread
        except (OSError, RuntimeError) as error:  # no descriptor is left, or no thread: nothing else waits for this
            self._complaints.say(trouble, error)
            return
        self._complaints.is_well(trouble)
        self._is_due = False


def _delete(directories: list[Path]) -> None:
    for directory in directories:
        try:
            shutil.rmtree(directory)
        except OSError as error:
            _log.warning("%s: cannot be deleted yet, the next supervisor tries again: %s", directory, error)
