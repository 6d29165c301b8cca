"""Supervisor and control plane may be killed (SIGKILL) at any moment: runs lose no step, and no order is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest
from raw_client import Json, RawClient

from tests.acceptance.live_daemon import LiveDaemon
from tests.polling import poll
from trainerd.contracts.locks import holder_of
from trainerd.contracts.pages import PulsePage
from trainerd.contracts.run_directory import RunDirectory

VICTIMS = (("supervisor",), ("control",), ("supervisor", "control"))
RIGHT_WITHIN_SECONDS = 1.0
FEW_STEPS = 300  # a moment is drawn among so many steps of a run, which take a few tenths of a second
SHORT = """\
name: short
data: {kind: synthetic, samples: 64, inputs: {shape: [8]}, targets: {shape: [1]}, split: {val: 0.25}, batch_size: 32}
model: {name: mlp, args: {hidden: [8]}}
loss: {name: mse}
trainer: {max_epochs: 1, device: cpu}
resources: {cpus: 1}
"""
ENDLESS = SHORT.replace("short", "endless").replace("max_epochs: 1", "max_epochs: 100000000")


@dataclass(frozen=True)
class Training:
    """A run under way, as its trainer's page shows it: nobody else has to live for that."""

    id: int
    directory: RunDirectory
    pid: int

    @property
    def step(self) -> int:
        return PulsePage(self.directory.pulse_page).read().step


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveDaemon]:
    home = tmp_path_factory.mktemp("home")
    (home / "trainerd.toml").write_text("slots = 2\n")
    daemon = LiveDaemon(home)
    yield daemon
    try:
        daemon.trainctl("kill", "--all")
    finally:
        daemon.terminate()


def start_training(daemon: LiveDaemon, configuration: Path, count: int) -> list[Training]:
    runs = [daemon.await_step(daemon.submit(configuration), 1) for _ in range(count)]
    return [Training(run["id"], RunDirectory(Path(run["run_dir"])), run["pids"][0]) for run in runs]


def kill_parts(daemon: LiveDaemon, parts: tuple[str, ...]) -> list[int]:
    """Kill them; the processes that they were. One that is just being started is awaited."""
    pids = [poll(lambda part=part: pid_of(daemon, part), f"{part} lives", seconds=60) for part in parts]  # type: ignore[misc]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return pids


def pid_of(daemon: LiveDaemon, part: str) -> int | None:
    return holder_of(daemon.home / f"{part}.lock")


def await_restart(daemon: LiveDaemon, part: str, killed: int) -> None:
    poll(lambda: pid_of(daemon, part) not in (None, killed), f"{part} is started again", seconds=60)


def what_is_told(client: RawClient) -> Json | None:
    """The daemon's whole answer; None while it has none."""
    with suppress(OSError):
        reply = client.get("/v1/status")
        return reply.document if reply.status == 200 else None
    return None


def is_right(told: Json | None, runs: list[Training], supervisor: int | None) -> bool:
    """Whether the living supervisor stands behind an answer that says of every run what is true."""
    if told is None or told["supervisor"].get("pid") != supervisor or not told["worker"].get("supervised"):
        return False
    expected = {(run.id, "running", 1, run.pid) for run in runs}
    return expected == {(run["id"], run["state"], run["attempt"], *run["pids"]) for run in told["active"]}


@pytest.mark.dies("the supervisor")
@pytest.mark.dies("the control plane")
@pytest.mark.parametrize("rounds", [6, pytest.param(50, marks=pytest.mark.torture)])
def test_runs_go_on_through_kills_of_supervisor_and_control_plane(
    daemon: LiveDaemon, tmp_path: Path, rounds: int
) -> None:
    """The same trainers, stepping during the outage, attempt 1; and the state is right soon after the restart."""
    (tmp_path / "endless.yaml").write_text(ENDLESS)
    runs, client = start_training(daemon, tmp_path / "endless.yaml", count=2), RawClient(daemon.home)
    seconds: list[float] = []
    for number in range(rounds):
        moment = runs[0].step + random.randrange(FEW_STEPS)
        poll(lambda moment=moment: runs[0].step >= moment, "the moment has come", seconds=60)  # type: ignore[misc]
        parts = VICTIMS[number % len(VICTIMS)]
        steps = [run.step for run in runs]

        killed = kill_parts(daemon, parts)

        for run, step in zip(runs, steps, strict=True):
            poll(lambda run=run, step=step: run.step > step, f"run {run.id} steps during the outage")  # type: ignore[misc]
        for part, pid in zip(parts, killed, strict=True):
            await_restart(daemon, part, pid)
        restarted = time.monotonic()
        poll(
            lambda: is_right(what_is_told(client), runs, pid_of(daemon, "supervisor")),
            lambda: f"the state is right: {what_is_told(client)}",
        )
        seconds.append(time.monotonic() - restarted)

    print(f"right again after {median(seconds):.2f} s (median), {max(seconds):.2f} s (longest of {rounds})")
    assert median(seconds) <= RIGHT_WITHIN_SECONDS, seconds
    for run in runs:
        assert daemon.trainctl("stop", str(run.id)).returncode == 0
        ended = daemon.show(str(run.id))
        assert (ended["state"], ended["attempt"], ended["exactness"]) == ("stopped", 1, None)


@pytest.mark.parametrize("rounds", [4, pytest.param(25, marks=pytest.mark.torture)])
def test_every_acknowledged_submit_is_one_run_whoever_is_killed_around_it(
    daemon: LiveDaemon, tmp_path: Path, rounds: int
) -> None:
    """At random moments between the start of `trainctl submit` and its end: none lost, none doubled, none stuck."""
    configuration = tmp_path / "short.yaml"
    configuration.write_text(SHORT)
    began = time.monotonic()
    daemon.submit(configuration, "--name", "undisturbed")
    usual_seconds = time.monotonic() - began
    series, acknowledged = f"of-{rounds}-", dict[str, str]()
    for number in range(rounds):
        name = f"{series}{number}"
        submitting = subprocess.Popen(
            ["trainctl", "submit", str(configuration), "--name", name],
            env=daemon.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with suppress(subprocess.TimeoutExpired):
            submitting.wait(random.uniform(0, usual_seconds))

        kill_parts(daemon, VICTIMS[number % len(VICTIMS)])

        said, complaint = submitting.communicate(timeout=60)
        assert submitting.returncode in (0, 69), complaint
        acknowledged |= {name: said.strip()} if submitting.returncode == 0 else {}

    runs = RawClient(daemon.home)
    poll(lambda: what_is_told(runs), "the daemon answers")
    listed = [run for run in runs.get("/v1/runs?all=true").document["runs"] if run["name"].startswith(series)]
    assert max(Counter(run["name"] for run in listed).values()) == 1, "none is doubled"
    assert acknowledged.items() <= {run["name"]: str(run["id"]) for run in listed}.items(), "none is lost"
    assert len(acknowledged) > rounds // 2, "trainctl outlasts nearly all of it"
    assert daemon.trainctl("wait", *(str(run["id"]) for run in listed)).returncode == 0, "none is stuck"
