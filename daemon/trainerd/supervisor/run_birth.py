"""Makes the directory of a run that was just submitted: pages, the first line of its journal, its specification.

Doing it again changes nothing, so a supervisor that was killed in between simply repeats it.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from trainerd.contracts.commands import Command, CommandKind
from trainerd.contracts.durable_files import replace_durably, sync_directory
from trainerd.contracts.journal import Event, decode_journal
from trainerd.contracts.pages import create_pages
from trainerd.contracts.run_directory import RunDirectory, run_ids
from trainerd.store.removals import removals_of_log
from trainerd.supervisor.apply import Birth
from trainerd.supervisor.journals import append_if_last

_log = logging.getLogger(__name__)


def was_born(directory: RunDirectory) -> bool:
    """Whether the run's directory was made to the end: the specification comes last.

    One that nobody may read counts as made: it is not to be made anew.
    """
    try:
        return directory.spec.exists()
    except OSError:
        return True


def find_newest_proven(runs: Path, command_of: Callable[[int], Command | None]) -> int:
    """The newest command of the log that is proven to have been applied; 0 if none is. `command_of` reads the log.

    A run directory proves the submit that made it, and a removal itself, as far as the log knows of them. Commands are
    applied in order, and run ids grow with them: nearly always the first look finds it.
    """
    removal = max(removals_of_log(runs, command_of).values(), default=0)
    for run_id in sorted(run_ids(runs), reverse=True):
        directory = RunDirectory(runs / str(run_id))
        number = _admitting_command(directory) if was_born(directory) else None
        if number is not None and _makes(command_of(number), run_id):
            return max(number, removal)
    return removal


def _makes(command: Command | None, run_id: int) -> bool:
    if command is None or command.kind is not CommandKind.SUBMIT:
        return False
    return any(run["id"] == run_id for run in command.body["runs"])


def _admitting_command(directory: RunDirectory) -> int | None:
    """The number of the command that made the run's directory; None where its journal does not say."""
    try:
        with open(directory.events, "rb") as journal:
            first = next(decode_journal(journal.readline(), 0, directory.events), None)
    except OSError as error:
        _log.warning("run directory %s: cannot be read: %s", directory.path.name, error)
        return None
    number = first.event.get("command") if first else None
    return number if isinstance(number, int) else None


def bear_run(directory: RunDirectory, birth: Birth, command: Command) -> None:
    """Make the directory of one run, on disk with its name when this returns. Raises OSError."""
    if was_born(directory):
        return
    record = birth.record
    directory.path.mkdir(parents=True, exist_ok=True)
    create_pages(directory.orders_page, directory.pulse_page)
    append_if_last(
        directory,
        attempt=0,
        offset=0,
        event=Event.ADMITTED,
        run=record.id,
        name=record.name,
        owner=record.owner,
        command=command.number,
        priority=record.priority,
        submitted_at=command.time,
    )
    replace_durably(directory.spec, birth.spec_yaml)  # syncs the names of the others too
    sync_directory(directory.path.parent)


def unmake_run(directory: RunDirectory) -> None:
    """Remove what there is of a run that could not be admitted after all, first what tells that it was born."""
    with suppress(OSError):
        directory.spec.unlink()
        sync_directory(directory.path)
    shutil.rmtree(directory.path, ignore_errors=True)
