"""What a person is told to do next is something that the run's state permits."""

from __future__ import annotations

import re

import pytest

from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import RESTARTABLE, Reason, State, Verb, legal_verbs
from trainerd.control.next_step import next_step

SPEC = {"optimizer": {"lr": 1e-3}, "data": {"batch_size": 32}}
LOOKS = ("status", "follow", "why")


def a_run(state: State, reason: Reason | None = None, **facts: object) -> RunRecord:
    run = RunRecord(7, "run", state, 1000, 0, 7, None, "2026-11-23T03:00:00+00:00", SPEC, reason=reason)
    return run.updated(attempt=1, checkpoint_step=100, after=3, **facts)


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("reason", [None, *Reason])
@pytest.mark.parametrize("checkpoint_step", [None, 100])
def test_the_next_command_is_legal_in_the_state_that_the_run_is_in(
    state: State, reason: Reason | None, checkpoint_step: int | None
) -> None:
    step = next_step(a_run(state, reason).updated(checkpoint_step=checkpoint_step))

    assert step.advice
    if step.command is None:
        return
    program, verb, *rest = step.command.split()
    assert program == "trainctl"
    assert "7" in rest or verb in LOOKS
    if "--from-start" in rest:
        assert state in RESTARTABLE
    elif verb not in LOOKS:
        assert Verb(verb) in legal_verbs(state)


def test_a_run_that_diverged_begins_anew_with_smaller_steps() -> None:
    command = next_step(a_run(State.FAILED, Reason.DIVERGED)).command
    assert command == "trainctl retry --from-start 7 optimizer.lr=0.0001"


def test_a_run_out_of_memory_may_also_begin_anew_with_smaller_batches() -> None:
    assert "data.batch_size=16" in next_step(a_run(State.FAILED, Reason.OUT_OF_MEMORY)).advice


def test_a_blocked_run_needs_nothing_but_room() -> None:
    step = next_step(a_run(State.BLOCKED, Reason.DISK_FULL, needed_bytes=123))
    assert step.command is None
    assert re.search("123 bytes.*by itself", step.advice)


def test_a_cancelled_dependent_points_to_the_run_that_it_waited_for() -> None:
    assert next_step(a_run(State.CANCELLED, Reason.DEPENDENCY_FAILED)).command == "trainctl why 3"


def test_a_run_without_a_checkpoint_can_only_begin_anew() -> None:
    step = next_step(a_run(State.STOPPED, Reason.USER_STOP).updated(checkpoint_step=None))
    assert step.command == "trainctl retry --from-start 7"
