"""Trainers and their worker host may be killed (SIGKILL) at any moment: runs end in the very same bits."""

from __future__ import annotations

import itertools
import os
import random
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest
from same_end import STEPS, assert_same_end
from small_runs import DATA, MODELS, SLOTS, write_run

from tests.acceptance.live_daemon import LiveDaemon
from tests.frozen_trainer import events, frozen_inside_epoch, newest_committed, pulse_step, start_of
from tests.polling import poll
from trainerd.contracts.locks import holder_of
from trainerd.contracts.processes import is_alive
from trainerd.contracts.run_directory import RunDirectory

KILLS_PER_RUN = 5
HOST_KILLS_PER_BATCH = 3
CHECKPOINT_EVERY = 20  # steps
IN_FLIGHT = 3  # checkpoints' worth of steps at most: the one that is due, and two that are being written
ENDED = ("completed", "failed")

Kind = tuple[str, str]
KINDS: list[Kind] = list(zip(DATA, MODELS, strict=True))


@dataclass(frozen=True)
class Reference:
    """A configuration, and the directory of its run that nothing has interrupted."""

    configuration: Path
    directory: RunDirectory


@pytest.fixture(scope="module")
def uninterrupted(wide_daemon: LiveDaemon, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind], Reference]:
    """A kind's configuration, and how its run ends when nothing interrupts it."""
    folder = tmp_path_factory.mktemp("configurations")
    configurations = {kind: write_run(folder, *kind) for kind in KINDS}
    runs = {kind: submit(wide_daemon, configurations[kind]) for kind in KINDS}
    assert wide_daemon.trainctl("wait", *runs.values()).returncode == 0
    return lambda kind: Reference(configurations[kind], wide_daemon.directory(runs[kind]))


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("count", [3, pytest.param(100, marks=pytest.mark.torture)])
def test_runs_whose_trainers_are_killed_five_times_each_end_in_the_same_bits(
    daemon: LiveDaemon, uninterrupted: Callable[[Kind], Reference], count: int
) -> None:
    """And repeat at most the steps behind the checkpoints that were being written."""
    kinds = list(itertools.islice(itertools.cycle(KINDS), count))
    configurations = [uninterrupted(kind).configuration for kind in kinds]

    with ThreadPoolExecutor(SLOTS) as threads:  # as many as train at a time, so that none trains unseen
        runs = list(threads.map(partial(live_through_kills, daemon), configurations))
    assert daemon.trainctl("wait", *runs).returncode == 0

    for run, kind in zip(runs, kinds, strict=True):
        directory = daemon.directory(run)
        assert_same_end(directory, uninterrupted(kind).directory)
        assert daemon.show(run)["attempt"] == KILLS_PER_RUN + 1
        assert_repeated_little(directory)


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kills", [3, pytest.param(51, marks=pytest.mark.torture)])
def test_runs_whose_worker_host_is_killed_go_on_by_themselves_and_leave_no_trainer_behind(
    daemon: LiveDaemon, uninterrupted: Callable[[Kind], Reference], kills: int
) -> None:
    for _ in range(kills // HOST_KILLS_PER_BATCH):
        runs = [submit(daemon, uninterrupted(kind).configuration) for kind in KINDS]
        for number in range(1, HOST_KILLS_PER_BATCH + 1):
            kill_host(daemon, runs, part=number)
        assert daemon.trainctl("wait", *runs).returncode == 0
        for run, kind in zip(runs, KINDS, strict=True):
            assert_same_end(daemon.directory(run), uninterrupted(kind).directory)
            assert daemon.show(run)["exactness"] in ("exact", None)  # None: it had ended before the first kill


def submit(daemon: LiveDaemon, configuration: Path) -> str:
    """With checkpoints far enough apart, and as many tries as it takes."""
    overrides = [f"checkpoint.every_steps={CHECKPOINT_EVERY}", "retry.max_failures=20", "retry.backoff_seconds=0.1"]
    return daemon.submit(configuration, *overrides)


def live_through_kills(daemon: LiveDaemon, configuration: Path) -> str:
    """A run whose trainer has been killed at a random step of each of its parts but the last."""
    run = submit(daemon, configuration)
    directory, part = daemon.directory(run), STEPS // (KILLS_PER_RUN + 1)
    for attempt in range(1, KILLS_PER_RUN + 1):
        aim = part * attempt - random.randrange(part)
        started = poll(lambda attempt=attempt: start_of(directory, attempt), f"{run} starts", seconds=600)
        with frozen_inside_epoch(aim, directory, attempt):
            os.kill(started["pid"], signal.SIGKILL)
    return run


def assert_repeated_little(directory: RunDirectory) -> None:
    crashes = [event for event in events(directory, "ended") if event["state"] == "crashed"]
    resumed = {event["attempt"]: event["step"] for event in events(directory, "resumed")}
    assert len(crashes) == KILLS_PER_RUN
    for crash in crashes:
        went_on_from = resumed.get(crash["attempt"] + 1, 0)
        assert newest_committed(directory, crash["attempt"]) <= went_on_from
        assert crash["step"] - went_on_from <= IN_FLIGHT * CHECKPOINT_EVERY


def kill_host(daemon: LiveDaemon, runs: Sequence[str], part: int) -> None:
    """Kill it when the first run has done its `part`th part; its trainers are gone at once, and another one comes."""
    aim = STEPS * part // (HOST_KILLS_PER_BATCH + 1) - random.randrange(STEPS // (HOST_KILLS_PER_BATCH + 1))
    first = daemon.directory(runs[0])
    poll(lambda: pulse_step(first) >= aim or has_ended(daemon, runs[0]), f"step {aim}", seconds=120)
    lock = daemon.home / "worker.lock"
    host = poll(lambda: holder_of(lock), "a worker host lives", seconds=60)
    trainers = []
    with suppress(psutil.NoSuchProcess):
        trainers = [child.pid for child in psutil.Process(host).children()]

    os.kill(host, signal.SIGKILL)

    poll(lambda: not any(is_alive(trainer) for trainer in trainers), "no trainer is left behind", seconds=10)
    poll(lambda: holder_of(lock) not in (None, host), "another worker host lives", seconds=60)


def has_ended(daemon: LiveDaemon, run: str) -> bool:
    return daemon.look_at(run)["state"] in ENDED
