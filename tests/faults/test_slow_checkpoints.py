"""An orderly stop waits for a checkpoint that comes slowly, and not for one that does not come."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from same_end import assert_same_end
from small_runs import write_run

from tests.acceptance.live_daemon import LiveDaemon, daemon_with_settings
from tests.frozen_trainer import await_resumption, events, frozen_inside_epoch, newest_committed, start_of
from tests.polling import poll

pytestmark = pytest.mark.system

GRACE_SECONDS = 5.0  # several times what a sync takes: a busy machine adds to that
RUNS = 3


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[LiveDaemon]:
    home = tmp_path / "home"
    home.mkdir()
    with daemon_with_settings(home, f"slots = {RUNS}\ngrace_seconds = {GRACE_SECONDS}\n") as daemon:
        yield daemon


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    return write_run(tmp_path, "synthetic", "mlp")


def test_a_checkpoint_that_takes_longer_than_the_grace_and_makes_progress_is_waited_for(
    daemon: LiveDaemon, configuration: Path
) -> None:
    runs = [daemon.submit(configuration, "checkpoint.every_steps=1000") for _ in range(RUNS)]
    with slow_disk(daemon, runs, fsync_seconds=1.0) as log:
        daemon.terminate()
    assert len(log()) > RUNS * GRACE_SECONDS, "the disk was slow indeed"

    for run in runs:
        [ended] = events(daemon.directory(run), "ended")
        assert (ended["state"], ended["signal"], ended["exit_code"]) == ("interrupted", None, 75)
        assert newest_committed(daemon.directory(run), attempt=1) == ended["step"] > 0
    assert_all_complete_exactly(daemon, configuration, runs)


def test_a_checkpoint_that_is_stuck_is_given_up_after_the_grace_and_the_older_one_is_whole(
    daemon: LiveDaemon, configuration: Path
) -> None:
    runs = [daemon.submit(configuration, "checkpoint.every_steps=20") for _ in range(RUNS)]
    with slow_disk(daemon, runs, fsync_seconds=600.0):
        os.kill(daemon.pid, signal.SIGTERM)
        poll(lambda: told_of_a_kill(daemon) == RUNS, "the trainers are given up", seconds=60)
    daemon.await_end()  # what strace holds dies when strace does

    for run in runs:
        decided = events(daemon.directory(run), "ended")[-1]
        assert (decided["state"], decided["signal"]) == ("interrupted", 9)
    committed = {run: newest_committed(daemon.directory(run), attempt=1) for run in runs}
    daemon.start()
    for run in runs:
        assert await_resumption(daemon.directory(run), attempt=2)["step"] == committed[run] > 0
    assert_all_complete_exactly(daemon, configuration, runs, every_steps=20)


def told_of_a_kill(daemon: LiveDaemon) -> int:
    return (daemon.home / "up.log").read_text().count(f"killed, it made no progress for {GRACE_SECONDS:g} s")


@contextmanager
def slow_disk(daemon: LiveDaemon, runs: list[str], fsync_seconds: float) -> Iterator[Callable[[], list[str]]]:
    """Each fsync of these runs' trainers takes so long, from a step inside an epoch on. Yields what tells of them."""
    logs = []
    with ExitStack() as straces:
        with ExitStack() as frozen:
            for run in runs:
                directory = daemon.directory(run)
                frozen.enter_context(frozen_inside_epoch(40, directory, attempt=1))
                logs.append(directory.path / "strace.log")
                straces.enter_context(delayed_fsyncs(start_of(directory, 1)["pid"], fsync_seconds, logs[-1]))
        yield lambda: [line for log in logs for line in log.read_text().splitlines() if "DELAYED" in line]


@contextmanager
def delayed_fsyncs(pid: int, seconds: float, log: Path) -> Iterator[None]:
    delay = f"inject=fsync:delay_enter={round(seconds * 1e6)}"
    words = ["strace", "-f", "-p", str(pid), "-o", str(log), "-e", "trace=fsync", "-e", delay]
    strace = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert strace.stderr is not None
    poll(lambda: "attached" in strace.stderr.readline(), "strace is attached")  # type: ignore[union-attr]
    yield
    strace.kill()
    strace.wait()


def assert_all_complete_exactly(
    daemon: LiveDaemon, configuration: Path, runs: list[str], every_steps: int = 1000
) -> None:
    if not daemon.is_up():
        daemon.start()
    expected = daemon.submit(configuration, f"checkpoint.every_steps={every_steps}")
    assert daemon.trainctl("wait", expected, *runs).returncode == 0
    for run in runs:
        assert_same_end(daemon.directory(run), daemon.directory(expected))
