"""The state: the fold of all commands and journals. Only the supervisor writes it; the control plane reads it.

It can be lost: it is folded anew from the command log and the run directories. A damaged file is moved aside and named,
never overwritten.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainerd.contracts.durable_files import sync_directory
from trainerd.contracts.locks import PlaceLock
from trainerd.contracts.run_record import RunRecord
from trainerd.store.database import (
    is_damage,
    naming_disk_errors,
    open_for_reading,
    open_for_writing,
    transaction,
)
from trainerd.store.schema import STATE
from trainerd.store.state_queries import StateQueries

_PARTS = ("", "-wal", "-shm")  # what belongs to one SQLite file; its rollback journal never exists under WAL


class StateWriter(StateQueries):
    """The one writer; it reads what it has written. Opening it raises the fencing epoch.

    `moved_aside` names the damaged file that was found and replaced by an empty state, if any.
    Raises AlreadyRunning where another process writes, DiskError where the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.moved_aside: Path | None = None
        self._lock = PlaceLock(path.with_name(path.name + ".lock"), "writer of the state")
        try:
            with naming_disk_errors(path):
                self._connection = self._open()
            with self.transaction() as changes:
                self.epoch = changes.raise_epoch()
        except BaseException:
            self._lock.release()
            raise

    @contextmanager
    def transaction(self) -> Iterator[StateChanges]:
        """Everything that is changed inside is on disk when this ends, or nothing of it is. Raises DiskError."""
        with transaction(self._connection, self._path):
            yield StateChanges(self._connection)

    def close(self) -> None:
        self._connection.close()
        self._lock.release()

    def _open(self) -> sqlite3.Connection:
        try:
            return _open_sound(self._path)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self.moved_aside = move_aside(self._path)
            return open_for_writing(self._path, STATE)

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
    """Reads the state while the supervisor writes it; empty while there is none. Follows a file that was replaced.

    Holds no transaction between two calls.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _select(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with naming_disk_errors(self._path):
            connection = self._current_connection()
            return [] if connection is None else connection.execute(statement, values).fetchall()

    def _current_connection(self) -> sqlite3.Connection | None:
        identity = _identity_of(self._path)
        if self._connection is None or identity != self._identity:
            self.close()
            self._connection, self._identity = open_for_reading(self._path, STATE), identity
        return self._connection


def move_aside(path: Path) -> Path:
    """Rename a damaged database, with what belongs to it, and return its new name."""
    kept = path.with_name(f"{path.name}.corrupt-{datetime.now(UTC).strftime('%Y%m%dT%H%M%S%f')}")
    for part in _PARTS:
        with suppress(FileNotFoundError):
            Path(f"{path}{part}").rename(f"{kept}{part}")
    sync_directory(path.parent)
    return kept


def _open_sound(path: Path) -> sqlite3.Connection:
    connection = open_for_writing(path, STATE)
    try:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise _damaged(verdict)
    except BaseException:
        connection.close()
        raise
    return connection


def _damaged(verdict: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(verdict)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _identity_of(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
