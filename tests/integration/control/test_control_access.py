"""Only the owner and root give orders, and no header makes anybody else of a caller."""

from __future__ import annotations

import json
import os
import pwd
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from control_harness import Daemon, control_process

from trainerd.contracts import unix_sockets
from trainerd.contracts.places import Home
from trainerd.control.access import BODY_LIMIT_BYTES

ASK_AS_NOBODY = """
import os, socket, sys
os.setgroups([]), os.setgid(65534), os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
connection.sendall(sys.argv[2].encode())
while data := connection.recv(65536):
    sys.stdout.buffer.write(data)
"""
FORGED = "X-Forwarded-For: 127.0.0.1\r\nForwarded: for=_root\r\nX-Forwarded-User: root\r\nPeer: 0\r\n"


@pytest.fixture
def open_home() -> Iterator[Home]:
    """A home that other users can reach: no private directory above it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        path = Path(directory, "home")
        path.mkdir(mode=0o755)
        yield Home(path, path / "control.sock")


def test_the_socket_is_its_owners_alone(daemon: Daemon) -> None:
    status = daemon.home.control_socket.stat()

    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_uid == os.getuid()


def test_a_directory_made_for_the_socket_is_private_and_one_that_exists_is_left_alone(tmp_path: Path) -> None:
    """The home lies deeper than the address of a socket may be long; that is no hindrance either."""
    path = tmp_path / ("d" * 60) / ("e" * 60)
    path.mkdir(mode=0o750, parents=True)
    home = Home(path, path / "run" / "trainerd" / "control.sock")

    with control_process(home) as control:
        assert control.client.get("/v1/status").json()["home"] == str(path)

    assert stat.S_IMODE(home.control_socket.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_another_user_is_refused_and_told_whose_daemon_it_is(open_home: Home) -> None:
    with control_process(open_home):
        os.chmod(open_home.control_socket, 0o666)
        for method, target in [("GET", "/v1/status"), ("POST", "/v1/runs"), ("GET", "/v1/nothing")]:
            head, _, body = _ask_as_nobody(open_home, f"{method} {target} HTTP/1.1\r\nHost: trainerd\r\n{FORGED}")

            assert b" 403 " in head.splitlines()[0]
            problem = json.loads(body)
            assert (problem["exit_code"], problem["type"]) == (77, "urn:trainerd:problem:not-permitted")
            assert pwd.getpwuid(os.getuid()).pw_name in problem["detail"]


@pytest.mark.parametrize("header", ["Origin", "Referer"])
def test_what_a_web_page_sends_is_refused(daemon: Daemon, header: str) -> None:
    reply = daemon.client.get("/v1/status", **{header: "http://localhost"})

    assert reply.problem() == (403, "not-permitted")
    assert header in reply.json()["detail"]


@pytest.mark.parametrize(
    ("host", "status"), [("trainerd", 200), ("localhost:80", 200), ("rebound.example", 403), ("", 403)]
)
def test_only_our_own_host_names_are_answered(daemon: Daemon, host: str, status: int) -> None:
    assert daemon.client.get("/v1/health", Host=host).status == status


def test_a_body_beyond_the_limit_is_refused_whether_it_says_its_length_or_not(daemon: Daemon) -> None:
    large = b" " * (BODY_LIMIT_BYTES + 1)

    told = daemon.client.ask("POST", "/v1/runs", headers={"Content-Length": str(len(large))}, raw=b"")
    assert told.problem() == (400, "usage")

    with unix_sockets.connect(daemon.home.control_socket, timeout_seconds=10) as connection:
        connection.sendall(b"POST /v1/runs HTTP/1.1\r\nHost: trainerd\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(BrokenPipeError, ConnectionResetError):  # answered before everything was sent
            connection.sendall(b"%x\r\n%s\r\n" % (len(large), large))
        assert b" 400 " in connection.recv(64)


def test_a_body_up_to_the_limit_is_taken(daemon: Daemon) -> None:
    body = json.dumps({"runs": [{"path": "/a.yaml", "text": "roomy"}], "dry_run": True}).encode()

    assert daemon.client.ask("POST", "/v1/runs", raw=body + b" " * (BODY_LIMIT_BYTES - len(body))).status == 200


def test_what_is_not_http_is_answered_with_a_problem(daemon: Daemon) -> None:
    with unix_sockets.connect(daemon.home.control_socket, timeout_seconds=10) as connection:
        connection.sendall(b"how do you do?\r\n\r\n")
        answer = _read_all(connection)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert json.loads(body)["status"] == 400


def _ask_as_nobody(home: Home, request: str) -> tuple[bytes, bytes, bytes]:
    arguments = [sys.executable, "-c", ASK_AS_NOBODY, str(home.control_socket), request + "Connection: close\r\n\r\n"]
    return subprocess.run(arguments, capture_output=True, check=True, timeout=20).stdout.partition(b"\r\n\r\n")


def _read_all(connection: socket.socket) -> bytes:
    parts = []
    while data := connection.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)
