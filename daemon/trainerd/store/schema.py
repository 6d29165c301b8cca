"""The tables of both files, with the rules that the database itself keeps."""

from __future__ import annotations

from trainerd.contracts.states import State
from trainerd.store.database import Schema

_STATES = ", ".join(f"'{state}'" for state in State)

COMMAND_LOG = Schema(
    version=1,
    statements=(
        """
        CREATE TABLE commands (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            time   TEXT NOT NULL,
            kind   TEXT NOT NULL CHECK (kind <> ''),
            body   TEXT NOT NULL,
            key    TEXT NOT NULL UNIQUE,
            digest TEXT NOT NULL            -- of the request, to tell a repeated one from another under the same key
        ) STRICT
        """,
        "CREATE TRIGGER commands_stay BEFORE DELETE ON commands BEGIN SELECT RAISE(ABORT, 'a command stays'); END",
        """
        CREATE TRIGGER commands_never_change BEFORE UPDATE ON commands
        BEGIN SELECT RAISE(ABORT, 'a command never changes'); END
        """,
        # A row of its own, not max(id): an id is never given twice, even when nothing of the run is left.
        "CREATE TABLE counter (only INTEGER PRIMARY KEY CHECK (only = 1), last_run INTEGER NOT NULL) STRICT",
        "INSERT INTO counter VALUES (1, 0)",
        """
        CREATE TRIGGER run_ids_only_grow BEFORE UPDATE ON counter WHEN NEW.last_run < OLD.last_run
        BEGIN SELECT RAISE(ABORT, 'a run id is never given twice'); END
        """,
    ),
)

STATE = Schema(
    version=1,
    statements=(
        f"""
        CREATE TABLE runs (
            id       INTEGER PRIMARY KEY CHECK (id > 0),
            name     TEXT NOT NULL,
            state    TEXT NOT NULL CHECK (state IN ({_STATES})),
            priority INTEGER NOT NULL,
            place    INTEGER NOT NULL,
            record   TEXT NOT NULL          -- contracts.run_record.RunRecord as JSON; the columns repeat parts of it
        ) STRICT
        """,
        "CREATE INDEX runs_by_name ON runs (name, id)",
        "CREATE INDEX runs_by_state ON runs (state, id)",
        """
        CREATE TABLE journals (
            run          INTEGER PRIMARY KEY,
            folded_bytes INTEGER NOT NULL CHECK (folded_bytes >= 0)
        ) STRICT
        """,
        "CREATE TABLE answers (number INTEGER PRIMARY KEY, problem TEXT) STRICT",
        """
        CREATE TABLE daemon (
            only             INTEGER PRIMARY KEY CHECK (only = 1),
            epoch            INTEGER NOT NULL,
            applied_position INTEGER NOT NULL,
            supervisor_pid   INTEGER,
            worker_reachable INTEGER NOT NULL CHECK (worker_reachable IN (0, 1))
        ) STRICT
        """,
        "INSERT INTO daemon VALUES (1, 0, 0, NULL, 0)",
        """
        CREATE TRIGGER positions_only_grow BEFORE UPDATE ON daemon
        WHEN NEW.epoch < OLD.epoch OR NEW.applied_position < OLD.applied_position
        BEGIN SELECT RAISE(ABORT, 'epoch and applied_position only grow'); END
        """,
    ),
)
