"""Histories in which the machine fails: killed half way, a full disk, a directory that nobody may read."""

from __future__ import annotations

import builtins
import errno
import io
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.machines.simulated_world import SimulatedWorld
from trainerd.contracts.commands import CommandKind
from trainerd.contracts.errors import DiskError
from trainerd.contracts.journal import Event
from trainerd.contracts.pages import PAGE_BYTES
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import Reason, State
from trainerd.supervisor import command_desk, journal_folding, loop, process
from trainerd.supervisor.complaints import Complaints
from trainerd.supervisor.shutdown import shut_down

SPEC = {
    "resources": {"gpus": 0, "cpus": 1},
    "trainer": {"device": "cpu"},
    "retry": {"max_failures": 3, "backoff_seconds": 0.0},
}
A_RUN: dict[str, Any] = {"spec": SPEC, "priority": 0, "after": None, "hold": False}


class _KilledError(BaseException):
    """SIGKILL."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SimulatedWorld]:
    world = SimulatedWorld(tmp_path)
    yield world
    world.close()


def submit(world: SimulatedWorld, count: int = 1, **wishes: Any) -> None:
    world.submit([{**A_RUN, **wishes}] * count, f"submit {count} {wishes}")


def order(world: SimulatedWorld, kind: CommandKind, run: int = 1, **details: Any) -> None:
    world.order(kind, run, f"{kind} {run}", **details)


def the_run(world: SimulatedWorld, run_id: int = 1) -> RunRecord:
    return next(run for run in world.records() if run.id == run_id)


def a_failure(number: int) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number), "somewhere")

    return fail


def a_full_state() -> Any:
    raise DiskError("No space left on device", "state.sqlite")


@contextmanager
def unreadable(directory: Path) -> Iterator[None]:
    """As a directory of mode 000 is to everybody but root, whom these tests may run as."""

    def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            if isinstance(path, str | os.PathLike) and directory in Path(os.fspath(path)).parents:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return real(path, *arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((os, "open"), (os, "stat"), (builtins, "open"), (io, "open")):
            patch.setattr(module, name, refusing(getattr(module, name)))
        yield


def test_all_runs_of_a_submit_are_born_though_the_supervisor_is_killed_between_two_births(
    world: SimulatedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    bear_run = command_desk.bear_run

    def bear_one(directory: Any, birth: Any, command: Any) -> None:
        if birth.record.id == 2:
            raise _KilledError
        bear_run(directory, birth, command)

    submit(world, count=3)
    with monkeypatch.context() as patch:
        patch.setattr(command_desk, "bear_run", bear_one)
        with pytest.raises(_KilledError):
            world.tick()
    world.restart_supervisor()
    world.tick()
    assert [run.id for run in world.records()] == [1, 2, 3]
    assert [answer.problem for answer in world.answers()] == [None]
    world.settle()
    assert {run.state for run in world.records()} == {State.COMPLETED}


def test_a_run_of_a_submit_that_was_removed_stays_so_when_the_state_is_folded_anew(world: SimulatedWorld) -> None:
    submit(world, count=3, hold=True)
    order(world, CommandKind.CANCEL, 2)
    order(world, CommandKind.REMOVE, 2)
    world.tick()
    world.lose_state()
    assert [run.id for run in world.records()] == [1, 3]


def test_a_removal_that_a_full_disk_prevents_stays_pending_until_it_can_be_done(
    world: SimulatedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(world, hold=True)
    order(world, CommandKind.CANCEL)
    order(world, CommandKind.REMOVE)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", a_failure(errno.ENOSPC))
        with pytest.raises(DiskError):
            world.tick()
        world.supervisor.start_over()
    assert [answer.problem for answer in world.answers()] == [None, None], "what came before it is answered"
    world.tick()
    assert [answer.problem for answer in world.answers()] == [None, None, None]
    assert world.records() == []


def test_a_removal_that_is_not_permitted_is_refused_and_noted_nowhere(
    world: SimulatedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(world, hold=True)
    order(world, CommandKind.CANCEL)
    order(world, CommandKind.REMOVE)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", a_failure(errno.EACCES))
        world.tick()
    assert the_run(world).state is State.CANCELLED
    assert world.answers()[-1].problem is not None
    assert (world.home.runs / "removed.jsonl").read_text() == ""


def test_a_submit_that_a_full_disk_prevents_is_refused_whole(
    world: SimulatedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though what is left of it cannot be deleted, it never counts as born."""
    bear_run = command_desk.bear_run

    def bear_one(directory: Any, birth: Any, command: Any) -> None:
        bear_run(directory, birth, command)
        if birth.record.id == 2:
            a_failure(errno.ENOSPC)()

    submit(world, count=2)
    with monkeypatch.context() as patch:
        patch.setattr(command_desk, "bear_run", bear_one)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        world.tick()
    assert world.answers()[0].problem is not None
    submit(world)
    world.tick()
    world.lose_state()
    assert [run.id for run in world.records()] == [3]


