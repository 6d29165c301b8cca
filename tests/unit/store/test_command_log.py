"""The command log keeps what was acknowledged, once, through crashes and full disks."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainerd.contracts.commands import CommandKind
from trainerd.contracts.errors import Damaged, DiskError, UsageError
from trainerd.store.command_log import CommandLog, CommandLogReader
from trainerd.store.database import open_for_writing
from trainerd.store.schema import COMMAND_LOG

WRITER = """
import itertools, sys
from pathlib import Path
from trainerd.store.command_log import CommandLog
log = CommandLog(Path(sys.argv[1]))
for number in itertools.count():
    command = log.append_submit([{"name": "run", "spec": "x" * 2000}], f"key-{number}")
    print(command.number, command.body["runs"][0]["id"], flush=True)
"""

FULL_DISK = """
import resource, sys
from pathlib import Path
from trainerd.contracts.errors import Damaged, DiskError
from trainerd.store.command_log import CommandLog, CommandLogReader
path = Path(sys.argv[1])
log = CommandLog(path)
first = log.append_submit([{"name": "small"}], "small")
size = max(file.stat().st_size for file in path.parent.iterdir())
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 8192, resource.RLIM_INFINITY))
try:
    log.append_submit([{"name": "big", "spec": "x" * 1_000_000}], "big")
except DiskError as error:
    print(error.path)
