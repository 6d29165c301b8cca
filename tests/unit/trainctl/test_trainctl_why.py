"""One screen on how a run ended: the cause first, the exact next command last."""

from __future__ import annotations

import json
from collections.abc import Callable
from subprocess import CompletedProcess
from typing import Any

from fake_control_plane import FakeControlPlane

from trainctl.why_report import draw_bars

Json = dict[str, Any]
Trainctl = Callable[..., CompletedProcess[str]]

TIME = "2026-11-23T03:00:00.000000+00:00"


def an_answer(run: Json) -> Json:
    hang = {"time": TIME, "attempt": 3, "state": "failed", "reason": "hang", "step": 1150, "error": "the trainer hung"}
    return {
        "run": run | {"state": "failed", "reason": "hang", "signal": 9, "error": "the trainer hung and was killed"},
        "attempts": [hang],
        "warnings": [{"time": TIME, "event": "checkpoint_skipped", "path": "step-7", "why": "a checksum differs"}],
        "epochs": [{"epoch": n, "seconds": 1.0, "seconds_per_step": seconds} for n, seconds in enumerate((0.1, 0.4))],
        "log": {"path": "/runs/7/log", "lines": ["epoch 1/400"]},
        "stacks": {"path": "/runs/7/stacks-3.txt", "lines": ["Thread 1", "  File net.py, line 3 in forward"]},
        "vitals": [{"resident_bytes": size} for size in (1_000_000, None, 3_000_000)],
        "next": {"command": "trainctl retry 7", "advice": "once what its stacks wait for is mended"},
    }


def test_why_shows_cause_attempts_history_stacks_log_and_the_next_command(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json
) -> None:
    plane.answer("GET /v1/runs/7/why", an_answer(run))

    shown = trainctl("why", "7")

    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert lines[0] == "run 7 (overnight) is failed (hang, signal 9), at step 1150"
    assert lines[1] == "  the trainer hung and was killed"
    assert "step-7: a checksum differs" in lines[2]
    assert "memory     ▁█  1 MB to 3 MB, last 3 MB" in lines
    assert "step time  ▁█  0.1 s to 0.4 s, last 0.4 s" in lines
    assert "its stacks (/runs/7/stacks-3.txt):" in lines
    assert "its last lines (/runs/7/log):" in lines
    assert lines[-1] == "next: trainctl retry 7    (once what its stacks wait for is mended)"


def test_as_json_it_is_the_answer_of_the_api(plane: FakeControlPlane, trainctl: Trainctl, run: Json) -> None:
    plane.answer("GET /v1/runs/7/why", an_answer(run))

    assert json.loads(trainctl("why", "7", "--json").stdout) == an_answer(run)


def test_a_run_that_has_not_started_has_no_history(plane: FakeControlPlane, trainctl: Trainctl, run: Json) -> None:
    waiting = {
        "run": run | {"state": "queued", "step": 0},
        **{key: [] for key in ("attempts", "warnings", "epochs", "vitals")},
        "log": {"path": "/runs/7/log", "lines": []},
        "stacks": None,
        "next": {"command": None, "advice": "it waits"},
    }
    plane.answer("GET /v1/runs/7/why", waiting)

    assert trainctl("why", "7").stdout.splitlines() == [
        "run 7 (overnight) is queued, at step 0",
        "",
        "it has not started yet",
        "",
        "next: it waits",
    ]


def test_bars_go_from_the_smallest_value_to_the_largest_and_show_the_newest() -> None:
    assert draw_bars([1, 2, 3]) == "▁▅█"
    assert draw_bars([5.0, 5.0]) == "▁▁"
    assert len(draw_bars(range(1000))) == 48
