"""The client of the control socket: what it sends, what it survives, and what it says when nobody is there."""

from __future__ import annotations

import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_control_plane import FakeControlPlane, Reply, fake_control_plane, message, problem

from trainctl.daemon import Daemon
from trainctl.problems import ReportedError
from trainctl.reach import is_alive
from trainerd.contracts.errors import ExitCode, NoSuchRun, NotPermitted, Unreachable

Json = dict[str, Any]

HOLD_PLACE = """
import sys
from pathlib import Path
from trainerd.contracts.locks import PlaceLock
lock = PlaceLock(Path(sys.argv[1]), "daemon")
print("held", flush=True)
sys.stdin.read()
"""


def test_an_order_carries_its_details_and_a_key_of_its_own(plane: FakeControlPlane, run: Json) -> None:
    plane.answer("POST /v1/runs/7/stop", run)
    daemon = Daemon([plane.socket])

    daemon.order("stop", "7", checkpoint=False)
    daemon.order("stop", "7", checkpoint=False)

    first, second = plane.requests
    assert first.body == {"checkpoint": False}
    assert first.headers["Idempotency-Key"] != second.headers["Idempotency-Key"]


def test_an_order_whose_answer_was_lost_is_given_again_under_the_same_key(plane: FakeControlPlane, run: Json) -> None:
    """The control plane may be killed between taking an order and answering it."""
    plane.answer("POST /v1/runs/7/stop", Reply(b"{", breaks_off=True), Reply(run))

    assert Daemon([plane.socket]).order("stop", "7") == run

    keys = {request.headers["Idempotency-Key"] for request in plane.requests}
    assert (len(plane.requests), len(keys)) == (2, 1)


def test_a_stream_goes_on_behind_the_last_event_when_the_connection_is_lost(plane: FakeControlPlane) -> None:
    torn = message("metrics", {"step": 2}, "0.20")[:-5]
    plane.answer(
        "GET /v1/runs/7/follow",
        Reply(blocks=[message("metrics", {"step": 1}, "0.10"), torn], breaks_off=True),
        Reply(blocks=[message("metrics", {"step": 2}, "0.20"), message("end", {})]),
    )

    events = list(Daemon([plane.socket]).stream("7", "follow"))

    assert [event.data for event in events] == ['{"step": 1}', '{"step": 2}', "{}"]
    assert [request.headers.get("Last-Event-ID") for request in plane.requests] == [None, "0.10"]


def test_a_name_may_hold_anything_that_a_name_may_hold(plane: FakeControlPlane, run: Json) -> None:
    plane.answer("GET /v1/runs/a.b%20%3F", run)

    assert Daemon([plane.socket]).run("a.b ?") == run


@pytest.mark.parametrize("reference", ["../../etc", "a/b", "/", ""])
def test_what_would_be_another_path_is_no_run(plane: FakeControlPlane, reference: str) -> None:
    with pytest.raises(NoSuchRun):
        Daemon([plane.socket]).run(reference)

    assert plane.requests == []


def test_a_daemon_that_asks_to_be_asked_again_is_asked_again(plane: FakeControlPlane, run: Json) -> None:
    """As it does while its state is being rebuilt."""
    away = problem("unreachable", 503, "the daemon's state is being rebuilt", 69)
    plane.answer("POST /v1/runs/7/stop", replace(away, headers={"Retry-After": "1"}), Reply(run))

    assert Daemon([plane.socket]).order("stop", "7") == run

    assert len({request.headers["Idempotency-Key"] for request in plane.requests}) == 1


