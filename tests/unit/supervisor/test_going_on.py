"""What resume and retry make of a run."""

from __future__ import annotations

from typing import Any

import pytest
from run_records import TIME, a_command, a_run, a_situation, a_spec, problem_of

from trainerd.contracts.commands import CommandKind
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import Reason, State
from trainerd.supervisor.apply import Effects, apply_command


def order(kind: CommandKind, *records: RunRecord, gpu_count: int = 0, **body: Any) -> Effects:
    return apply_command(a_command(kind, 9, run=1, **body), a_situation(*records, gpu_count=gpu_count))


def a_failed_run(**facts: Any) -> RunRecord:
    end = {"reason": Reason.CRASH_LOOP, "error": "killed", "ended_at": TIME, "signal": 9, "failures": 3}
    return a_run(1, State.FAILED, attempt=3, place=7, priority=2, **{**end, **facts})


def test_a_retried_run_is_queued_at_its_old_place_with_a_fresh_budget() -> None:
    (queued,) = order(CommandKind.RETRY, a_failed_run(checkpoint_step=40)).changed
    assert (queued.state, queued.place, queued.priority, queued.attempt) == (State.QUEUED, 7, 2, 3)
    assert (queued.reason, queued.error, queued.ended_at, queued.signal, queued.failures) == (None,) * 4 + (0,)
    assert queued.checkpoint_step == 40


def test_a_failed_run_without_a_checkpoint_may_be_retried_from_the_start() -> None:
    assert order(CommandKind.RETRY, a_failed_run()).problem is None


@pytest.mark.parametrize("state", [State.PAUSED, State.STOPPED])
def test_a_run_goes_on_only_from_a_checkpoint(state: State) -> None:
    """It would start anew from step 0 in silence."""
    without = a_run(1, state, attempt=1)
    problem = problem_of(order(CommandKind.RESUME, without))
    assert problem == (
        "run 1 has trained but has no checkpoint to go on from; start it anew with: trainctl retry --from-start 1"
    )
    assert order(CommandKind.RESUME, without.updated(checkpoint_step=10)).problem is None
    assert order(CommandKind.RESUME, a_run(1, state, attempt=0)).problem is None, "it has not trained"


def test_a_held_run_may_begin_whatever_it_has_begun_before() -> None:
    """Its trainer was killed before it had done anything."""
    (queued,) = order(CommandKind.RESUME, a_run(1, State.HELD, attempt=1)).changed
    assert queued.state is State.QUEUED


def test_a_completed_run_is_not_resumed_and_the_refusal_says_what_to_do() -> None:
    problem = problem_of(order(CommandKind.RESUME, a_run(1, State.COMPLETED)))
    assert "it is completed; legal now: remove" in problem
    assert problem.endswith("trainctl retry --from-start 1")


def test_a_changed_specification_and_accepted_data_are_taken_over() -> None:
    spec = {**a_spec(max_failures=9), "name": "renamed"}
    text = "name: renamed\n"
    paused = a_run(1, State.PAUSED, attempt=1, checkpoint_step=10, accepted_data="old")
    effects = order(CommandKind.RESUME, paused, spec=spec, spec_yaml=text, accepted_data="new")
    (queued,) = effects.changed
    assert (queued.spec, queued.name, queued.accepted_data) == (spec, "renamed", "new")
    assert effects.specs == ((1, text),)
    unchanged = order(CommandKind.RESUME, paused, spec=None, spec_yaml=None, accepted_data=None)
    assert unchanged.specs == ()
    assert [(run.spec, run.accepted_data) for run in unchanged.changed] == [(paused.spec, None)]


def test_a_specification_that_wants_more_gpus_than_there_are_is_refused() -> None:
    paused = a_run(1, State.PAUSED, attempt=1, checkpoint_step=10)
    effects = order(CommandKind.RESUME, paused, spec=a_spec(gpus=2), spec_yaml="", gpu_count=1)
    assert "resources.gpus" in problem_of(effects)
    assert effects.problem is not None
    assert effects.problem["exit_code"] == 78


@pytest.mark.parametrize("state", [State.FAILED, State.STOPPED, State.CANCELLED])
def test_a_cancelled_run_that_waits_in_vain_is_not_retried(state: State) -> None:
    cancelled = a_run(1, State.CANCELLED, after=2)
    assert f"run 2 is {state}" in problem_of(order(CommandKind.RETRY, cancelled, a_run(2, state)))
    assert "run 2 to complete, which is gone" in problem_of(order(CommandKind.RETRY, cancelled))
    assert order(CommandKind.RETRY, cancelled, a_run(2, State.COMPLETED)).problem is None
    assert order(CommandKind.RETRY, cancelled.updated(attempt=1)).problem is None, "it has waited enough"
