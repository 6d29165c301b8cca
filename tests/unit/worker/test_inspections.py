"""An inspection for which the machine has no room."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from trainerd.contracts.errors import Finding
from trainerd.contracts.messages import Connection, Inspect, Inspected
from trainerd.worker.inspections import Inspections


def test_a_host_that_cannot_fork_says_so_and_does_not_blame_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", no_room)
    asking, answering = socket.socketpair()
    asking.settimeout(10)

    child = Inspections(lambda *_: 0).begin(Inspect("/run.yaml", "name: run"), Connection(answering))

    assert child is None
    answer = Connection(asking).receive()
    assert isinstance(answer, Inspected)
    assert answer.spec is None
    [finding] = [Finding.from_json(document) for document in answer.findings]
    assert "nothing was checked: the worker host could not start an inspector: Resource temp" in finding.message
    assert finding.file is None
    asking.close()
