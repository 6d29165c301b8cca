"""Every ordinary interruption of a run, in two halves: what is done while its trainer stands still, and what follows.

`begin` is called while the trainer stands still. It returns the second half, to be called once the trainer may move
again, which takes the run to its next attempt: by an order where a person has to give one, else it goes on by itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier

from tests.acceptance.live_daemon import LiveDaemon
from tests.frozen_trainer import await_order, order_number, start_of
from tests.polling import poll
from trainerd.contracts.locks import holder_of
from trainerd.contracts.pages import Order
from trainerd.contracts.processes import is_alive, living_members_of_session
from trainerd.contracts.run_directory import RunDirectory

_OTHERS_COME_WITHIN_SECONDS = 60


@dataclass
class InterruptedRun:
    """A run of a live daemon, the number of its newest attempt, and the step at which each one was interrupted."""

    daemon: LiveDaemon
    id: str
    attempt: int = 1
    interrupted_at: list[int] = field(default_factory=list)

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(Path(self.daemon.home, "runs", self.id))

    @property
    def trainer(self) -> int:
        started = start_of(self.directory, self.attempt)
        assert started is not None
        return int(started["pid"])

    def is_free(self) -> bool:
        """Whether no process of this attempt is left, and nobody holds its directory."""
        return not living_members_of_session(self.trainer) and holder_of(self.directory.lock) is None


WhatFollows = Callable[[], object]


@dataclass(frozen=True)
class Interruption:
    """See the module."""

    name: str
    begin: Callable[[InterruptedRun], WhatFollows]
    saves: bool = True  # whether the trainer gets to commit a checkpoint of the step at which it stands


def pause_and_resume(run: InterruptedRun) -> WhatFollows:
    return _order_and_resume(run, "pause", Order.PAUSE, "paused")


def stop_and_resume(run: InterruptedRun) -> WhatFollows:
    return _order_and_resume(run, "stop", Order.STOP, "stopped")


def _order_and_resume(run: InterruptedRun, verb: str, order: Order, state: str) -> WhatFollows:
    """What the order promises holds the moment that it returns: the run's state, and that nothing of it lives."""
    before = order_number(order, run.directory)
    ordering = subprocess.Popen(["trainctl", verb, run.id], env=run.daemon.environment, stdout=subprocess.DEVNULL)
    await_order(order, run.directory, before)

    def see_it_obeyed_and_resume() -> None:
        assert ordering.wait(timeout=60) == 0
        assert run.is_free()
        assert run.daemon.show(run.id)["state"] == state
        resumed = run.daemon.trainctl("resume", run.id)
        assert resumed.returncode == 0, resumed.stderr

    return see_it_obeyed_and_resume


def send(number: signal.Signals) -> Callable[[InterruptedRun], WhatFollows]:
    def begin(run: InterruptedRun) -> WhatFollows:
        os.kill(run.trainer, number)
        return lambda: None

    return begin


OF_ONE_RUN = (
    *[Interruption("pause + resume", pause_and_resume)] * 3,
    Interruption("stop + resume", stop_and_resume),
    Interruption("SIGTERM", send(signal.SIGTERM)),
    Interruption("SIGKILL", send(signal.SIGKILL), saves=False),
)


def of_all_runs(runs: list[InterruptedRun]) -> tuple[Interruption, ...]:
    """What comes to all runs at once: each has a thread of its own, and they wait for each other."""
    return (
        Interruption("down + up", _AllAtOnce(runs, down_and_up)),
        Interruption("SIGKILL of the worker host", _AllAtOnce(runs, kill_worker_host), saves=False),
    )


def down_and_up(runs: list[InterruptedRun]) -> WhatFollows:
    daemon = runs[0].daemon
    before = [order_number(Order.INTERRUPT, run.directory) for run in runs]
    down = subprocess.Popen(["trainerd", "down"], env=daemon.environment, stderr=subprocess.DEVNULL)
    for run, number in zip(runs, before, strict=True):
        await_order(Order.INTERRUPT, run.directory, number)

    def see_its_end_and_start() -> None:
        assert down.wait(timeout=60) == 0
        daemon.await_end()
        assert all(run.is_free() for run in runs)
        daemon.start()

    return see_its_end_and_start


def kill_worker_host(runs: list[InterruptedRun]) -> WhatFollows:
    host = runs[0].daemon.process("trainerd worker")
    assert host is not None
    host.kill()
    poll(lambda: not any(is_alive(run.trainer) for run in runs), "the trainers have died with their host")
    return lambda: None


class _AllAtOnce:
    """Each half is done once, by whichever run's thread comes last, when the trainers of all runs are ready for it."""

    def __init__(self, runs: list[InterruptedRun], begin: Callable[[list[InterruptedRun]], WhatFollows]) -> None:
        self._runs, self._begin = runs, begin
        self._frozen = Barrier(len(runs), self._begin_for_all, _OTHERS_COME_WITHIN_SECONDS)
        self._free = Barrier(len(runs), lambda: self._what_follows(), _OTHERS_COME_WITHIN_SECONDS)

    def __call__(self, _run: InterruptedRun) -> WhatFollows:
        self._frozen.wait()
        return self._free.wait

    def _begin_for_all(self) -> None:
        self._what_follows = self._begin(self._runs)
