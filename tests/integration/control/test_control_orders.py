"""POST /v1/runs/{reference}/VERB: answered when the supervisor has decided, in its own words."""

from __future__ import annotations

import time

import pytest
from control_harness import Daemon

from trainerd.contracts.states import ORDERS, State, Verb


def test_cancel_is_answered_with_the_run_as_it_is_then(daemon: Daemon) -> None:
    run_id = daemon.submitted("doomed")

    reply = daemon.client.post("/v1/runs/doomed/cancel", {})

    assert reply.status == 200
    assert (reply.json()["id"], reply.json()["state"], reply.json()["reason"]) == (run_id, "cancelled", "cancelled")


def test_stop_is_answered_once_it_is_applied_not_once_the_run_has_ended(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    daemon.supervisor.start_run(run_id)

    reply = daemon.client.post(f"/v1/runs/{run_id}/stop", {"checkpoint": False})

    assert (reply.status, reply.json()["state"]) == (200, "stopping")


def test_an_order_needs_no_body(daemon: Daemon) -> None:
    run_id = daemon.submitted()

    assert daemon.client.post(f"/v1/runs/{run_id}/stop").json()["state"] == "cancelled"


def test_an_illegal_order_is_refused_in_the_words_of_the_supervisor(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    daemon.supervisor.move(run_id, state=State.COMPLETED)

    reply = daemon.client.post(f"/v1/runs/{run_id}/stop", {})

    assert reply.problem() == (409, "not-allowed")
    assert reply.json()["detail"] == f"cannot stop run {run_id}: it is completed; legal now: remove"
    assert reply.json()["exit_code"] == 4


def test_the_same_key_is_the_same_order(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    headers = {"Idempotency-Key": "cancel-once"}

    first = daemon.client.ask("POST", f"/v1/runs/{run_id}/cancel", {}, headers)
    again = daemon.client.ask("POST", f"/v1/runs/{run_id}/cancel", {}, headers)
    other = daemon.client.ask("POST", f"/v1/runs/{run_id}/stop", {}, headers)

    assert (first.status, again.status) == (200, 200)
    assert other.problem() == (400, "usage")


@pytest.mark.parametrize("verb", sorted(Verb))
def test_every_verb_can_be_ordered_in_every_state_that_permits_it(daemon: Daemon, verb: Verb) -> None:
    """And the run says before that it can."""
    body = {"first": True} if verb is Verb.MOVE else {}
    for state, following in ORDERS[verb].items():
        run_id = daemon.submitted()
        daemon.supervisor.move(run_id, state=state)
        assert verb in daemon.client.get(f"/v1/runs/{run_id}").json()["legal"]

        reply = daemon.client.post(f"/v1/runs/{run_id}/{verb}", body)

        assert reply.status == 200, (state, reply.body)
        assert reply.json() == {"id": run_id, "removed": True} or reply.json()["state"] == following


@pytest.mark.parametrize("verb", sorted(Verb))
def test_no_verb_can_be_ordered_of_a_run_that_does_not_exist(daemon: Daemon, verb: Verb) -> None:
    assert daemon.client.post(f"/v1/runs/999999/{verb}", {}).problem() == (404, "no-such-run")


def test_a_run_that_is_removed_is_gone_and_a_repeated_order_still_says_so(daemon: Daemon) -> None:
    """Its answer may have been lost, and it is asked for again under the same key."""
    run_id = daemon.submitted("gone")
    daemon.client.post(f"/v1/runs/{run_id}/cancel")
    headers = {"Idempotency-Key": "remove-once"}

    replies = [daemon.client.ask("POST", f"/v1/runs/{run_id}/remove", {}, headers) for _ in range(2)]
    by_name = daemon.client.ask("POST", "/v1/runs/gone/remove", {}, headers)

    assert [reply.json() for reply in [*replies, by_name]] == [{"id": run_id, "removed": True}] * 3
    assert daemon.client.get(f"/v1/runs/{run_id}").status == 404
    assert daemon.client.post(f"/v1/runs/{run_id}/remove").status == 404
    assert daemon.client.ask("POST", f"/v1/runs/{run_id + 1}/remove", {}, headers).problem() == (400, "usage")


@pytest.mark.parametrize(
    "body", [{}, {"first": True, "priority": 3}, {"before": 1, "first": True}, {"priority": 1 << 40}]
)
def test_a_run_is_moved_to_exactly_one_place(daemon: Daemon, body: dict[str, object]) -> None:
    run_id = daemon.submitted()

    assert daemon.client.post(f"/v1/runs/{run_id}/move", body).problem() == (400, "usage")


def test_a_run_is_moved_before_one_that_is_named(daemon: Daemon) -> None:
    target, run_id = daemon.submitted("target"), daemon.submitted()

    assert daemon.client.post(f"/v1/runs/{run_id}/move", {"before": "target"}).status == 200
    assert daemon.last_command().body == {"run": run_id, "priority": None, "first": False, "before": target}
    assert daemon.client.post(f"/v1/runs/{run_id}/move", {"before": "nobody"}).problem() == (404, "no-such-run")


def test_an_answer_comes_even_if_the_datagram_that_tells_of_it_is_lost(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    socket, away = daemon.home.changed_socket, daemon.home.changed_socket.with_suffix(".away")
    socket.rename(away)
    try:
        reply = daemon.client.post(f"/v1/runs/{run_id}/cancel", {})
    finally:
        away.rename(socket)

    assert (reply.status, reply.json()["state"]) == (200, "cancelled")


def test_what_became_of_a_command_can_be_asked(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    daemon.client.post(f"/v1/runs/{run_id}/cancel", {})
    daemon.client.post(f"/v1/runs/{run_id}/cancel", {})
    refused = daemon.supervisor.applied_position()

    assert daemon.client.get(f"/v1/commands/{refused - 1}").json() == {
        "number": refused - 1,
        "state": "applied",
        "problem": None,
    }
    assert daemon.client.get(f"/v1/commands/{refused}").json()["state"] == "refused"
    assert daemon.client.get(f"/v1/commands/{refused}").json()["problem"]["exit_code"] == 4
    assert daemon.client.get(f"/v1/commands/{refused + 1}").problem() == (400, "usage")


def test_a_repeated_order_stands_though_what_it_names_is_gone(daemon: Daemon) -> None:
    """Its answer may have been lost, and by the repetition its run and the one that it names were removed."""
    target, run_id = daemon.submitted("a-target"), daemon.submitted()
    headers = {"Idempotency-Key": "move-once"}
    by_number, by_name = {"before": target}, {"before": "a-target"}
    first = daemon.client.ask("POST", f"/v1/runs/{run_id}/move", by_number, headers)
    for gone in (target, run_id):
        daemon.client.post(f"/v1/runs/{gone}/cancel")
        assert daemon.client.post(f"/v1/runs/{gone}/remove").status == 200

    for body in (by_number, by_name):
        again = daemon.client.ask("POST", f"/v1/runs/{run_id}/move", body, headers)
        assert (first.status, again.status, again.json()) == (200, 200, {"id": run_id, "removed": True})
    for other in ({"before": run_id}, {"first": True}):
        refused = daemon.client.ask("POST", f"/v1/runs/{run_id}/move", other, headers)
        assert refused.problem() == (400, "usage")


def test_a_repeated_submit_stands_though_its_run_was_removed(daemon: Daemon) -> None:
    run_id = daemon.client.submit("short-lived", key="submit-once").json()["runs"][0]["id"]
    daemon.client.post(f"/v1/runs/{run_id}/cancel")
    daemon.client.post(f"/v1/runs/{run_id}/remove")

    again = daemon.client.submit("short-lived", key="submit-once")

    assert (again.status, again.json()["runs"]) == (201, [{"id": run_id, "name": "short-lived", "removed": True}])


def test_waiting_for_a_checkpoint_ends_where_the_run_is_held(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    daemon.supervisor.move(run_id, state=State.STARTING, pending_checkpoint=5 << 20)
    target = f"/v1/runs/{run_id}/wait?timeout=0.1&until=checkpointed"
    assert daemon.client.get(target).json()["state"] == "starting"

    daemon.supervisor.move(run_id, state=State.HELD)

    began = time.monotonic()
    assert daemon.client.get(f"/v1/runs/{run_id}/wait?timeout=10&until=checkpointed").json()["state"] == "held"
    assert time.monotonic() - began < 5
