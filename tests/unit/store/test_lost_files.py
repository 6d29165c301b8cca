"""The state's files in the hands of other programs: its writer notices, its readers never take a part for the whole."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from trainerd.contracts.errors import Damaged, StateAway
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import State
from trainerd.store.state import StateReader, StateWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


def store_run(state: StateWriter, run_id: int, spec: str = "") -> None:
    with state.transaction() as changes:
        changes.put(RunRecord(run_id, "run", State.QUEUED, 0, 0, run_id, None, "", {"spec": spec}))


def companion(path: Path, part: str) -> Path:
    return path.with_name(path.name + part)


def write_inside(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(200)
        file.write(b"\xa5" * 10)


def replace(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").rename(path)


TOUCHES: dict[str, Callable[[Path], None]] = {
    "deleted": lambda path: path.unlink(),
    "replaced": replace,
    "overwritten": lambda path: write_inside(path),
    "emptied": lambda path: os.truncate(path, 0),
    "log deleted": lambda path: companion(path, "-wal").unlink(),
    "log overwritten": lambda path: write_inside(companion(path, "-wal")),
    "shared memory deleted": lambda path: companion(path, "-shm").unlink(),
}


@pytest.mark.parametrize("touch", TOUCHES)
def test_what_another_program_does_to_the_files_is_noticed_and_named(path: Path, touch: str) -> None:
    """Also by a transaction, which then stores nothing: it would go into files that nobody reads any more."""
    state = StateWriter(path)
    store_run(state, 1)

    TOUCHES[touch](path)

    with pytest.raises(Damaged, match=path.name):
        state.check_untouched()
    with pytest.raises(Damaged):
        store_run(state, 2)
    state.close()


def test_its_own_writes_and_others_reading_are_no_damage(path: Path) -> None:
    """Large ones included, after which the write-ahead log is taken into the database."""
    state, reader = StateWriter(path), StateReader(path)
    log_bytes = []
    for run_id in range(1, 60):
        store_run(state, run_id, "x" * 200_000)
        assert len(reader.runs()) == run_id
        state.check_untouched()
        log_bytes.append(companion(path, "-wal").stat().st_size)
    assert max(log_bytes) < 6 << 20, "the log does not grow for ever"
    assert path.stat().st_size > 59 * 200_000 - (6 << 20), "it is taken into the database"


def test_what_is_moved_aside_is_kept_as_it_was_found(path: Path) -> None:
    """SQLite would mend the database from its log as it closes it, and remove the log."""
    state = StateWriter(path)
    store_run(state, 1)
    write_inside(path)
    found = {part: companion(path, part).read_bytes() for part in ("", "-wal")}

    kept = state.abandon()

    assert kept is not None
    assert {part: companion(kept, part).read_bytes() for part in ("", "-wal")} == found
    assert not path.exists()
    assert StateWriter(path).moved_aside is None, "the place is free"


def test_readers_believe_a_new_state_only_when_it_is_finished(path: Path) -> None:
    state, reader = StateWriter(path, new_is_unfinished=True), StateReader(path)
    store_run(state, 1)
    with pytest.raises(StateAway):
        reader.runs()
    state.close()
    state = StateWriter(path, new_is_unfinished=True)
    assert state.is_unfinished, "a writer that was killed has finished nothing"

    assert state.finish()

    assert [run.id for run in reader.runs()] == [1]
    assert not state.finish()
    state.close()
    assert not StateWriter(path, new_is_unfinished=True).is_unfinished


@pytest.mark.parametrize("touch", ["deleted", "emptied", "overwritten whole"])
def test_readers_never_take_a_lost_state_for_an_empty_one(path: Path, touch: str) -> None:
    reader = StateReader(path, is_expected=lambda: True)
    with pytest.raises(StateAway):
        reader.runs()
    state = StateWriter(path)
    store_run(state, 1)
    state.close()
    assert len(reader.runs()) == 1
    for part in ("-wal", "-shm"):
        companion(path, part).unlink(missing_ok=True)

    TOUCHES[touch](path) if touch in TOUCHES else path.write_bytes(os.urandom(9999))

    late = StateReader(path, is_expected=lambda: True)
    for each in (late, *([reader] if touch == "deleted" else [])):
        with pytest.raises(StateAway):
            each.runs()


def test_a_run_that_cannot_be_read_is_damage(path: Path) -> None:
    """The database is sound, its text is not."""
    StateWriter(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO runs VALUES (1, 'run', 'queued', 0, 1, '{\"half')")
    connection.close()
    with pytest.raises(StateAway):
        StateReader(path).runs()

    state = StateWriter(path)

    assert state.moved_aside is not None
    assert state.damage == "1 runs in it cannot be read"


@pytest.mark.parametrize("left", ["-wal", ""])
def test_what_sqlite_would_take_for_a_new_database_is_moved_aside(path: Path, left: str) -> None:
    """An empty file, and a write-ahead log whose database is gone."""
    state = StateWriter(path)
    store_run(state, 1)
    log = companion(path, "-wal").read_bytes()
    state.close()
    path.unlink()
    companion(path, left).write_bytes(log if left else b"")

    state = StateWriter(path)

    assert state.moved_aside is not None
    assert state.damage is not None
    assert state.runs() == []
