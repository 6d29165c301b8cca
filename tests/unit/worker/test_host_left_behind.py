"""A process that a device holds cannot be killed, nor made here: the system calls that tell of it are stand-ins."""

from __future__ import annotations

import socket

import pytest

from trainerd.worker import host
from trainerd.worker.host import WorkerHost
from trainerd.worker.inspections import Inspections
from trainerd.worker.trainers import Trainers

HELD_BY_A_DEVICE = 1 << 22


class SettledTrainers(Trainers):
    """Counts how often ends may be recorded."""

    def __init__(self) -> None:
        super().__init__(lambda _: 0, hang_seconds=300.0)
        self.settled = 0

    def settle_ended(self) -> bool:
        self.settled += 1
        return False


def test_ends_are_recorded_though_a_killed_process_does_not_die(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trainers, now = SettledTrainers(), 1000.0
    killed: list[int] = []
    monkeypatch.setattr(host, "living_children_of", lambda _: [HELD_BY_A_DEVICE])
    monkeypatch.setattr(host.os, "kill", lambda pid, _: killed.append(pid))
    monkeypatch.setattr(host.time, "monotonic", lambda: now)
    worker = WorkerHost(socket.socket(), trainers, Inspections(lambda *_: 0), grace_seconds=1.0)

    for now in (1000.0, 1005.0, 1009.9):
        worker._may_be_left_behind = worker._may_be_left_behind or now == 1000.0
        worker._kill_left_behind()
        worker._settle_ended()
    assert trainers.settled == 0

    now = 1010.1
    worker._kill_left_behind()
    worker._settle_ended()

    assert trainers.settled == 1
    assert set(killed) == {HELD_BY_A_DEVICE}
    assert f"processes [{HELD_BY_A_DEVICE}], which have been killed, do not die" in caplog.text
