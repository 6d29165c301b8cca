"""The command log: what people asked for, in order. Only the control plane writes it; nothing is ever changed in it.

A command that `append` has returned is on disk. Run ids are allotted in the transaction that appends their submit.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainerd.contracts.commands import Command, CommandKind
from trainerd.contracts.errors import UsageError
from trainerd.contracts.journal import now
from trainerd.contracts.locks import PlaceLock
from trainerd.store.database import naming_disk_errors, open_for_reading, open_for_writing, transaction
from trainerd.store.schema import COMMAND_LOG

_COLUMNS = "number, time, kind, body, key"


class CommandLog:
    """The one writer. Raises AlreadyRunning where another process writes, DiskError where the file cannot be used.

    May be called from several threads; appends stand in line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._appending = threading.Lock()
        self._lock = PlaceLock(path.with_name(path.name + ".lock"), "writer of the command log")
        try:
            with naming_disk_errors(path):
                self._connection = open_for_writing(path, COMMAND_LOG)
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
        with self._appending, transaction(self._connection, self._path):
            self._connection.execute("UPDATE counter SET last_run = max(last_run, ?)", (run_id,))

    def close(self) -> None:
        self._connection.close()
        self._lock.release()

    def _append(
        self, kind: CommandKind, request: dict[str, Any], key: str, complete: Callable[[], dict[str, Any]]
    ) -> Command:
        digest = _digest(kind, request)
        with self._appending, transaction(self._connection, self._path):
            known = self._known(key, digest)
            return known or self._insert(kind, complete(), key, digest)

    def _known(self, key: str, digest: str) -> Command | None:
        row = self._connection.execute(f"SELECT {_COLUMNS}, digest FROM commands WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        if row[-1] != digest:
            raise UsageError(f"the idempotency key {key!r} was already used for another request (command {row[0]})")
        return _command(row[:-1])

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
    """Reads the log while others append to it; a log that does not exist yet reads as empty."""

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
        with naming_disk_errors(self._path):
            if self._connection is None:
                self._connection = open_for_reading(self._path, COMMAND_LOG)
            if self._connection is None:
                return []
            rows = self._connection.execute(f"SELECT {_COLUMNS} FROM commands {clause}", values).fetchall()
        return [_command(row) for row in rows]


def _command(row: tuple[Any, ...]) -> Command:
    number, time, kind, body, key = row
    return Command(number, time, CommandKind(kind), json.loads(body), key)


def _digest(kind: CommandKind, request: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([kind, request], sort_keys=True).encode()).hexdigest()