assert CommandLogReader(path).after(0) == [first]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(log.append_submit([{"name": "big", "spec": "x" * 1_000_000}], "big").body["runs"][0]["id"])
"""


def test_commands_are_read_in_the_order_in_which_they_were_appended(tmp_path: Path) -> None:
    log, reader = CommandLog(tmp_path / "commands.sqlite"), CommandLogReader(tmp_path / "commands.sqlite")
    submit = log.append_submit([{"name": "a"}, {"name": "b"}], "one")
    stop = log.append(CommandKind.STOP, {"run": 1, "checkpoint": True}, "two")
    assert [run["id"] for run in submit.body["runs"]] == [1, 2]
    assert reader.after(0) == [submit, stop]
    assert reader.after(submit.number) == [stop]
    assert reader.after(0, limit=1) == [submit]
    assert reader.get(stop.number) == stop
    assert reader.by_key("one") == submit
    assert (reader.get(99), reader.by_key("none")) == (None, None)


def test_a_log_that_does_not_exist_yet_reads_as_empty(tmp_path: Path) -> None:
    reader = CommandLogReader(tmp_path / "commands.sqlite")
    assert reader.after(0) == []
    command = CommandLog(tmp_path / "commands.sqlite").append(CommandKind.CANCEL, {"run": 1}, "key")
    assert reader.after(0) == [command]


def test_the_same_key_is_the_same_command(tmp_path: Path) -> None:
    log = CommandLog(tmp_path / "commands.sqlite")
    first = log.append_submit([{"name": "a"}], "key")
    assert log.append_submit([{"name": "a"}], "key") == first
    assert log.append_submit([{"name": "b"}], "other").body["runs"][0]["id"] == 2


def test_a_key_that_stands_for_another_request_is_refused(tmp_path: Path) -> None:
    log = CommandLog(tmp_path / "commands.sqlite")
    log.append(CommandKind.STOP, {"run": 1}, "key")
    for kind, body in ((CommandKind.STOP, {"run": 2}), (CommandKind.CANCEL, {"run": 1})):
        with pytest.raises(UsageError, match="already used"):
            log.append(kind, body, "key")


def test_a_second_writer_is_refused_by_name(tmp_path: Path) -> None:
    log = CommandLog(tmp_path / "commands.sqlite")
    second = [sys.executable, "-c", WRITER, str(tmp_path / "commands.sqlite")]
    failed = subprocess.run(second, capture_output=True, text=True, check=False)
    assert f"another writer of the command log already runs on {tmp_path} (process {os.getpid()})" in failed.stderr
    log.close()


def test_the_database_itself_refuses_to_change_or_lose_a_command(tmp_path: Path) -> None:
    CommandLog(tmp_path / "commands.sqlite").append_submit([{"name": "a"}], "key")
    connection = sqlite3.connect(tmp_path / "commands.sqlite", isolation_level=None)
    for statement in ("UPDATE commands SET body = '{}'", "DELETE FROM commands", "UPDATE counter SET last_run = 0"):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)
    connection.close()


def test_a_log_of_a_newer_trainerd_is_refused(tmp_path: Path) -> None:
    connection = open_for_writing(tmp_path / "commands.sqlite", COMMAND_LOG)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(DiskError, match="written by a newer trainerd"):
        CommandLog(tmp_path / "commands.sqlite")
    with pytest.raises(DiskError, match="written by a newer trainerd"):
        CommandLogReader(tmp_path / "commands.sqlite").after(0)


def test_what_was_acknowledged_survives_kill_9_of_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "commands.sqlite"
    acknowledged: list[tuple[int, int]] = []
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for line in writer.stdout:
            if not line.endswith("\n"):
                break  # it was killed within the line
            number, run_id = line.split()
            acknowledged.append((int(number), int(run_id)))
            if len(acknowledged) % 25 == 0:
                writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    stored = CommandLogReader(path).after(0, limit=10_000)
    by_number = {command.number: command.body["runs"][0]["id"] for command in stored}
    assert all(by_number[number] == run_id for number, run_id in set(acknowledged))
    assert len(set(by_number.values())) == len(by_number)


def test_a_full_disk_is_named_and_leaves_nothing_half_queued(tmp_path: Path) -> None:
    path = tmp_path / "commands.sqlite"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(path), "2"], "the failed submit took no id"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 5)), max_size=12))
def test_run_ids_are_unique_whatever_is_submitted(
    tmp_path_factory: pytest.TempPathFactory, submits: list[tuple[int, int]]
) -> None:
    log = CommandLog(tmp_path_factory.mktemp("log") / "commands.sqlite")
    ids: dict[str, list[int]] = {}
    for count, number in submits:
        command = log.append_submit([{"name": "run"}] * count, key := f"{count}-{number}")
        allotted = [run["id"] for run in command.body["runs"]]
        assert ids.setdefault(key, allotted) == allotted
    given_out = [run_id for run_ids in ids.values() for run_id in run_ids]
    assert sorted(given_out) == list(range(1, len(given_out) + 1))
    log.close()


TOUCHES: dict[str, Callable[[Path], None]] = {
    "deleted": lambda path: path.unlink(),
    "replaced": lambda path: shutil.copy(path, path.with_name("copy")).rename(path),
    "emptied": lambda path: os.truncate(path, 0),
    "header overwritten": lambda path: write_inside(path, 0),
    "middle overwritten": lambda path: write_inside(path, path.stat().st_size // 2),
    "tail overwritten": lambda path: write_inside(path, path.stat().st_size - 100),
    "log deleted": lambda path: path.with_name(path.name + "-wal").unlink(),
    "log overwritten": lambda path: write_inside(path.with_name(path.name + "-wal"), 100),
}


def write_inside(path: Path, offset: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\xa5" * 100)


@pytest.mark.parametrize("touch", TOUCHES)
def test_nothing_is_appended_to_files_that_another_program_has_touched(tmp_path: Path, touch: str) -> None:
    """It would be acknowledged, and read by nobody. The error says what can be done."""
    path = tmp_path / "commands.sqlite"
    log = CommandLog(path)
    log.append_submit([{"name": "a"}], "one")

    TOUCHES[touch](path)

    with pytest.raises(Damaged, match=r"commands.sqlite.*put a sound copy of this file back"):
        log.append(CommandKind.STOP, {"run": 1}, "two")
    log.close()


def test_its_own_writes_and_others_reading_are_no_damage(tmp_path: Path) -> None:
    """Large ones included, after which the write-ahead log is taken into the database."""
    log, reader = CommandLog(tmp_path / "commands.sqlite"), CommandLogReader(tmp_path / "commands.sqlite")
    for number in range(1, 31):
        log.append_submit([{"name": "large", "spec": "x" * 300_000}], f"key {number}")
        assert reader.newest_number() == number


@pytest.mark.parametrize(("was", "now"), [(b'"lr": 0.1', b'"lr": 0.7'), (b'"lr": 0.1', b'"lr": \xff\xff\xff')])
def test_a_command_that_has_rotted_is_given_to_nobody(tmp_path: Path, was: bytes, now: bytes) -> None:
    """The database is sound as far as SQLite can tell: it has no checksums. Other commands are still read."""
    path = tmp_path / "commands.sqlite"
    log = CommandLog(path)
    log.append_submit([{"name": "a", "lr": 0.1}], "one")
    stop = log.append(CommandKind.STOP, {"run": 1}, "two")
    log.close()
    path.write_bytes(path.read_bytes().replace(was, now))

    reader = CommandLogReader(path)

    assert reader.after(1) == [stop]
    with pytest.raises(Damaged, match="put a sound copy of this file back"):
        reader.after(0)
