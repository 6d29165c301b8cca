"""GET /v1/runs/{reference}/why: what a run's directory tells about its end."""

from __future__ import annotations

import json

from control_harness import Daemon

from trainerd.contracts.journal import Event, Journal
from trainerd.contracts.states import Reason, State

END = {"exit_code": None, "signal": 9, "epoch": 1}


def test_why_tells_attempts_times_stacks_and_the_next_command(daemon: Daemon) -> None:
    run_id = daemon.submitted("hanging")
    daemon.supervisor.move(run_id, state=State.FAILED, reason=Reason.HANG, attempt=2, error="the trainer hung")
    directory = daemon.supervisor.directory(run_id)
    directory.path.mkdir(parents=True, exist_ok=True)
    for attempt in (1, 2):
        journal = Journal(directory.events, attempt)
        for epoch in (1, 2, 3):
            journal.record(Event.EPOCH, epoch=epoch, step=10 * epoch, seconds=5.0)
        journal.record(Event.ENDED, state="crashed", reason="hang", step=35, error="the trainer hung", **END)
        journal.close()
    directory.stacks(2).write_text("Thread 1\n  File net.py, line 3 in forward\n")
    directory.vitals(2).write_text(json.dumps({"resident_bytes": 1000}) + "\n")
    directory.log.write_text("".join(f"line {number}\n" for number in range(100)))

    answer = daemon.client.get(f"/v1/runs/{run_id}/why").json()

    assert (answer["run"]["id"], answer["run"]["reason"]) == (run_id, "hang")
    assert [(each["attempt"], each["reason"], each["signal"]) for each in answer["attempts"]] == [
        (1, "hang", 9),
        (2, "hang", 9),
    ]
    assert [epoch["seconds_per_step"] for epoch in answer["epochs"]] == [None, 0.5, 0.5, None, 0.5, 0.5]
    assert answer["stacks"]["lines"][-1] == "  File net.py, line 3 in forward"
    assert answer["vitals"] == [{"resident_bytes": 1000}]
    assert answer["log"]["lines"][-1] == "line 99"
    assert len(answer["log"]["lines"]) == 12
    assert answer["next"]["command"] == f"trainctl retry {run_id}"


def test_of_a_run_that_waits_there_is_nothing_to_tell_but_what_it_waits_for(daemon: Daemon) -> None:
    run_id = daemon.submitted("waiting")

    answer = daemon.client.get(f"/v1/runs/{run_id}/why").json()

    assert (answer["attempts"], answer["stacks"], answer["vitals"], answer["log"]["lines"]) == ([], None, [], [])
    assert answer["next"] == {"command": "trainctl status", "advice": "it waits for its turn"}


def test_no_such_run_is_said_so(daemon: Daemon) -> None:
    assert daemon.client.get("/v1/runs/nobody/why").problem() == (404, "no-such-run")
