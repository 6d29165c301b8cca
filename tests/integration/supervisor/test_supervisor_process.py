"""The supervisor as a real process, between a real command log, real run directories and a worker host's socket."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys

import pytest
from fake_worker_host import FakeWorkerHost
from supervisor_harness import DEADLINE_SECONDS, SUPERVISOR, Daemon, a_submission, wait_until

from trainerd.contracts.commands import CommandKind
from trainerd.contracts.journal import Event, Journal
from trainerd.contracts.json_lines import read_lines
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.states import Reason, State
from trainerd.store.command_log import CommandLog

LOADED = """
import sys, trainerd.supervisor.process
print([module for module in ("torch", "numpy", "pydantic") if module in sys.modules])
"""


def test_a_submitted_run_is_started_and_its_end_is_recorded(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    daemon.wait_for(run, State.RUNNING)
    host.finish(run, "completed", "early_stopping")
    record = daemon.wait_for(run, State.COMPLETED)
    assert (record.reason, record.attempt, record.pid) == (Reason.EARLY_STOPPING, 1, None)
    assert daemon.events(run) == ["admitted", "starting", "started", "ended"]
    assert RunDirectory(daemon.home.run(run)).spec.read_text() == "name: overnight\n"
    lines = ("overnight: starting -> running", "overnight: running -> completed (early_stopping)")
    wait_until(lambda: all(line in daemon.log() for line in lines), lambda: f"a line per change:\n{daemon.log()}")


def test_runs_wait_for_a_slot_and_go_by_priority(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    first, second, third = daemon.submit({}, {}, {"priority": 1})
    daemon.wait_for(third, State.RUNNING)
    assert [run.id for run in daemon.state.queue()] == [first, second]
    host.finish(third, "completed", "finished")
    daemon.wait_for(first, State.RUNNING)


def test_a_stop_reaches_the_trainer_through_the_page(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    running, queued = daemon.submit({}, {})
    daemon.wait_for(running, State.RUNNING)
    assert daemon.problem_of(daemon.order(CommandKind.CANCEL, queued)) is None
    assert daemon.problem_of(daemon.order(CommandKind.STOP, running, checkpoint=True)) is None
    assert daemon.wait_for(running, State.STOPPED).reason is Reason.USER_STOP
    cancelled = daemon.wait_for(queued, State.CANCELLED)
    assert cancelled.ended_at is not None
    assert daemon.events(queued) == ["admitted", "ended"]
    outcome = json.loads(RunDirectory(daemon.home.run(queued)).outcome.read_text())
    assert (outcome["state"], outcome["reason"], outcome["attempt"]) == ("cancelled", "cancelled", 0)


def test_an_illegal_order_is_answered_with_the_reason(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    daemon.wait_for(run, State.RUNNING)
    problem = daemon.problem_of(daemon.order(CommandKind.CANCEL, run))
    assert problem is not None
    assert (problem["status"], problem["exit_code"]) == (409, 4)


def test_a_submit_whose_directories_cannot_be_made_is_refused_whole(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    daemon.home.runs.mkdir(exist_ok=True)
    daemon.home.run(2).write_text("in the way")
    first, _ = daemon.submit({}, {})
    problem = daemon.problem_of(1)
    assert problem is not None
    assert (problem["status"], problem["exit_code"]) == (507, 1)
    assert str(daemon.home.run(2)) in problem["detail"]
    assert daemon.state.runs() == []
    assert not daemon.home.run(first).exists()


def test_a_dependent_of_a_failed_run_is_cancelled(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    (first,) = daemon.submit({})
    (second,) = daemon.submit({"after": first})
    (third,) = daemon.submit({"after": second})
    daemon.wait_for(first, State.RUNNING)
    host.finish(first, "failed", "diverged")
    assert daemon.wait_for(second, State.CANCELLED).reason is Reason.DEPENDENCY_FAILED
    assert daemon.wait_for(third, State.CANCELLED).reason is Reason.DEPENDENCY_FAILED


@pytest.mark.dies("a trainer, again and again")
def test_a_crash_is_retried_and_a_crash_loop_has_failed(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    daemon.wait_for(run, State.RUNNING)
    host.finish(run, "crashed", "error")
    wait_until(lambda: len(host.starts) == 2, lambda: "a second attempt")
    host.finish(run, "crashed", "error")
    record = daemon.wait_for(run, State.FAILED)
    assert (record.reason, record.attempt, record.failures) == (Reason.CRASH_LOOP, 2, 2)
    first, second = ["starting", "started", "ended", "retrying"], ["starting", "started", "ended", "ended"]
    assert daemon.events(run) == ["admitted", *first, *second]
    outcome = json.loads(RunDirectory(daemon.home.run(run)).outcome.read_text())
    assert (outcome["state"], outcome["reason"]) == ("failed", "crash_loop")


def test_killing_the_supervisor_costs_a_run_nothing(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    daemon.wait_for(run, State.RUNNING)
    daemon.kill_supervisor()
    host.finish(run, "completed", "finished")
    (second,) = daemon.submit({})
    daemon.start_supervisor()
    daemon.wait_for(run, State.COMPLETED)
    daemon.wait_for(second, State.RUNNING)
    assert [start.attempt for start in host.starts] == [1, 1]


def test_a_trainer_that_died_with_its_host_is_started_again(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    daemon.wait_for(run, State.RUNNING)
    host.close()
    wait_until(lambda: not daemon.state.daemon().worker_reachable, lambda: "the loss to be noticed")
    successor = FakeWorkerHost(daemon.home.worker_socket)
    wait_until(lambda: [start.attempt for start in successor.starts] == [2], lambda: "the second attempt")
    daemon.wait_for(run, State.RUNNING)
    assert daemon.events(run) == ["admitted", "starting", "started", "ended", "retrying", "starting", "started"]
    successor.close()


def test_a_trainer_that_had_finished_when_its_host_died_has_completed(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    daemon.wait_for(run, State.RUNNING)
    journal = Journal(RunDirectory(daemon.home.run(run)).events, 1)
    last_word = {"state": "completed", "reason": "finished", "error": None, "step": 40, "epoch": 4}
    journal.record(Event.FINISHING, **last_word, monitor=None, model={"path": "m", "step": 40, "epoch": 4})
    journal.close()
    host.close()
    wait_until(lambda: not daemon.state.daemon().worker_reachable, lambda: "the loss to be noticed")
    successor = FakeWorkerHost(daemon.home.worker_socket)
    record = daemon.wait_for(run, State.COMPLETED)
    assert (record.reason, record.step, record.attempt) == (Reason.FINISHED, 40, 1)
    assert json.loads(RunDirectory(daemon.home.run(run)).outcome.read_text())["state"] == "completed"
    successor.close()


@pytest.mark.dies("the directory of a run")
def test_a_trainer_that_was_lost_with_its_directory_has_failed_and_frees_its_slot(daemon: Daemon) -> None:
    host = FakeWorkerHost(daemon.home.worker_socket, obeys=False)
    daemon.start_supervisor()
    lost, waiting = daemon.submit({}, {})
    daemon.wait_for(lost, State.RUNNING)
    shutil.rmtree(daemon.home.run(lost))
    host.close()
    successor = FakeWorkerHost(daemon.home.worker_socket)
    record = daemon.wait_for(lost, State.FAILED)
    assert (record.reason, record.error) == (Reason.ERROR, "its run directory is gone")
    assert record.pid is None
    assert record.ended_at is not None
    daemon.wait_for(waiting, State.RUNNING)
    assert "cannot write to its directory" not in daemon.log()
    successor.close()


def test_a_stop_ends_a_run_whose_directory_is_gone(daemon: Daemon) -> None:
    """Its trainer cannot be asked any more: it is killed."""
    host = FakeWorkerHost(daemon.home.worker_socket, obeys=False)
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    daemon.wait_for(run, State.RUNNING)
    shutil.rmtree(daemon.home.run(run))
    assert daemon.problem_of(daemon.order(CommandKind.STOP, run, checkpoint=True)) is None
    assert daemon.wait_for(run, State.FAILED).error == "its run directory is gone"
    wait_until(lambda: [kill.run for kill in host.kills] == [run], lambda: "its trainer to be killed")
    host.close()


def test_a_start_that_the_worker_host_refuses_has_failed_with_its_words(daemon: Daemon) -> None:
    host = FakeWorkerHost(daemon.home.worker_socket, refuses="run 1: attempt 1 is not newer than 3")
    daemon.start_supervisor()
    refused, waiting = daemon.submit({}, {})
    record = daemon.wait_for(refused, State.FAILED)
    assert (record.reason, record.error) == (Reason.ERROR, "run 1: attempt 1 is not newer than 3")
    assert daemon.events(refused) == ["admitted", "starting", "ended"]
    assert daemon.wait_for(waiting, State.FAILED).ended_at is not None, "the slot was free again"
    assert [(start.run, start.attempt) for start in host.starts] == [(refused, 1), (waiting, 1)]
    host.close()


def test_a_stop_between_a_crash_and_its_retry_is_the_last_line_of_the_journal(
    daemon: Daemon, host: FakeWorkerHost
) -> None:
    """The supervisor learns of both at once: its own line about the retry comes in between."""
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    daemon.wait_for(run, State.RUNNING)
    daemon.kill_supervisor()
    host.finish(run, "crashed", "error")
    number = daemon.order(CommandKind.STOP, run, checkpoint=True)
    daemon.start_supervisor()
    assert daemon.problem_of(number) is None
    assert daemon.wait_for(run, State.STOPPED).reason is Reason.USER_STOP
    lines, _ = read_lines(RunDirectory(daemon.home.run(run)).events)
    events = [line["event"] for line in lines]
    assert events == ["admitted", "starting", "started", "ended", "retrying", "ended"]
    assert lines[-1]["state"] == "stopped"
    daemon.kill_supervisor()
    daemon.damage_state()
    daemon.start_supervisor()
    daemon.wait_until_damage_is_named()
    assert daemon.wait_for(run, State.STOPPED).reason is Reason.USER_STOP
    assert len(daemon.events(run)) == len(lines)


def test_a_submit_that_was_refused_stays_refused_when_the_state_is_lost(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    daemon.home.runs.mkdir(exist_ok=True)
    daemon.home.run(1).write_text("in the way")
    (refused,) = daemon.submit({})
    assert daemon.problem_of(1) is not None
    daemon.home.run(refused).unlink()
    (admitted,) = daemon.submit({})
    daemon.wait_for(admitted, State.RUNNING)
    daemon.kill_supervisor()
    daemon.damage_state()
    daemon.start_supervisor()
    daemon.wait_until_damage_is_named()
    problem = daemon.problem_of(1)
    assert problem is not None
    assert problem["exit_code"] == 4
    assert daemon.problem_of(2) is None
    assert [run.id for run in daemon.state.runs()] == [admitted]
    assert not daemon.home.run(refused).exists()


@pytest.mark.dies("the command log: lost, or an older copy")
def test_a_command_log_that_is_older_than_the_state_is_not_supervised(daemon: Daemon) -> None:
    """Its next commands would get numbers that count as applied: submits would vanish."""
    daemon.start_supervisor()
    daemon.submit({})
    assert daemon.problem_of(1) is None
    daemon.kill_supervisor()
    daemon.commands.close()
    for part in ("", "-wal", "-shm"):
        daemon.home.command_log.with_name(daemon.home.command_log.name + part).unlink(missing_ok=True)
    daemon.commands = CommandLog(daemon.home.command_log)
    daemon.start_supervisor()
    assert daemon.supervisor is not None
    assert daemon.supervisor.wait(timeout=DEADLINE_SECONDS) != 0
    assert str(daemon.home.command_log) in daemon.log()
    assert str(daemon.home.state) in daemon.log()


def test_runs_stay_queued_while_there_is_no_worker_host(daemon: Daemon) -> None:
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    daemon.wait_for(run, State.QUEUED)
    assert not daemon.state.daemon().worker_reachable
    assert daemon.problem_of(daemon.order(CommandKind.CANCEL, *daemon.submit({}))) is None, "orders are taken"
    host = FakeWorkerHost(daemon.home.worker_socket)
    daemon.wait_for(run, State.RUNNING)
    assert daemon.state.daemon().worker_reachable
    host.close()


def test_an_orderly_shutdown_interrupts_the_runs_and_the_next_daemon_goes_on(
    daemon: Daemon, host: FakeWorkerHost
) -> None:
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    daemon.wait_for(run, State.RUNNING)
    assert daemon.supervisor is not None
    daemon.supervisor.send_signal(signal.SIGTERM)
    assert daemon.supervisor.wait(timeout=DEADLINE_SECONDS) == 0
    assert host.has_quit.wait(timeout=DEADLINE_SECONDS)
    daemon.wait_for(run, State.INTERRUPTED)
    daemon.start_supervisor()
    assert daemon.wait_for(run, State.RUNNING).attempt == 2
    assert daemon.problem_of(daemon.order(CommandKind.STOP, run, checkpoint=True)) is None
    daemon.wait_for(run, State.STOPPED)


def test_a_trainer_that_does_not_end_within_the_grace_is_killed_and_goes_on_later(daemon: Daemon) -> None:
    """It counts as interrupted, also where one failure is one too many, and also when the state is lost."""
    host = FakeWorkerHost(daemon.home.worker_socket, obeys=False)
    daemon.start_supervisor()
    (run,) = daemon.submit({"spec": {**a_submission()["spec"], "retry": {"max_failures": 1, "backoff_seconds": 0.1}}})
    daemon.wait_for(run, State.RUNNING)
    assert daemon.supervisor is not None
    daemon.supervisor.send_signal(signal.SIGTERM)
    assert daemon.supervisor.wait(timeout=DEADLINE_SECONDS) == 0
    assert [(kill.run, kill.attempt) for kill in host.kills] == [(run, 1)]
    record = daemon.wait_for(run, State.INTERRUPTED)
    assert (record.failures, record.pid) == (0, None)
    assert json.loads(RunDirectory(daemon.home.run(run)).outcome.read_text())["state"] == "interrupted"
    host.close()
    for path in daemon.home.path.glob("state.sqlite*"):
        path.unlink()
    successor = FakeWorkerHost(daemon.home.worker_socket)
    daemon.start_supervisor()
    assert daemon.wait_for(run, State.RUNNING).attempt == 2
    assert daemon.outcome(run)["state"] == "interrupted"
    successor.close()


def test_a_lost_state_is_folded_anew_from_the_logs(daemon: Daemon, host: FakeWorkerHost) -> None:
    """The state is damaged after the supervisor was killed: the same runs, the same answers, the same journals."""
    daemon.start_supervisor(slots=2)
    completed, stopped = daemon.submit({}, {})
    (cancelled,) = daemon.submit({})
    daemon.wait_for(completed, State.RUNNING)
    daemon.wait_for(stopped, State.RUNNING)
    numbers = [daemon.order(CommandKind.CANCEL, run) for run in (cancelled, completed)]
    numbers.append(daemon.order(CommandKind.STOP, stopped, checkpoint=False))
    daemon.wait_for(stopped, State.STOPPED)
    host.finish(completed, "completed", "finished")
    daemon.wait_for(completed, State.COMPLETED)
    (running,) = daemon.submit({})
    daemon.wait_for(running, State.RUNNING)
    numbers.append(daemon.order(CommandKind.STOP, completed))
    answers = [daemon.problem_of(number) for number in numbers]
    journals = [daemon.events(run) for run in (completed, stopped, cancelled, running)]
    before = {run.id: (run.state, run.reason, run.attempt, run.ended_at) for run in daemon.state.runs()}
    daemon.kill_supervisor()
    daemon.damage_state()
    daemon.start_supervisor(slots=2)
    daemon.wait_until_damage_is_named()
    daemon.wait_for(running, State.RUNNING)
    assert {run.id: (run.state, run.reason, run.attempt, run.ended_at) for run in daemon.state.runs()} == before
    assert [daemon.problem_of(number) for number in numbers] == answers
    assert [daemon.events(run) for run in (completed, stopped, cancelled, running)] == journals
    assert len(host.starts) == 3


def test_a_journal_that_lost_its_tail_is_named_and_folded_anew(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    daemon.wait_for(run, State.RUNNING)
    daemon.kill_supervisor()
    events = RunDirectory(daemon.home.run(run)).events
    events.write_bytes(events.read_bytes().splitlines(keepends=True)[0])
    daemon.start_supervisor()
    wait_until(lambda: "folding it anew" in daemon.log(), lambda: "the warning")
    host.finish(run, "completed", "finished")
    daemon.wait_for(run, State.COMPLETED)


def test_a_second_supervisor_on_the_same_home_is_refused(daemon: Daemon) -> None:
    daemon.start_supervisor()
    wait_until(lambda: daemon.state.daemon().supervisor_pid is not None, lambda: "the first supervisor")
    second = subprocess.run(
        [sys.executable, "-c", SUPERVISOR, str(daemon.home.path), "1"], capture_output=True, text=True, check=False
    )
    assert second.returncode != 0
    assert daemon.supervisor is not None
    assert f"another supervisor already runs on {daemon.home.path} (process {daemon.supervisor.pid})" in second.stderr


def test_the_supervisor_loads_no_torch_numpy_or_pydantic() -> None:
    loaded = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_a_supervisor_listens_only_once_it_has_its_state(daemon: Daemon) -> None:
    """By its socket the daemon tells that it has come up: one that cannot must not look as if it had."""
    daemon.home.state.mkdir()
    daemon.start_supervisor()
    assert daemon.supervisor is not None
    assert daemon.supervisor.wait(timeout=DEADLINE_SECONDS) != 0
    assert str(daemon.home.state) in daemon.log()
    assert not daemon.home.wake_socket.exists()
