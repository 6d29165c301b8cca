"""Each process of the daemon may die: `trainerd up` names it and starts it again, and everything goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from small_runs import write_run

from tests.acceptance.live_daemon import LiveDaemon
from tests.polling import poll
from trainerd.contracts.locks import holder_of

PARTS = ("supervisor", "control", "worker")


def kill_and_await_restart(daemon: LiveDaemon, part: str) -> None:
    lock = daemon.home / f"{part}.lock"
    named = times_named(daemon, part)
    killed = poll(lambda: holder_of(lock), f"trainerd {part} lives", seconds=60)
    os.kill(killed, signal.SIGKILL)
    poll(lambda: holder_of(lock) not in (None, killed), f"trainerd {part} is back", seconds=60)
    poll(lambda: times_named(daemon, part) > named, "its death is named")


def times_named(daemon: LiveDaemon, part: str) -> int:
    return (daemon.home / "up.log").read_text().count(f"trainerd {part} was killed by SIGKILL; starting it again")


@pytest.mark.parametrize("part", PARTS)
def test_one_that_dies_while_nothing_runs_is_back_for_the_next_order(
    daemon: LiveDaemon, tmp_path: Path, part: str
) -> None:
    configuration = write_run(tmp_path, "synthetic", "mlp")

    kill_and_await_restart(daemon, part)
    await_readiness(daemon)

    run = daemon.submit(configuration, "trainer.max_epochs=1")
    assert daemon.trainctl("wait", run).returncode == 0


@pytest.mark.parametrize(("part", "attempts"), [("supervisor", 1), ("control", 1), ("worker", 2)])
def test_one_that_dies_while_a_run_trains_is_back_and_the_run_completes(
    daemon: LiveDaemon, tmp_path: Path, part: str, attempts: int
) -> None:
    """Only the worker host takes the trainer with it; the run goes on by itself."""
    run = daemon.submit(write_run(tmp_path, "synthetic", "mlp"), "trainer.max_epochs=6")
    daemon.await_step(run, 20)

    kill_and_await_restart(daemon, part)

    assert daemon.trainctl("wait", run).returncode == 0
    ended = daemon.show(run)
    assert (ended["state"], ended["attempt"]) == ("completed", attempts)


def await_readiness(daemon: LiveDaemon) -> None:
    """The new worker host is warm: before that a submit is refused, because nobody could check it."""
    poll(lambda: " up; " in daemon.trainctl("status").stdout, "everything is up again", seconds=60)
