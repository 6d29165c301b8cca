"""The control plane is killed (SIGKILL) while clients give orders: none that is accepted is lost or counts twice."""

from __future__ import annotations

import json
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from persistent_clients import PersistentClient
from raw_client import Json, RawClient, Reply
from test_random_kills import SHORT, await_restart, kill_parts, pid_of

from tests.acceptance.live_daemon import LiveDaemon
from tests.polling import poll
from trainctl import http_client
from trainerd.contracts import unix_sockets
from trainerd.store.command_log import CommandLogReader

CLIENTS = 4
ANSWERS_BETWEEN_KILLS = 3  # so many runs at least are submitted before the next kill
USUAL_ANSWER_SECONDS = 0.2
STEADY_SECONDS = 1.1  # see trainerd.embedded.part


@pytest.fixture
def configuration(daemon: LiveDaemon, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "short.yaml"
    path.write_text(SHORT)
    yield path
    daemon.trainctl("cancel", "--all")


@pytest.mark.dies("the control plane")
@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.torture)])
def test_no_accepted_order_is_lost_or_carried_out_twice(daemon: LiveDaemon, configuration: Path, kills: int) -> None:
    """Killed at random moments, with one request half sent and one sent whole and not yet answered.

    Clients see an answer or a clean error, and the same key gives the same answer; half a request orders nothing.
    """
    series = f"of-{kills}"
    clients = [PersistentClient(daemon.home, f"{series}-{number}", configuration) for number in range(CLIENTS)]
    answered: dict[str, int] = {}  # what was sent whole and answered in spite of the kill
    halves, wholes = ([f"{kind}-{series}-{number}" for number in range(kills)] for kind in ("half", "whole"))
    with ExitStack() as working:
        for client in clients:
            working.enter_context(client)
        for half, whole in zip(halves, wholes, strict=True):
            await_more_answers(clients)
            await_steadiness(daemon)
            answered |= kill_in_mid_request(daemon, configuration, half, whole)
        await_more_answers(clients)

    assert [wrong for client in clients for wrong in client.wrong] == []
    assert sum(client.unanswered for client in clients) >= kills, "the kills came in between"
    assert set(halves).isdisjoint(run["name"] for run in all_runs(daemon))
    repeated = {name: submit_until_answered(daemon, configuration, name) for name in [*halves, *wholes]}
    assert answered.items() <= repeated.items(), "the same key is the same run"
    assert_each_is_there_once(daemon, series, clients, repeated)


def kill_in_mid_request(daemon: LiveDaemon, configuration: Path, half: str, whole: str) -> dict[str, int]:
    """Kill the control plane while it has both requests, the first one in part; the run that it answers, if any."""
    request = encoded_submit(configuration, half)
    with connected(daemon) as first, connected(daemon) as second:
        first.sendall(request[: random.randrange(1, len(request))])
        second.sendall(encoded_submit(configuration, whole))
        second.settimeout(random.uniform(0.001, USUAL_ANSWER_SECONDS))
        with suppress(TimeoutError):
            second.recv(1, socket.MSG_PEEK)
        [killed] = kill_parts(daemon, ("control",))
        with suppress(ConnectionError):
            assert first.recv(1 << 16) == b"", "half a request is answered"
        answer = read_answer(second)
    await_restart(daemon, "control", killed)
    return {whole: answer["runs"][0]["id"]} if answer else {}


def assert_each_is_there_once(
    daemon: LiveDaemon, series: str, clients: list[PersistentClient], repeated: dict[str, int]
) -> None:
    """Every run that a client was told of, as its orders have left it, and no other one."""
    listed = [run for run in all_runs(daemon) if series in run["name"]]
    found = {run["name"]: run for run in listed}
    assert len(found) == len(listed), "none is doubled"
    assert {name: found[name]["id"] for name in repeated} == repeated
    for each in [each for client in clients for each in client.done]:
        shown = (found[each.name]["id"], found[each.name]["priority"], found[each.name]["state"])
        assert shown == (each.run, each.priority, "cancelled" if each.is_cancelled else "held"), "none is lost"
    commands = CommandLogReader(daemon.home / "commands.sqlite").after(0, limit=1 << 20)
    assert max(Counter(command.key for command in commands).values()) == 1


def await_more_answers(clients: list[PersistentClient]) -> None:
    count = sum(len(client.done) for client in clients) + ANSWERS_BETWEEN_KILLS
    poll(
        lambda: sum(len(client.done) for client in clients) >= count or any(client.wrong for client in clients),
        lambda: f"{count} runs are submitted, moved and repeated: {[len(client.done) for client in clients]}",
        seconds=60,
    )


def await_steadiness(daemon: LiveDaemon) -> None:
    """It has lived long enough to be started again at once: what dies at its start waits longer each time."""
    pid = poll(lambda: pid_of(daemon, "control"), "the control plane lives", seconds=60)
    assert pid is not None
    started = psutil.Process(pid).create_time()
    poll(lambda: time.time() - started > STEADY_SECONDS, "the control plane is steady")


def encoded_submit(configuration: Path, name: str) -> bytes:
    wishes = {"path": str(configuration), "text": configuration.read_text(), "name": name, "hold": True}
    body = json.dumps({"runs": [wishes]}).encode()
    return http_client.encode_request("POST", "/v1/runs", {"Idempotency-Key": name}, body)


@contextmanager
def connected(daemon: LiveDaemon) -> Iterator[socket.socket]:
    socket_path = daemon.home / "control.sock"

    def look() -> socket.socket | None:
        with suppress(OSError):
            return unix_sockets.connect(socket_path, timeout_seconds=20)
        return None

    connection = poll(look, "the control plane listens", seconds=60)
    assert connection is not None
    with connection:
        yield connection


def read_answer(connection: socket.socket) -> Json | None:
    """The whole answer, where it had been sent before the kill."""
    connection.settimeout(20)
    with suppress(ConnectionError):
        response = http_client.Response(lambda: connection.recv(1 << 16))
        answer: Json = json.loads(response.body())
        assert response.status in (201, 202), answer
        return answer
    return None


def submit_until_answered(daemon: LiveDaemon, configuration: Path, name: str) -> int:
    """The run of this name, which is its idempotency key too."""

    def look() -> Reply | None:
        with suppress(ConnectionError, FileNotFoundError):
            reply = RawClient(daemon.home).submit(configuration, {"name": name, "hold": True}, key=name)
            assert reply.status in (201, 202, 503), reply
            return reply if reply.status != 503 else None
        return None

    reply = poll(look, f"{name} is submitted", seconds=60)
    assert reply is not None
    return int(reply.document["runs"][0]["id"])


def all_runs(daemon: LiveDaemon) -> list[Json]:
    def look() -> Reply | None:
        with suppress(ConnectionError, FileNotFoundError):
            reply = RawClient(daemon.home).get("/v1/runs?all=true")
            return reply if reply.status == 200 else None
        return None

    reply = poll(look, "the runs are listed", seconds=60)
    assert reply is not None
    return list(reply.document["runs"])
