"""GET: runs, lists, status, waiting; and every mistake a problem document."""

from __future__ import annotations

import json
import math
import threading
import time
from typing import Any

import psutil
import pytest
from control_harness import Daemon

from trainerd.contracts.states import Reason, State

PROMISED = {
    *("id", "name", "state", "reason", "step", "epoch", "attempt", "priority", "owner", "pids", "created_at"),
    *("started_at", "ended_at", "exit_code", "signal", "error", "monitor", "model", "checkpoints", "run_dir", "spec"),
    *("exactness", "legal"),
}


def test_a_run_is_shown_with_everything_that_is_promised(daemon: Daemon) -> None:
    run_id = daemon.submitted("shown")

    by_id, by_name = daemon.client.get(f"/v1/runs/{run_id}").json(), daemon.client.get("/v1/runs/shown").json()

    assert by_id.keys() >= PROMISED
    assert by_id == by_name == daemon.client.get("/v1/runs/latest").json()
    assert (by_id["pids"], by_id["checkpoints"], by_id["beat_age_seconds"]) == ([], [], None)


def test_a_living_run_shows_the_step_of_its_pulse_and_not_the_folded_one(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    pulse = daemon.supervisor.start_run(run_id)
    pulse.set_epoch(3)
    pulse.beat(250)

    run = daemon.client.get(f"/v1/runs/{run_id}").json()

    assert (run["step"], run["epoch"], run["pids"]) == (250, 2, [4242])
    assert run["live"]["epoch"] == 3
    assert 0 <= run["beat_age_seconds"] < 10


def test_the_pulse_of_an_earlier_attempt_is_not_shown(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    daemon.supervisor.start_run(run_id).beat(250)
    daemon.supervisor.move(run_id, attempt=2, step=200)

    assert daemon.client.get(f"/v1/runs/{run_id}").json()["step"] == 200


def test_checkpoints_have_the_kinds_that_follow_from_their_manifests(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    monitor = {"name": "val_loss", "best": 0.5, "best_epoch": 1, "best_step": 100, "last": math.nan}
    daemon.supervisor.move(run_id, state=State.STOPPED, monitor=monitor)
    checkpoints = daemon.supervisor.directory(run_id).checkpoints
    for step, manifest in {
        100: _manifest(100),
        200: _manifest(200, periodic=True),
        300: _manifest(300, pinned=True),
    }.items():
        (checkpoints / f"step-{step:09d}").mkdir(parents=True)
        (checkpoints / f"step-{step:09d}" / "manifest.json").write_text(json.dumps(manifest))
    (checkpoints / "step-000000400").mkdir()
    (checkpoints / "step-000000500").mkdir()
    (checkpoints / "step-000000500" / "manifest.json").write_text('{"step": 500, "ep')

    run = daemon.client.get(f"/v1/runs/{run_id}").json()

    assert [(point["step"], point["kinds"], point["bytes"]) for point in run["checkpoints"]] == [
        (300, ["last", "pinned"], 30),
        (200, ["periodic"], 30),
        (100, ["best"], 30),
    ]
    assert run["monitor"]["last"] is None, "JSON has no NaN"


def test_lists_hold_what_has_not_ended_and_the_newest_ended_ones(daemon: Daemon) -> None:
    ended = [daemon.submitted() for _ in range(12)]
    for run_id in ended:
        daemon.supervisor.move(run_id, state=State.COMPLETED, reason=Reason.FINISHED)
    waiting = daemon.submitted()

    shown = daemon.client.get("/v1/runs").json()["runs"]

    ids = [run["id"] for run in shown]
    assert ids == sorted(ids, reverse=True)
    assert waiting in ids
    assert set(ids) & set(ended) == set(ended[2:]), "the ten newest ended ones"
    assert not {"spec", "checkpoints"} & shown[0].keys()


def test_lists_can_be_filtered_and_read_page_by_page(daemon: Daemon) -> None:
    first, second, third = (daemon.submitted("paged") for _ in range(3))
    daemon.supervisor.move(second, state=State.FAILED)

    failed = daemon.client.get("/v1/runs?state=failed").json()["runs"]
    page = daemon.client.get(f"/v1/runs?all=true&limit=2&before={third}").json()["runs"]

    assert failed[0]["id"] == second
    assert {run["state"] for run in failed} == {"failed"}
    assert [run["id"] for run in page] == [second, first]


def test_waiting_returns_as_soon_as_the_run_has_settled(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    threading.Timer(0.2, lambda: daemon.supervisor.move(run_id, state=State.COMPLETED)).start()
    began = time.monotonic()

    run = daemon.client.get(f"/v1/runs/{run_id}/wait?timeout=15").json()

    assert run["state"] == "completed"
    assert time.monotonic() - began < 10


def test_waiting_until_a_run_has_halted_returns_at_once_where_no_order_is_ending_it(daemon: Daemon) -> None:
    """pause of a queued run leaves it held: neither ended nor paused, and nothing more will come."""
    run_id = daemon.submitted(hold=True)
    began = time.monotonic()

    assert daemon.client.get(f"/v1/runs/{run_id}/wait?timeout=15&until=halted").json()["state"] == "held"
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("state", [State.PAUSING, State.STOPPING])
def test_waiting_until_a_run_has_halted_waits_for_its_trainer(daemon: Daemon, state: State) -> None:
    run_id = daemon.submitted()
    daemon.supervisor.move(run_id, state=state)

    assert daemon.client.get(f"/v1/runs/{run_id}/wait?timeout=0.05&until=halted").json()["state"] == state


def test_waiting_until_a_checkpoint_is_there_returns_when_the_order_is_obeyed_or_never_will_be(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    target = f"/v1/runs/{run_id}/wait?until=checkpointed&timeout="
    daemon.supervisor.move(run_id, state=State.RUNNING, pending_checkpoint=7 << 20)
    assert daemon.client.get(f"{target}0.05").json()["pending_checkpoint"] == 7 << 20

    threading.Timer(0.1, lambda: daemon.supervisor.move(run_id, pending_checkpoint=None)).start()
    began = time.monotonic()
    assert daemon.client.get(f"{target}15").json()["pending_checkpoint"] is None

    daemon.supervisor.move(run_id, state=State.STOPPED, pending_checkpoint=8 << 20)
    assert daemon.client.get(f"{target}15").json()["state"] == "stopped"
    assert time.monotonic() - began < 10


def test_waiting_gives_the_run_as_it_is_at_the_timeout(daemon: Daemon) -> None:
    run_id = daemon.submitted()

    assert daemon.client.get(f"/v1/runs/{run_id}/wait?timeout=0.05").json()["state"] == "queued"


def test_the_status_says_who_is_there_what_runs_and_what_waits(daemon: Daemon) -> None:
    queued, running = daemon.submitted(), daemon.submitted()
    daemon.supervisor.start_run(running)

    status = daemon.client.get("/v1/status").json()

    assert status["supervisor"] == {"state": "up", "pid": None}, "the small supervisor does not tell"
    assert status["worker"] == {"state": "up", "supervised": False}
    assert queued in [run["id"] for run in status["queue"]]
    assert running in [run["id"] for run in status["active"]]
    assert (status["home"], status["slots"]) == (str(daemon.home.path), 1)
    assert status["disk"]["free_bytes"] > 0
    assert len(status["recent"]) <= 5


def test_the_interface_describes_itself(daemon: Daemon) -> None:
    paths = daemon.client.get("/v1/openapi.json").json()["paths"]

    assert {"/v1/runs", "/v1/runs/{reference}/stop", "/v1/runs/{reference}/follow"} <= paths.keys()
    assert "StopRequest" in json.dumps(paths["/v1/runs/{reference}/stop"])


def test_the_process_is_small_and_knows_no_torch(daemon: Daemon) -> None:
    daemon.submitted()
    daemon.client.get("/v1/openapi.json")
    process = psutil.Process(daemon.control.process.pid)

    mapped = {region.path for region in process.memory_maps()}
    assert not [path for path in mapped if "torch" in path or "numpy" in path or "h5py" in path]
    assert process.memory_info().rss < 80 << 20


MISTAKES: dict[str, tuple[str, str, Any, tuple[int, str], str]] = {
    "unknown path": ("GET", "/v1/nothing", None, (400, "usage"), "/v1/nothing"),
    "wrong method": ("DELETE", "/v1/runs", None, (400, "usage"), "DELETE"),
    "no body": ("POST", "/v1/runs", None, (400, "usage"), "body"),
    "unknown field": ("POST", "/v1/runs", {"runs": [], "speed": 9}, (400, "usage"), "speed"),
    "no runs": ("POST", "/v1/runs", {"runs": []}, (400, "usage"), "runs"),
    "relative path": ("POST", "/v1/runs", {"runs": [{"path": "a.yaml", "text": ""}]}, (400, "usage"), "absolute"),
    "wrong type": (
        "POST",
        "/v1/runs",
        {"runs": [{"path": "/a", "text": "", "priority": "1"}]},
        (400, "usage"),
        "priority",
    ),
    "unknown verb": ("POST", "/v1/runs/1/explode", {}, (400, "usage"), "explode"),
    "unknown state": ("GET", "/v1/runs?state=asleep", None, (400, "usage"), "state"),
    "no such run": ("GET", "/v1/runs/999999", None, (404, "no-such-run"), "999999"),
    "stop of no run": ("POST", "/v1/runs/nobody/stop", {}, (404, "no-such-run"), "nobody"),
    "stream of no run": ("GET", "/v1/runs/nobody/follow", None, (404, "no-such-run"), "nobody"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_is_a_problem_document_that_names_it(daemon: Daemon, mistake: str) -> None:
    method, target, body, problem, named = MISTAKES[mistake]

    reply = daemon.client.ask(method, target, body)

    assert reply.problem() == problem
    assert named in reply.json()["detail"]


def test_a_body_that_is_not_json_is_a_problem_document(daemon: Daemon) -> None:
    reply = daemon.client.ask("POST", "/v1/runs", raw=b"{")

    assert reply.problem() == (400, "usage")


def _manifest(step: int, *, periodic: bool = False, pinned: bool = False) -> dict[str, Any]:
    files = {"a": {"bytes": 10, "xxh3": "0"}, "b": {"bytes": 20, "xxh3": "0"}}
    return {
        "format": 1,
        "step": step,
        "epoch": step // 100,
        "committed_at": "2026-11-23T03:00:00+00:00",
        "periodic": periodic,
        "pinned": pinned,
        "files": files,
    }
