"""Orders about runs: which runs are meant, what is said about refusals, what is waited for, and the exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_control_plane import FakeControlPlane, Reply, problem

from tests.polling import poll
from trainctl.configuration_changes import draw_changes
from trainctl.daemon import Daemon
from trainctl.order_reports import PARTICIPLES
from trainctl.references import IMPLIED
from trainctl.waiting import await_command
from trainerd.contracts.states import ACTIVE, LEFT_OUT_OF_ALL, ORDERS, State, Verb
from trainerd.contracts.waiting import Until

Json = dict[str, Any]
Trainctl = Callable[..., "subprocess.CompletedProcess[str]"]


def states(wanted: frozenset[State] | set[State]) -> str:
    """What asks for every run in one of the states."""
    return "GET /v1/runs?" + "&".join(f"state={state}" for state in sorted(wanted))


def sent(plane: FakeControlPlane) -> list[tuple[str, Json | None]]:
    """The orders that were given, in turn."""
    return [(request.target, request.body) for request in plane.requests if request.method == "POST"]


def wait_for(run: int, until: str) -> str:
    return f"GET /v1/runs/{run}/wait?timeout=30.000&until={until}"


def not_allowed(verb: str, run: int, state: str) -> Reply:
    return problem("not-allowed", 409, f"cannot {verb} run {run}: it is {state}; legal now: remove", 4)


def test_every_verb_has_a_word_for_what_is_done_and_a_meaning_without_an_id() -> None:
    assert set(PARTICIPLES) == set(IMPLIED) == set(Verb)


def test_an_order_without_an_id_never_guesses(plane: FakeControlPlane, trainctl: Trainctl, run: Json) -> None:
    several = {"runs": [run | {"id": 9, "name": "other"}, run]}
    plane.answer(states(ACTIVE), {"runs": []}, several)

    nothing, several_active = trainctl("stop"), trainctl("stop")

    assert (nothing.returncode, several_active.returncode) == (2, 2)
    assert "no run is active" in nothing.stderr
    assert "several runs are active: 7 (overnight), 9 (other); name one of them" in several_active.stderr
    assert sent(plane) == []


def test_resume_without_an_id_means_a_paused_or_held_run_before_a_stopped_one(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json
) -> None:
    plane.answer(states({State.PAUSED, State.HELD}), {"runs": []}, {"runs": [run]}, {"runs": []})
    plane.answer(states({State.STOPPED}), {"runs": [run | {"id": 5}]}, {"runs": []})
    for run_id in (5, 7):
        plane.answer(f"POST /v1/runs/{run_id}/resume", run | {"id": run_id, "state": "queued"})

    answers = [trainctl("resume") for _ in range(3)]

    assert [target for target, _ in sent(plane)] == ["/v1/runs/5/resume", "/v1/runs/7/resume"]
    assert [answer.returncode for answer in answers] == [0, 0, 2]
    assert "no run is paused or held or stopped; name one" in answers[2].stderr


def test_remove_wants_a_name(plane: FakeControlPlane, trainctl: Trainctl) -> None:
    refused = trainctl("remove")

    assert (refused.returncode, refused.stderr) == (2, "name the runs (trainctl list shows them)\n")
    assert plane.requests == []


def test_each_of_several_runs_gets_the_order_and_each_refusal_a_line(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json
) -> None:
    """The first refusal is the exit code; what was not refused is waited for."""
    for run_id in (6, 7, 8):
        plane.answer(f"GET /v1/runs/{run_id}", run | {"id": run_id})
    plane.answer("POST /v1/runs/6/pause", not_allowed("pause", 6, "completed"))
    saved = {7: [{"step": 1100, "kinds": ["last"], "path": "/runs/7/checkpoints/step-000001100"}], 8: []}
    for run_id, checkpoints in saved.items():
        plane.answer(f"POST /v1/runs/{run_id}/pause", run | {"id": run_id, "state": "pausing"})
        paused = run | {"id": run_id, "state": "paused", "checkpoints": checkpoints}
        plane.answer(wait_for(run_id, "halted"), paused)

    done = trainctl("pause", "99", "6", "7", "8", "-o", "id")

    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "nobody expected GET /v1/runs/99",
        "cannot pause run 6: it is completed; legal now: remove",
        (
            "run 7 (overnight) is paused at step 1150; newest checkpoint: /runs/7/checkpoints/step-000001100; "
            "50 steps will be done again"
        ),
        "run 8 (overnight) is paused at step 1150; it has no checkpoint to go on from",
    ]
    assert done.stdout == "7\n8\n"


def test_every_order_is_given_before_the_first_is_waited_for(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json
) -> None:
    for run_id in (7, 8):
        plane.answer(f"GET /v1/runs/{run_id}", run | {"id": run_id})
        plane.answer(f"POST /v1/runs/{run_id}/stop", run | {"id": run_id, "state": "stopping"})
        plane.answer(wait_for(run_id, "halted"), run | {"id": run_id, "state": "stopped"})

    trainctl("stop", "7", "8")

    assert [request.target.split("/")[4].partition("?")[0] for request in plane.requests[2:]] == [
        "stop",
        "stop",
        "wait",
        "wait",
    ]


def test_a_run_that_is_named_twice_gets_one_order(plane: FakeControlPlane, trainctl: Trainctl, run: Json) -> None:
    plane.answer("GET /v1/runs/7", run)
    plane.answer("GET /v1/runs/overnight", run)
    plane.answer("POST /v1/runs/7/kill", run | {"state": "stopped"})

    assert trainctl("kill", "7", "overnight", "7").returncode == 0
    assert len(sent(plane)) == 1


@pytest.mark.parametrize("verb", sorted(set(Verb) - {Verb.MOVE}))
def test_all_means_every_run_whose_state_permits_the_verb(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json, verb: Verb
) -> None:
    """One that has moved on meanwhile is no error: somebody else was faster."""
    meant = set(ORDERS[verb]) - LEFT_OUT_OF_ALL.get(verb, frozenset())
    plane.answer(states(meant), {"runs": [run | {"id": 9}, run | {"id": 8}, run]})
    plane.answer(f"POST /v1/runs/7/{verb}", not_allowed(verb, 7, "completed"))
    plane.answer(f"POST /v1/runs/8/{verb}", problem("no-such-run", 404, "no run '8'", 3))
    plane.answer(f"POST /v1/runs/9/{verb}", run | {"id": 9})

    done = trainctl(verb, "--all", "--no-wait", "-o", "id")

    assert (done.returncode, done.stdout) == (0, "9\n"), done.stderr
    assert [target for target, _ in sent(plane)] == [f"/v1/runs/{run_id}/{verb}" for run_id in (7, 8, 9)]


def test_where_no_run_permits_the_verb_that_is_said_and_no_error(plane: FakeControlPlane, trainctl: Trainctl) -> None:
    plane.answer(states(set(ORDERS[Verb.PAUSE])), {"runs": []})

    done = trainctl("pause", "--all")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no run can be paused now\n")


def test_names_and_all_exclude_each_other(plane: FakeControlPlane, trainctl: Trainctl) -> None:
    refused = trainctl("remove", "7", "--all")

    assert refused.returncode == 2
    assert plane.requests == []


def test_pause_of_a_queued_run_has_nothing_to_wait_for(plane: FakeControlPlane, trainctl: Trainctl, run: Json) -> None:
    plane.answer("GET /v1/runs/7", run | {"state": "queued", "step": 0})
    plane.answer("POST /v1/runs/7/pause", run | {"state": "held", "step": 0})

    done = trainctl("pause", "7")

    assert (done.returncode, done.stderr) == (0, "run 7 (overnight) is held\n")


def test_a_run_that_ends_before_it_is_paused_says_so(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json, completed: Json
) -> None:
    plane.answer("GET /v1/runs/7", run)
    plane.answer("POST /v1/runs/7/pause", run | {"state": "pausing"})
    plane.answer(wait_for(7, "halted"), run | {"state": "pausing"}, completed)

    done = trainctl("pause", "7")

    assert done.returncode == 0
    assert done.stderr == "run 7 (overnight) is completed at step 33000; it ended before it could be paused\n"


def test_an_order_that_ends_in_a_failure_exits_with_1(plane: FakeControlPlane, trainctl: Trainctl, run: Json) -> None:
    plane.answer("GET /v1/runs/7", run)
    plane.answer("POST /v1/runs/7/kill", run | {"state": "stopping"})
    plane.answer(wait_for(7, "halted"), run | {"state": "failed"})

    assert trainctl("kill", "7").returncode == 1


def test_a_run_that_is_removed_while_it_is_waited_for_says_so(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json
) -> None:
    plane.answer("GET /v1/runs/7", run)
    plane.answer("POST /v1/runs/7/stop", run | {"state": "stopping"})
    plane.answer(wait_for(7, "halted"), problem("no-such-run", 404, "no run '7'", 3))

    done = trainctl("stop", "7", "-o", "table")

    assert (done.returncode, done.stderr) == (0, "run 7 (overnight) is removed\n")
    assert done.stdout == "run 7 (overnight) is removed\n"


@pytest.mark.parametrize("verb", ["pause", "stop", "kill", "checkpoint"])
def test_ctrl_c_while_waiting_says_that_the_order_stands(plane: FakeControlPlane, run: Json, verb: str) -> None:
    plane.answer("GET /v1/runs/7", run)
    moving = run | {"state": "pausing", "pending_checkpoint": 5 << 20}
    plane.answer(f"POST /v1/runs/7/{verb}", moving)
    for until in Until:
        plane.answer(wait_for(7, until), moving)
    command = [sys.executable, "-m", "trainctl", verb, "7", "--socket", str(plane.socket)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as waiting:
        poll(lambda: any("/wait" in request.target for request in plane.requests), "trainctl waits")

        waiting.send_signal(signal.SIGINT)

        _, said = waiting.communicate(timeout=20)
    assert waiting.returncode == 130
    assert said == f"the order to {verb} stands; see what becomes of it with: trainctl status\n"


def test_resume_sends_overrides_and_prints_a_line_for_each_change(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json
) -> None:
    changes = [
        {"key": "optimizer.lr", "was": 0.001, "now": 0.0001, "verdict": "applied", "why": "from the next step on"},
        {"key": "resources.cpus", "was": None, "now": 2, "verdict": "kept", "why": None},
    ]
    plane.answer("GET /v1/runs/7", run | {"state": "paused"})
    checkpoint = {"step": 1153, "path": "/runs/7/step-000001153", "kinds": ["last"]}
    plane.answer("POST /v1/runs/7/resume", run | {"state": "queued", "changes": changes, "checkpoints": [checkpoint]})

    done = trainctl("resume", "7", "optimizer.lr=1e-4", "resources.cpus=2", "--accept-changed-data")

    assert sent(plane)[0][1] == {
        "overrides": ["optimizer.lr=1e-4", "resources.cpus=2"],
        "accept_changed_data": True,
    }
    assert [" ".join(line.split()) for line in done.stderr.splitlines()] == [
        "KEY WAS -> NOW VERDICT",
        "optimizer.lr 0.001 -> 0.0001 applied: from the next step on",
        "resources.cpus null -> 2 kept",
        "run 7 (overnight) is queued; it goes on from step 1153",
    ]


def test_changes_that_are_refused_are_shown_with_the_findings(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json
) -> None:
    refusal = problem("refused", 422, "refused", 78, [{"message": "decides the samples", "key": "seed"}])
    assert isinstance(refusal.body, dict)
    refusal.body["changes"] = [{"key": "seed", "was": 1, "now": 2, "verdict": "refused"}]
    plane.answer("GET /v1/runs/7", run)
    plane.answer("POST /v1/runs/7/retry", refusal)

    done = trainctl("retry", "7", "seed=2")

    assert done.returncode == 78
    assert done.stderr.splitlines()[1].split() == ["seed", "1", "->", "2", "refused"]
    assert done.stderr.endswith("seed: decides the samples\n")


def test_nothing_is_drawn_where_nothing_has_changed() -> None:
    assert draw_changes([]) == []


def test_retry_from_start_prints_the_id_of_the_new_run(plane: FakeControlPlane, trainctl: Trainctl, run: Json) -> None:
    plane.answer("GET /v1/runs/7", run | {"state": "completed"})
    plane.answer("POST /v1/runs/7/retry", run | {"id": 12, "state": "queued", "warnings": []})

    done = trainctl("retry", "7", "--from-start", "seed=2")

    assert (done.returncode, done.stdout) == (0, "12\n")
    assert sent(plane) == [("/v1/runs/7/retry", {"overrides": ["seed=2"], "from_start": True})]


def test_a_new_run_that_is_only_on_disk_is_waited_for_by_its_own_number(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json
) -> None:
    plane.answer("GET /v1/runs/7", run | {"state": "completed"})
    plane.answer("POST /v1/runs/7/retry", Reply({"command": 4, "id": 12}, 202))
    plane.answer("GET /v1/commands/4", {"number": 4, "state": "applied", "problem": None})
    plane.answer("GET /v1/runs/12", run | {"id": 12, "state": "queued"})

    assert trainctl("retry", "7", "--from-start").stdout == "12\n"


def test_checkpoint_prints_the_path_of_the_pinned_one(plane: FakeControlPlane, trainctl: Trainctl, run: Json) -> None:
    kinds = {900: ["pinned"], 1160: ["pinned", "last"], 1200: ["periodic"]}
    there = [{"step": step, "path": f"/runs/7/step-{step}", "kinds": kinds[step]} for step in kinds]
    plane.answer("GET /v1/runs/7", run)
    plane.answer("POST /v1/runs/7/checkpoint", run | {"pending_checkpoint": 5 << 20})
    plane.answer(wait_for(7, "checkpointed"), run | {"checkpoints": there})

    done = trainctl("checkpoint", "7")

    assert (done.returncode, done.stdout, done.stderr) == (0, "/runs/7/step-1160\n", "")


@pytest.mark.parametrize(("order", "exit_code"), [(None, 1), (4 << 20, 1), (5 << 20, 0), (6 << 20, 0)])
def test_a_run_that_ends_has_obeyed_if_its_journal_says_so(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json, order: int | None, exit_code: int
) -> None:
    """An older pinned checkpoint is not the one that was ordered."""
    pinned = {"step": 1160, "path": "/runs/7/step-1160", "kinds": ["pinned"]}
    plane.answer("GET /v1/runs/7", run)
    plane.answer("POST /v1/runs/7/checkpoint", run | {"pending_checkpoint": 5 << 20})
    plane.answer(wait_for(7, "checkpointed"), run | {"state": "stopped", "checkpoints": [pinned]})
    plane.answer("GET /v1/runs/7/events", Reply(json.dumps({"event": "checkpoint", "order": order}).encode() + b"\n"))

    done = trainctl("checkpoint", "7")

    assert done.returncode == exit_code
    assert done.stdout == ("/runs/7/step-1160\n" if exit_code == 0 else "")
    assert ("it ended without the checkpoint" in done.stderr) == (exit_code == 1)


def test_removed_runs_are_told_and_are_objects_for_scripts(
    plane: FakeControlPlane, trainctl: Trainctl, completed: Json
) -> None:
    plane.answer("GET /v1/runs/7", completed)
    plane.answer("POST /v1/runs/7/remove", {"id": 7, "removed": True})

    told, for_scripts = trainctl("remove", "7"), trainctl("remove", "7", "-o", "json")

    assert (told.returncode, told.stdout, told.stderr) == (0, "", "run 7 (overnight) is removed\n")
    assert json.loads(for_scripts.stdout) == {"id": 7, "removed": True, "name": "overnight"}


@pytest.mark.parametrize("options", [[], ["--first", "--priority", "3"], ["--before", "8", "--first"]])
def test_move_wants_exactly_one_place(plane: FakeControlPlane, trainctl: Trainctl, options: list[str]) -> None:
    refused = trainctl("move", "7", *options)

    assert refused.returncode == 2
    assert "one of --priority, --first and --before" in refused.stderr
    assert plane.requests == []


@pytest.mark.parametrize(("options", "turn"), [(["--first"], [8, 7]), (["--before", "5"], [7, 8])])
def test_several_runs_are_moved_so_that_they_stay_in_the_order_in_which_they_are_named(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json, options: list[str], turn: list[int]
) -> None:
    for run_id in (7, 8):
        plane.answer(f"GET /v1/runs/{run_id}", run | {"id": run_id})
        plane.answer(f"POST /v1/runs/{run_id}/move", run | {"id": run_id, "state": "queued"})

    assert trainctl("move", "7", "8", *options).returncode == 0
    assert [target for target, _ in sent(plane)] == [f"/v1/runs/{run_id}/move" for run_id in turn]


def test_show_says_how_truly_a_run_went_on_and_what_is_legal_now(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json
) -> None:
    plane.answer("GET /v1/runs/7", run | {"state": "paused", "exactness": "within_tolerance", "legal": ["resume"]})

    lines = [line.split(None, 1) for line in trainctl("show", "7").stdout.splitlines()]

    assert ["resumed", "within tolerance"] in lines
    assert ["legal", "now  resume, retry --from-start"] in lines


def test_a_checkpoint_of_a_run_that_is_held_comes_once_it_goes_on(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json
) -> None:
    """Its trainer crashed before it obeyed, and somebody paused the run before the next one had begun."""
    pending = {"pending_checkpoint": 5 << 20}
    plane.answer("GET /v1/runs/7", run)
    plane.answer("POST /v1/runs/7/checkpoint", run | pending)
    plane.answer(wait_for(7, "checkpointed"), run | pending | {"state": "held"})

    done = trainctl("checkpoint", "7")

    assert (done.returncode, done.stdout) == (1, "")
    assert "it commits the checkpoint once it goes on: trainctl resume 7" in done.stderr


def test_an_order_is_waited_for_though_no_state_can_tell_what_became_of_it(plane: FakeControlPlane) -> None:
    """The supervisor may be away for longer than a daemon that does not answer is given."""
    away = problem("unreachable", 503, "the state is being rebuilt", 69)
    away.headers["Retry-After"] = "1"
    applied = Reply({"number": 4, "state": "applied", "problem": None})
    plane.answer("GET /v1/commands/4", away, away, applied)

    await_command(Daemon([plane.socket], reconnect_seconds=0.0), 4)

    assert len(plane.requests) == 3


def test_a_submit_whose_run_was_removed_before_its_answer_came_says_so(
    plane: FakeControlPlane, trainctl: Trainctl, tmp_path: Path
) -> None:
    (tmp_path / "run.yaml").write_text("name: overnight\n")
    removed = {"id": 7, "name": "overnight", "removed": True}
    plane.answer("POST /v1/runs", Reply({"runs": [removed], "warnings": []}, 201))

    done = trainctl("submit", str(tmp_path / "run.yaml"))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "run 7 (overnight) is removed\n")
