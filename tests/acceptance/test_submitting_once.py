"""A submit is taken once and whole, or not at all: the same key twice, and a full disk."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from live_daemon import Json, LiveDaemon, what_is_queued

from tests.small_disk import full_disk
from trainctl import http_client
from trainerd.contracts import unix_sockets


def post(daemon: LiveDaemon, configuration: Path, key: str) -> tuple[int, Json]:
    """(status, answer) of one POST to the real socket, as any client may send it."""
    body = {"runs": [{"path": str(configuration), "text": configuration.read_text()}]}
    connection = unix_sockets.connect(daemon.home / "control.sock", timeout_seconds=20)
    headers = {"Idempotency-Key": key}
    response = http_client.exchange(connection, "POST", "/v1/runs", headers, json.dumps(body).encode())
    answer: Json = json.loads(response.body())
    return response.status, answer


def test_submitting_twice_with_one_idempotency_key_is_one_run(daemon: LiveDaemon, short: Path) -> None:
    """Also when the first one has ended long before the second one comes."""
    before = all_runs(daemon)

    first_status, first = post(daemon, short, "one-and-the-same")
    run = str(first["runs"][0]["id"])
    assert daemon.trainctl("wait", run).returncode == 0
    second_status, second = post(daemon, short, "one-and-the-same")

    assert (first_status, second_status) == (201, 201)
    assert [each["id"] for each in second["runs"]] == [int(run)]
    assert all_runs(daemon) == [run, *before]
    assert post(daemon, short, "another")[1]["runs"][0]["id"] > int(run)


def test_a_submit_that_the_command_log_cannot_store_is_refused_whole(daemon: LiveDaemon, short: Path) -> None:
    """Whoever may not mount can still take the room from one process: no file of it may grow any more."""
    before = what_is_queued(daemon)

    with no_room_for(daemon, "trainerd control"):
        refused = daemon.trainctl("submit", short)

    assert refused.returncode == 1
    assert "commands.sqlite" in refused.stderr
    assert what_is_queued(daemon) == before
    assert daemon.trainctl("wait", daemon.submit(short)).returncode == 0


@contextmanager
def no_room_for(daemon: LiveDaemon, title: str) -> Iterator[None]:
    process = daemon.process(title)
    assert process is not None
    unlimited = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, unlimited[1]))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, unlimited)


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
@pytest.mark.parametrize(
    ("free_bytes", "exit_code", "complaint"),
    [(0, 78, "do not fit the disk"), (40960, 1, "bytes are free"), (65536, 1, "bytes are free")],
    ids=["no room for a checkpoint", "none in the command log", "none for what follows"],
)
def test_a_full_disk_refuses_a_submit_and_leaves_nothing_half_queued(
    small_daemon: LiveDaemon, short: Path, free_bytes: int, exit_code: int, complaint: str
) -> None:
    """The whole home is on that disk; with room again the very same order is taken."""
    before = what_is_queued(small_daemon)
    with full_disk(small_daemon.home, free_bytes):
        refused = small_daemon.trainctl("submit", short)

        assert refused.returncode == exit_code, refused.stderr
        assert complaint in refused.stderr
        assert str(small_daemon.home) in refused.stderr
        assert what_is_queued(small_daemon) == before

    assert what_is_queued(small_daemon) == before
    assert small_daemon.trainctl("wait", small_daemon.submit(short)).returncode == 0


def all_runs(daemon: LiveDaemon) -> list[str]:
    """The ids of all runs, newest first."""
    return daemon.trainctl("list", "--all", "-o", "id").stdout.split()
