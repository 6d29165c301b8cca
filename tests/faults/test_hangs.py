"""A trainer that makes no progress is seen, leaves its stacks, is killed, and its run goes on: nobody has to watch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from same_end import assert_same_end
from small_runs import write_run

from tests.acceptance.live_daemon import LiveDaemon, daemon_with_settings
from tests.frozen_trainer import await_resumption, events, newest_committed
from tests.polling import poll

HANG_SECONDS = 2.0
STUCK = """\
import re
from pathlib import Path
import torch


class Stuck(torch.nn.Linear):
    \"\"\"Loops in C for ever, and holds the GIL, wherever a file says that it should, once.\"\"\"

    def forward(self, x_BF):
        if Path("get-stuck").exists():
            Path("get-stuck").unlink()
            re.match("(a+)+$", "a" * 60 + "b")
        return super().forward(x_BF)
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveDaemon]:
    with daemon_with_settings(tmp_path_factory.mktemp("home"), f"hang_seconds = {HANG_SECONDS}\nslots = 4\n") as daemon:
        yield daemon


@pytest.mark.dies("a trainer that hangs")
def test_stopped_trainers_are_seen_killed_and_their_runs_end_as_if_nothing_had_been(
    daemon: LiveDaemon, tmp_path: Path
) -> None:
    """Three runs at the same time, each stopped (SIGSTOP) at a step of its own and left alone."""
    configuration = write_run(tmp_path, "synthetic", "cnn")
    expected, *stopped = [daemon.submit(configuration) for _ in range(4)]

    for run, step in zip(stopped, (50, 120, 200), strict=True):
        psutil.Process(trainer_at(step, daemon, run)).suspend()

    assert_all_hung_and_recovered(daemon, stopped)
    assert daemon.trainctl("wait", expected, *stopped).returncode == 0
    for run in stopped:
        assert_same_end(daemon.directory(run), daemon.directory(expected))
        assert daemon.show(run)["exactness"] == "exact"


def test_trainers_stuck_in_a_loop_that_holds_the_gil_leave_the_place_where_they_are_stuck(
    daemon: LiveDaemon, tmp_path: Path
) -> None:
    """Python itself cannot act in such a process: it takes the kernel's signal and faulthandler's C code."""
    (tmp_path / "stuck_net.py").write_text(STUCK)
    configuration = write_run(tmp_path, "synthetic", "mlp")
    model = 'model={target: "stuck_net:Stuck", args: {in_features: 16, out_features: 2}}'
    expected, *stuck = [daemon.submit(configuration, model) for _ in range(4)]

    for run, step in zip(stuck, (50, 120, 200), strict=True):
        trainer_at(step, daemon, run)
        (daemon.directory(run).path / "get-stuck").touch()

    assert_all_hung_and_recovered(daemon, stuck)
    for run in stuck:
        stacks = daemon.directory(run).stacks(1).read_text()
        assert re.search(r'stuck_net.py", line \d+ in forward', stacks)
    assert daemon.trainctl("wait", expected, *stuck).returncode == 0
    for run in stuck:
        assert_same_end(daemon.directory(run), daemon.directory(expected))


def assert_all_hung_and_recovered(daemon: LiveDaemon, runs: list[str]) -> None:
    """Each in its own time: they are watched together."""
    with ThreadPoolExecutor(len(runs)) as threads:
        for watched in [threads.submit(assert_hung_and_recovered, daemon, run) for run in runs]:
            watched.result()


def assert_hung_and_recovered(daemon: LiveDaemon, run: str, seen_within_seconds: float = 30.0) -> None:
    """It was shown as stalled, then killed for a hang with its stacks taken, and went on by itself."""
    directory = daemon.directory(run)
    poll(lambda: daemon.look_at(run)["stalled"], f"run {run} is shown as stalled", seen_within_seconds)
    assert "stalled for" in daemon.trainctl("show", run).stdout
    [ended] = poll(lambda: events(directory, "ended"), f"run {run} is killed", seconds=60)
    assert (ended["state"], ended["reason"], ended["signal"]) == ("crashed", "hang", 9)
    assert re.search(r"no sign of life for \d+ s in phase \w+ at step \d+", ended["error"])
    assert "Current thread" in directory.stacks(1).read_text()
    told = daemon.trainctl("why", run).stdout
    assert "hang" in told
    assert "no sign of life" in told
    resumed = await_resumption(directory, attempt=2)
    assert newest_committed(directory, attempt=1) <= resumed["step"] <= ended["step"]


def trainer_at(step: int, daemon: LiveDaemon, run: str) -> int:
    """The PID of the run's trainer, once it has done so many steps."""
    return int(daemon.await_step(run, step)["pids"][0])
