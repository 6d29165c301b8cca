"""No descriptor, no process, no quota left for one process of the daemon: a clear error, and on it goes afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from strace import troubled

from tests.acceptance.live_daemon import LiveDaemon
from tests.faults.raw_client import RawClient, Reply
from tests.polling import poll
from trainerd.contracts.locks import holder_of

PARTS = ("supervisor", "control", "worker")
TROUBLES = {
    "no processes": "clone,clone3,fork,vfork:error=EAGAIN",
    "no descriptors": "openat,socket,socketpair,pidfd_open,epoll_create1:error=EMFILE",
    "no descriptors for callers": "accept,accept4:error=EMFILE:when=1..3",
    "no quota": "write,pwrite64,ftruncate,fallocate,fsync,fdatasync,mkdir,mkdirat:error=EDQUOT",
}
SHORT = """\
name: short
data: {kind: synthetic, samples: 64, inputs: {shape: [8]}, targets: {shape: [1]}, split: {val: 0.25}, batch_size: 32}
model: {name: mlp, args: {hidden: [8]}}
loss: {name: mse}
trainer: {max_epochs: 1, device: cpu}
resources: {cpus: 1}
retry: {backoff_seconds: 0.1, max_failures: 1000}
"""

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveDaemon]:
    daemon = LiveDaemon(tmp_path_factory.mktemp("home"))
    yield daemon
    daemon.terminate()


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("part", PARTS)
def test_a_process_that_lacks_something_says_so_lives_and_goes_on(
    daemon: LiveDaemon, tmp_path: Path, part: str, trouble: str
) -> None:
    """Whatever is asked meanwhile is answered: done, pending, or with an error that is none of ours."""
    configuration, client = tmp_path / "short.yaml", RawClient(daemon.home)
    configuration.write_text(SHORT)
    ended = id_of(client.submit(configuration))
    assert daemon.trainctl("wait", ended).returncode == 0
    held = id_of(client.submit(configuration, {"hold": True}))
    processes = processes_of(daemon)

    with troubled(processes[part], TROUBLES[trouble], tmp_path / "calls"):
        replies = [
            client.submit(configuration),
            client.post(f"/v1/runs/{held}/move", {"priority": 3}),
            client.post(f"/v1/runs/{held}/resume", {}),
            client.post(f"/v1/runs/{ended}/remove", {}),
            client.get("/v1/runs?all=true"),
            client.get(f"/v1/runs/{ended}"),
        ]

    assert [reply for reply in replies if is_a_bug(reply)] == []
    assert processes_of(daemon) == processes, "none of them has died"
    for reply in replies:
        poll(lambda reply=reply: is_settled(client, reply), f"{reply} is carried out")  # type: ignore[misc]
    last = daemon.submit(configuration)
    if daemon.show(held)["state"] == "held":  # it could not be told to go on
        assert daemon.trainctl("resume", held).returncode == 0
    assert daemon.trainctl("wait", held, last).returncode == 0
    assert processes_of(daemon) == processes, "none of them has died"


def is_a_bug(reply: Reply) -> bool:
    """Whether we know no better than that something failed."""
    return reply.status == 500 or not (reply.status < 400 or reply.document.get("detail"))


def is_settled(client: RawClient, reply: Reply) -> bool:
    if reply.status != 202:
        return True
    answer = client.get(f"/v1/commands/{reply.document['command']}")
    return answer.document["state"] != "pending"


def id_of(reply: Reply) -> str:
    assert reply.status == 201, reply
    return str(reply.document["runs"][0]["id"])


def processes_of(daemon: LiveDaemon) -> dict[str, int]:
    found = {part: holder_of(daemon.home / f"{part}.lock") for part in PARTS}
    assert all(found.values()), found
    return {part: pid for part, pid in found.items() if pid}
