"""The command log: what people asked for, in order. Only the control plane writes it; nothing is ever changed in it.

A command that `append` has returned is on disk. Run ids are allotted in the transaction that appends their submit.
Nothing can make the log anew: where it is damaged or has been taken away it is left as it is, and nobody uses it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainerd.contracts.commands import Command, CommandKind
from trainerd.contracts.errors import Damaged, UsageError
from trainerd.contracts.journal import now
from trainerd.contracts.run_directory import run_ids
from trainerd.store.database import (
    find_fault,
    lock_for_writing,
    naming_disk_errors,
    open_for_reading,
    open_for_writing,
    transaction,
)
from trainerd.store.footprint import describe_difference, find_outer_damage, footprint_of
from trainerd.store.schema import COMMAND_LOG

_COLUMNS = "number, time, kind, body, key, digest"
_REMEDY = (
    "Nothing was changed. End the daemon, and put a sound copy of this file back (with its -wal file). Where there is "
    "none, move it and state.sqlite away: the daemon then begins with an empty queue, and the directories of the runs "
    "that there were stay as they are"
)
_SHOWN = 200  # characters of what SQLite says, which may quote a whole command


class CommandLog:
    """The one writer. Raises AlreadyRunning where another process writes, DiskError where the file cannot be used.

    May be called from several threads; appends stand in line. Each raises Damaged where another program has removed,
    replaced or written the files meanwhile: what is appended to them might be read by nobody.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._appending = threading.Lock()
        self._lock = lock_for_writing(path, "writer of the command log")
        try:
            with _naming_damage(path):
                self._connection = _open_sound(path)
            self._footprint = footprint_of(path)
        except BaseException:
            self._lock.release()
            raise

    def append(self, kind: CommandKind, body: dict[str, Any], key: str) -> Command:
        """Append one command, or return the one that this key already stands for.

        Raises UsageError where the key stands for another request; DiskError where nothing could be stored.
        """
        return self._append(kind, body, key, lambda: body)

    def append_submit(self, runs: list[dict[str, Any]], key: str) -> Command:
        """Append one submit of all `runs`, each given its id; else as `append`.

        `runs` are as in contracts.commands.CommandKind, without "id".
        """
        return self._append(CommandKind.SUBMIT, {"runs": runs}, key, lambda: {"runs": self._with_ids(runs)})

    def keep_ids_above(self, run_id: int) -> None:
        """Never give an id up to `run_id`, also where this log does not know that it was given. Raises DiskError."""
        with self._transaction():
            self._connection.execute("UPDATE counter SET last_run = max(last_run, ?)", (run_id,))

    def close(self) -> None:
        self._connection.close()
        self._lock.release()

    def _append(
        self, kind: CommandKind, request: dict[str, Any], key: str, complete: Callable[[], dict[str, Any]]
    ) -> Command:
        digest = _digest(kind, request)
        with self._transaction():
            known = self._known(key, digest)
            return known or self._insert(kind, complete(), key, digest)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._appending, _naming_damage(self._path):
            self._check_untouched()
            try:
                with transaction(self._connection, self._path):
                    yield
            finally:
                self._footprint = footprint_of(self._path)

    def _check_untouched(self) -> None:
        now = footprint_of(self._path)
        if now != self._footprint:
            why = describe_difference(self._path, self._footprint, now) or "another program has changed it"
            raise Damaged(why, str(self._path))

    def _known(self, key: str, digest: str) -> Command | None:
        row = self._connection.execute(f"SELECT {_COLUMNS} FROM commands WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        known = _command(row, self._path)
        if row[-1] != digest:
            raise UsageError(f"the idempotency key {key!r} was already used for another request (command {row[0]})")
        return known

    def _insert(self, kind: CommandKind, body: dict[str, Any], key: str, digest: str) -> Command:
        time = now()
        cursor = self._connection.execute(
            "INSERT INTO commands (time, kind, body, key, digest) VALUES (?, ?, ?, ?, ?)",
            (time, str(kind), json.dumps(body), key, digest),
        )
        assert cursor.lastrowid is not None
        return Command(cursor.lastrowid, time, kind, body, key)

    def _with_ids(self, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        (last,) = self._connection.execute(
            "UPDATE counter SET last_run = last_run + ? RETURNING last_run", (len(runs),)
        ).fetchone()
        first = last - len(runs) + 1
        return [{"id": run_id, **run} for run_id, run in enumerate(runs, start=first)]


class CommandLogReader:
    """Reads the log while others append to it; a log that does not exist yet reads as empty.

    Raises Damaged rather than give a command that is not the one that was appended.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def after(self, number: int, limit: int = 100) -> list[Command]:
        """The commands behind `number`, oldest first."""
        return self._select("WHERE number > ? ORDER BY number LIMIT ?", number, limit)

    def newest_number(self) -> int:
        """The number of the newest command; 0 where there is none."""
        return next((command.number for command in self._select("ORDER BY number DESC LIMIT 1")), 0)

    def get(self, number: int) -> Command | None:
        return next(iter(self._select("WHERE number = ?", number)), None)

    def by_key(self, key: str) -> Command | None:
        return next(iter(self._select("WHERE key = ?", key)), None)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _select(self, clause: str, *values: object) -> list[Command]:
        with _naming_damage(self._path):
            if self._connection is None:
                self._connection = open_for_reading(self._path, COMMAND_LOG)
            if self._connection is None:
                return []
            rows = self._connection.execute(f"SELECT {_COLUMNS} FROM commands {clause}", values).fetchall()
            return [_command(row, self._path) for row in rows]


def _open_sound(path: Path) -> sqlite3.Connection:
    """The writing connection to a log in which no fault is found. Raises Damaged."""
    why = find_outer_damage(path)
    if why and not _was_never_finished(path):
        raise Damaged(why, str(path))
    connection = open_for_writing(path, COMMAND_LOG)
    try:
        if why := find_fault(connection):
            raise Damaged(why, str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def _was_never_finished(path: Path) -> bool:
    """Whether a first start was cut off as it made the log: SQLite makes an empty file first. There are no runs yet."""
    parts = [path, path.with_name(path.name + "-wal")]
    is_empty = not any(part.exists() and part.stat().st_size for part in parts)
    return is_empty and not run_ids(path.parent / "runs")


@contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    """As `naming_disk_errors`; with what a person can do about damage, which no part of the daemon can mend."""
    try:
        with naming_disk_errors(path):
            yield
    except Damaged as damage:
        raise Damaged(f"the command log is damaged ({damage.message[:_SHOWN]}). {_REMEDY}", damage.path) from damage


def _command(row: tuple[Any, ...], path: Path) -> Command:
    """Raises Damaged where the row is not what was appended."""
    number, time, name, text, key, digest = row
    try:
        kind, body = CommandKind(name), json.loads(text)
        is_whole = _digest(kind, _request_of(kind, body)) == digest
    except (ValueError, LookupError, TypeError, AttributeError):
        is_whole = False
    if not is_whole:
        raise Damaged(f"command {number} is not what was appended", str(path))
    return Command(number, time, kind, body, key)


def _request_of(kind: CommandKind, body: dict[str, Any]) -> dict[str, Any]:
    """The body as it was asked for: the ids came later."""
    if kind is not CommandKind.SUBMIT:
        return body
    return {"runs": [{key: value for key, value in run.items() if key != "id"} for run in body["runs"]]}


def _digest(kind: CommandKind, request: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([kind, request], sort_keys=True).encode()).hexdigest()
