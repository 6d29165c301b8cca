"""A memory limit that the kernel holds: it kills the trainer, and nobody tells why but a counter of its cgroup."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from same_end import assert_same_end
from small_runs import write_run

from tests.acceptance.live_daemon import LiveDaemon, daemon_with_settings
from tests.frozen_trainer import events
from tests.polling import poll
from trainerd.worker.liveness import LOOK_SECONDS

pytestmark = pytest.mark.system

CGROUPS = Path("/sys/fs/cgroup/memory")
LIMIT_BYTES = 96 << 20
HUNGRY = """\
from pathlib import Path
import torch


class Hungry(torch.nn.Linear):
    \"\"\"Takes memory, at once or at each use, while a file in the run's directory says so.\"\"\"

    hoard = []

    def forward(self, x_BF):
        hungry = Path("hungry")
        if hungry.exists():
            self.hoard.append(torch.ones(int(hungry.read_text())))
        return super().forward(x_BF)
"""
MODEL = 'model={target: "hungry_net:Hungry", args: {in_features: 16, out_features: 2}}'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveDaemon]:
    with daemon_with_settings(tmp_path_factory.mktemp("home"), "slots = 2\n") as daemon:
        yield daemon


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A cgroup with a limit, below the one that the tests run in. (v1: what CI's machine has.)"""
    if not CGROUPS.is_dir():
        pytest.fail(f"{CGROUPS}: this machine has no memory controller of cgroup v1")
    own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line)
    place = CGROUPS / own.split(":", 2)[2].lstrip("/") / "trainerd-test"
    place.mkdir(exist_ok=True)
    (place / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
    yield place
    poll(lambda: not (place / "tasks").read_text().split(), "the cgroup is empty")
    place.rmdir()


@pytest.mark.parametrize("floats", [1 << 28, 1 << 20], ids=["at once", "slowly"])
@pytest.mark.parametrize("step", [30, 90, 150])
def test_a_trainer_that_the_kernel_kills_for_its_memory_is_out_of_memory_and_its_run_goes_on(
    daemon: LiveDaemon, cgroup: Path, tmp_path: Path, floats: int, step: int
) -> None:
    (tmp_path / "hungry_net.py").write_text(HUNGRY)
    configuration = write_run(tmp_path, "synthetic", "mlp")
    expected = daemon.submit(configuration, MODEL)
    run = daemon.submit(configuration, MODEL)
    directory = daemon.directory(run)
    move(daemon.await_step(run, step)["pids"][0], cgroup)

    (directory.path / "hungry").write_text(str(floats))
    [crash] = poll(lambda: events(directory, "ended"), f"run {run} is killed", seconds=60)
    (directory.path / "hungry").unlink()

    assert (crash["state"], crash["reason"], crash["signal"]) == ("crashed", "out_of_memory", 9)
    assert "out of memory" in crash["error"]
    assert daemon.trainctl("wait", expected, run).returncode == 0
    assert_same_end(directory, daemon.directory(expected))
    assert daemon.show(expected)["attempt"] == 1, "the other run has noticed nothing"


def test_a_trainer_that_somebody_else_kills_is_not_called_out_of_memory(
    daemon: LiveDaemon, cgroup: Path, tmp_path: Path
) -> None:
    run = daemon.submit(write_run(tmp_path, "synthetic", "mlp"))
    trainer = daemon.await_step(run, 20)["pids"][0]
    move(trainer, cgroup)
    os.kill(trainer, signal.SIGKILL)

    assert daemon.trainctl("wait", run).returncode == 0
    crash = events(daemon.directory(run), "ended")[0]
    assert (crash["state"], crash["reason"], crash["signal"]) == ("crashed", "error", 9)


def move(trainer: int, cgroup: Path) -> None:
    """Put it into the cgroup, and let the worker host see that: it looks once a second, and tells nobody."""
    process = psutil.Process(trainer)
    process.suspend()
    (cgroup / "cgroup.procs").write_text(str(trainer))
    moved = time.monotonic()
    poll(lambda: time.monotonic() > moved + 2 * LOOK_SECONDS, "the worker host has looked")
    process.resume()
