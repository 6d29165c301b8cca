"""A supervisor that was replaced while it stood still has nothing more to say to the worker host, whatever it tries."""

from __future__ import annotations

from typing import Any

from worker_harness import Host, events_of, eventually

from tests.polling import poll
from trainerd.contracts.journal import Event
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import State
from trainerd.supervisor.worker_link import WorkerLink


def hears(link: WorkerLink) -> Any:
    """Let the link take in what the host has said; what lives, as far as it knows."""
    link.hear()
    return link.living


def is_shut_out(link: WorkerLink) -> bool:
    if link.connection is not None:
        link.hear()
    return link.connection is None


def record_of(run: int, attempt: int = 1) -> RunRecord:
    return RunRecord(run, "run", State.STARTING, 0, 0, run, None, "", {}).updated(attempt=attempt)


def test_a_link_of_an_older_epoch_starts_and_kills_nothing(new_host: Host) -> None:
    """Each is tried on the connection that the old one had, and on every one that it makes anew."""
    socket = new_host.home / "worker.sock"
    (kept, kept_directory), (started, directory) = new_host.new_run("wait"), new_host.new_run("wait")
    old, new = WorkerLink(socket, epoch=5), WorkerLink(socket, epoch=6)
    poll(lambda: hears(old) is not None, "the old one supervises")
    poll(lambda: hears(new) is not None, "the new one has replaced it")
    new.start(record_of(kept), kept_directory.path)
    poll(lambda: (kept, 1) in (hears(new) or {}), "the new one's run trains")

    for _ in range(5):  # woken, it does not know that it was replaced
        old.start(record_of(started), directory.path)
        old.kill((kept, 1))
        poll(lambda: is_shut_out(old), "its connection is closed")
        old.hear()  # it connects anew
        assert old.living is None, "it is told nothing"

    old.close()
    new.start(record_of(started, attempt=2), directory.path)
    eventually("the new one is obeyed", lambda: (started, 2) in (hears(new) or {}))
    eventually("its trainer says so", lambda: events_of(directory, Event.STARTED))
    assert [event["attempt"] for event in events_of(directory, Event.STARTED)] == [2]
    assert (kept, 1) in new.living
    assert events_of(kept_directory, Event.ENDED) == []
    new.close()
