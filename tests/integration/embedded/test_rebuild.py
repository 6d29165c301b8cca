"""`trainerd rebuild`: the state made anew by order. tests/faults/test_lost_state.py shows that it comes out equal."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from trainerd.contracts.commands import CommandKind
from trainerd.contracts.journal import Event, Journal
from trainerd.contracts.locks import PlaceLock
from trainerd.contracts.places import Home, daemon_home
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.settings import Settings
from trainerd.store.command_log import CommandLog, CommandLogReader
from trainerd.store.state import StateReader
from trainerd.supervisor.lasting import LastingSupervisor

FACTS = {"exit_code": None, "signal": None, "error": None, "step": 40, "epoch": 4}
SPEC = {
    "resources": {"gpus": 0, "cpus": None},
    "trainer": {"device": "cpu"},
    "retry": {"max_failures": 2, "backoff_seconds": 0.1},
}
SUBMITTED = {
    "name": "a",
    "spec": SPEC,
    "spec_yaml": "name: a\n",
    "owner": 1,
    "priority": 0,
    "after": None,
    "hold": False,
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """One that a daemon has left: a completed run, an interrupted one, one that waits, and a cancelled one."""
    home = daemon_home({}, str(tmp_path))
    home.runs.mkdir()
    log = CommandLog(home.command_log)
    log.append_submit([{**SUBMITTED, "request": str(number)} for number in range(4)], "submit")
    log.append(CommandKind.CANCEL, {"run": 4}, "cancel")
    log.close()
    supervise_once(home)
    live_through_an_attempt(home, 1, "completed", "finished")
    live_through_an_attempt(home, 2, "interrupted", None)
    supervise_once(home)
    return home


def supervise_once(home: Home) -> None:
    supervisor = LastingSupervisor(home, Settings(), CommandLogReader(home.command_log))
    supervisor.tick()
    supervisor.close()


def live_through_an_attempt(home: Home, run: int, state: str, reason: str | None) -> None:
    journal = Journal(RunDirectory(home.run(run)).events, 1)
    journal.record(Event.STARTED, pid=1, steps_per_epoch=10, monitor=None)
    journal.record(Event.ENDED, state=state, reason=reason, **FACTS)
    journal.close()


def records(home: Home) -> list[RunRecord]:
    with closing(StateReader(home.state)) as state:
        return state.runs()


def rebuild(home: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainerd.main", "rebuild", "--home", str(home)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRAINERD_")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def files_of_runs(home: Home) -> dict[str, Any]:
    return {str(path): path.read_bytes() for path in sorted(home.runs.rglob("*")) if path.is_file()}


def test_the_state_is_made_anew_the_old_one_kept_and_nothing_started(home: Home) -> None:
    before, files, old = records(home), files_of_runs(home), home.state.read_bytes()

    done = rebuild(home.path)

    assert done.returncode == 0, done.stderr
    assert "from 2 orders: 1 cancelled, 1 completed, 1 interrupted, 1 queued" in done.stderr
    (kept,) = home.path.glob("state.sqlite.replaced-*[0-9]")
    assert f"the state before is kept as {kept}" in done.stderr
    assert kept.read_bytes() == old
    assert records(home) == before
    assert files_of_runs(home) == files


def test_a_damaged_state_is_no_hindrance(home: Home) -> None:
    before = records(home)
    home.state.write_bytes(b"garbage" * 999)

    assert rebuild(home.path).returncode == 0

    assert records(home) == before


@pytest.mark.parametrize("part", ["up", "supervisor", "control", "worker"])
def test_it_is_refused_while_a_part_of_a_daemon_lives(home: Home, part: str) -> None:
    lock, old = PlaceLock(home.lock(part), part), home.state.read_bytes()

    refused = rebuild(home.path)

    lock.release()
    assert refused.returncode == 4
    assert f"already runs on {home.path} (process {os.getpid()})" in refused.stderr
    assert home.state.read_bytes() == old


def test_where_no_order_was_ever_given_there_is_nothing_to_rebuild(tmp_path: Path) -> None:
    for empty in (tmp_path, tmp_path / "absent"):
        done = rebuild(empty)

        assert done.returncode == 0, done.stderr
        assert f"nothing to rebuild: no order was ever given on {empty}" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_the_command_log_the_state_is_left_as_it_is(home: Home) -> None:
    """It would come out empty, and be believed."""
    before = records(home)
    home.command_log.unlink()

    refused = rebuild(home.path)

    assert refused.returncode == 1
    assert str(home.command_log) in refused.stderr
    assert "4 run directories" in refused.stderr
    assert records(home) == before
