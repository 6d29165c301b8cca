"""Opening a state only where it is without a fault."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from trainerd.contracts.errors import Damaged
from trainerd.store.database import find_fault, naming_disk_errors, open_for_writing
from trainerd.store.schema import STATE

_TABLES = {"runs", "journals", "answers", "daemon"}


def open_sound(path: Path, *, new_is_unfinished: bool) -> sqlite3.Connection:
    """The writing connection to a state without a fault. Raises Damaged, DiskError."""
    with naming_disk_errors(path):
        connection = open_for_writing(path, STATE, new_is_unfinished=new_is_unfinished)
        try:
            if why := _find_inner_damage(connection):
                raise Damaged(why, str(path))
        except BaseException:
            connection.close()
            raise
    return connection


def _find_inner_damage(connection: sqlite3.Connection) -> str | None:
    if fault := find_fault(connection):
        return fault
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not tables >= _TABLES:
        return "it holds no state"
    (unreadable,) = connection.execute("SELECT count(*) FROM runs WHERE NOT json_valid(record)").fetchone()
    return f"{unreadable} runs in it cannot be read" if unreadable else None
