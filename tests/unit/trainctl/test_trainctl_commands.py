"""The verbs, each as a process of its own against a fake control plane: what is said where, and the exit code."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fake_control_plane import FakeControlPlane, Reply, message, problem

from trainctl.command_line import SECTIONS, VERBS, cli
from trainerd.contracts.states import Verb

Json = dict[str, Any]
Trainctl = Callable[..., "subprocess.CompletedProcess[str]"]

STATUS: Json = {
    "version": "0.1.0",
    "home": "/home/someone/trainerd",
    "owner": "someone",
    "slots": 1,
    "supervisor": {"state": "up"},
    "worker": {"state": "up"},
    "active": [],
    "queue": [],
    "recent": [],
    "disk": {"path": "/home/someone/trainerd", "free_bytes": 41_000_000_000},
}


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    path = tmp_path / "overnight.yaml"
    path.write_text("name: overnight\n")
    return path


@pytest.mark.parametrize("verb", [[verb] for verb in VERBS] + [["config", "schema"], ["config", "show"]])
def test_the_help_of_every_verb_has_an_example(verb: list[str]) -> None:
    shown = CliRunner().invoke(cli, [*verb, "--help"], prog_name="trainctl")

    assert shown.exit_code == 0
    assert f"Examples:\n    trainctl {verb[0]}" in shown.output


def test_status_of_an_idle_daemon_says_how_to_begin(plane: FakeControlPlane, trainctl: Trainctl) -> None:
    plane.answer("GET /v1/status", STATUS)

    shown = trainctl()

    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines() == [
        "trainerd 0.1.0 of someone, up; /home/someone/trainerd, 41 GB free",
        "",
        "nothing is running; submit with: trainctl submit FILE",
    ]


def test_status_shows_what_runs_what_waits_and_what_has_ended(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json, completed: Json
) -> None:
    waiting = run | {"id": 8, "name": "digits", "state": "queued", "after": 7}
    held = run | {"id": 9, "state": "held"}
    silent = run | {
        "stalled": True,
        "beat_age_seconds": 73.0,
        "live": {"phase": "validation"},
        "exactness": "diverged_on_resume",
    }
    away = {"worker": {"state": "away"}, "active": [silent], "queue": [waiting, held]}
    plane.answer("GET /v1/status", STATUS | away | {"recent": [completed | {"id": 6}]})

    lines = [line.split("  ") for line in trainctl("status").stdout.splitlines()]
    words = [[word.strip() for word in line if word.strip()] for line in lines]

    assert words[0][0] == "trainerd 0.1.0 of someone, worker away; /home/someone/trainerd, 41 GB free"
    assert words[3] == [
        "7",
        "overnight",
        "running (stalled for 1 min 13 s in validation, diverged on resume)",
        "12/400",
        "1150",
        "val_loss 0.0123 at epoch 9",
    ]
    assert words[6] == ["1", "8", "digits", "queued after 7", "0", "2026-11-23T03:00:00+00:00"]
    assert words[7][:4] == ["-", "9", "overnight", "held"]
    assert words[10][:5] == ["6", "overnight", "completed", "early_stopping", "330/400"]


def test_show_as_json_is_the_object_of_the_api(plane: FakeControlPlane, trainctl: Trainctl, completed: Json) -> None:
    plane.answer("GET /v1/runs/7", completed)

    assert json.loads(trainctl("show", "7", "-o", "json").stdout) == completed
    assert json.loads(trainctl("show", "7", "--json").stdout) == completed
    assert json.loads(trainctl("show", "7", "7", "--json").stdout) == [completed, completed]
    assert trainctl("show", "7", "-o", "id").stdout == "7\n"


def test_without_an_id_the_newest_run_is_shown_when_nothing_is_active(
    plane: FakeControlPlane, trainctl: Trainctl, completed: Json
) -> None:
    plane.answer("GET /v1/status", STATUS)
    plane.answer("GET /v1/runs/latest", completed)

    assert trainctl("show").stdout.startswith("run 7 (overnight)\n  state      completed (early_stopping)")


def test_submit_sends_text_path_and_overrides_and_prints_the_id(
    plane: FakeControlPlane, trainctl: Trainctl, configuration: Path, run: Json
) -> None:
    warning = {"message": "not checkable", "key": "model"}
    plane.answer("POST /v1/runs", Reply({"runs": [run | {"state": "queued"}], "warnings": [warning]}, 201))

    queued = trainctl(
        "submit", str(configuration), "optimizer.lr=1e-3", "--name", "n", "--priority", "5", "--after", "3"
    )

    assert (queued.returncode, queued.stdout) == (0, "7\n")
    assert "warning: model: not checkable\n" in queued.stderr
    assert "trainctl follow 7" in queued.stderr
    (request,) = plane.requests
    sent = {"path": str(configuration), "text": "name: overnight\n", "overrides": ["optimizer.lr=1e-3"]}
    options = {"name": "n", "priority": 5, "after": "3", "hold": False}
    assert request.body == {"runs": [sent | options], "dry_run": False}


def test_submit_waits_for_a_supervisor_that_is_away(
    plane: FakeControlPlane, trainctl: Trainctl, configuration: Path, run: Json
) -> None:
    plane.answer("POST /v1/runs", Reply({"command": 4, "runs": [{"id": 7, "name": "n"}], "warnings": []}, 202))
    pending = {"number": 4, "state": "pending", "problem": None}
    plane.answer("GET /v1/commands/4", pending, pending | {"state": "applied"})
    plane.answer("GET /v1/runs/7", run)

    queued = trainctl("submit", str(configuration), "-o", "json")

    assert json.loads(queued.stdout) == run
    assert "the supervisor is away; order 4 is on disk" in queued.stderr


def test_an_order_that_was_refused_later_fails_as_if_refused_at_once(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json
) -> None:
    plane.answer("GET /v1/runs/7", run)
    plane.answer("POST /v1/runs/7/cancel", Reply({"command": 5}, 202))
    refusal = problem("not-allowed", 409, "cannot cancel run 7: it is running", 4).body
    plane.answer("GET /v1/commands/5", {"number": 5, "state": "refused", "problem": refusal})

    refused = trainctl("cancel", "7")

    assert refused.returncode == 4
    assert refused.stderr.endswith("cannot cancel run 7: it is running\n")


def test_files_that_cannot_be_read_are_all_named_and_nothing_is_sent(
    plane: FakeControlPlane, trainctl: Trainctl, configuration: Path, tmp_path: Path
) -> None:
    refused = trainctl("submit", str(configuration), f"{tmp_path}/a.yaml", f"{tmp_path}/b.yaml")

    assert refused.returncode == 78
    assert refused.stderr.splitlines() == [
        f"{tmp_path}/{name}.yaml: cannot be read: No such file or directory" for name in "ab"
    ]
    assert plane.requests == []


def test_a_refused_configuration_has_one_line_for_each_finding(
    plane: FakeControlPlane, trainctl: Trainctl, configuration: Path
) -> None:
    findings = [{"message": f"wrong {number}", "file": "/a.yaml", "line": number} for number in range(1, 7)]
    plane.answer("POST /v1/runs", problem("refused", 422, "refused", 78, findings))

    refused = trainctl("submit", str(configuration))

    assert (refused.returncode, refused.stdout) == (78, "")
    assert refused.stderr.splitlines() == [f"/a.yaml:{number}: wrong {number}" for number in range(1, 7)]


@pytest.mark.parametrize(
    ("ends", "exit_code"),
    [
        (["completed", "completed"], 0),
        (["completed", "stopped"], 75),
        (["paused", "completed"], 75),
        (["stopped", "failed"], 1),
        (["cancelled", "stopped"], 1),
    ],
)
def test_wait_exits_with_the_worst_end(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json, ends: list[str], exit_code: int
) -> None:
    for run_id, end in enumerate(ends, start=1):
        plane.answer(f"GET /v1/runs/{run_id}", run | {"id": run_id})
        plane.answer(
            f"GET /v1/runs/{run_id}/wait?timeout=30.000&until=settled",
            run | {"id": run_id},
            run | {"id": run_id, "state": end},
        )

    assert trainctl("wait", "1", "2").returncode == exit_code


def test_nan_is_no_timeout(trainctl: Trainctl) -> None:
    refused = trainctl("wait", "7", "--timeout", "nan")

    assert (refused.returncode, "nan is no length of time" in refused.stderr) == (2, True)


def test_an_answer_that_cannot_be_written_is_said_so_in_one_line(plane: FakeControlPlane, tmp_path: Path) -> None:
    plane.answer("GET /v1/status", STATUS)
    command = [sys.executable, "-m", "trainctl", "status"]
    with open("/dev/full", "w") as full:
        shown = subprocess.run(
            command, env={**os.environ, "TRAINERD_HOME": str(tmp_path)}, stdout=full, stderr=subprocess.PIPE, text=True
        )

    assert shown.returncode == 1
    assert shown.stderr == "cannot write the answer to standard output: No space left on device\n"


def test_wait_gives_up_after_its_timeout(plane: FakeControlPlane, trainctl: Trainctl, run: Json) -> None:
    plane.answer("GET /v1/runs/7", run)
    plane.answer("GET /v1/runs/7/wait?timeout=0.000&until=settled", run)

    given_up = trainctl("wait", "7", "--timeout", "0")

    assert given_up.returncode == 124
    assert given_up.stderr == "run 7 has not ended within 0 s; it goes on\n"


@pytest.mark.parametrize(
    ("words", "file", "said"),
    [
        (
            ["wait", "7"],
            "wait?timeout=30.000&until=settled",
            "run 7 is no longer waited for; see it with: trainctl show 7",
        ),
        (["logs", "7", "-f"], "log", "run 7 goes on; stop it with: trainctl stop 7"),
    ],
)
def test_ctrl_c_while_waiting_says_what_becomes_of_the_run(
    plane: FakeControlPlane, run: Json, words: list[str], file: str, said: str
) -> None:
    plane.answer("GET /v1/runs/7", run)
    plane.answer("GET /v1/runs/7/wait?timeout=30.000&until=settled", run)
    plane.answer("GET /v1/runs/7/log", Reply(blocks=[]))
    command = [sys.executable, "-m", "trainctl", "--socket", str(plane.socket), *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as waiting:
        deadline = time.monotonic() + 20
        while not any(request.target.endswith(file) for request in plane.requests):
            assert time.monotonic() < deadline, "trainctl never asked"
            time.sleep(0.01)

        waiting.send_signal(signal.SIGINT)

        _, messages = waiting.communicate(timeout=20)
    assert waiting.returncode == 130
    assert messages == said + "\n"


def test_ctrl_c_during_a_submit_says_that_it_may_be_queued_and_how_to_look(tmp_path: Path) -> None:
    configuration = tmp_path / "run.yaml"
    configuration.write_text("name: tiny\n")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "control.sock"))
        silent.listen()
        silent.settimeout(20)
        command = [sys.executable, "-m", "trainctl", "submit", "--socket", str(tmp_path / "control.sock")]
        with subprocess.Popen([*command, str(configuration)], stderr=subprocess.PIPE, text=True) as submitting:
            asking, _ = silent.accept()
            assert asking.recv(1)

            submitting.send_signal(signal.SIGINT)

            _, said = submitting.communicate(timeout=20)
            asking.close()
    assert submitting.returncode == 130
    assert "may be queued" in said
    assert "trainctl list" in said


def test_stop_says_at_which_step_and_where_the_checkpoint_lies(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json
) -> None:
    stopped = run | {
        "state": "stopped",
        "step": 1153,
        "checkpoints": [{"step": 1153, "path": "/runs/7/step-000001153"}],
    }
    plane.answer("GET /v1/runs/7", run)
    plane.answer("POST /v1/runs/7/stop", run | {"state": "stopping"})
    plane.answer("GET /v1/runs/7/wait?timeout=30.000&until=halted", stopped)

    done = trainctl("stop", "7", "--no-checkpoint")

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "run 7 (overnight) is stopped at step 1153; newest checkpoint: /runs/7/step-000001153\n"
    assert [request.body for request in plane.requests if request.method == "POST"] == [{"checkpoint": False}]


def test_follow_off_a_terminal_prints_a_line_an_epoch_and_the_summary(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json, completed: Json
) -> None:
    epoch = {
        "event": "epoch",
        "epoch": 12,
        "step": 1200,
        "train_loss": 0.5,
        "val_loss": 0.25,
        "metrics": {"mae": 0.125},
    }
    plane.answer("GET /v1/runs/7", run)
    plane.answer(
        "GET /v1/runs/7/follow",
        Reply(blocks=[message("run", run, "0.0"), message("event", epoch, "9.0"), message("end", completed)]),
    )

    watched = trainctl("follow", "7")

    assert watched.returncode == 0
    lines = watched.stdout.splitlines()
    assert lines[:3] == [
        "run 7 (overnight) is running",
        "epoch 12/400  step 1200  train_loss 0.5  val_loss 0.25  mae 0.125",
        "run 7 (overnight) is completed",
    ]
    assert "run 7 (overnight) completed: early stopping" in lines


@pytest.mark.parametrize(
    ("delay_seconds", "failures", "said"),
    [(0, 1, "starts again at once, after 1 failure"), (5.0, 2, "starts again in 5 s, after 2 failures")],
)
def test_follow_tells_when_a_run_starts_again_and_from_where(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json, delay_seconds: float, failures: int, said: str
) -> None:
    change = {"key": "optimizer.lr", "was": 0.1, "now": 0.2, "verdict": "applied"}
    lines: list[Json] = [
        {"event": "retrying", "delay_seconds": delay_seconds, "failures": failures},
        {"event": "resumed", "checkpoint": "step-000001100", "step": 1100, "differences": [], "changes": [change]},
        {"event": "replay_differed", "step": 1110, "split": "train", "key": "loss", "was": 0.5, "now": 0.75},
    ]
    plane.answer("GET /v1/runs/7", run)
    blocks = [message("event", line) for line in lines]
    plane.answer("GET /v1/runs/7/follow", Reply(blocks=[*blocks, message("end", run | {"state": "stopped"})]))

    assert trainctl("follow", "7").stdout.splitlines()[1:6] == [
        said,
        "goes on from step-000001100 (step 1100)",
        "changed: optimizer.lr: 0.1 -> 0.2",
        "step 1110 was not repeated: loss was 0.5, is 0.75",
        "run 7 (overnight) is stopped",
    ]


def test_the_help_names_every_verb_in_the_section_where_it_belongs() -> None:
    shown = CliRunner().invoke(cli, ["--help"], prog_name="trainctl").output

    for title, verbs in SECTIONS.items():
        section = shown.partition(f"{title}:\n")[2].partition("\n\n")[0]
        assert [line.split()[0] for line in section.splitlines()] == list(verbs)
    assert set(VERBS) >= set(Verb)


def test_follow_for_a_script_keeps_stdout_for_the_run(
    plane: FakeControlPlane, trainctl: Trainctl, run: Json, completed: Json
) -> None:
    plane.answer("GET /v1/runs/7", run)
    plane.answer("GET /v1/runs/7/follow", Reply(blocks=[message("end", completed | {"state": "failed"})]))

    watched = trainctl("follow", "7", "-o", "json")

    assert watched.returncode == 1
    assert json.loads(watched.stdout)["state"] == "failed"
    assert "run 7 (overnight) is failed" in watched.stderr


def test_files_of_a_run_pass_unchanged_off_a_terminal(plane: FakeControlPlane, trainctl: Trainctl, run: Json) -> None:
    plane.answer("GET /v1/runs/7", run)
    plane.answer("GET /v1/runs/7/log", Reply(b"a\x1b[31m\r10%\n"))
    plane.answer("GET /v1/runs/7/metrics", Reply(b'{"step": 1, "loss": NaN}\n{"step": 2}\n'))

    assert trainctl("logs", "7").stdout == "a\x1b[31m\n10%\n"  # text mode turns the return into a newline
    assert trainctl("metrics", "7").stdout == '{"step": 1, "loss": NaN}\n{"step": 2}\n'
    assert trainctl("metrics", "7", "-o", "table").stdout.splitlines()[1].split() == ["-", "1", "-", "-", "nan"]


def test_a_damaged_line_is_named_and_passed_over(plane: FakeControlPlane, run: Json, trainctl: Trainctl) -> None:
    plane.answer("GET /v1/runs/7", run)
    plane.answer("GET /v1/runs/7/events", Reply(b'{"event": "started"}\ngarbage {{{\n{"event": "ended"}\n'))

    shown = trainctl("events", "7", "-o", "json")

    assert [event["event"] for event in json.loads(shown.stdout)] == ["started", "ended"]
    assert shown.stderr == "events: line 2 is damaged and passed over\n"


def test_the_growing_log_is_printed_as_it_comes(plane: FakeControlPlane, trainctl: Trainctl, run: Json) -> None:
    plane.answer("GET /v1/runs/7", run)
    plane.answer(
        "GET /v1/runs/7/log",
        Reply(blocks=[message("log", "one\n", "4"), message("log", "two", "7"), message("end", {})]),
    )

    assert trainctl("logs", "7", "-f").stdout == "one\ntwo"


def test_that_the_log_was_cut_is_said_beside_it(plane: FakeControlPlane, trainctl: Trainctl, run: Json) -> None:
    plane.answer("GET /v1/runs/7", run)
    cut = message("cut", {"older": "/home/runs/7/log.1"}, "0")
    plane.answer(
        "GET /v1/runs/7/log",
        Reply(blocks=[message("log", "one\n", "4"), cut, message("log", "two", "3"), message("end", {})]),
    )

    printed = trainctl("logs", "7", "-f")

    assert printed.stdout == "one\ntwo"
    assert printed.stderr == "the log was cut; the end of what came before is in /home/runs/7/log.1\n"


def test_a_reader_that_goes_away_is_no_error(plane: FakeControlPlane, run: Json, tmp_path: Path) -> None:
    plane.answer("GET /v1/runs?", {"runs": [run | {"id": number} for number in range(3000)]})
    reading, writing = os.pipe()
    os.close(reading)

    cut = subprocess.run(
        [sys.executable, "-m", "trainctl", "--socket", str(plane.socket), "list"],
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    os.close(writing)

    assert (cut.returncode, cut.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["show", "99"], 3, "nobody expected"),
        (["nonsense"], 2, "No such command"),
        (["submit", "only.override=1"], 2, "name a configuration file"),
        (["list", "--state", "nowhere"], 2, "Invalid value"),
    ],
)
def test_every_error_has_its_exit_code(
    plane: FakeControlPlane, trainctl: Trainctl, arguments: list[str], exit_code: int, said: str
) -> None:
    failed = trainctl(*arguments)

    assert (failed.returncode, failed.stdout) == (exit_code, "")
    assert said in failed.stderr


def test_no_daemon_is_exit_code_69(trainctl: Trainctl, tmp_path: Path) -> None:
    failed = trainctl("list")

    assert failed.returncode == 69
    assert f"{tmp_path}/control.sock" in failed.stderr


def test_no_verb_loads_what_only_the_daemon_needs() -> None:
    """And rich only where something is drawn."""
    heavy = ["torch", "pydantic", "fastapi", "ruamel", "uvicorn", "asyncio", "httpx", "logging", "rich"]
    script = f"""
import importlib, sys
import trainctl.main
for verb in {VERBS!r}:
    importlib.import_module("trainctl.commands." + verb)
import trainctl.follow
print(sorted(set({heavy!r}) & set(sys.modules)))
"""
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)

    assert loaded.stdout.strip() == "[]"