def test_a_daemon_that_lives_is_given_a_moment_to_open_its_socket(
    tmp_path: Path, run: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its control plane is being started again, which nobody who just gives an order needs to know."""
    place = subprocess.Popen(
        [sys.executable, "-c", HOLD_PLACE, str(tmp_path / "up.lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert place.stdout is not None
        place.stdout.readline()
        has_looked = threading.Event()

        def look(sockets: Sequence[Path]) -> bool:
            has_looked.set()
            return is_alive(sockets)

        monkeypatch.setattr("trainctl.daemon.is_alive", look)
        found: list[Json] = []
        asking = threading.Thread(target=lambda: found.append(Daemon([tmp_path / "control.sock"]).run("7")))
        asking.start()
        assert has_looked.wait(20)
        with fake_control_plane(tmp_path / "control.sock") as plane:
            plane.answer("GET /v1/runs/7", run)
            asking.join(20)
    finally:
        place.communicate(timeout=20)

    assert found == [run]


def test_a_place_whose_daemon_has_ended_is_unreachable_at_once(tmp_path: Path) -> None:
    (tmp_path / "up.lock").write_text("4242")

    with pytest.raises(Unreachable, match="trainerd up"):
        Daemon([tmp_path / "control.sock"], first_answer_seconds=60).run("7")


def test_a_problem_keeps_its_findings_and_its_exit_code(plane: FakeControlPlane) -> None:
    findings = [{"message": "unknown key", "file": "/a.yaml", "line": 3, "column": 1, "key": "lrr", "suggestion": "lr"}]
    plane.answer("POST /v1/runs", problem("refused", 422, "refused", 78, findings))

    with pytest.raises(ReportedError) as refusal:
        Daemon([plane.socket]).submit([])

    assert refusal.value.exit_code == ExitCode.REFUSED
    assert str(refusal.value) == "/a.yaml:3:1: lrr: unknown key; did you mean lr?"


def test_the_first_socket_that_answers_is_taken(plane: FakeControlPlane, tmp_path: Path) -> None:
    plane.answer("GET /v1/status", {"version": "1"})

    assert Daemon([tmp_path / "absent.sock", plane.socket]).status() == {"version": "1"}


def test_a_daemon_that_is_not_there_is_named_with_what_was_tried_and_what_to_do(tmp_path: Path) -> None:
    dead = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(dead))

    with pytest.raises(Unreachable) as failure:
        Daemon([tmp_path / "absent.sock", dead]).status()

    assert f"{tmp_path}/absent.sock (No such file or directory), {dead} (Connection refused)" in str(failure.value)
    assert "trainerd up --detach" in str(failure.value)


def test_a_daemon_that_has_answered_is_waited_for_and_then_given_up(plane: FakeControlPlane, tmp_path: Path) -> None:
    plane.answer("GET /v1/status", {})
    daemon = Daemon([plane.socket], reconnect_seconds=0.3)
    daemon.status()
    plane.socket.unlink()

    with pytest.raises(Unreachable):
        daemon.status()


def test_what_listens_there_and_is_not_a_daemon_is_named(plane: FakeControlPlane) -> None:
    plane.answer("GET /v1/status", Reply(b"<html>"))

    with pytest.raises(Unreachable, match="not JSON"):
        Daemon([plane.socket], reconnect_seconds=0.0).status()


def test_what_takes_connections_and_never_answers_is_given_up_soon(tmp_path: Path) -> None:
    """Such as another socket of the daemon, given by mistake."""
    path = tmp_path / "other.sock"
    with socketserver.UnixStreamServer(str(path), socketserver.BaseRequestHandler) as hangs_up:
        thread = threading.Thread(target=hangs_up.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            with pytest.raises(Unreachable, match=r"closed within the answer|reset by peer|Broken pipe"):
                Daemon([path], first_answer_seconds=0.2).status()
        finally:
            hangs_up.shutdown()
            thread.join()


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_somebody_elses_daemon_is_named_with_its_owner(tmp_path: Path) -> None:
    directory = tmp_path / "private"
    directory.mkdir(mode=0o700)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            Daemon([directory / "control.sock"]).status()
        except NotPermitted as refusal:
            os.write(writing, str(refusal).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)

    said = os.read(reading, 4096).decode()
    os.close(reading)
    assert "belongs to root" in said
