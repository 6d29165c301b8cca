"""Histories that the machines have found, or nearly: each once ended in a state that may not be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.machines.simulated_world import SimulatedWorld
from trainerd.contracts.commands import CommandKind
from trainerd.contracts.outcome import read_outcome
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import Reason, State

SPEC = {
    "resources": {"gpus": 0, "cpus": 1},
    "trainer": {"device": "cpu"},
    "retry": {"max_failures": 3, "backoff_seconds": 0.0},
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SimulatedWorld]:
    world = SimulatedWorld(tmp_path)
    yield world
    world.close()


def submit(world: SimulatedWorld, **wishes: Any) -> None:
    world.submit([{"spec": SPEC, "priority": 0, "after": None, "hold": False, **wishes}], f"submit {wishes}")


def order(world: SimulatedWorld, kind: CommandKind, run: int, **details: Any) -> None:
    world.order(kind, run, f"{kind} {run}", **details)


def start_training(world: SimulatedWorld) -> None:
    """What may start is forked, opens its run and takes a step."""
    world.move_on()
    world.move_on()


def the_run(world: SimulatedWorld, run_id: int = 1) -> RunRecord:
    return next(run for run in world.records() if run.id == run_id)


def test_a_run_that_is_cancelled_in_the_very_tick_that_admits_it_says_so_in_its_directory(
    world: SimulatedWorld,
) -> None:
    submit(world)
    order(world, CommandKind.CANCEL, 1)
    world.tick()
    assert read_outcome(world.directory(1).outcome).state == State.CANCELLED


def test_a_run_that_is_cancelled_and_removed_in_one_tick_is_gone(world: SimulatedWorld) -> None:
    submit(world)
    world.host.die()
    world.tick()
    order(world, CommandKind.CANCEL, 1)
    order(world, CommandKind.REMOVE, 1)
    world.tick()
    world.settle()
    assert world.records() == []
    assert not world.directory(1).path.exists()


def test_a_trainer_that_the_daemons_end_kills_before_it_has_begun_is_no_failure_of_its_run(
    world: SimulatedWorld,
) -> None:
    submit(world)
    world.tick()
    world.go_down_and_up(grace_seconds=0.0)
    assert the_run(world).state is State.INTERRUPTED
    world.settle()
    assert the_run(world).state is State.COMPLETED


def test_a_submit_that_was_refused_because_of_another_run_is_not_born_when_the_state_is_folded_anew(
    world: SimulatedWorld,
) -> None:
    submit(world)
    start_training(world)
    order(world, CommandKind.KILL, 1)
    world.move_on()
    assert the_run(world).state is State.STOPPED
    submit(world, after=1)
    world.tick()
    assert [run.id for run in world.records()] == [1]
    world.lose_state()
    assert [run.id for run in world.records()] == [1]


def test_an_order_that_came_before_the_trainers_first_line_stands_when_the_state_is_folded_anew(
    world: SimulatedWorld,
) -> None:
    submit(world)
    world.tick()
    order(world, CommandKind.KILL, 1)
    world.host.begin_waiting()
    world.host.trainers[1].work()
    world.lose_state()
    assert the_run(world).state is State.STOPPING
    world.settle()
    assert (the_run(world).state, the_run(world).reason) == (State.STOPPED, Reason.KILLED)


def test_a_stop_overrules_a_pause_that_the_trainer_has_obeyed_already(world: SimulatedWorld) -> None:
    submit(world)
    start_training(world)
    order(world, CommandKind.PAUSE, 1)
    world.tick()
    world.host.trainers[1].work()
    order(world, CommandKind.STOP, 1, checkpoint=True)
    world.tick()
    world.settle()
    assert (the_run(world).state, the_run(world).reason) == (State.STOPPED, Reason.USER_STOP)


def test_what_a_replaced_supervisor_has_ordered_and_has_not_begun_never_begins_once_its_run_has_ended(
    world: SimulatedWorld,
) -> None:
    submit(world)
    world.tick()
    order(world, CommandKind.KILL, 1)
    world.kill_supervisor("tell_worker")
    world.tick()
    world.host.begin_waiting()
    assert world.host.trainers == {}
    assert (the_run(world).state, the_run(world).reason) == (State.STOPPED, Reason.KILLED)


def test_a_run_keeps_its_priority_where_the_one_that_it_got_it_from_was_removed_and_the_state_is_folded_anew(
    world: SimulatedWorld,
) -> None:
    submit(world, hold=True)
    submit(world, hold=True, priority=5)
    order(world, CommandKind.MOVE, 1, priority=None, first=True, before=None)
    order(world, CommandKind.CANCEL, 2)
    order(world, CommandKind.REMOVE, 2)
    world.tick()
    assert the_run(world).priority == 5
    world.lose_state()
    assert the_run(world).priority == 5


def test_a_retry_stands_where_the_run_that_it_waited_for_was_removed_and_the_state_is_folded_anew(
    world: SimulatedWorld,
) -> None:
    submit(world, hold=True)
    submit(world, hold=True, after=1)
    order(world, CommandKind.CANCEL, 2)
    order(world, CommandKind.RETRY, 2, request="", spec=None, spec_yaml=None, accepted_data=None)
    world.tick()
    order(world, CommandKind.STOP, 1, checkpoint=True)
    world.tick()
    order(world, CommandKind.REMOVE, 1)
    world.tick()
    assert the_run(world, 2).reason is Reason.DEPENDENCY_FAILED
    world.lose_state()
    assert the_run(world, 2).reason is Reason.DEPENDENCY_FAILED


def test_runs_keep_their_places_where_one_that_a_move_overtook_was_removed_and_the_state_is_folded_anew(
    world: SimulatedWorld,
) -> None:
    submit(world, hold=True)
    submit(world, hold=True, name="overtaking")
    submit(world, hold=True, priority=1)
    order(world, CommandKind.MOVE, 2, priority=None, first=True, before=None)
    order(world, CommandKind.CANCEL, 3)
    order(world, CommandKind.REMOVE, 3)
    world.tick()
    places = [(run.id, run.place) for run in world.records()]
    world.lose_state()
    assert [(run.id, run.place) for run in world.records()] == places


def test_a_cancelled_run_says_so_in_its_directory_where_its_trainer_was_killed_to_hold_it_in_the_same_tick(
    world: SimulatedWorld,
) -> None:
    submit(world)
    world.tick()
    world.host.begin_waiting()
    order(world, CommandKind.PAUSE, 1)
    world.tick()
    world.host.reap()
    order(world, CommandKind.CANCEL, 1)
    world.tick()
    assert the_run(world).state is State.CANCELLED
    assert read_outcome(world.directory(1).outcome).state == State.CANCELLED


@pytest.fixture
def world_without_the_awaited_run(world: SimulatedWorld) -> SimulatedWorld:
    """Run 2 waited for run 1, was cancelled and retried, and refused to be removed; later run 1 went.

    Commands: 1 and 2 submit, 3 stop, 4 retry, 5 remove (refused), 6 stop, 7 and 8 cancel and remove run 1.
    """
    submit(world, hold=True)
    submit(world, after=1)
    world.tick()
    order(world, CommandKind.STOP, 2, checkpoint=True)
    world.tick()
    order(world, CommandKind.RETRY, 2, request="", spec=None, spec_yaml=None, accepted_data=None)
    world.tick()
    order(world, CommandKind.REMOVE, 2)
    world.tick()
    world.order(CommandKind.STOP, 2, "stop again", checkpoint=True)
    world.tick()
    order(world, CommandKind.CANCEL, 1)
    order(world, CommandKind.REMOVE, 1)
    world.tick()
    assert [run.id for run in world.records()] == [2]
    return world


def test_a_removal_that_was_refused_is_not_carried_out_when_the_state_is_folded_anew(
    world_without_the_awaited_run: SimulatedWorld,
) -> None:
    """Whatever else comes out otherwise: folding a state anew deletes nothing that was there."""
    world = world_without_the_awaited_run

    world.lose_state()

    assert [(run.id, run.state) for run in world.records()] == [(2, State.CANCELLED)]
    assert world.directory(2).spec.exists()


def test_a_retry_and_what_followed_stand_where_the_run_that_it_waited_for_was_removed_since(
    world_without_the_awaited_run: SimulatedWorld,
) -> None:
    world = world_without_the_awaited_run
    refused = [answer.number for answer in world.answers() if answer.problem]

    world.lose_state()

    assert refused == [5]
    assert [answer.number for answer in world.answers() if answer.problem] == refused
