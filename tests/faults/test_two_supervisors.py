"""Two supervisors of one home: the second is refused while the first one lives; one that was replaced does nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from losses import damaged_files
from raw_client import RawClient
from test_random_kills import ENDLESS

from tests.acceptance.live_daemon import LiveDaemon
from tests.frozen_trainer import events
from tests.polling import poll
from trainerd.contracts.locks import holder_of
from trainerd.contracts.processes import is_alive
from trainerd.contracts.run_directory import RunDirectory


@pytest.fixture
def run(daemon: LiveDaemon, tmp_path: Path) -> str:
    """A run that trains."""
    (tmp_path / "endless.yaml").write_text(ENDLESS)
    run = daemon.submit(tmp_path / "endless.yaml")
    daemon.await_step(run, 1)
    return run


@contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    """It stands still (SIGSTOP) and is woken at the end (SIGCONT)."""
    process.suspend()
    poll(lambda: process.status() == psutil.STATUS_STOPPED, "it stands still")
    try:
        yield
    finally:
        process.resume()


def state_files(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in home.glob("state.sqlite*")}


@pytest.mark.parametrize("command", ["supervisor", "up", "rebuild"])
def test_a_supervisor_that_stands_still_keeps_its_place(daemon: LiveDaemon, run: str, command: str) -> None:
    """Its lock is the kernel's: nobody else can have the home before it is dead. Woken, it goes on where it was."""
    supervisor = daemon.process("trainerd supervisor")
    assert supervisor is not None
    with stopped(supervisor):
        before = state_files(daemon.home)
        second = subprocess.run(
            ["trainerd", command], env=daemon.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert state_files(daemon.home) == before, "nobody writes the state"

    assert second.returncode == 4, second.stderr
    holder = daemon.pid if command != "supervisor" else supervisor.pid
    assert f"already runs on {daemon.home} (process {holder})" in second.stderr
    assert daemon.trainctl("stop", run).returncode == 0
    assert daemon.show(run)["attempt"] == 1


def test_a_new_daemon_takes_over_only_once_a_supervisor_that_stood_still_has_gone(daemon: LiveDaemon, run: str) -> None:
    """The daemon is killed while its supervisor stands still; the new one waits for it, and says for whom."""
    old = daemon.process("trainerd supervisor")
    assert old is not None
    with ThreadPoolExecutor(1) as threads:
        with stopped(old):
            psutil.Process(daemon.pid).kill()
            daemon.await_death()
            before = state_files(daemon.home)
            starting = threads.submit(daemon.start)
            waits = f"waiting for process {old.pid} of the last daemon to end (trainerd supervisor)"
            poll(lambda: waits in (daemon.home / "up.log").read_text(), "the new daemon waits")
            assert state_files(daemon.home) == before
        starting.result(timeout=60)

    assert holder_of(daemon.home / "supervisor.lock") not in (None, old.pid)
    directory = RunDirectory(daemon.home / "runs" / run)
    poll(lambda: [event["attempt"] for event in events(directory, "resumed")] == [2], "the run goes on")
    assert [event["state"] for event in events(directory, "ended")] == ["interrupted"]


def test_a_supervisor_whose_lock_was_deleted_writes_nothing_once_another_has_its_place(
    daemon: LiveDaemon, run: str
) -> None:
    """Deleting the lock files lets another one in while the first one stands still. Woken, the first one only ends."""
    old = daemon.process("trainerd supervisor")
    assert old is not None
    with stopped(old):
        for name in ("supervisor.lock", "state.sqlite.lock"):
            (daemon.home / name).unlink()
        new = subprocess.Popen(["trainerd", "supervisor"], env=daemon.environment)
        poll(lambda: supervises(daemon, new.pid), "the other one supervises", seconds=60)
    try:
        poll(
            lambda: (
                f"writer of the state (its lock was taken away) already runs on {daemon.home} (process {new.pid})"
                in (daemon.home / "up.log").read_text()
            ),
            "the first one says so",
        )
        poll(lambda: not is_alive(old.pid), "and ends")
        assert supervises(daemon, new.pid)
        assert daemon.trainctl("stop", run).returncode == 0
        assert daemon.show(run)["attempt"] == 1
    finally:
        new.terminate()
        new.wait()
    assert damaged_files(daemon.home) == set()


def supervises(daemon: LiveDaemon, pid: int) -> bool:
    reply = RawClient(daemon.home).get("/v1/status")
    return reply.status == 200 and reply.document["supervisor"].get("pid") == pid
