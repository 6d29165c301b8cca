"""POST /v1/runs: checked first, all or none, once per key."""

from __future__ import annotations

import json
import resource
import threading

import pytest
from control_harness import Daemon, Reply, small_daemon

from tests.polling import poll
from trainerd.contracts import unix_sockets
from trainerd.contracts.places import Home


def test_a_submitted_run_is_answered_once_it_is_queued(daemon: Daemon) -> None:
    reply = daemon.client.submit("tiny", priority=3)

    assert reply.status == 201
    (run,) = reply.json()["runs"]
    assert (run["name"], run["state"], run["priority"], run["max_epochs"]) == ("tiny", "queued", 3, 7)
    assert run["run_dir"] == str(daemon.home.run(run["id"]))
    assert daemon.client.get(f"/v1/runs/{run['id']}").json() == run


def test_all_files_are_admitted_or_none_and_every_finding_is_told(daemon: Daemon) -> None:
    before = _all_runs(daemon)

    reply = daemon.client.submit("refuse first mistake", "tiny", "refuse second mistake")

    assert reply.problem() == (422, "refused")
    assert [finding["message"] for finding in reply.json()["findings"]] == ["first mistake", "second mistake"]
    assert reply.json()["findings"][0]["line"] == 3
    assert _all_runs(daemon) == before


@pytest.mark.dies("an inspector")
def test_an_inspector_that_dies_is_a_refusal_that_names_the_file(daemon: Daemon) -> None:
    reply = daemon.client.submit("die")

    assert reply.problem() == (422, "refused")
    assert reply.json()["findings"][0]["file"] == "/data/run.yaml"
    assert "died" in reply.json()["findings"][0]["message"]


def test_warnings_are_told_and_refuse_nothing(daemon: Daemon) -> None:
    reply = daemon.client.submit("warn cannot be checked")

    assert reply.status == 201
    assert [warning["message"] for warning in reply.json()["warnings"]] == ["cannot be checked"]


def test_a_dry_run_shows_the_resolved_specification_and_queues_nothing(daemon: Daemon) -> None:
    before = _all_runs(daemon)

    reply = daemon.client.post("/v1/runs", {"runs": [{"path": "/a.yaml", "text": "dry"}], "dry_run": True})

    assert reply.status == 200
    assert reply.json()["runs"][0]["spec"]["name"] == "dry"
    assert "dry" in reply.json()["runs"][0]["spec_yaml"]
    assert _all_runs(daemon) == before


def test_a_name_given_with_the_order_replaces_the_one_in_the_file(daemon: Daemon) -> None:
    reply = daemon.client.submit("tiny", name="renamed", overrides=["optimizer.lr=1e-3"])

    assert reply.json()["runs"][0]["name"] == "renamed"
    assert daemon.worker.asked[-1].overrides == ["optimizer.lr=1e-3", 'name="renamed"']


def test_after_names_a_run_that_exists(daemon: Daemon) -> None:
    first = daemon.submitted("forerunner")

    by_name = daemon.client.submit("tiny", after="forerunner")
    by_id = daemon.client.submit("tiny", after=first)
    nobody = daemon.client.submit("tiny", after="forerunnar")

    assert by_name.json()["runs"][0]["after"] == first
    assert by_id.json()["runs"][0]["after"] == first
    assert nobody.problem() == (404, "no-such-run")
    assert "forerunner" in nobody.json()["detail"]


def test_one_key_is_one_run_and_is_not_even_checked_twice(daemon: Daemon) -> None:
    first = daemon.client.submit("once", key="key-1")
    checks = len(daemon.worker.asked)

    again = daemon.client.submit("once", key="key-1")

    assert again.status == 201
    assert again.json()["runs"] == first.json()["runs"]
    assert len(daemon.worker.asked) == checks


def test_one_key_for_another_request_is_refused(daemon: Daemon) -> None:
    daemon.client.submit("once", key="key-2")

    assert daemon.client.submit("twice", key="key-2").problem() == (400, "usage")


def test_one_key_at_the_same_time_is_one_run(daemon: Daemon) -> None:
    replies: list[Reply] = []
    threads = [
        threading.Thread(target=lambda: replies.append(daemon.client.submit("rush", key="key-3"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {reply.status for reply in replies} == {201}
    assert len({reply.json()["runs"][0]["id"] for reply in replies}) == 1


@pytest.mark.dies("trainctl while it submits")
def test_a_caller_who_leaves_during_the_check_has_queued_nothing(home: Home) -> None:
    """Ctrl+C in `trainctl submit`. The same order given again, after a lost connection, is still carried out."""
    with small_daemon(home) as daemon:
        body = json.dumps({"runs": [{"path": "/data/run.yaml", "text": "linger"}]}).encode()
        head = "POST /v1/runs HTTP/1.1\r\nHost: trainerd\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\n"
        with unix_sockets.connect(daemon.home.control_socket) as caller:
            caller.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            poll(lambda: daemon.worker.asked, "the check begins")
        daemon.worker.patience.set()
        daemon.submitted("follower")
        assert [run["name"] for run in daemon.client.get("/v1/runs?all=true").json()["runs"]] == ["follower"]

        again = daemon.client.submit("linger", key="k")

        assert [run["name"] for run in again.json()["runs"]] == ["linger"]


def test_a_full_disk_refuses_the_submit_and_leaves_nothing_half_queued(home: Home) -> None:
    limit_bytes = 1_000_000  # of any one file: as far as the command log is concerned, the disk is full there

    def shrink_the_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    with small_daemon(home, prepare=shrink_the_disk) as daemon:
        full = daemon.client.submit("small", f"pad {2 * limit_bytes}")
        after = daemon.client.submit("small")

        assert full.problem() == (507, "disk")
        assert "commands.sqlite" in full.json()["detail"]
        assert after.status == 201
        assert _all_runs(daemon) == [after.json()["runs"][0]["id"]] == [1]


def _all_runs(daemon: Daemon) -> list[int]:
    """The ids of all runs, newest first."""
    return [run["id"] for run in daemon.client.get("/v1/runs?all=true").json()["runs"]]
