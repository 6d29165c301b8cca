"""Folds what is new in the journals into the run book, and writes what the fold alone decides: retries, last ends."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from trainerd.contracts.commands import Command
from trainerd.contracts.journal import Event, Line
from trainerd.contracts.places import Home
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import ENDED, WAITING, State
from trainerd.supervisor.attempt_end import seconds_since_epoch
from trainerd.supervisor.complaints import Complaints
from trainerd.supervisor.endings import record_end
from trainerd.supervisor.fold import fold_event
from trainerd.supervisor.journals import append_if_last, lines_before, read_unfolded
from trainerd.supervisor.run_book import RunBook

_log = logging.getLogger(__name__)
_SETTLED = ENDED | {State.HELD, State.PAUSED, State.INTERRUPTED}  # what an attempt that has ended may come to


class JournalFolding:
    """Knows which journals to look at: those of runs that have started, and any that was never read before."""

    def __init__(self, home: Home, book: RunBook) -> None:
        self._home = home
        self._book = book
        self._complaints = Complaints(_log)
        self.look_at_all()

    def look_at_all(self) -> None:
        """Read the journal of every run that has not ended at the next `fold`, whatever its state."""
        self._unread = set(self._book.unended())

    def look_at(self, run_id: int) -> None:
        """Read the journal of this run at the next `fold`, whatever its state."""
        self._unread.add(run_id)

    def fold(self) -> None:
        """Fold every journal that can have grown, to its end."""
        started = {run_id for run_id, record in self._book.unended().items() if record.state not in WAITING}
        self._unread = {run_id for run_id in sorted(started | self._unread) if not self.fold_run(run_id)}

    def is_unread(self, run_id: int) -> bool:
        """Whether nobody can tell what has happened in the run, because its journal could not be read."""
        return run_id in self._unread

    def fold_run(self, run_id: int, until: Command | None = None) -> bool:
        """Fold one journal to its end, or only what had happened when the command `until` was given.

        False where it cannot be read.
        """
        before = self._book.look_up(run_id)
        if before is None:
            return True
        record = before
        offset = self._book.offset(run_id)
        subject = f"run {run_id}: its journal cannot be read"
        try:
            unfolded = read_unfolded(self._directory(run_id).events, offset)
        except OSError as error:
            self._complaints.say(subject, error)
            return False
        self._complaints.is_well(subject)
        folded = unfolded.start
        for line in unfolded.lines if until is None else lines_before(until, unfolded.lines):
            record = self._fold_line(record, line)
            folded = line.end
        self._book.put(record)
        if folded != offset:
            self._book.set_offset(run_id, folded)
        if record.state is not before.state:
            return self.fold_run(run_id, until)  # what was decided on the way stands behind
        return True

    @contextmanager
    def tolerating_disk_trouble(self, run_id: int) -> Iterator[None]:
        """What a run's directory should be told too is not worth stopping for: the state says it."""
        subject = f"run {run_id}: cannot write to its directory"
        try:
            yield
        except OSError as error:
            self._complaints.say(subject, error)
        else:
            self._complaints.is_well(subject)

    def _fold_line(self, before: RunRecord, line: Line) -> RunRecord:
        if not line.event:
            return before
        try:
            after = fold_event(before, line.event)
        except (KeyError, TypeError, ValueError) as error:
            _log.warning("run %d: the journal line before byte %d is passed over: %r", before.id, line.end, error)
            return before
        if after.state is not before.state:
            self._write_what_was_decided(after, line)
        return after

    def _write_what_was_decided(self, record: RunRecord, line: Line) -> None:
        """What follows from the journal, but does not stand in it yet."""
        directory = self._directory(record.id)
        with self.tolerating_disk_trouble(record.id):
            if record.state is State.RETRYING:
                delay = max(0.0, (record.retry_at or 0.0) - seconds_since_epoch(line.event["time"]))
                fields = {"delay_seconds": round(delay, 3), "failures": record.failures}
                append_if_last(directory, record.attempt, line.end, Event.RETRYING, **fields)
            elif record.state in _SETTLED and _says_otherwise(line, record):
                record_end(directory, record, line.end, line.event["time"])

    def _directory(self, run_id: int) -> RunDirectory:
        return RunDirectory(self._home.run(run_id))


def _says_otherwise(line: Line, record: RunRecord) -> bool:
    return (line.event["state"], line.event["reason"]) != (record.state, record.reason)
