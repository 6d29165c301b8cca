"""How the supervisor and the worker host come to run the same."""

from __future__ import annotations

import pytest
from run_records import a_run

from trainerd.contracts.states import State
from trainerd.supervisor.agreement import Differences, compare

RUNNING = a_run(1, State.RUNNING, attempt=2)
STARTING = a_run(1, State.STARTING, attempt=2)


def test_nothing_is_to_do_where_what_should_live_lives() -> None:
    assert compare({1: RUNNING}, [(1, 2)], []) == Differences()


def test_a_starting_run_that_does_not_live_is_started() -> None:
    assert compare({1: STARTING}, [], []) == Differences(start=(STARTING,))


def test_a_run_that_was_just_started_is_waited_for() -> None:
    assert compare({1: STARTING}, [], [(1, 2)]) == Differences()


def test_a_running_run_that_does_not_live_has_vanished() -> None:
    assert compare({1: RUNNING}, [], []) == Differences(vanished=(RUNNING,))


def test_a_trainer_of_an_older_attempt_or_of_no_live_run_is_killed() -> None:
    assert compare({1: RUNNING}, [(1, 1), (1, 2)], []) == Differences(kill=((1, 1),))
    assert compare({1: a_run(1, State.PAUSED, attempt=2)}, [(1, 2)], []) == Differences(kill=((1, 2),))
    assert compare({}, [(9, 1)], []) == Differences(kill=((9, 1),))


def test_a_trainer_that_the_state_has_forgotten_is_adopted() -> None:
    assert compare({1: a_run(1, State.QUEUED)}, [(1, 3)], []) == Differences(adopt=((1, 3),))
    assert compare({1: STARTING}, [(1, 3)], []).adopt == ((1, 3),)


@pytest.mark.parametrize("state", [State.STOPPING, State.PAUSING])
def test_an_attempt_that_is_to_be_killed_is_killed_also_before_it_lives(state: State) -> None:
    doomed = a_run(1, state, attempt=2, kill_ordered=True)
    assert compare({1: doomed}, [(1, 2)], []) == Differences(kill=((1, 2),))
    assert compare({1: doomed}, [], [(1, 2)]) == Differences(kill=((1, 2),))
    assert compare({1: doomed}, [], []) == Differences(vanished=(doomed,)), "it will never live"
