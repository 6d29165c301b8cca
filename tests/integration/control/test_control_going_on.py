"""POST /v1/runs/{reference}/resume and /retry: inspected before they are ordered, as a submit is."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from control_harness import Daemon, Reply

from tests.polling import poll
from trainerd.contracts.commands import CommandKind
from trainerd.contracts.states import State

Json = dict[str, Any]


def trained(daemon: Daemon, state: State = State.PAUSED, name: str = "tiny") -> int:
    """The id of a run that has trained before."""
    run_id = daemon.submitted(name)
    daemon.supervisor.move(run_id, state=state, attempt=1, checkpoint_step=100)
    return run_id


def test_a_run_that_has_trained_is_compared_with_its_checkpoint_before_it_goes_on(daemon: Daemon) -> None:
    run_id = trained(daemon)

    reply = daemon.client.post(f"/v1/runs/{run_id}/resume", {"overrides": ["lr=2"], "accept_changed_data": True})

    assert (reply.status, reply.json()["state"]) == (200, "queued")
    assert reply.json()["changes"] == [{"key": "lr", "was": None, "now": "2", "verdict": "applied", "why": None}]
    assert reply.json()["spec"]["lr"] == "2"
    asked = daemon.worker.asked[-1]
    assert (asked.run_dir, asked.path) == (str(daemon.home.run(run_id)), "/data/run.yaml")
    assert (asked.overrides, asked.accept_changed_data) == (["lr=2"], True)
    assert json.loads(asked.text)["name"] == "tiny"
    body = daemon.last_command().body
    assert (body["spec"]["lr"], json.loads(body["spec_yaml"])["lr"], body["accepted_data"]) == ("2", "2", "newer data")


def test_without_overrides_the_command_carries_no_specification(daemon: Daemon) -> None:
    run_id = trained(daemon)

    reply = daemon.client.post(f"/v1/runs/{run_id}/resume")

    assert reply.json()["changes"] == []
    body = daemon.last_command().body
    assert (body["spec"], body["spec_yaml"], body["accepted_data"]) == (None, None, None)


def test_a_run_that_has_never_started_needs_no_inspector(daemon: Daemon) -> None:
    run_id = daemon.submitted(hold=True)
    inspections = len(daemon.worker.asked)

    assert daemon.client.post(f"/v1/runs/{run_id}/resume").json()["state"] == "queued"
    assert len(daemon.worker.asked) == inspections


def test_a_change_that_is_refused_leaves_the_run_as_it_is_and_shows_all_changes(daemon: Daemon) -> None:
    run_id = trained(daemon, State.FAILED)
    newest = daemon.last_command().number

    reply = daemon.client.post(f"/v1/runs/{run_id}/retry", {"overrides": ["lr=2", "refused=1"]})

    assert reply.problem() == (422, "refused")
    assert [finding["key"] for finding in reply.json()["findings"]] == ["refused"]
    assert [change["verdict"] for change in reply.json()["changes"]] == ["applied", "refused"]
    assert daemon.last_command().number == newest
    assert daemon.client.get(f"/v1/runs/{run_id}").json()["state"] == "failed"


@pytest.mark.parametrize("body", [{}, {"overrides": ["lr=2"]}, {"accept_changed_data": True}])
def test_an_illegal_order_is_refused_as_illegal_before_anything_is_inspected(daemon: Daemon, body: Json) -> None:
    run_id = trained(daemon, State.COMPLETED)
    inspections = len(daemon.worker.asked)

    reply = daemon.client.post(f"/v1/runs/{run_id}/resume", body)

    assert reply.problem() == (409, "not-allowed")
    assert "it is completed; legal now: remove" in reply.json()["detail"]
    assert len(daemon.worker.asked) == inspections


def test_the_same_key_is_the_same_order_and_is_not_inspected_again(daemon: Daemon) -> None:
    run_id = trained(daemon)
    headers = {"Idempotency-Key": "resume-once"}
    first = daemon.client.ask("POST", f"/v1/runs/{run_id}/resume", {"overrides": ["lr=2"]}, headers)
    inspections, newest = len(daemon.worker.asked), daemon.last_command().number

    again = daemon.client.ask("POST", f"/v1/runs/{run_id}/resume", {"overrides": ["lr=2"]}, headers)
    other = daemon.client.ask("POST", f"/v1/runs/{run_id}/resume", {"overrides": ["lr=3"]}, headers)

    assert (first.status, again.status) == (200, 200)
    assert other.problem() == (400, "usage")
    assert (len(daemon.worker.asked), daemon.last_command().number) == (inspections, newest)


def test_a_run_that_changes_while_it_is_inspected_is_inspected_again(daemon: Daemon) -> None:
    """Somebody else has resumed it with another configuration, and paused it: theirs must not be lost."""
    run_id = trained(daemon)
    inspections = len(daemon.worker.asked)
    daemon.worker.patience.clear()
    replies: list[Reply] = []
    body = {"overrides": ["linger=1"]}
    asking = threading.Thread(target=lambda: replies.append(daemon.client.post(f"/v1/runs/{run_id}/resume", body)))
    asking.start()
    poll(lambda: len(daemon.worker.asked) > inspections, "the run is inspected")
    changed = daemon.supervisor.record(run_id).spec | {"theirs": "2"}
    daemon.supervisor.directory(run_id).spec.write_text(json.dumps(changed))
    daemon.supervisor.move(run_id, spec=changed, attempt=2)

    daemon.worker.patience.set()
    asking.join(20)

    assert len(daemon.worker.asked) == inspections + 2
    assert replies[0].json()["spec"] == changed | {"linger": "1"}


def test_a_start_anew_is_a_submit_of_the_old_runs_configuration(daemon: Daemon) -> None:
    run_id = trained(daemon, State.COMPLETED, "again")
    headers = {"Idempotency-Key": "anew-once"}
    body = {"from_start": True, "overrides": ["lr=2"]}

    replies = [daemon.client.ask("POST", f"/v1/runs/{run_id}/retry", body, headers) for _ in range(2)]

    new = replies[0].json()
    assert (new["id"], new["name"], new["state"], new["attempt"]) == (run_id + 1, "again", "queued", 0)
    assert replies[1].json()["id"] == new["id"]
    assert daemon.client.get(f"/v1/runs/{run_id}").json()["state"] == "completed"
    asked = daemon.worker.asked[-1]
    assert (asked.path, asked.overrides, asked.run_dir) == ("/data/run.yaml", ["lr=2"], None)
    assert daemon.last_command().kind is CommandKind.SUBMIT


def test_a_run_that_goes_on_cannot_start_anew(daemon: Daemon) -> None:
    run_id = trained(daemon, State.RUNNING)

    reply = daemon.client.post(f"/v1/runs/{run_id}/retry", {"from_start": True})

    assert reply.problem() == (409, "not-allowed")
    assert "legal now: pause, checkpoint, stop, kill" in reply.json()["detail"]


def test_a_run_whose_directory_is_gone_says_which_file_is_missing(daemon: Daemon) -> None:
    run_id = trained(daemon)
    daemon.supervisor.directory(run_id).spec.unlink()

    reply = daemon.client.post(f"/v1/runs/{run_id}/resume")

    assert reply.problem() == (507, "disk")
    assert f"{daemon.home.run(run_id)}/spec.yaml: cannot be read" in reply.json()["detail"]
