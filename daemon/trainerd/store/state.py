"""The state: the fold of all commands and journals. Only the supervisor writes it; the control plane reads it.

It can be lost: it is folded anew from the command log and the run directories. A damaged file is moved aside and named,
never overwritten, and what is not yet folded to the end is shown to nobody.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from trainerd.contracts.durable_files import sync_directory
from trainerd.contracts.errors import Damaged, DiskError, StateAway
from trainerd.contracts.run_record import RunRecord
from trainerd.store.database import (
    finish,
    is_unfinished,
    lock_for_writing,
    naming_disk_errors,
    open_for_reading,
    open_for_writing,
    transaction,
)
from trainerd.store.footprint import (
    PARTS,
    Identity,
    describe_difference,
    find_outer_damage,
    footprint_of,
    identity_of,
    is_open_here,
    path_of,
)
from trainerd.store.schema import STATE
from trainerd.store.sound_state import open_sound
from trainerd.store.state_queries import StateQueries

_log = logging.getLogger(__name__)
_CHECKPOINT_BYTES = 4 << 20  # size of the write-ahead log at which it is taken into the database, as SQLite's default
_SHARED_RECORDS = 32  # of the runs that were asked for last
CORRUPT = "corrupt"  # in the name of a damaged file that is kept


class StateWriter(StateQueries):
    """The one writer; it reads what it has written. Opening it raises the fencing epoch.

    `moved_aside` names the damaged file that was found and replaced by an empty state, if any, and `damage` says what
    was wrong with it. With `new_is_unfinished`, readers believe a state that is made here only after `finish`.
    Raises AlreadyRunning where another process writes, DiskError where the file cannot be used.
    """

    def __init__(self, path: Path, *, new_is_unfinished: bool = False) -> None:
        self._path = path
        self._new_is_unfinished = new_is_unfinished
        self.moved_aside: Path | None = None
        self.damage: str | None = None
        self.is_unfinished = False
        self._is_closed = False
        self._log_trouble: str | None = None  # why the write-ahead log could not be shortened; said once
        self._lock = lock_for_writing(path, "writer of the state")
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise

    def check_untouched(self) -> None:
        """Raises Damaged where another program has removed, replaced or written the files since the last transaction.

        SQLite itself would go on for long: with files that have no name any more, or with the pages that it remembers.
        Raises AlreadyRunning where the lock was taken away: what was written may be the work of another writer.
        """
        self._lock.check_kept()
        now = footprint_of(self._path)
        if now != self._footprint:
            why = describe_difference(self._path, self._footprint, now) or "another program has changed it"
            raise Damaged(why, str(self._path))

    @contextmanager
    def transaction(self) -> Iterator[StateChanges]:
        """Everything that is changed inside is on disk when this ends, or nothing of it is. Raises DiskError."""
        self.check_untouched()
        try:
            with transaction(self._connection, self._path):
                yield StateChanges(self._connection)
        finally:
            self._note_own_writes(database_too=False)
        self._shorten_log()

    def finish(self) -> bool:
        """All that the logs tell is in it: readers may believe it. Whether they could not before. Raises DiskError."""
        was_unfinished = self.is_unfinished
        if was_unfinished:
            with self.transaction():
                finish(self._connection)
            self.is_unfinished = False
        return was_unfinished

    def close(self) -> None:
        """May be called twice."""
        if not self._is_closed:
            self._is_closed = True
            self._connection.close()
            self._lock.release()

    def abandon(self) -> Path | None:
        """Move the files aside and close; the new name, None where there was nothing left to keep. Raises OSError.

        In this order: SQLite, as it closes a file that has lost its name, neither mends nor removes anything.
        """
        kept = move_aside(self._path)
        self.close()
        return kept

    def _open(self) -> None:
        self._connection = self._open_or_replace()
        try:
            with naming_disk_errors(self._path):
                self._connection.execute("PRAGMA wal_autocheckpoint = 0")
                self.is_unfinished = is_unfinished(self._connection)
            with transaction(self._connection, self._path):
                self.epoch = StateChanges(self._connection).raise_epoch()
            self._footprint = footprint_of(self._path)
            if not is_open_here(self._footprint):
                raise Damaged("it was taken away while it was being opened", str(self._path))
        except BaseException:
            self._connection.close()
            raise

    def _open_or_replace(self) -> sqlite3.Connection:
        try:
            self.damage = find_outer_damage(self._path)
        except OSError as error:
            raise DiskError(error.strerror or str(error), str(self._path)) from error
        if self.damage is None:
            try:
                return open_sound(self._path, new_is_unfinished=self._new_is_unfinished)
            except Damaged as error:
                self.damage = error.message
        self.moved_aside = move_aside(self._path)
        with naming_disk_errors(self._path):
            return open_for_writing(self._path, STATE, new_is_unfinished=self._new_is_unfinished)

    def _shorten_log(self) -> None:
        """Take a long write-ahead log into the database: nothing else ever writes the database's own file."""
        log = self._footprint.contents[1]
        if log is None or log[0] < _CHECKPOINT_BYTES:
            return
        self.check_untouched()
        trouble = None
        try:
            with naming_disk_errors(self._path):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except Damaged:
            raise
        except DiskError as error:  # as where the disk is full: what is committed stands in the log
            trouble = error.message
        finally:
            self._note_own_writes(database_too=True)
        if trouble and trouble != self._log_trouble:
            _log.warning("the state's write-ahead log cannot be shortened, and grows: %s", trouble)
        self._log_trouble = trouble

    def _note_own_writes(self, *, database_too: bool) -> None:
        database, log = footprint_of(self._path).contents
        contents = (database if database_too else self._footprint.contents[0], log)
        self._footprint = replace(self._footprint, contents=contents)

    def _select(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with naming_disk_errors(self._path):
            return self._connection.execute(statement, values).fetchall()


class StateChanges:
    """What one transaction may change."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(self, record: RunRecord) -> None:
        """Store a run's new record in place of the one before."""
        self._connection.execute(
            "INSERT OR REPLACE INTO runs (id, name, state, priority, place, record) VALUES (?, ?, ?, ?, ?, ?)",
            (record.id, record.name, str(record.state), record.priority, record.place, record.to_json()),
        )

    def remove(self, run_id: int) -> None:
        """Forget a run and its journal; the answers to what was ordered of it stay."""
        self._connection.execute("DELETE FROM runs WHERE id = ?", (run_id,))
        self._connection.execute("DELETE FROM journals WHERE run = ?", (run_id,))

    def answer(self, number: int, problem: dict[str, Any] | None) -> None:
        """Store what became of a command, and that the log is applied up to it. A command is answered once."""
        document = None if problem is None else json.dumps(problem)
        self._connection.execute("INSERT INTO answers (number, problem) VALUES (?, ?)", (number, document))
        self._connection.execute("UPDATE daemon SET applied_position = ?", (number,))

    def set_offset(self, run_id: int, folded_bytes: int) -> None:
        """Store how much of a run's journal is folded; the caller has synced that much of it to disk."""
        self._connection.execute(
            "INSERT OR REPLACE INTO journals (run, folded_bytes) VALUES (?, ?)", (run_id, folded_bytes)
        )

    def raise_epoch(self) -> int:
        """The new fencing epoch, above all before it.

        It starts from the clock, so that it stays above them when the state was lost.
        """
        statement = "UPDATE daemon SET epoch = max(epoch + 1, ?) RETURNING epoch"
        (epoch,) = self._connection.execute(statement, (time.time_ns() // 1_000_000,)).fetchone()
        return int(epoch)

    def describe_daemon(self, *, supervisor_pid: int | None, worker_reachable: bool) -> None:
        """Store who supervises and whether runs can start at all, for those who show the state."""
        self._connection.execute(
            "UPDATE daemon SET supervisor_pid = ?, worker_reachable = ?", (supervisor_pid, int(worker_reachable))
        )


class StateReader(StateQueries):
    """Reads the state while the supervisor writes it. Follows a file that was replaced.

    Holds no transaction between two calls. Every question raises StateAway while the state is lost or not yet folded to
    the end. Where there is none it reads as empty, unless `is_expected` says that there must be one.
    """

    def __init__(self, path: Path, is_expected: Callable[[], bool] = lambda: False) -> None:
        self._path = path
        self._is_expected = is_expected
        self._decode_once = lru_cache(_SHARED_RECORDS)(RunRecord.from_json)
        self._connection: sqlite3.Connection | None = None
        self._identity: Identity | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _decode(self, text: str) -> RunRecord:
        """The same record for all who ask for the same run: a thousand who follow it hold it once."""
        return self._decode_once(text)

    def _select(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            with naming_disk_errors(self._path):
                connection = self._current_connection()
                rows = [] if connection is None else connection.execute(statement, values).fetchall()
        except DiskError as error:
            if isinstance(error, Damaged) or self._is_being_replaced():
                self.close()
                raise StateAway from error
            raise
        is_missing = connection is None and self._is_expected()
        if is_missing or self._is_being_replaced():
            raise StateAway
        return rows

    @contextmanager
    def _naming_damage(self) -> Iterator[None]:
        try:
            with super()._naming_damage():
                yield
        except Damaged as error:
            raise StateAway from error

    def _current_connection(self) -> sqlite3.Connection | None:
        identity = identity_of(self._path)
        if self._connection is None or identity != self._identity:
            self.close()
            self._identity = identity  # first, so that what fails now counts for this file
            self._connection = open_for_reading(self._path, STATE)
            if self._connection is not None and is_unfinished(self._connection):
                self.close()
                raise StateAway
        return self._connection

    def _is_being_replaced(self) -> bool:
        """Whether the files have changed their names since the question began, so that it saw parts of two."""
        return identity_of(self._path) != self._identity


def move_aside(path: Path, why: str = CORRUPT) -> Path | None:
    """Rename a database with what belongs to it; the new name of the first file that was there, None if none was."""
    kept = path.with_name(f"{path.name}.{why}-{datetime.now(UTC).strftime('%Y%m%dT%H%M%S%f')}")
    found = []
    for part in PARTS:
        with suppress(FileNotFoundError):
            found.append(path_of(path, part).rename(path_of(kept, part)))
    sync_directory(path.parent)
    return next(iter(found), None)
