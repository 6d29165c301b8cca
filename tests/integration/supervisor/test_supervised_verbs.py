"""Every verb through a real supervisor: what the run, its journal, its outcome and the worker host come to."""

from __future__ import annotations

from typing import Any

from fake_worker_host import FakeWorkerHost
from supervisor_harness import Daemon, a_submission, wait_until

from tests.polling import poll
from trainerd.contracts.commands import CommandKind
from trainerd.contracts.pages import Order, OrdersPage
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.states import Reason, State


def applied(daemon: Daemon, kind: CommandKind, run: int, **body: Any) -> None:
    assert daemon.problem_of(daemon.order(kind, run, **body)) is None


def refused(daemon: Daemon, kind: CommandKind, run: int, **body: Any) -> str:
    problem = daemon.problem_of(daemon.order(kind, run, **body))
    assert problem is not None
    assert problem["exit_code"] in (3, 4)
    return str(problem["detail"])


def a_running_run(daemon: Daemon, host: FakeWorkerHost) -> int:
    """One that has a checkpoint."""
    (run,) = daemon.submit({})
    daemon.wait_for(run, State.RUNNING)
    host.commit_checkpoint(run, 10)
    return run


def test_a_paused_run_goes_on_where_it_stood(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    run = a_running_run(daemon, host)
    (next_one,) = daemon.submit({})
    applied(daemon, CommandKind.PAUSE, run)
    assert daemon.wait_for(run, State.PAUSED).pid is None
    daemon.wait_for(next_one, State.RUNNING)
    applied(daemon, CommandKind.RESUME, run)
    assert [record.id for record in daemon.state.queue()] == [run]
    host.finish(next_one, "completed", "finished")
    record = daemon.wait_for(run, State.RUNNING)
    assert (record.attempt, record.checkpoint_step) == (2, 10)


def test_a_crash_of_a_pausing_trainer_is_a_pause(daemon: Daemon) -> None:
    host = FakeWorkerHost(daemon.home.worker_socket, obeys=False)
    daemon.start_supervisor()
    run = a_running_run(daemon, host)
    applied(daemon, CommandKind.PAUSE, run)
    daemon.wait_for(run, State.PAUSING)
    host.finish(run, "crashed", "error")
    assert daemon.wait_for(run, State.PAUSED).failures == 0
    assert daemon.outcome(run)["state"] == "paused"
    applied(daemon, CommandKind.RESUME, run)
    assert daemon.wait_for(run, State.RUNNING).attempt == 2
    host.close()


def test_a_run_that_is_paused_before_it_has_begun_is_held(daemon: Daemon) -> None:
    """Its order to start still waits at the worker host, which takes it back."""
    host = FakeWorkerHost(daemon.home.worker_socket, begins=False)
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    wait_until(lambda: len(host.starts) == 1, lambda: "the order to start")
    number = daemon.order(CommandKind.PAUSE, run)
    held = daemon.wait_for(run, State.HELD)
    assert (held.attempt, held.reason, held.ended_at, held.kill_ordered) == (1, None, None, False)
    assert daemon.outcome(run)["state"] == "held"
    daemon.lose_state()
    assert daemon.wait_for(run, State.HELD).attempt == 1
    assert daemon.problem_of(number) is None
    applied(daemon, CommandKind.RESUME, run)
    wait_until(lambda: [start.attempt for start in host.starts] == [1, 2], lambda: "the next attempt")
    host.close()


def test_a_run_that_the_next_worker_host_was_never_told_to_start_is_held(daemon: Daemon) -> None:
    host = FakeWorkerHost(daemon.home.worker_socket, begins=False)
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    wait_until(lambda: len(host.starts) == 1, lambda: "the order to start")
    host.close()
    wait_until(lambda: not daemon.state.daemon().worker_reachable, lambda: "the loss to be noticed")
    applied(daemon, CommandKind.PAUSE, run)
    daemon.wait_for(run, State.PAUSING)
    successor = FakeWorkerHost(daemon.home.worker_socket)
    daemon.wait_for(run, State.HELD)
    assert successor.starts == []
    successor.close()


def test_a_killed_run_is_stopped_and_never_retried(daemon: Daemon) -> None:
    host = FakeWorkerHost(daemon.home.worker_socket, obeys=False)
    daemon.start_supervisor()
    run = a_running_run(daemon, host)
    applied(daemon, CommandKind.KILL, run)
    record = daemon.wait_for(run, State.STOPPED)
    assert (record.reason, record.signal, record.attempt) == (Reason.KILLED, 9, 1)
    assert [(kill.run, kill.attempt) for kill in host.kills] == [(run, 1)]
    assert daemon.events(run) == ["admitted", "starting", "started", "checkpoint", "ended", "ended"]
    assert {name: daemon.outcome(run)[name] for name in ("state", "reason")} == {"state": "stopped", "reason": "killed"}
    daemon.lose_state()
    assert daemon.wait_for(run, State.STOPPED).reason is Reason.KILLED
    assert len(daemon.events(run)) == 6
    applied(daemon, CommandKind.RESUME, run)
    assert daemon.wait_for(run, State.RUNNING).attempt == 2
    host.close()


def test_a_kill_outlives_the_worker_host_and_the_supervisor(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    run = a_running_run(daemon, host)
    daemon.kill_supervisor()
    host.close()
    number = daemon.order(CommandKind.KILL, run)
    daemon.start_supervisor()
    assert daemon.problem_of(number) is None
    assert daemon.wait_for(run, State.STOPPING).kill_ordered
    successor = FakeWorkerHost(daemon.home.worker_socket)
    assert daemon.wait_for(run, State.STOPPED).reason is Reason.KILLED
    assert successor.starts == []
    successor.close()


def test_a_kill_of_a_run_that_is_starting_is_known_also_to_a_state_that_was_lost(daemon: Daemon) -> None:
    """That it was starting stands in its journal, though no trainer has ever written there."""
    host = FakeWorkerHost(daemon.home.worker_socket, begins=False)
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    wait_until(lambda: len(host.starts) == 1, lambda: "the order to start")
    assert "it is starting" in refused(daemon, CommandKind.MOVE, run, priority=9, first=False, before=None)
    number = daemon.order(CommandKind.KILL, run)
    record = daemon.wait_for(run, State.STOPPED)
    assert (record.reason, record.attempt) == (Reason.KILLED, 1)
    daemon.lose_state()
    assert daemon.wait_for(run, State.STOPPED) == record
    assert daemon.problem_of(number) is None
    host.close()


def test_a_checkpoint_order_is_given_again_after_a_crash(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    daemon.wait_for(run, State.RUNNING)
    number = daemon.order(CommandKind.CHECKPOINT, run)
    assert daemon.problem_of(number) is None
    assert daemon.wait_for(run, State.RUNNING).pending_checkpoint == number << 20
    host.finish(run, "crashed", "error")
    wait_until(lambda: len(host.starts) == 2, lambda: "a second attempt")
    pending = poll(lambda: daemon.wait_for(run, State.RUNNING).pending_checkpoint, "the order to be given again")
    assert pending > max(number << 20, host.starts[1].settled_order)
    page = OrdersPage(RunDirectory(daemon.home.run(run)).orders_page)
    assert page.number(Order.CHECKPOINT) == pending
    host.commit_checkpoint(run, 20)
    wait_until(lambda: daemon.wait_for(run, State.RUNNING).pending_checkpoint is None, lambda: "the order to be obeyed")


def test_a_run_is_resumed_with_another_specification(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    run = a_running_run(daemon, host)
    applied(daemon, CommandKind.PAUSE, run)
    daemon.wait_for(run, State.PAUSED)
    spec = {**a_submission()["spec"], "name": "overnight", "seed": 2}
    text = "name: overnight\nseed: 2\n"
    applied(daemon, CommandKind.RESUME, run, spec=spec, spec_yaml=text, accepted_data="xxh3:1")
    assert daemon.wait_for(run, State.RUNNING).spec == spec
    assert RunDirectory(daemon.home.run(run)).spec.read_text() == text
    assert host.starts[1].accepted_data == "xxh3:1"
    daemon.lose_state()
    assert daemon.wait_for(run, State.RUNNING).spec == spec
    assert RunDirectory(daemon.home.run(run)).spec.read_text() == text


def test_a_failed_run_is_retried_with_a_fresh_budget(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    for attempt in (1, 2):
        wait_until(lambda attempt=attempt: len(host.starts) == attempt, lambda: "the next attempt")  # type: ignore[misc]
        host.finish(run, "crashed", "error")
    assert daemon.wait_for(run, State.FAILED).reason is Reason.CRASH_LOOP
    applied(daemon, CommandKind.RETRY, run)
    record = daemon.wait_for(run, State.RUNNING)
    assert (record.attempt, record.failures, record.reason, record.error, record.ended_at) == (3, 0, None, None, None)


def test_a_cancelled_run_that_is_retried_stays_queued(daemon: Daemon) -> None:
    """Also where the supervisor learns of both orders at once, and where the state is lost."""
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    daemon.wait_for(run, State.QUEUED)
    daemon.kill_supervisor()
    numbers = [
        daemon.order(kind, run)
        for kind in (CommandKind.CANCEL, CommandKind.RETRY, CommandKind.CANCEL, CommandKind.RETRY)
    ]
    daemon.start_supervisor()
    assert [daemon.problem_of(number) for number in numbers] == [None] * 4
    daemon.wait_for(run, State.QUEUED)
    daemon.lose_state()
    assert [daemon.problem_of(number) for number in numbers] == [None] * 4
    assert daemon.wait_for(run, State.QUEUED).reason is None


def test_of_a_removed_run_nothing_is_left_and_it_never_comes_back(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    kept, removed = daemon.submit({"hold": True}, {})
    daemon.wait_for(removed, State.RUNNING)
    assert f"cannot remove run {removed}: it is running" in refused(daemon, CommandKind.REMOVE, removed)
    host.finish(removed, "failed", "diverged")
    daemon.wait_for(removed, State.FAILED)
    number = daemon.order(CommandKind.REMOVE, removed)
    assert daemon.problem_of(number) is None
    assert daemon.state.run(removed) is None
    wait_until(lambda: [path.name for path in daemon.home.runs.iterdir() if path.is_dir()] == [str(kept)], daemon.log)
    assert f"no run '{removed}'" in refused(daemon, CommandKind.REMOVE, removed)
    daemon.lose_state()
    daemon.wait_for(kept, State.HELD)
    assert (daemon.problem_of(1), daemon.problem_of(number)) == (None, None)
    assert [run.id for run in daemon.state.runs()] == [kept]
    assert len(host.starts) == 1
    assert daemon.submit({}) == [removed + 1]


def test_the_only_run_that_ever_was_does_not_come_back_either(daemon: Daemon, host: FakeWorkerHost) -> None:
    """No directory proves any more that its submit was applied: the removal does."""
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    daemon.wait_for(run, State.RUNNING)
    host.finish(run, "completed", "finished")
    daemon.wait_for(run, State.COMPLETED)
    applied(daemon, CommandKind.REMOVE, run)
    daemon.lose_state()
    (second,) = daemon.submit({})
    daemon.wait_for(second, State.RUNNING)
    assert [start.run for start in host.starts] == [run, second]


def test_a_removal_that_was_cut_off_is_completed(daemon: Daemon, host: FakeWorkerHost) -> None:
    """Killed between the directory's new name and the commit."""
    daemon.start_supervisor()
    (run,) = daemon.submit({})
    daemon.wait_for(run, State.RUNNING)
    host.finish(run, "completed", "finished")
    daemon.wait_for(run, State.COMPLETED)
    daemon.kill_supervisor()
    daemon.home.run(run).rename(daemon.home.runs / f"removing-{run}")
    number = daemon.order(CommandKind.REMOVE, run)
    daemon.start_supervisor()
    assert daemon.problem_of(number) is None
    assert daemon.state.run(run) is None
    wait_until(lambda: not any(path.is_dir() for path in daemon.home.runs.iterdir()), daemon.log)


def test_the_queue_is_put_in_another_order_and_stays_so(daemon: Daemon, host: FakeWorkerHost) -> None:
    daemon.start_supervisor()
    running, *waiting = daemon.submit({"priority": 9}, {}, {}, {}, {"hold": True})
    second, third, fourth, held = waiting
    daemon.wait_for(running, State.RUNNING)
    applied(daemon, CommandKind.MOVE, fourth, priority=None, first=True, before=None)
    applied(daemon, CommandKind.MOVE, third, priority=None, first=False, before=second)
    applied(daemon, CommandKind.MOVE, held, priority=5, first=False, before=None)
    assert "it does not wait" in refused(daemon, CommandKind.MOVE, second, priority=None, first=False, before=running)
    assert [run.id for run in daemon.state.queue()] == [fourth, third, second]
    before = {run.id: (run.priority, run.place) for run in daemon.state.runs()}
    assert before[held] == (5, held)
    daemon.lose_state()
    daemon.wait_for(running, State.RUNNING)
    assert {run.id: (run.priority, run.place) for run in daemon.state.runs()} == before
