"""How a SQLite file is opened, by its one writer and by its readers, and how its failures are named.

WAL with synchronous=FULL: a committed transaction survives a power cut, and readers never wait for the writer. Nothing
here ever opens a database's file by other means than SQLite: closing such a descriptor would drop SQLite's own locks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from trainerd.contracts.durable_files import sync_directory
from trainerd.contracts.errors import Damaged, DiskError
from trainerd.contracts.locks import PlaceLock
from trainerd.store.footprint import PARTS, path_of

_UNFINISHED = 0x756E6669  # application_id of a file that does not yet hold all that it is to hold; 0 once it does
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


@dataclass(frozen=True)
class Schema:
    """What a file holds: `user_version` of it, and the statements that make an empty one."""

    version: int
    statements: tuple[str, ...]


def lock_for_writing(path: Path, what: str) -> PlaceLock:
    """The lock of the one writer of `path`, which is `what`. Raises AlreadyRunning, DiskError."""
    try:
        return PlaceLock(path.with_name(path.name + ".lock"), what)
    except OSError as error:
        raise DiskError(error.strerror or str(error), str(path)) from error


def open_for_writing(path: Path, schema: Schema, *, new_is_unfinished: bool = False) -> sqlite3.Connection:
    """The one writing connection to `path`, made with `schema` where it is new. The caller holds the file's lock.

    With `new_is_unfinished` a file that is made here is unfinished until `finish`. What cannot be made to its end is
    taken away again: a later look would take it for damage.
    Raises DiskError where the file cannot be used or was written by a newer trainerd; sqlite3.DatabaseError as
    `naming_disk_errors` takes it.
    """
    is_new = not any(path_of(path, part).exists() for part in PARTS)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if _version_of(connection, path, schema) == 0:
            _create(connection, path, schema, is_unfinished=new_is_unfinished)
    except BaseException:
        connection.close()
        for part in PARTS if is_new else ():
            path_of(path, part).unlink(missing_ok=True)
        raise
    return connection


def open_for_reading(path: Path, schema: Schema) -> sqlite3.Connection | None:
    """A read-only connection, or None while the file is not there or its writer has not yet made its tables.

    Where that was cut off, it is for the writer to roll it back: nobody else may.
    """
    if not path.exists():
        return None
    address = f"file:{quote(str(path))}?mode=ro"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    try:
        if _version_of(connection, path, schema) > 0:
            return connection
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
        return None
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """All that is written inside is on disk when this ends, or nothing of it is. Raises DiskError."""
    with naming_disk_errors(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextmanager
def naming_disk_errors(path: Path) -> Iterator[None]:
    """Turns what SQLite says about `path` into DiskError (Damaged where the file's content is at fault).

    Broken constraints stay what they are.
    """
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise  # a bug of ours
    except sqlite3.DatabaseError as error:
        raise (Damaged if _is_damage(error) else DiskError)(str(error), str(path)) from error


def find_fault(connection: sqlite3.Connection) -> str | None:
    """What SQLite itself finds to be wrong with the file; it has no checksums, and looks at no content."""
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    return None if verdict == "ok" else str(verdict)


def is_unfinished(connection: sqlite3.Connection) -> bool:
    """Whether the file does not yet hold all that it is to hold."""
    return bool(connection.execute("PRAGMA application_id").fetchone()[0] == _UNFINISHED)


def finish(connection: sqlite3.Connection) -> None:
    """From the end of this transaction on the file holds all that it is to hold."""
    connection.execute("PRAGMA application_id = 0")


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file's content is at fault, rather than the disk or another process."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in _DAMAGE or "Could not decode to UTF-8" in str(error)  # Python's own, without a code


def _version_of(connection: sqlite3.Connection, path: Path, schema: Schema) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > schema.version:
        raise DiskError(f"written by a newer trainerd (format {version}; this one knows {schema.version})", str(path))
    return version


def _create(connection: sqlite3.Connection, path: Path, schema: Schema, *, is_unfinished: bool) -> None:
    with transaction(connection, path):
        for statement in schema.statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_UNFINISHED if is_unfinished else 0}")
        connection.execute(f"PRAGMA user_version = {schema.version}")
    try:
        sync_directory(path.parent)
    except OSError as error:
        raise DiskError(error.strerror or str(error), str(path.parent)) from error
