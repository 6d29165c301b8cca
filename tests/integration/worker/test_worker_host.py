"""What supervisor and control plane may rely on from a worker host. Its trainers are stand-ins, all else is real."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from worker_harness import Host, RunDirectory, Supervisor, events_of, eventually, has_ended, start_order

from trainerd.contracts.journal import Event
from trainerd.contracts.locks import PlaceLock
from trainerd.contracts.messages import Inspect, Inspected, Kill, Quit, Refused, Running
from trainerd.contracts.processes import is_alive


def outcome_of(directory: RunDirectory) -> dict[str, object]:
    return json.loads(directory.outcome.read_text())


def wait_for_start(directory: RunDirectory, attempt: int = 1) -> int:
    """The PID of a trainer, once it trains."""

    def started() -> int | None:
        return next((line["pid"] for line in events_of(directory, Event.STARTED) if line["attempt"] == attempt), None)

    return int(eventually(f"attempt {attempt} has started", started))


def test_a_started_trainer_is_reported_and_its_end_is_recorded_before_it_is_reported_gone(stand_in: Host) -> None:
    """The supervisor takes a run that is missing from a report, and has no end in its journal, for lost."""
    run, directory = stand_in.new_run("finish")
    supervisor = stand_in.supervise()

    supervisor.order(start_order(run, directory))
    supervisor.hears_pid(run)
    supervisor.hears_gone(run)

    ended = has_ended(directory)
    assert ended is not None
    assert (ended["state"], ended["reason"], ended["exit_code"], ended["signal"]) == ("completed", "finished", 0, None)
    assert (ended["step"], ended["epoch"]) == (9, 3)
    assert outcome_of(directory)["state"] == "completed"
    assert not directory.stacks(1).exists(), "no stacks without a crash"


def test_a_trainer_lives_in_a_session_of_its_own_with_its_own_log_gpus_and_title(stand_in: Host) -> None:
    run, directory = stand_in.new_run("wait")
    supervisor = stand_in.supervise()

    supervisor.order(start_order(run, directory, gpus=["GPU-a", "GPU-b"]))
    pid = wait_for_start(directory)

    assert os.getsid(pid) == pid
    assert link_of(pid, 0) == "/dev/null"
    assert {link_of(pid, fd) for fd in (1, 2)} == {str(directory.log)}
    assert not [link for link in open_files(pid) if link.startswith(("socket:", "anon_inode:"))], "the host's own"
    assert events_of(directory, Event.STARTED)[0]["gpus"] == "GPU-a,GPU-b"
    title = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    assert title.strip() == f"trainerd trainer {run} 1"
    assert "attempt 1 does: wait" in directory.log.read_text()
    supervisor.order(Kill(run, 1))
    eventually("the trainer has ended", lambda: has_ended(directory))


def open_files(pid: int) -> list[str]:
    return [link_of(pid, int(entry.name)) for entry in os.scandir(f"/proc/{pid}/fd")]


def link_of(pid: int, fd: int) -> str:
    return str(Path(f"/proc/{pid}/fd/{fd}").readlink())


def test_the_same_start_twice_is_one_trainer(stand_in: Host) -> None:
    """After a reconnect the supervisor repeats itself; levels are agreed on, not messages."""
    run, directory = stand_in.new_run("wait")
    supervisor = stand_in.supervise()
    supervisor.order(start_order(run, directory))
    pid = wait_for_start(directory)

    again = stand_in.supervise()
    again.order(start_order(run, directory))

    assert again.hears_pid(run) == pid
    assert again.hears_pid(run) == pid
    again.order(Kill(run, 1))
    eventually("the trainer has ended", lambda: has_ended(directory))
    assert len(events_of(directory, Event.STARTED)) == 1


def test_a_killed_trainer_ends_as_crashed_with_its_signal(stand_in: Host) -> None:
    run, directory = stand_in.new_run("wait")
    stand_in.supervise().order(start_order(run, directory))

    os.kill(wait_for_start(directory), signal.SIGKILL)

    ended = eventually("the end is recorded", lambda: has_ended(directory))
    assert (ended["state"], ended["reason"], ended["signal"]) == ("crashed", "error", signal.SIGKILL)
    assert "SIGKILL" in ended["error"]


def test_an_exception_in_a_trainer_is_in_its_log_and_ends_it_as_crashed(stand_in: Host) -> None:
    run, directory = stand_in.new_run("raise")

    stand_in.supervise().order(start_order(run, directory))

    ended = eventually("the end is recorded", lambda: has_ended(directory))
    assert (ended["state"], ended["exit_code"]) == ("crashed", 1)
    assert "RuntimeError: user code is broken" in directory.log.read_text()


@pytest.mark.dies("the last line of a journal (torn)")
def test_a_line_torn_by_a_crash_is_cut_before_the_end_is_written(stand_in: Host) -> None:
    run, directory = stand_in.new_run("wait")
    stand_in.supervise().order(start_order(run, directory))
    pid = wait_for_start(directory)
    with open(directory.events, "a") as events:
        events.write('{"time": "2026-11-23T')

    os.kill(pid, signal.SIGKILL)

    eventually("the end is recorded", lambda: has_ended(directory))
    lines = directory.events.read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["admitted", "started", "ended"]


def test_an_attempt_that_is_not_newer_is_refused(stand_in: Host) -> None:
    run, directory = stand_in.new_run("finish")
    supervisor = stand_in.supervise()
    supervisor.order(start_order(run, directory, attempt=2))
    eventually("attempt 2 has ended", lambda: has_ended(directory, 2))
    supervisor.hears_pid(run)
    supervisor.hears_gone(run)

    for attempt in (1, 2):
        supervisor.order(start_order(run, directory, attempt=attempt))
        refused = supervisor.hears()
        assert isinstance(refused, Refused), refused
        assert f"attempt {attempt} is not newer than 2" in refused.why
        assert (refused.run, refused.attempt) == (run, attempt)


@pytest.mark.dies("a line of a journal (damaged)")
def test_a_damaged_journal_is_its_own_runs_affair(stand_in: Host) -> None:
    """A line in it that nobody can read keeps neither that run nor any other from training."""
    damaged_run, damaged = stand_in.new_run("finish")
    with open(damaged.events, "a") as events:
        events.write('{"event": "epo{"event": "epoch", "attempt": 1}\n[1]\n{"event": "epoch"}\n')
    run, directory = stand_in.new_run("finish")
    supervisor = stand_in.supervise()

    supervisor.order(start_order(damaged_run, damaged))
    supervisor.order(start_order(run, directory))

    eventually("the other run ends", lambda: outcome_of(directory)["state"] if directory.outcome.exists() else None)
    eventually("this one ends", lambda: outcome_of(damaged)["state"] if damaged.outcome.exists() else None)
    assert (outcome_of(directory)["state"], outcome_of(damaged)["state"]) == ("completed", "completed")
    assert isinstance(stand_in.supervise().hears(), Running)


def test_a_journal_that_cannot_be_read_refuses_that_start_alone(stand_in: Host) -> None:
    run, directory = stand_in.new_run("finish")
    directory.events.unlink()
    directory.events.mkdir()
    supervisor = stand_in.supervise()
    assert isinstance(supervisor.hears(), Running)

    supervisor.order(start_order(run, directory))

    refused = supervisor.hears()
    assert isinstance(refused, Refused), refused
    assert "its journal cannot be read" in refused.why
    assert (refused.run, refused.attempt) == (run, 1)


def test_a_supervisor_that_was_replaced_is_shut_out(new_host: Host) -> None:
    """A fencing epoch: two supervisors can never both give orders."""
    run, directory = new_host.new_run("finish")
    old = new_host.supervise(epoch=5)
    assert isinstance(old.hears(), Running)

    new = new_host.supervise(epoch=6)
    assert isinstance(new.hears(), Running)
    late = new_host.supervise(epoch=5)

    assert old.hears() is None, "its connection is closed"
    assert isinstance(late.hears(), Refused)
    assert late.hears() is None
    new.order(start_order(run, directory))
    eventually("the new one is obeyed", lambda: has_ended(directory))


def test_orders_from_a_connection_that_does_not_supervise_are_refused(new_host: Host) -> None:
    run, directory = new_host.new_run("finish")
    stranger = new_host.connect()

    stranger.send(start_order(run, directory))

    assert isinstance(stranger.receive(), Refused)
    assert not events_of(directory, Event.STARTED)


def test_the_next_attempt_waits_until_the_lock_is_free(new_host: Host) -> None:
    """Somebody else may still train in the directory: two writers would ruin it."""
    run, directory = new_host.new_run("finish")
    lock = PlaceLock(directory.lock, "trainer")
    supervisor = new_host.supervise()
    supervisor.order(start_order(run, directory))
    supervisor.order(start_order(run, directory))  # answered only after the first has been looked at
    other_run, other = new_host.new_run("finish")
    supervisor.order(start_order(other_run, other))
    eventually("another run is not held up", lambda: has_ended(other))
    assert not events_of(directory, Event.STARTED)

    lock.release()

    eventually("it starts once the lock is free", lambda: has_ended(directory))


@pytest.mark.dies("a trainer that has started other processes")
@pytest.mark.parametrize("how", ["", " as a daemon"])
def test_what_a_trainer_leaves_behind_is_killed_and_reaped_before_its_end_is_recorded(stand_in: Host, how: str) -> None:
    """Also what has made itself independent of it: it may hold the GPU that the next run gets."""
    run, directory = stand_in.new_run("leave a process behind" + how)

    stand_in.supervise().order(start_order(run, directory))

    eventually("the end is recorded", lambda: has_ended(directory))
    left_behind = int((directory.path / "left_behind").read_text())
    assert not is_alive(left_behind)
    eventually("the orphan is reaped", lambda: not Path(f"/proc/{left_behind}").exists())


def test_trainers_die_with_their_host_and_the_next_host_records_it(new_host: Host) -> None:
    run, directory = new_host.new_run("wait")
    new_host.supervise().order(start_order(run, directory))
    pid = wait_for_start(directory)

    new_host.kill()
    eventually("the trainer is gone", lambda: not is_alive(pid))

    assert has_ended(directory) is None
    new_host.start()
    new_host.supervise().order(start_order(run, directory, attempt=2))
    ended = eventually("the first attempt's end is recorded", lambda: has_ended(directory))
    assert ended["state"] == "crashed"
    wait_for_start(directory, attempt=2)
    events = [line["event"] for line in events_of_all(directory)]
    assert events == ["admitted", "started", "ended", "started"]


def events_of_all(directory: RunDirectory) -> list[dict[str, object]]:
    return [json.loads(line) for line in directory.events.read_text().splitlines()]


def test_a_start_repeated_to_the_next_host_records_the_lost_attempt_and_starts_nothing(new_host: Host) -> None:
    """The supervisor cannot know how far the order got before the host died; the retry is its to decide."""
    run, directory = new_host.new_run("wait")
    new_host.supervise().order(start_order(run, directory))
    wait_for_start(directory)
    new_host.kill()
    new_host.start()

    new_host.supervise().order(start_order(run, directory))

    ended = eventually("the end is recorded", lambda: has_ended(directory))
    assert ended["state"] == "crashed"
    assert "host died" in ended["error"]
    assert len(events_of(directory, Event.STARTED)) == 1


def test_sigterm_interrupts_every_trainer_and_ends_the_host_after_them(new_host: Host) -> None:
    run, directory = new_host.new_run("wait")
    new_host.supervise().order(start_order(run, directory))
    wait_for_start(directory)

    new_host.process.terminate()

    assert new_host.process.wait(10) == 0
    ended = has_ended(directory)
    assert ended is not None
    assert (ended["state"], ended["exit_code"]) == ("interrupted", 75)


def test_a_trainer_that_holds_out_is_killed_after_the_grace_period(new_host: Host) -> None:
    run, directory = new_host.new_run("hold out")
    new_host.supervise().order(start_order(run, directory))
    wait_for_start(directory)

    new_host.process.terminate()

    assert new_host.process.wait(10) == 0
    ended = has_ended(directory)
    assert ended is not None
    assert (ended["state"], ended["signal"]) == ("interrupted", signal.SIGKILL), "no failure of the run"


def test_an_attempt_that_is_killed_before_it_has_begun_never_begins(new_host: Host) -> None:
    run, directory = new_host.new_run("wait")
    supervisor = new_host.supervise()
    supervisor.order(start_order(run, directory))
    pid = wait_for_start(directory)
    supervisor.order(start_order(run, directory, attempt=2))
    supervisor.order(Kill(run, 2))

    while not isinstance(answer := supervisor.hears(), Refused):
        pass
    assert (answer.run, answer.attempt) == (run, 2)
    assert is_alive(pid), "the other attempt lives on"


def test_what_has_not_begun_begins_for_a_new_supervisor_only_if_that_one_orders_it(new_host: Host) -> None:
    """It is not told of what waits, and so may have recorded its end."""
    run, directory = new_host.new_run("finish")
    lock = PlaceLock(directory.lock, "trainer")
    replaced = new_host.supervise(epoch=1)
    replaced.order(start_order(run, directory))
    run_to_its_end(new_host, replaced)
    supervisor = new_host.supervise(epoch=2)
    assert supervisor.hears_running() == []
    lock.release()
    run_to_its_end(new_host, supervisor)
    assert not events_of(directory, Event.STARTED)

    supervisor.order(start_order(run, directory))

    eventually("it starts once it is ordered", lambda: has_ended(directory))


def run_to_its_end(host: Host, supervisor: Supervisor) -> None:
    """Another run: once it has ended, all that was ordered before it has been looked at."""
    run, directory = host.new_run("finish")
    supervisor.order(start_order(run, directory))
    eventually("another run is not held up", lambda: has_ended(directory))


def test_quit_ends_the_host_once_no_trainer_is_left(new_host: Host) -> None:
    run, directory = new_host.new_run("wait")
    supervisor = new_host.supervise()
    supervisor.order(start_order(run, directory))
    pid = wait_for_start(directory)

    supervisor.order(Quit())
    supervisor.order(start_order(*new_host.new_run("finish")))

    while not isinstance(answer := supervisor.hears(), Refused):
        pass
    assert answer.run is None, "the next host may start it: this is no end of the run"
    assert new_host.process.poll() is None
    os.kill(pid, signal.SIGTERM)
    assert new_host.process.wait(10) == 0
    assert has_ended(directory)


def test_an_inspector_answers_on_the_connection_that_asked(stand_in: Host) -> None:
    asking = stand_in.connect()

    asking.send(Inspect("/nowhere.yaml", "answer"))

    answer = asking.receive()
    assert isinstance(answer, Inspected)
    assert answer.spec == {"text": "answer"}
    assert asking.receive() is None
    eventually("the inspector is reaped", lambda: not stand_in.children())


def test_an_inspector_that_dies_is_an_end_of_file(stand_in: Host) -> None:
    asking = stand_in.connect()

    asking.send(Inspect("/nowhere.yaml", "die"))

    assert asking.receive() is None


def test_what_an_inspector_leaves_behind_is_killed(stand_in: Host, tmp_path: Path) -> None:
    """User code that starts a process is inspected at each submit."""
    asking, path = stand_in.connect(), tmp_path / "left_behind"

    asking.send(Inspect(str(path), "leave a process behind"))

    assert isinstance(asking.receive(), Inspected)
    left_behind = int(path.read_text())
    eventually("it is killed and reaped", lambda: not Path(f"/proc/{left_behind}").exists())


def test_an_inspector_that_exceeds_its_time_is_killed(stand_in: Host) -> None:
    asking = stand_in.connect()

    asking.send(Inspect("/nowhere.yaml", "hang", limit_seconds=0.2))

    assert asking.receive() is None
    eventually("the inspector is reaped", lambda: not stand_in.children())


def test_a_host_without_descriptors_lets_its_trainers_train_on_and_listens_again(new_host: Host) -> None:
    supervisor = new_host.supervise()
    run, directory = new_host.new_run("wait")
    supervisor.order(start_order(run, directory))
    trainer = wait_for_start(directory)
    descriptors = Path(f"/proc/{new_host.process.pid}/fd").iterdir()
    used = {
        int(path.name) for path in descriptors if path.readlink() != Path("/proc")
    }  # which it looks into now and then
    lowest_free = min(set(range(len(used) + 1)) - used)
    soft, hard = resource.prlimit(new_host.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(new_host.process.pid, resource.RLIMIT_NOFILE, (lowest_free, hard))

    waiting = new_host.connect()
    waiting.send(Inspect("/nowhere.yaml", "answer"))
    waiting.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        waiting.receive()
    waiting.socket.settimeout(10)
    resource.prlimit(new_host.process.pid, resource.RLIMIT_NOFILE, (soft, hard))

    assert isinstance(waiting.receive(), Inspected)
    assert new_host.process.poll() is None
    assert is_alive(trainer)


def test_a_line_that_is_no_message_closes_the_connection_and_nothing_else(stand_in: Host) -> None:
    confused = stand_in.connect()

    confused.socket.sendall(b'{"type": "nonsense"}\n')

    assert confused.receive() is None
    assert isinstance(stand_in.supervise().hears(), Running)


def test_importing_the_host_loads_no_torch() -> None:
    """`trainerd worker` takes its lock, and refuses a second one, before it spends seconds on warming up."""
    code = "import sys, trainerd.worker.host, trainerd.worker.trainer_process; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
