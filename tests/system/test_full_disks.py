"""A disk that is full, for command log and state, or all of a daemon: one clear error, and on it goes with room."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import plain_store
import pytest
from disks import small_disk
from strace import calls_on, run_under_strace, spread

from tests.acceptance.live_daemon import LiveDaemon
from tests.faults.raw_client import RawClient, Reply
from tests.polling import poll
from trainerd.contracts.locks import PlaceLock, holder_of

WRITES = ("openat", "pwrite64", "write", "ftruncate", "fallocate")
PARTS = ("supervisor", "control", "worker")
ORDERS_OF_A_ROUND = 40
HELD = """\
name: held
data: {kind: synthetic, samples: 64, inputs: {shape: [8]}, targets: {shape: [1]}, split: {val: 0.25}, batch_size: 32}
model: {name: mlp, args: {hidden: [8]}}
loss: {name: mse}
trainer: {max_epochs: 1, device: cpu}
resources: {cpus: 1}
"""
HOLDER = """
import os, sys
from pathlib import Path
from trainerd.contracts.locks import PlaceLock, holder_of
assert holder_of(Path(sys.argv[1])) == os.getppid()
"""

pytestmark = pytest.mark.system


@pytest.mark.parametrize("kind", ["log", "state"])
@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT"])
@pytest.mark.parametrize("trials", [12, pytest.param(math.inf, marks=pytest.mark.torture)])
def test_a_full_disk_at_any_write_costs_no_acknowledged_transaction(
    tmp_path: Path, kind: str, error: str, trials: float
) -> None:
    """It is full for this call and the next one: what is refused is refused by DiskError, and later ones are stored."""
    (tmp_path / "undisturbed").mkdir()
    log = tmp_path / "undisturbed.calls"
    run_under_strace(store_in(tmp_path / "undisturbed", kind), log, names=WRITES)
    calls = [call for call in calls_on(tmp_path / "undisturbed", log) if "O_RDONLY" not in call.line]

    for number, call in enumerate(spread(calls, trials)):
        home = tmp_path / str(number)
        home.mkdir()
        full = f"{call.name}:error={error}:when={call.number}..{call.number + 1}"
        stored = run_under_strace(store_in(home, kind), tmp_path / f"{number}.calls", injected=[full])
        assert stored.returncode == 0, f"{call}\n{stored.stdout}{stored.stderr}"
        acknowledged = {int(line.split()[0]) for line in stored.stdout.splitlines() if line.endswith("stored")}
        assert len(acknowledged) >= plain_store.COUNT - 2, f"{call}\n{stored.stdout}"
        assert plain_store.what_is_read(kind, home) == acknowledged, f"{call}\n{stored.stdout}"


def store_in(home: Path, kind: str) -> list[str | Path]:
    return [sys.executable, plain_store.__file__, kind, home]


def test_a_place_can_be_taken_on_a_full_disk(tmp_path: Path) -> None:
    """The holder's number in the file is for people only: for want of it no process stays down."""
    with small_disk(tmp_path / "disk", kilobytes=64) as disk, full_disk(disk, kilobytes_left=0):
        lock = PlaceLock(disk / "new.lock", "holder")

        subprocess.run([sys.executable, "-c", HOLDER, disk / "new.lock"], check=True)
        lock.release()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[LiveDaemon]:
    with small_disk(tmp_path / "home", kilobytes=8 << 10) as home:
        daemon = LiveDaemon(home)
        yield daemon
        daemon.terminate()


def test_a_daemon_whose_disk_is_full_says_so_loses_no_order_and_goes_on_when_there_is_room(
    daemon: LiveDaemon, tmp_path: Path
) -> None:
    """With less and less room for command log and state, down to none."""
    configuration, client = tmp_path / "held.yaml", RawClient(daemon.home)
    configuration.write_text(HELD)
    run = client.submit(configuration, {"hold": True}).document["runs"][0]["id"]
    processes = [process_of(daemon, part) for part in PARTS]
    for kilobytes in (256, 64, 16, 4, 0):
        with full_disk(daemon.home, kilobytes):
            replies = order_until_refused(client, run)
            assert client.get("/v1/status").status == 200
            refused = client.submit(configuration)
            assert (refused.status, refused.document["title"]) in ((422, "refused"), (507, "disk"))

        for reply in replies:
            assert reply.status in (200, 202, 507), reply
        assert replies[-1].status != 200, "the disk was full"
        assert all("sqlite" in reply.document["detail"] for reply in replies if reply.status == 507)
        waiting = [reply.document["command"] for reply in replies if reply.status == 202]
        for number in waiting:
            poll(lambda number=number: is_applied(client, number), f"command {number} is applied")  # type: ignore[misc]
        assert client.post(f"/v1/runs/{run}/move", {"priority": 0}).status == 200
    assert [process_of(daemon, part) for part in PARTS] == processes, "none of them has died"


@pytest.mark.parametrize("part", PARTS[:2])
def test_a_process_that_dies_while_the_disk_is_full_goes_on_when_there_is_room(
    daemon: LiveDaemon, tmp_path: Path, part: str
) -> None:
    """It cannot start again before, and is tried again and again; nothing else dies of that."""
    configuration, client = tmp_path / "held.yaml", RawClient(daemon.home)
    configuration.write_text(HELD)
    run = client.submit(configuration, {"hold": True}).document["runs"][0]["id"]
    others = {other: process_of(daemon, other) for other in PARTS if other != part}

    with full_disk(daemon.home, kilobytes_left=0):
        victim = process_of(daemon, part)
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        poll(lambda: process_of(daemon, part) not in (None, victim), f"{part} is started again", seconds=60)

    poll(lambda: is_carried_out(client, run), "orders are carried out", seconds=60)
    assert {other: process_of(daemon, other) for other in others} == others


def is_carried_out(client: RawClient, run: int) -> bool:
    try:
        return client.post(f"/v1/runs/{run}/move", {"priority": 0}).status == 200
    except OSError:
        return False


@contextmanager
def full_disk(home: Path, kilobytes_left: int) -> Iterator[None]:
    ballast = home / "ballast"
    fd = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        fill(fd)
        os.ftruncate(fd, os.fstat(fd).st_size - (kilobytes_left << 10))
        yield
    finally:
        os.close(fd)
        ballast.unlink()


def fill(fd: int) -> None:
    """Write until nothing more fits."""
    for block in (1 << 16, 1 << 12):
        with suppress(OSError):
            while os.write(fd, b"x" * block):
                pass


def order_until_refused(client: RawClient, run: int) -> list[Reply]:
    """The replies to one order after the other, up to the first that was not carried out at once."""
    replies = []
    for priority in range(ORDERS_OF_A_ROUND):
        replies.append(client.post(f"/v1/runs/{run}/move", {"priority": priority + 1}))
        if replies[-1].status != 200:
            break
    return replies


def is_applied(client: RawClient, number: int) -> bool:
    reply = client.get(f"/v1/commands/{number}")
    return reply.status == 200 and reply.document["state"] == "applied"


def process_of(daemon: LiveDaemon, part: str) -> int | None:
    return holder_of(daemon.home / f"{part}.lock")
