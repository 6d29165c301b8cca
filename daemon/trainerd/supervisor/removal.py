"""Takes the directories of removed runs away: at first their names, and then, unhurried, what was in them.

A list keeps which command has removed which run. So one who folds the state anew finds neither the run nor a reason to
bear it again: a removal proves that all commands up to it have had their turn.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from contextlib import suppress
from pathlib import Path

from trainerd.contracts.durable_files import sync_directory
from trainerd.contracts.json_lines import JsonLinesWriter

_log = logging.getLogger(__name__)
_PREFIX = "removing-"
_LIST = "removed.jsonl"  # beside the run directories, a line for each removal


def set_aside(runs: Path, run_id: int, command_number: int) -> None:
    """Note a removal, and take the run's directory away; doing it again changes nothing. Raises OSError."""
    _note(runs, run_id, command_number)
    with suppress(FileNotFoundError):
        (runs / str(run_id)).rename(runs / f"{_PREFIX}{run_id}")
    sync_directory(runs)


def read_removals(runs: Path) -> dict[int, int]:
    """The runs that have been removed here, and the command that removed each. A damaged line is named, and lost."""
    try:
        *lines, _torn = (runs / _LIST).read_bytes().split(b"\n")
    except FileNotFoundError:
        return {}
    removals = {}
    for line in lines:
        try:
            document = json.loads(line)
            removals[int(document["run"])] = int(document["command"])
        except (ValueError, KeyError, TypeError):
            _log.warning("%s: a damaged line is passed over: %r", runs / _LIST, line[:80])
    return removals


def _note(runs: Path, run_id: int, command_number: int) -> None:
    removals = JsonLinesWriter(runs / _LIST)
    try:
        removals.append({"run": run_id, "command": command_number})
        removals.sync()
    finally:
        removals.close()


class Deletion:
    """Deletes what was set aside, in a thread: a large run must not hold up the supervisor.

    One that was cut off is made good at the next start.
    """

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._is_due = True  # for what a supervisor before this one has left
        self._thread: threading.Thread | None = None

    def ask_for(self) -> None:
        """Something was set aside, and the state is about to forget it."""
        self._is_due = True

    def go_on(self) -> None:
        """Begin to delete if there is anything to delete, and nothing is being deleted. Returns at once."""
        if not self._is_due or (self._thread and self._thread.is_alive()):
            return
        self._is_due = False
        if left := list(self._runs.glob(f"{_PREFIX}*")):
            self._thread = threading.Thread(target=_delete, args=(left,), name="deletion", daemon=True)
            self._thread.start()


def _delete(directories: list[Path]) -> None:
    for directory in directories:
        try:
            shutil.rmtree(directory)
        except OSError as error:
            _log.warning("%s: cannot be deleted yet, the next supervisor tries again: %s", directory, error)
