"""A disk that fills up while runs train: they save, wait for room, and go on by themselves, to the very same bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from same_end import assert_same_end
from small_runs import write_run

from tests.acceptance.live_daemon import LiveDaemon, daemon_with_settings
from tests.frozen_trainer import events, frozen_inside_epoch
from tests.polling import poll
from tests.small_disk import full_disk, small_disk

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def daemon() -> Iterator[LiveDaemon]:
    with small_disk(megabytes=96) as home:
        with daemon_with_settings(home, "slots = 3\n") as daemon:
            yield daemon


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    return write_run(tmp_path, "synthetic", "cnn")


def test_a_run_whose_disk_is_full_saves_waits_and_goes_on_by_itself(daemon: LiveDaemon, configuration: Path) -> None:
    blocked = []
    for step in (20, 90, 160):
        with blocked_run(daemon, configuration, step) as run:
            assert_blocked(daemon, run)
        assert daemon.trainctl("wait", run).returncode == 0
        blocked.append(run)

    expected = daemon.submit(configuration)
    assert daemon.trainctl("wait", expected).returncode == 0
    for run in blocked:
        assert_same_end(daemon.directory(run), daemon.directory(expected))
        assert (daemon.show(run)["exactness"], daemon.show(run)["attempt"]) == ("exact", 2)


def assert_blocked(daemon: LiveDaemon, run: str) -> None:
    """With a checkpoint of the step that it has reached, and shown with what it waits for."""
    shown, directory = daemon.show(run), daemon.directory(run)
    assert shown["reason"] == "disk_full"
    assert shown["blocked"]["needed_bytes"] > shown["blocked"]["free_bytes"]
    assert max(checkpoint["step"] for checkpoint in shown["checkpoints"]) == shown["step"], directory.log.read_text()
    assert not directory.ballast.exists()
    assert "blocked (disk full: " in daemon.trainctl("status").stdout
    assert "needs" in daemon.trainctl("show", run).stdout


@pytest.mark.parametrize(
    ("verb", "state", "code"), [("pause", "paused", 75), ("stop", "stopped", 75)], ids=["pause", "stop"]
)
def test_a_blocked_run_takes_orders(daemon: LiveDaemon, configuration: Path, verb: str, state: str, code: int) -> None:
    with blocked_run(daemon, configuration) as run:
        assert daemon.trainctl(verb, run).returncode == 0
        assert daemon.show(run)["state"] == state
    assert daemon.trainctl("wait", run).returncode == code

    assert daemon.trainctl("resume", run).returncode == 0
    assert daemon.trainctl("wait", run).returncode == 0


def test_a_blocked_run_stays_blocked_when_the_daemon_is_restarted(daemon: LiveDaemon, configuration: Path) -> None:
    with blocked_run(daemon, configuration) as run:
        daemon.terminate()
        daemon.start()
        assert daemon.show(run)["state"] == "blocked"

    assert daemon.trainctl("wait", run).returncode == 0
    assert [event["state"] for event in events(daemon.directory(run), "ended")] == ["blocked", "completed"]


@contextmanager
def blocked_run(daemon: LiveDaemon, configuration: Path, step: int = 40) -> Iterator[str]:
    """A run whose disk was full when it went on from this step, and is full until the block ends.

    It stands still while the disk is filled, so that it makes no room meanwhile.
    """
    run = daemon.submit(configuration)
    with ExitStack() as until_the_end:
        with frozen_inside_epoch(step, daemon.directory(run), attempt=1):
            until_the_end.enter_context(full_disk(daemon.home, free_bytes=0))
        poll(
            lambda: daemon.look_at(run)["state"] == "blocked",
            lambda: f"run {run} is blocked: {daemon.look_at(run)}",
            seconds=60,
        )
        yield run
