"""`trainerd up` and `down`: the whole daemon with real processes, on one home. The tests follow one life of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.polling import poll
from trainerd.contracts.locks import holder_of
from trainerd.contracts.processes import is_alive

TRAINERD = [sys.executable, "-m", "trainerd.main"]
PARTS = ("supervisor", "control", "worker")
SECONDS = 60.0
_WITHOUT_STEPS = ("admitted", "starting", "started", "resumed", "ended", "retrying")  # a journal that ends so
ENDLESS = """\
name: endless
data: {kind: synthetic, samples: 256, inputs: {shape: [8]}, targets: {shape: [1]}, split: {val: 0.25}, batch_size: 32}
model: {name: mlp, args: {hidden: [8]}}
loss: {name: mse}
trainer: {max_epochs: 1000000, device: cpu}
resources: {cpus: 1}
"""


def eventually(what: str, is_true: Callable[[], Any]) -> Any:
    return poll(is_true, what, SECONDS)


class Daemon:
    """One home, and the `trainerd up --detach` that runs on it."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.configuration = folder / "endless.yaml"
        self.configuration.write_text(ENDLESS)
        self.environment = {**os.environ, "TRAINERD_HOME": str(self.home)}
        self.environment.pop("TRAINERD_SOCKET", None)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    def pid(self, part: str) -> int:
        """The process that holds a part's lock."""
        text = (self.home / f"{part}.lock").read_text()
        return int(text) if text.isdigit() else 0

    def journal(self) -> list[dict[str, Any]]:
        lines = (self.home / "runs/1/events.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def trainer(self) -> int | None:
        """The PID of the first run's newest trainer, once it has taken a step."""
        path = self.home / "runs/1/events.jsonl"
        if not path.exists() or self.journal()[-1]["event"] in _WITHOUT_STEPS:
            return None
        return next((line["pid"] for line in reversed(self.journal()) if line["event"] == "started"), None)

    def kill(self) -> None:
        pid = holder_of(self.home / "up.lock")
        if pid:
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that is up, with one run that trains."""
    daemon = Daemon(tmp_path_factory.mktemp("embedded"))
    up = daemon.run(*TRAINERD, "up", "--detach")
    assert up.returncode == 0, up.stderr
    assert f"ready: {daemon.home / 'control.sock'}" in up.stderr
    submitted = daemon.run(sys.executable, "-m", "trainctl", "submit", str(daemon.configuration))
    assert submitted.returncode == 0, submitted.stderr
    eventually("the run trains", daemon.trainer)
    yield daemon
    daemon.kill()


def test_ps_shows_the_parts_by_their_names_each_in_a_session_of_its_own(daemon: Daemon) -> None:
    for part in PARTS:
        shown = subprocess.check_output(["ps", "-o", "args=", "-p", str(daemon.pid(part))], text=True)
        assert shown.strip() == f"trainerd {part}"
        assert os.getsid(daemon.pid(part)) == daemon.pid(part), "a terminal's Ctrl+C must not reach it"


def test_the_worker_host_has_one_thread_after_its_warm_up(daemon: Daemon) -> None:
    """A fork takes one thread along: whatever the others held stays locked in the child for ever."""
    assert len(list(Path(f"/proc/{daemon.pid('worker')}/task").iterdir())) == 1


def test_supervisor_and_control_plane_load_no_torch(daemon: Daemon) -> None:
    for part in ("supervisor", "control"):
        assert "libtorch" not in Path(f"/proc/{daemon.pid(part)}/maps").read_text()


def test_a_second_daemon_on_the_home_is_refused_and_names_the_first(daemon: Daemon) -> None:
    for detach in ([], ["--detach"]):
        second = daemon.run(*TRAINERD, "up", *detach)

        assert second.returncode == 4
        assert f"process {daemon.pid('up')}" in second.stderr


@pytest.mark.dies("the supervisor")
def test_killed_supervisor_and_control_plane_come_back_and_the_trainer_keeps_its_pid(daemon: Daemon) -> None:
    trainer = daemon.trainer()
    killed = {part: daemon.pid(part) for part in ("supervisor", "control")}

    for pid in killed.values():
        os.kill(pid, signal.SIGKILL)

    for part, pid in killed.items():
        eventually(f"{part} is back", lambda part=part, pid=pid: daemon.pid(part) not in (0, pid))  # type: ignore[misc]
    listed = eventually("it answers", lambda: json.loads(list_runs(daemon) or "[]"))
    assert [(run["state"], run["pids"]) for run in listed] == [("running", [trainer])]
    assert daemon.trainer() == trainer
    assert is_alive(trainer or 0)


def list_runs(daemon: Daemon) -> str:
    return daemon.run(sys.executable, "-m", "trainctl", "list", "-o", "json").stdout


@pytest.mark.dies("trainerd up: SIGTERM, SIGINT or trainerd down")
def test_down_interrupts_the_run_with_a_checkpoint_and_leaves_no_process(daemon: Daemon) -> None:
    pids = [daemon.pid(part) for part in (*PARTS, "up")]

    down = daemon.run(*TRAINERD, "down")

    assert down.returncode == 0
    assert f"process {pids[-1]}" in down.stderr
    assert not any(is_alive(pid) for pid in pids)
    events = [line["event"] for line in daemon.journal()]
    assert daemon.journal()[-1]["state"] == "interrupted"
    assert events[-3:] == ["checkpoint", "finishing", "ended"]
    again = daemon.run(*TRAINERD, "down")
    assert again.returncode == 0
    assert "no daemon runs" in again.stderr


@pytest.mark.dies("trainerd up: SIGKILL")
def test_killing_the_daemon_itself_ends_its_parts_in_an_orderly_way(daemon: Daemon) -> None:
    """Nothing half alive is left, and no run loses a step: the parts are asked to end as by `down`."""
    with subprocess.Popen([*TRAINERD, "up"], env=daemon.environment, stderr=subprocess.PIPE) as up:
        before = len(daemon.journal())
        eventually("the run goes on", lambda: len(daemon.journal()) > before and daemon.trainer())
        pids = [daemon.pid(part) for part in PARTS]

        up.kill()
        eventually("all parts have ended", lambda: not any(is_alive(pid) for pid in pids))

    assert daemon.journal()[-1]["state"] == "interrupted"
    assert holder_of(daemon.home / "up.lock") is None


@pytest.mark.dies("trainerd up: SIGKILL")
def test_a_daemon_waits_for_what_the_last_one_has_left_behind(daemon: Daemon) -> None:
    """After a SIGKILL of the daemon its parts still save; the new ones take their places once they are free."""
    with subprocess.Popen([*TRAINERD, "up"], env=daemon.environment, stderr=subprocess.PIPE) as up:
        before = len(daemon.journal())
        eventually("the run goes on", lambda: len(daemon.journal()) > before and daemon.trainer())
        old = daemon.pid("control")
        os.kill(old, signal.SIGSTOP)  # it takes its time
        up.kill()
    command = [*TRAINERD, "up", "--detach"]
    with subprocess.Popen(command, env=daemon.environment, stderr=subprocess.PIPE, text=True) as again:
        assert again.stderr is not None
        said = next(line for line in again.stderr if f"waiting for process {old} of the last daemon" in line)
        assert "trainerd control" in said
        os.kill(old, signal.SIGCONT)

        assert again.wait(SECONDS) == 0

    assert daemon.pid("control") not in (0, old)
    assert daemon.run(*TRAINERD, "down").returncode == 0
