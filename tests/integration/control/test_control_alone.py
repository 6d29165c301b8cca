"""The control plane while the supervisor or the worker host is away, and its own comings and goings."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_harness import SERVE, ControlProcess, SmallSupervisor, SmallWorkerHost, control_process

from tests.polling import poll
from trainerd.contracts import unix_sockets
from trainerd.contracts.places import Home

PASS_A_SOCKET = """
import os, sys
os.dup2(int(sys.argv[4]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
"""


@pytest.fixture
def control(home: Home) -> Iterator[ControlProcess]:
    with control_process(home, answer_seconds=0.1) as alone:
        yield alone


def test_without_a_worker_host_a_submit_is_refused_as_unreachable_and_all_else_works(control: ControlProcess) -> None:
    reply = control.client.submit("tiny")

    assert reply.problem() == (503, "unreachable")
    assert "worker" in reply.json()["detail"]
    status = control.client.get("/v1/status").json()
    assert (status["supervisor"], status["worker"]) == ({"state": "away"}, {"state": "away"})
    assert control.client.get("/v1/runs").json() == {"runs": []}


def test_without_a_supervisor_an_order_is_kept_and_applied_when_it_is_back(control: ControlProcess) -> None:
    worker = SmallWorkerHost(control.home)
    reply = control.client.submit("patient", key="patience")
    worker.end()

    assert reply.status == 202
    command, (run,) = reply.json()["command"], reply.json()["runs"]
    assert run == {"id": 1, "name": "patient"}
    assert control.client.get(f"/v1/commands/{command}").problem() == (503, "unreachable"), "no state can tell yet"
    assert control.client.submit("patient", key="patience").json() == reply.json()

    supervisor = SmallSupervisor(control.home)
    try:
        poll(lambda: control.client.get(f"/v1/commands/{command}").json().get("state") == "applied", "it is applied")
        assert control.client.get("/v1/runs/patient").json()["state"] == "queued"
        assert [run["id"] for run in control.client.submit("patient", key="patience").json()["runs"]] == [1]
    finally:
        supervisor.end()


@pytest.mark.dies("the control plane")
def test_a_killed_control_plane_loses_nothing_that_it_has_acknowledged(home: Home) -> None:
    with control_process(home, answer_seconds=0.1) as control:
        worker = SmallWorkerHost(home)
        control.client.submit("acknowledged", key="k")
        control.end(signal.SIGKILL)

    with control_process(home, answer_seconds=0.1) as control:
        again = control.client.submit("acknowledged", key="k")
        other = control.client.submit("other")
        worker.end()

    assert again.json()["runs"] == [{"id": 1, "name": "acknowledged"}]
    assert other.json()["runs"] == [{"id": 2, "name": "other"}]


def test_sigterm_lets_streams_go_at_once_and_exits_zero(home: Home) -> None:
    with control_process(home) as control:
        worker, supervisor = SmallWorkerHost(home), SmallSupervisor(home)
        try:
            run_id = control.client.submit("tiny").json()["runs"][0]["id"]
            with control.client.stream(f"/v1/runs/{run_id}/follow") as stream:
                assert next(stream)["event"] == "run"
                began = time.monotonic()
                assert control.end() == 0
                assert time.monotonic() - began < 1.5
                assert list(stream) == [], "no end: the run has not ended, and the reader comes back"
        finally:
            supervisor.end()
            worker.end()
    assert not home.control_socket.exists()


def test_a_second_control_plane_on_the_same_home_is_refused(control: ControlProcess) -> None:
    arguments = [sys.executable, "-c", SERVE, str(control.home.path), str(control.home.path / "other.sock"), "1"]
    second = subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=False)

    assert second.returncode != 0
    assert f"another control plane already runs on {control.home.path} (process {control.process.pid})" in second.stderr
    assert control.client.get("/v1/health").status == 200


def test_the_socket_of_a_living_control_plane_is_not_taken_from_it(control: ControlProcess, tmp_path: Path) -> None:
    """TRAINERD_SOCKET is exported, and a second daemon is started on another home."""
    other_home = tmp_path / "other"
    other_home.mkdir()
    arguments = [sys.executable, "-c", SERVE, str(other_home), str(control.home.control_socket), "1"]
    second = subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=False)

    assert second.returncode != 0
    already = f"another control plane already runs on {control.home.control_socket} (process {control.process.pid})"
    assert already in second.stderr
    assert control.client.get("/v1/status").json()["home"] == str(control.home.path)


def test_a_socket_that_another_has_put_in_the_place_of_ours_is_left_there(control: ControlProcess) -> None:
    assert control.client.get("/v1/health").status == 200, "it is up to the end of its start"
    control.home.control_socket.unlink()
    with unix_sockets.bind(control.home.control_socket):
        assert control.end() == 0
        assert control.home.control_socket.exists()


def test_a_command_log_that_is_older_than_the_state_acknowledges_nothing(home: Home) -> None:
    """Its next commands would get numbers that count as applied: what was acknowledged would never be done."""
    with control_process(home) as control:
        worker, supervisor = SmallWorkerHost(home), SmallSupervisor(home)
        assert control.client.submit("tiny").status == 201
        supervisor.end()
        worker.end()
        control.end()
    for path in home.path.glob("commands.sqlite*"):
        path.unlink()

    arguments = [sys.executable, "-c", SERVE, str(home.path), str(home.control_socket), "1"]
    second = subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=False)

    assert second.returncode != 0
    assert str(home.command_log) in second.stderr
    assert str(home.state) in second.stderr


def test_an_id_whose_directory_is_there_is_not_given_again_by_a_new_command_log(home: Home) -> None:
    home.run(41).mkdir(parents=True)
    with control_process(home, answer_seconds=0.1) as control:
        worker = SmallWorkerHost(home)
        reply = control.client.submit("tiny")
        worker.end()

    assert reply.json()["runs"] == [{"id": 42, "name": "tiny"}]


def test_a_socket_that_systemd_holds_is_served_and_left_where_it_is(home: Home) -> None:
    listener = unix_sockets.bind(home.control_socket)
    listener.listen()
    passing = PASS_A_SOCKET + SERVE
    arguments = [str(home.path), str(home.path / "unused.sock"), "1", str(listener.fileno())]
    process = subprocess.Popen([sys.executable, "-c", passing, *arguments], pass_fds=[listener.fileno()])
    try:
        control = ControlProcess(home, process)
        assert control.client.get("/v1/health").status == 200, "the socket takes callers before the process is up"
        assert control.end() == 0
    finally:
        process.kill()
        process.wait()
        listener.close()

    assert home.control_socket.exists()
    assert not (home.path / "unused.sock").exists()


def test_an_idle_connection_and_an_unread_answer_keep_nobody_from_leaving(control: ControlProcess) -> None:
    with unix_sockets.connect(control.home.control_socket) as idle, _unread_answer(control.home):
        idle.sendall(b"GET /v1/health HTTP/1.1\r\nHost: tra")
        assert control.end() == 0


def _unread_answer(home: Home) -> socket.socket:
    """A caller who asks for a large answer and never reads it."""
    os.makedirs(home.runs, exist_ok=True)
    caller = unix_sockets.connect(home.control_socket)
    caller.sendall(b"GET /v1/openapi.json HTTP/1.1\r\nHost: trainerd\r\n\r\n" * 200)
    return caller


def test_while_the_state_is_damaged_callers_are_told_to_ask_again(control: ControlProcess) -> None:
    """The supervisor folds it anew; meanwhile an answer would be a guess."""
    control.home.state.write_bytes(b"this is no database, and it is long enough to look at: " * 100)

    reply = control.client.get("/v1/runs")

    assert reply.problem() == (503, "unreachable")
    assert reply.headers["retry-after"] == "1"


def test_an_order_is_kept_while_the_state_is_damaged(control: ControlProcess) -> None:
    worker = SmallWorkerHost(control.home)
    control.home.state.write_bytes(b"this is no database")

    reply = control.client.submit("patient")

    worker.end()
    assert reply.status == 202
    assert control.client.get(f"/v1/commands/{reply.json()['command']}").problem() == (503, "unreachable")


def test_an_order_that_was_applied_does_not_look_as_if_it_waited_while_the_state_is_lost(
    control: ControlProcess,
) -> None:
    worker, supervisor = SmallWorkerHost(control.home), SmallSupervisor(control.home)
    run_id = control.client.submit("old", key="old").json()["runs"][0]["id"]
    poll(lambda: control.client.get(f"/v1/runs/{run_id}").status == 200, "the submit is applied")
    assert control.client.get("/v1/commands/1").json()["state"] == "applied"
    worker.end()
    supervisor.end()

    for path in control.home.path.glob("state.sqlite*"):
        path.unlink()
    lost = control.client.get("/v1/commands/1")

    assert (lost.problem(), lost.headers["retry-after"]) == ((503, "unreachable"), "1")
