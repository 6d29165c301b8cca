"""Every order of a run's life through the real CLI against a live daemon: where it leads, and how it is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from live_daemon import LiveDaemon, Terminal

from tests.polling import poll
from trainctl.daemon import Daemon
from trainctl.problems import ReportedError
from trainerd.contracts.states import ENDED, LIVE, State

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def _nothing_is_left(daemon: LiveDaemon) -> Iterator[None]:
    """No test leaves a run that trains or waits to the next one."""
    yield
    client = Daemon([daemon.home / "control.sock"])
    left = {state: client.runs(state=[state]) for state in sorted(set(State) - ENDED)}
    for found, runs in left.items():
        for run in runs:
            with suppress(ReportedError):  # it has just ended by itself
                client.order("kill" if found in LIVE else "stop", str(run["id"]))
            client.wait(str(run["id"]), 20)


def order(daemon: LiveDaemon, *arguments: str, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
    """Give an order that ends with `exit_code`."""
    done = daemon.trainctl(*arguments)
    assert done.returncode == exit_code, (arguments, done.stderr)
    return done


def state(daemon: LiveDaemon, run: str) -> str:
    found: str = daemon.look_at(run)["state"]
    return found


def events(daemon: LiveDaemon, run: str, kind: str) -> list[Json]:
    lines = [json.loads(line) for line in (daemon.home / "runs" / run / "events.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def queue(daemon: LiveDaemon) -> list[str]:
    """The ids of the runs that wait, in the order in which they will start."""
    waiting = Daemon([daemon.home / "control.sock"]).status()["queue"]
    return [str(run["id"]) for run in waiting if run["state"] == "queued"]


def test_a_paused_run_leaves_no_process_and_goes_on_at_the_very_next_step(daemon: LiveDaemon, endless: Path) -> None:
    run = daemon.submit(endless)
    pid = daemon.await_step(run, 20)["pids"][0]

    paused = order(daemon, "pause")

    shown = daemon.look_at(run)
    assert (shown["state"], shown["pids"]) == ("paused", [])
    assert not Path(f"/proc/{pid}").exists()
    assert f"run {run} (endless) is paused at step {shown['step']}; newest checkpoint: " in paused.stderr
    assert daemon.trainctl("wait", run).returncode == 75

    resumed = order(daemon, "resume")

    assert re.fullmatch(
        rf"run {run} \(endless\) is (queued|starting|running); it goes on from step {shown['step']}\n", resumed.stderr
    )
    again = daemon.await_step(run, shown["step"] + 1)
    assert (again["attempt"], again["exactness"]) == (2, "exact")
    first = next(line for line in events(daemon, run, "first_step") if line["attempt"] == 2)
    assert first["step"] == shown["step"] + 1
    assert "resumed    exact" in order(daemon, "show", run).stdout


def test_what_waits_is_held_by_pause_and_queued_again_by_resume(daemon: LiveDaemon, endless: Path, short: Path) -> None:
    daemon.submit(endless)
    run = daemon.submit(short, "--name", "patient")

    held = order(daemon, "pause", "patient")
    assert (held.stderr, state(daemon, run)) == (f"run {run} (patient) is held\n", "held")
    again = order(daemon, "pause", run, exit_code=4)
    assert "it is held; legal now: resume, stop, cancel, move" in again.stderr
    order(daemon, "resume")
    assert queue(daemon) == [run]
    order(daemon, "stop", run)
    assert state(daemon, run) == "cancelled"
    order(daemon, "retry", run)
    assert queue(daemon) == [run]


def test_a_killed_run_is_stopped_and_can_be_taken_up_from_its_last_checkpoint(
    daemon: LiveDaemon, endless: Path
) -> None:
    run = daemon.submit(endless)
    daemon.await_step(run, 20)
    path = order(daemon, "checkpoint", run).stdout.strip()

    order(daemon, "kill", run)

    shown = daemon.look_at(run)
    assert (shown["state"], shown["reason"], shown["signal"]) == ("stopped", "killed", signal.SIGKILL)
    step = next(checkpoint["step"] for checkpoint in shown["checkpoints"] if checkpoint["path"] == path)
    assert "legal now: resume, remove" in order(daemon, "kill", run, exit_code=4).stderr
    order(daemon, "resume", run)
    daemon.await_step(run, step + 1)
    assert events(daemon, run, "resumed")[-1]["step"] >= step


def test_a_checkpoint_that_was_ordered_is_there_when_trainctl_returns_and_stays(
    daemon: LiveDaemon, endless: Path
) -> None:
    run = daemon.submit(endless)
    daemon.await_step(run, 5)

    paths = [Path(order(daemon, "checkpoint").stdout.strip()) for _ in range(2)]

    assert all((path / "manifest.json").exists() for path in paths)
    shown = daemon.look_at(run)
    assert (shown["state"], shown["attempt"]) == ("running", 1)
    pinned = [checkpoint["path"] for checkpoint in shown["checkpoints"] if "pinned" in checkpoint["kinds"]]
    assert pinned == [str(path) for path in sorted(paths, reverse=True)]
    order(daemon, "stop")
    assert "legal now: resume, remove" in order(daemon, "checkpoint", run, exit_code=4).stderr


def test_a_failed_run_is_retried_with_a_changed_configuration(daemon: LiveDaemon, short: Path) -> None:
    run = daemon.submit(short, "optimizer.lr=1e30", "--name", "hot")
    assert daemon.trainctl("wait", run).returncode == 1
    assert daemon.look_at(run)["reason"] == "diverged"

    order(daemon, "retry", "hot", "optimizer.lr=1e-3")

    order(daemon, "wait", run)
    shown = daemon.look_at(run)
    assert (shown["state"], shown["attempt"], shown["spec"]["optimizer"]["lr"]) == ("completed", 2, 0.001)
    refused = order(daemon, "resume", run, exit_code=4)
    assert f"trainctl retry --from-start {run}" in refused.stderr


def test_a_run_is_started_anew_as_another_one(daemon: LiveDaemon, short: Path) -> None:
    old = daemon.submit(short)
    order(daemon, "wait", old)

    new = order(daemon, "retry", old, "--from-start", "trainer.max_epochs=2").stdout.strip()

    order(daemon, "wait", new)
    first, second = daemon.look_at(old), daemon.look_at(new)
    assert (first["epoch"], second["epoch"], second["name"]) == (3, 2, "short")
    changed = second["spec"] | {"trainer": first["spec"]["trainer"]}
    assert changed == first["spec"]


def test_a_change_that_the_checkpoint_cannot_follow_is_refused_and_the_run_stays_as_it_is(
    daemon: LiveDaemon, endless: Path
) -> None:
    run = daemon.submit(endless)
    daemon.await_step(run, 5)
    order(daemon, "pause")
    before = daemon.look_at(run)

    refused = order(daemon, "resume", run, "seed=99", "optimizer.lr=2e-3", exit_code=78)

    verdicts = {line.split()[0]: line for line in refused.stderr.splitlines()}
    assert " refused" in verdicts["seed"]
    assert " applied" in verdicts["optimizer.lr"]
    assert daemon.look_at(run) == before
    assert "did you mean lr?" in order(daemon, "resume", run, "optimizer.lrr=1", exit_code=78).stderr


def test_a_run_without_a_checkpoint_cannot_go_on_and_is_told_what_can_be_done(
    daemon: LiveDaemon, endless: Path
) -> None:
    run = daemon.submit(endless)
    daemon.await_step(run, 1)
    order(daemon, "kill")
    has_checkpoint = bool(daemon.look_at(run)["checkpoints"])  # the best weights may have been kept by then

    answer = daemon.trainctl("resume", run)

    assert answer.returncode == (0 if has_checkpoint else 4)
    assert has_checkpoint or f"start it anew with: trainctl retry --from-start {run}" in answer.stderr


def test_a_removed_run_is_gone_for_ever(daemon: LiveDaemon, endless: Path, short: Path) -> None:
    daemon.submit(endless)
    run = daemon.submit(short, "--name", "unwanted")
    waiting = daemon.submit(short, "--after", run)
    order(daemon, "remove", run, exit_code=4)  # it has not ended
    order(daemon, "stop", "latest", waiting)  # the same run twice

    order(daemon, "cancel", run)
    removed = order(daemon, "remove", "unwanted")

    assert removed.stderr == f"run {run} (unwanted) is removed\n"
    assert not (daemon.home / "runs" / run).exists()
    order(daemon, "show", run, exit_code=3)
    order(daemon, "show", "unwanted", exit_code=3)
    assert int(daemon.submit(short, "--hold")) > int(waiting), "numbers are never used again"


def test_a_run_that_another_one_waits_for_is_not_removed(daemon: LiveDaemon, short: Path) -> None:
    run = daemon.submit(short)
    order(daemon, "wait", run)
    waiting = daemon.submit(short, "--after", run, "--hold")

    refused = order(daemon, "remove", run, exit_code=4)

    assert waiting in refused.stderr
    order(daemon, "cancel", waiting)
    order(daemon, "remove", waiting, run)


def test_the_queue_goes_by_what_was_moved(daemon: LiveDaemon, endless: Path, short: Path) -> None:
    daemon.await_step(daemon.submit(endless), 1)
    first, second, third, fourth = (daemon.submit(short) for _ in range(4))
    assert queue(daemon) == [first, second, third, fourth]

    order(daemon, "move", fourth, "--first")
    assert queue(daemon) == [fourth, first, second, third]
    order(daemon, "move", third, "--before", first)
    assert queue(daemon) == [fourth, third, first, second]
    order(daemon, "move", first, second, "--priority", "5")
    assert queue(daemon) == [first, second, fourth, third]
    order(daemon, "move", fourth, third, "--first")
    assert queue(daemon) == [fourth, third, first, second]
    order(daemon, "pause", fourth)
    order(daemon, "resume", fourth)
    assert queue(daemon) == [fourth, third, first, second], "its old place"
    assert "it does not wait" in order(daemon, "move", first, "--before", "endless", exit_code=4).stderr
    assert "legal now: pause" in order(daemon, "move", "endless", "--first", exit_code=4).stderr


def test_one_refusal_among_several_runs_keeps_no_other_from_its_order(
    daemon: LiveDaemon, endless: Path, short: Path
) -> None:
    ended = daemon.submit(short)
    order(daemon, "wait", ended)
    running = daemon.submit(endless)
    queued = daemon.submit(short)
    daemon.await_step(running, 1)

    done = order(daemon, "pause", ended, "nobody", running, "latest", "-o", "id", exit_code=3)

    assert done.stdout.split() == [running, queued]
    assert done.stderr.splitlines()[0].startswith("no run 'nobody'")
    assert f"cannot pause run {ended}: it is completed; legal now: remove" in done.stderr
    assert (state(daemon, running), state(daemon, queued)) == ("paused", "held")
    assert order(daemon, "resume", "--all", "-o", "id").stdout.split()[-2:] == [running, queued]


def test_all_means_every_run_and_no_wait_returns_at_once(daemon: LiveDaemon, endless: Path, short: Path) -> None:
    running = daemon.submit(endless)
    queued = daemon.submit(short)
    daemon.await_step(running, 1)

    stopped = order(daemon, "stop", "--all", "--no-wait", "-o", "json")

    assert json.loads(stopped.stdout)["state"] in ("stopping", "stopped")
    assert f"run {running} (endless) is" in stopped.stderr
    assert daemon.trainctl("wait", running).returncode == 75
    order(daemon, "wait", queued)  # `stop --all` leaves what waits
    assert "no run can be stopped now" in order(daemon, "stop", "--all").stderr
    assert "no run is active" in order(daemon, "pause", exit_code=2).stderr


def test_a_run_that_has_not_begun_is_paused_by_killing_its_trainer(daemon: LiveDaemon, short: Path) -> None:
    """The worker host stands still, so that the run is caught as it starts."""
    run = daemon.submit(short, "--hold")
    host = daemon.process("trainerd worker")
    assert host is not None
    host.suspend()
    try:
        order(daemon, "resume", run)
        poll(lambda: state(daemon, run) == "starting", "the run is being started")
        order(daemon, "pause", run, "--no-wait")
        assert state(daemon, run) == "pausing"
    finally:
        host.resume()

    poll(lambda: state(daemon, run) == "held", lambda: f"the run is held: {daemon.look_at(run)}")
    order(daemon, "resume", run)
    order(daemon, "wait", run)


def test_a_run_that_waits_for_its_next_try_can_be_paused_and_stopped(daemon: LiveDaemon, endless: Path) -> None:
    run = daemon.submit(endless, "retry.backoff_seconds=600", "checkpoint.every_steps=1000000", "data.split=null")
    for attempt in (1, 2):
        shown = poll(lambda: _living(daemon.look_at(run), attempt), f"attempt {attempt} lives")  # noqa: B023 - polled now
        os.kill(shown["pids"][0], signal.SIGKILL)
    poll(lambda: state(daemon, run) == "retrying", lambda: f"the run waits: {daemon.look_at(run)}")

    assert order(daemon, "pause").stderr.startswith(f"run {run} (endless) is paused")
    assert order(daemon, "stop", run).stderr.startswith(f"run {run} (endless) is stopped")


def _living(run: Json, attempt: int) -> Json | None:
    return run if run["attempt"] == attempt and run["state"] == "running" and run["pids"] and run["step"] else None


def test_of_several_clients_at_once_each_is_told_the_truth(daemon: LiveDaemon, endless: Path) -> None:
    """Four pauses and four resumes at once: whoever was first is told so, everybody else why not."""
    run = daemon.submit(endless)
    daemon.await_step(run, 5)
    words = [("pause", run), ("resume", run)] * 4

    with ThreadPoolExecutor(len(words)) as clients:
        answers = list(clients.map(lambda given: daemon.trainctl(*given), words))

    assert {answer.returncode for answer in answers} <= {0, 4}, [answer.stderr for answer in answers]
    pauses = [answer for word, answer in zip(words, answers, strict=True) if word[0] == "pause"]
    assert any(answer.returncode == 0 for answer in pauses)
    assert all("legal now" in answer.stderr for answer in answers if answer.returncode == 4)
    for pause in pauses:
        assert pause.returncode == 4 or f"run {run} (endless) is" in pause.stderr
    accepted = len(events(daemon, run, "paused"))
    resumed = len(events(daemon, run, "resumed"))
    assert accepted - 1 <= resumed <= accepted
    assert resumed <= sum(
        word[0] == "resume" and not answer.returncode for word, answer in zip(words, answers, strict=True)
    )


def test_removing_everything_on_a_terminal_is_asked_for_first(daemon: LiveDaemon, short: Path) -> None:
    run = daemon.submit(short, "--hold")
    order(daemon, "cancel", run)
    window = Terminal(daemon, "remove", "--all")

    window.read_until("[y/N]")
    assert f"{run} (short)" in window.shown
    window.press("n\r")

    assert window.read_to_the_end() == 1
    assert "nothing was removed" in window.shown
    window.close()
    assert state(daemon, run) == "cancelled"


def test_a_control_plane_that_is_being_started_again_is_waited_for(daemon: LiveDaemon) -> None:
    control = daemon.process("trainerd control")
    assert control is not None
    control.kill()

    assert order(daemon, "list").returncode == 0


def test_a_reference_that_is_no_name_is_no_run(daemon: LiveDaemon) -> None:
    for reference in ("../../etc", "a/b", "..", "", "99999999999999999999"):
        order(daemon, "show", reference, exit_code=3)
