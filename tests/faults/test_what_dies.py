"""What a user sees when something dies that no other test has die: see the table in docs/operations.md."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from small_runs import write_run

from tests.acceptance.live_daemon import LiveDaemon
from tests.frozen_trainer import await_order, await_resumption, events, frozen_inside_epoch, newest_committed
from tests.polling import poll
from trainerd.contracts.pages import Order
from trainerd.contracts.processes import is_alive
from trainerd.contracts.run_directory import RunDirectory

FORGETFUL = """\
from pathlib import Path
import torch


class Forgetful(torch.nn.Linear):
    \"\"\"Asks for more memory than there is at its 40th training step in the run's first attempt.\"\"\"

    def __init__(self, features):
        super().__init__(features, features)
        self.steps = 0

    def forward(self, x_BF):
        self.steps += self.training
        if self.steps == 40 and Path("events.jsonl").exists() and not Path("asked").exists():
            Path("asked").touch()
            torch.empty(1 << 60)
        return super().forward(x_BF)
"""


@pytest.fixture
def run(daemon: LiveDaemon, tmp_path: Path) -> str:
    """A run that trains."""
    return daemon.submit(write_run(tmp_path, "synthetic", "mlp"))


@pytest.mark.dies("trainctl while it waits")
def test_a_trainctl_that_is_killed_while_it_waits_has_given_its_order(daemon: LiveDaemon, run: str) -> None:
    directory = RunDirectory(daemon.home / "runs" / run)
    with frozen_inside_epoch(20, directory, attempt=1):
        stopping = subprocess.Popen(["trainctl", "stop", run], env=daemon.environment)
        await_order(Order.STOP, directory)
        stopping.kill()
        stopping.wait()

    assert daemon.trainctl("wait", run).returncode == 75
    assert daemon.show(run)["state"] == "stopped"


@pytest.mark.dies("a trainer: out of memory")
def test_a_run_that_is_out_of_memory_goes_on_from_its_last_checkpoint(daemon: LiveDaemon, tmp_path: Path) -> None:
    """The kernel's OOM killer sends SIGKILL, like anybody else; this is torch that finds no memory."""
    (tmp_path / "forgetful_net.py").write_text(FORGETFUL)
    configuration = write_run(tmp_path, "synthetic", "mlp")
    model = 'model={target: "forgetful_net:Forgetful", args: {features: 16}}'
    run = daemon.submit(configuration, model, "data.targets.shape=[16]", "trainer.max_epochs=2", "trainer.accumulate=1")

    assert daemon.trainctl("wait", run).returncode == 0

    directory = RunDirectory(daemon.home / "runs" / run)
    first, last = events(directory, "ended")
    assert (first["state"], first["reason"]) == ("crashed", "out_of_memory")
    assert (last["state"], daemon.show(run)["attempt"]) == ("completed", 2)
    [resumed] = events(directory, "resumed")
    assert 0 < resumed["step"] <= 39


@pytest.mark.dies("the machine, in an orderly restart")
def test_after_a_clean_restart_of_the_machine_runs_go_on_at_the_very_next_step(daemon: LiveDaemon, run: str) -> None:
    """Every process is asked to end at the same moment; afterwards the numbers of the old ones belong to strangers."""
    directory = RunDirectory(daemon.home / "runs" / run)
    with frozen_inside_epoch(20, directory, attempt=1):
        processes = everything(daemon)
        for process in processes:
            process.terminate()
    daemon.await_end()
    assert [process for process in processes if is_alive(process.pid)] == []

    with stranger() as number:
        for lock in [*daemon.home.glob("*.lock"), directory.lock]:
            lock.write_text(str(number))
        daemon.start()
        resumed = await_resumption(directory, attempt=2)
        assert is_alive(number)

    [asked] = events(directory, "asked")
    assert (asked["order"], resumed["step"]) == ("interrupt", asked["step"])
    assert [event["state"] for event in events(directory, "ended")] == ["interrupted"]
    assert daemon.show(run)["attempt"] == 2


@pytest.mark.dies("everything at once")
def test_after_everything_has_died_at_once_runs_go_on_from_their_last_checkpoint(daemon: LiveDaemon, run: str) -> None:
    """As when a container is killed. (What a power cut does to the disk is not shown here.)"""
    directory = RunDirectory(daemon.home / "runs" / run)
    with frozen_inside_epoch(100, directory, attempt=1) as step:
        processes = everything(daemon)
        for process in processes:
            process.kill()
    poll(lambda: not any(is_alive(process.pid) for process in processes), "everything is dead")
    daemon.await_death()

    daemon.start()

    resumed = await_resumption(directory, attempt=2)
    assert newest_committed(directory, attempt=1) <= resumed["step"] <= step
    assert [(event["state"], event["step"]) for event in events(directory, "ended")] == [("crashed", step)]


def everything(daemon: LiveDaemon) -> list[psutil.Process]:
    """All processes of the daemon, its trainers included."""
    up = psutil.Process(daemon.pid)
    return [up, *up.children(recursive=True)]


@contextmanager
def stranger() -> Iterator[int]:
    """The number of a process that has nothing to do with the daemon, in a session of its own."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
