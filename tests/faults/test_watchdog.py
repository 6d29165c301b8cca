"""A supervisor or control plane that lives but does nothing is found out, and started again; nothing else notices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from small_runs import write_run

from tests.acceptance.live_daemon import LiveDaemon, daemon_with_settings
from tests.polling import poll
from trainerd.contracts.locks import holder_of
from trainerd.contracts.pages import PulsePage

TIMES = 3
WATCHDOG_SECONDS = 1.5


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveDaemon]:
    with daemon_with_settings(tmp_path_factory.mktemp("home"), f"watchdog_seconds = {WATCHDOG_SECONDS}\n") as daemon:
        yield daemon


@pytest.mark.dies("supervisor or control plane, stopped or stuck")
@pytest.mark.parametrize("part", ["supervisor", "control"])
def test_one_that_is_stopped_is_started_again_and_the_run_that_trains_loses_no_step(
    daemon: LiveDaemon, tmp_path: Path, part: str
) -> None:
    run = daemon.submit(write_run(tmp_path, "synthetic", "mlp"), "trainer.max_epochs=1000000")
    trainer = daemon.await_step(run, 20)["pids"]

    for _ in range(TIMES):
        stopped = await_part(daemon, part)
        psutil.Process(stopped).suspend()
        step = step_of(daemon, run)
        poll(lambda step=step: step_of(daemon, run) > step, "the trainer trains on")
        await_another(daemon, part, stopped)

    poll(lambda: daemon.trainctl("status").returncode == 0, "status is answered")
    shown = poll(lambda: (found := daemon.look_at(run))["state"] == "running" and found, "the run is seen to train")
    assert (shown["pids"], shown["attempt"]) == (trainer, 1)
    log = (daemon.home / "up.log").read_text()
    assert log.count(f"trainerd {part} has shown no sign of life for") == TIMES
    assert daemon.trainctl("stop", run, "--no-checkpoint").returncode == 0


def test_parts_that_show_signs_of_life_are_left_alone(daemon: LiveDaemon) -> None:
    parts = {part: await_part(daemon, part) for part in ("supervisor", "control", "worker")}
    told = (daemon.home / "up.log").stat().st_size

    youngest = max(psutil.Process(pid).create_time() for pid in parts.values())
    poll(lambda: time.time() > youngest + 4 * WATCHDOG_SECONDS, "several times the limit has passed", seconds=30)

    assert (daemon.home / "up.log").stat().st_size == told
    assert {part: await_part(daemon, part) for part in parts} == parts


def await_part(daemon: LiveDaemon, part: str) -> int:
    """The PID of one that has come up."""
    poll(lambda: " up; " in daemon.trainctl("status").stdout, "everything is up", seconds=60)
    return poll(lambda: holder_of(daemon.home / f"{part}.lock"), f"{part} lives")


def await_another(daemon: LiveDaemon, part: str, stopped: int, seconds: float = 30.0) -> None:
    poll(lambda: holder_of(daemon.home / f"{part}.lock") not in (None, stopped), f"{part} is back", seconds)


def step_of(daemon: LiveDaemon, run: str) -> int:
    return PulsePage(daemon.directory(run).pulse_page).read().step