def test_a_page_that_a_kill_has_left_without_its_layout_is_made_anew(world: SimulatedWorld) -> None:
    world.directory(1).path.mkdir(parents=True)
    world.directory(1).orders_page.write_bytes(bytes(PAGE_BYTES))
    submit(world)
    world.settle()
    assert the_run(world).state is State.COMPLETED


def test_a_run_that_nobody_may_read_stops_no_other(world: SimulatedWorld) -> None:
    submit(world, count=2)
    world.move_on()
    with unreadable(world.directory(2).path):
        world.host.die()
        world.tick()
        world.restart_supervisor()
        world.tick()
        world.host.start()
        world.tick()
        assert the_run(world, 2).state is State.RUNNING, "nobody can tell what has become of it"
        world.host.die()
        world.tick()
        shut_down(world.supervisor, world.tick, grace_seconds=0.0)
        world.lose_state()
        assert [run.id for run in world.records()] == [1, 2]
    world.restart_supervisor()
    world.settle()
    assert {run.state for run in world.records()} == {State.COMPLETED}


def test_a_run_whose_directory_can_be_read_again_goes_on_where_its_journal_says(world: SimulatedWorld) -> None:
    submit(world)
    world.settle()
    with unreadable(world.directory(1).path):
        world.lose_state()
        world.host.start()
        world.move_on()
        assert the_run(world).state is State.QUEUED
    world.tick()
    assert the_run(world).state is State.COMPLETED


def test_a_run_never_starts_before_its_journal_could_be_read(
    world: SimulatedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would train again what it has trained, by a number of an attempt that has been."""
    submit(world)
    world.settle()
    with monkeypatch.context() as patch:
        patch.setattr(journal_folding, "read_unfolded", a_failure(errno.EIO))
        world.lose_state()
        world.host.start()
        world.move_on()
        assert the_run(world).state is State.QUEUED
    world.tick()
    assert the_run(world).state is State.COMPLETED


def test_a_run_that_was_removed_in_a_tick_that_could_not_be_stored_is_removed_by_the_next(
    world: SimulatedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(world)
    order(world, CommandKind.CANCEL)
    order(world, CommandKind.REMOVE)
    world.host.die()
    with monkeypatch.context() as patch:
        patch.setattr(world.supervisor.book, "commit", a_full_state)
        with pytest.raises(DiskError):
            world.tick()
    world.supervisor.start_over()
    world.tick()
    assert [answer.problem for answer in world.answers()] == [None, None, None]
    assert world.records() == []


def test_that_nothing_can_be_stored_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    class Supervisor:
        tick = staticmethod(a_full_state)

        def start_over(self) -> None: ...

    complaints, supervisor = Complaints(logging.getLogger("trainerd.supervisor")), Supervisor()
    for _ in range(3):
        assert not process._tick(supervisor, complaints)  # type: ignore[arg-type]
    assert len(caplog.messages) == 1


def test_a_start_that_has_failed_is_failed_also_when_the_state_is_folded_anew(world: SimulatedWorld) -> None:
    submit(world)
    world.host.die()
    world.tick()
    world.directory(1).orders_page.unlink()
    world.host.start()
    world.tick()
    failed = the_run(world)
    assert (failed.state, failed.reason, failed.attempt) == (State.FAILED, Reason.ERROR, 1)
    world.lose_state()
    assert the_run(world) == failed
    world.settle()
    assert the_run(world) == failed


def test_a_start_that_fails_for_want_of_files_is_tried_again_and_holds_up_no_other(
    world: SimulatedWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    newest_order = loop.newest_order

    def fail_for_two(directory: Any) -> int:
        if directory.path.name in ("1", "2"):
            a_failure(errno.EMFILE)()
        return newest_order(directory)

    submit(world, count=3)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(loop, "newest_order", fail_for_two)
        for _ in range(5):
            world.tick()
    states = [run.state for run in world.records()]
    assert states == [State.QUEUED, State.QUEUED, State.STARTING]
    assert len([text for text in caplog.messages if "run 1" in text]) == 1, "said once"
    monkeypatch.setattr(loop, "_START_AGAIN_SECONDS", 0.0)
    world.settle()
    assert {run.state for run in world.records()} == {State.COMPLETED}


def test_an_order_to_a_run_that_was_removed_since_is_answered_as_it_was(world: SimulatedWorld) -> None:
    submit(world, hold=True)
    order(world, CommandKind.CANCEL)
    order(world, CommandKind.REMOVE)
    world.tick()
    order(world, CommandKind.CANCEL)
    world.order(CommandKind.CANCEL, 1, "too late")
    world.tick()
    before = [answer.problem is None for answer in world.answers()]
    assert before == [True, True, True, False]
    world.lose_state()
    assert [answer.problem is None for answer in world.answers()] == before


def test_a_journal_that_cannot_be_written_is_said_once(
    world: SimulatedWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    submit(world)
    world.move_on()
    world.host.die()
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(loop, "record_vanished", a_failure(errno.ENOSPC))
        world.host.start()
        for _ in range(5):
            world.tick()
    assert len([text for text in caplog.messages if "cannot write" in text]) == 1
    world.settle()
    assert the_run(world).state is State.COMPLETED
    assert Event.ENDED in world.directory(1).events.read_text()
