"""The state: one transaction at a time, read by others as of the last commit, and never lost in silence."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainerd.contracts.commands import Answer
from trainerd.contracts.errors import DiskError, NoSuchRun
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import ENDED, State
from trainerd.store.state import StateChanges, StateReader, StateWriter

WRITER = """
import itertools, sys
from pathlib import Path
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import State
from trainerd.store.state import StateWriter
state = StateWriter(Path(sys.argv[1]))
for number in itertools.count(1):
    with state.transaction() as changes:
        for run in range(1, 6):
            changes.put(RunRecord(run, "run", State.RUNNING, 0, 0, run, None, "", {"x": "y" * 2000}, step=number))
            changes.set_offset(run, number)
        changes.answer(number, None)
    print(number, flush=True)
"""


def a_run(run_id: int, state: State = State.QUEUED, name: str = "run", priority: int = 0) -> RunRecord:
    return RunRecord(run_id, name, state, 1000, priority, run_id, None, "2026-11-23", {"seed": 1})


def store(state: StateWriter, *records: RunRecord) -> None:
    with state.transaction() as changes:
        for record in records:
            changes.put(record)


def store_and_answer(changes: StateChanges, record: RunRecord, number: int) -> None:
    changes.put(record)
    changes.answer(number, None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


def test_a_record_comes_back_as_it_was_stored(path: Path) -> None:
    state, reader = StateWriter(path), StateReader(path)
    first = a_run(1).updated(after=None, gpus=("GPU-a",), monitor={"name": "val_loss", "best": None})
    store(state, first, a_run(2))
    assert reader.run(1) == first == state.run(1)
    store(state, first.updated(state=State.RUNNING))
    assert reader.active() == [first.updated(state=State.RUNNING)]
    assert reader.run(3) is None


def test_a_state_that_does_not_exist_yet_is_empty(path: Path) -> None:
    reader = StateReader(path)
    assert (reader.runs(), reader.queue(), reader.active(), reader.answer(1)) == ([], [], [], None)
    assert reader.applied_position() == 0
    with pytest.raises(NoSuchRun):
        reader.find("latest")
    store(StateWriter(path), a_run(1))
    assert reader.find("latest").id == 1


def test_runs_come_newest_first_and_page_by_page(path: Path) -> None:
    state = StateWriter(path)
    store(state, *(a_run(number, State.FAILED if number % 2 else State.COMPLETED) for number in range(1, 8)), a_run(8))
    assert [run.id for run in state.runs()] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert [run.id for run in state.runs(ENDED, limit=3)] == [7, 6, 5]
    assert [run.id for run in state.runs(ENDED, limit=3, before=5)] == [4, 3, 2]
    assert [run.id for run in state.runs([State.FAILED])] == [7, 5, 3, 1]
    assert state.runs([]) == []


def test_the_queue_goes_by_priority_and_then_by_place(path: Path) -> None:
    state = StateWriter(path)
    store(state, a_run(1), a_run(2, priority=1), a_run(3, State.HELD, priority=9), a_run(4).updated(place=0))
    assert [run.id for run in state.queue()] == [2, 4, 1]


def test_a_run_is_found_by_id_by_name_and_as_the_latest(path: Path) -> None:
    state = StateWriter(path)
    store(state, a_run(1, name="overnight"), a_run(2, name="overnight"), a_run(3, name="digits"))
    assert [state.find(reference).id for reference in ("1", "overnight", "latest")] == [1, 2, 3]
    with pytest.raises(NoSuchRun, match="did you mean overnight"):
        state.find("overnite")
    for absent in ("4", "9" * 40):
        with pytest.raises(NoSuchRun):
            state.find(absent)


def test_an_answer_moves_the_applied_position_in_the_same_transaction(path: Path) -> None:
    state, reader = StateWriter(path), StateReader(path)
    with state.transaction() as changes:
        changes.answer(1, None)
        changes.answer(2, {"detail": "no"})
        assert reader.applied_position() == 0, "not committed yet"
    assert (reader.answer(1), reader.answer(2)) == (Answer(1, None), Answer(2, {"detail": "no"}))
    assert reader.applied_position() == 2
    with pytest.raises(sqlite3.IntegrityError), state.transaction() as changes:
        store_and_answer(changes, a_run(1), 2)
    assert reader.run(1) is None, "a transaction that fails leaves nothing"


def test_of_a_removed_run_nothing_stays_but_the_answers(path: Path) -> None:
    state = StateWriter(path)
    with state.transaction() as changes:
        store_and_answer(changes, a_run(1), 1)
        changes.put(a_run(2))
        changes.set_offset(1, 100)
    with state.transaction() as changes:
        changes.remove(1)
        changes.answer(2, None)
    assert [run.id for run in state.runs()] == [2]
    assert (state.folded_bytes(1), state.answer(1)) == (0, Answer(1, None))


def test_the_database_itself_refuses_a_state_that_is_none(path: Path) -> None:
    state = StateWriter(path)
    store(state, a_run(1))
    state.close()
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in ("UPDATE runs SET state = 'dozing'", "UPDATE daemon SET epoch = 0"):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)
    connection.close()


def test_each_writer_has_a_higher_epoch_also_when_the_state_was_lost(path: Path) -> None:
    first = StateWriter(path)
    first.close()
    second = StateWriter(path)
    second.close()
    path.unlink()
    time_passes_beyond(second.epoch)
    assert first.epoch < second.epoch < StateWriter(path).epoch


def time_passes_beyond(epoch: int) -> None:
    """The clock that epochs start from has milliseconds."""
    while time.time_ns() // 1_000_000 <= epoch:
        pass


def test_a_second_writer_is_refused(path: Path) -> None:
    state = StateWriter(path)
    failed = subprocess.run([sys.executable, "-c", WRITER, str(path)], capture_output=True, text=True, check=False)
    assert f"another writer of the state already runs on {path.parent} (process {os.getpid()})" in failed.stderr
    state.close()


def test_a_transaction_is_whole_or_absent_after_kill_9_of_the_writer(path: Path) -> None:
    committed = 0
    for _ in range(3):
        path.unlink(missing_ok=True)
        for rest in ("-wal", "-shm"):
            path.with_name(path.name + rest).unlink(missing_ok=True)
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for line in writer.stdout:
            committed = int(line)
            if committed == 20:
                writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        state = StateWriter(path)
        position = state.applied_position()
        assert position >= committed, "what was committed is there"
        assert {run.step for run in state.runs()} == {position}
        assert {state.folded_bytes(run) for run in range(1, 6)} == {position}
        state.close()


@pytest.mark.parametrize("damage", ["header", "pages"])
def test_a_damaged_state_is_moved_aside_and_named(path: Path, damage: str) -> None:
    state, reader = StateWriter(path), StateReader(path)
    store(state, *(a_run(number) for number in range(1, 200)))
    state.close()
    assert len(reader.runs()) == 199
    reader.close()
    content = bytearray(path.read_bytes())
    where = slice(0, 100) if damage == "header" else slice(4096, 3 * 4096)
    content[where] = b"\xa5" * len(content[where])
    path.write_bytes(content)
    state = StateWriter(path)
    assert state.moved_aside is not None
    assert state.moved_aside.name.startswith("state.sqlite.corrupt-")
    assert state.moved_aside.read_bytes() == content
    assert (state.runs(), reader.runs(), state.applied_position()) == ([], [], 0)


def test_a_reader_follows_a_state_that_was_replaced(path: Path) -> None:
    state, reader = StateWriter(path), StateReader(path)
    store(state, a_run(1, name="before"))
    assert reader.find("latest").name == "before"
    state.close()
    path.rename(path.with_name("aside"))
    state = StateWriter(path)
    store(state, a_run(1, name="after"))
    assert reader.find("latest").name == "after"


def test_a_state_of_a_newer_trainerd_is_refused_and_kept(path: Path) -> None:
    StateWriter(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(DiskError, match="written by a newer trainerd"):
        StateWriter(path)
    assert path.exists()


def test_no_query_looks_at_every_run(path: Path) -> None:
    """A hundred thousand ended runs cost nothing: each statement is led by an index, or stops at its limit."""
    state = StateWriter(path)
    plans: list[str] = []
    state._connection.set_trace_callback(plans.append)
    state.queue()
    state.active()
    state.runs(ENDED, limit=10)
    state.runs(limit=10)
    state.runs(before=5, limit=10)
    with pytest.raises(NoSuchRun):
        state.find("name")
    state._connection.set_trace_callback(None)
    statements = list(plans)
    assert len(statements) >= 7
    for statement in statements:
        steps = [row[3] for row in state._connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
        scans = [step for step in steps if step.startswith("SCAN runs") and "INDEX" not in step]
        assert not scans or "ORDER BY id DESC LIMIT" in statement, (statement, steps)


def test_a_commit_stands_where_the_disk_is_too_full_to_shorten_the_log(path: Path) -> None:
    """The write-ahead log has room left, the database's own file has not: that is nobody else's damage."""
    state = StateWriter(path)
    store_megabytes(state, 6, number=1)
    assert path.stat().st_size > 5 << 20, "the log was taken into the database"

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + (1 << 20), hard))
    try:
        store_megabytes(state, 5, number=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    state.check_untouched()
    assert (len(state.runs()), state.applied_position()) == (11 * 5, 2)
    log = path.with_name(path.name + "-wal")
    assert log.stat().st_size > 4 << 20, "it could not be shortened"
    store(state, a_run(100))
    assert log.stat().st_size == 0
    state.close()
    assert StateReader(path).applied_position() == 2


def store_megabytes(state: StateWriter, megabytes: int, number: int) -> None:
    with state.transaction() as changes:
        for run_id in range(megabytes * 5):
            run = a_run(number * 1000 + run_id).updated(spec={"notes": "x" * 200_000})
            changes.put(run)
        changes.answer(number, None)
