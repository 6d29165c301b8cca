"""What is said to a worker host that is away is not taken for said."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from run_records import a_run

from trainerd.contracts import unix_sockets
from trainerd.contracts.messages import Connection, Kill, Message, Running, Start, Supervise
from trainerd.supervisor.worker_link import WorkerLink


@pytest.fixture
def listener(tmp_path: Path) -> socket.socket:
    listener = unix_sockets.bind(tmp_path / "worker.sock")
    listener.listen()
    return listener


def accept(listener: socket.socket) -> Connection:
    listener.settimeout(10)
    accepted, _ = listener.accept()
    accepted.settimeout(10)
    return Connection(accepted)


def test_what_was_ordered_of_a_host_that_had_gone_is_ordered_of_the_next(
    tmp_path: Path, listener: socket.socket
) -> None:
    """The host is lost within the orders of one tick: those that come behind reach nobody."""
    link = WorkerLink(tmp_path / "worker.sock", epoch=1)
    link.close()
    record = a_run(attempt=1)
    link.start(record, tmp_path)
    link.kill((record.id, 1))

    link.hear()
    assert link.announced == set(), "the run is started again"
    host = accept(listener)
    link.start(record, tmp_path)
    link.kill((record.id, 1))

    said: list[Message] = []
    while len(said) < 3:
        said += host.receive_available() or ()
    assert [type(message) for message in said] == [Supervise, Start, Kill]
    host.send(Running([]))
    link.hear()
    assert link.living == {}
    link.close()
