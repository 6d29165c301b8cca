"""What commands do to runs, and what they may not do."""

from __future__ import annotations

from collections.abc import Container

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_records import a_command, a_run, a_spec, a_submission

from trainerd.contracts.commands import CommandKind
from trainerd.contracts.pages import Order
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import ENDED, LIVE, ORDERS, Reason, State, Verb
from trainerd.supervisor.apply import Effects, Situation, apply_command


def a_situation(
    *records: RunRecord, gpu_count: int = 0, admitted: Container[int] = (), newest_proven: int = 0
) -> Situation:
    by_id = {record.id: record for record in records}
    return Situation(by_id.get, lambda run_id: run_id in admitted, gpu_count, newest_proven)


def problem_of(effects: Effects) -> str:
    assert effects.problem is not None
    assert (effects.born, effects.changed, effects.orders) == ((), (), ())
    return str(effects.problem["detail"])


def test_a_submit_queues_or_holds_its_runs() -> None:
    command = a_command(CommandKind.SUBMIT, runs=[a_submission(7, priority=2), a_submission(8, hold=True, after=7)])
    first, second = (birth.record for birth in apply_command(command, a_situation()).born)
    assert (first.id, first.state, first.priority, first.attempt) == (7, State.QUEUED, 2, 0)
    assert (second.id, second.state, second.after) == (8, State.HELD, 7)
    assert first.place < second.place


def test_a_submit_after_a_run_that_does_not_exist_is_refused_whole() -> None:
    command = a_command(CommandKind.SUBMIT, runs=[a_submission(7), a_submission(8, after=3)])
    assert "no run '3'" in problem_of(apply_command(command, a_situation()))


def test_a_run_that_needs_more_gpus_than_there_are_is_refused() -> None:
    command = a_command(CommandKind.SUBMIT, runs=[a_submission(1, spec=a_spec(gpus=2))])
    assert "resources.gpus" in problem_of(apply_command(command, a_situation(gpu_count=1)))
    assert apply_command(command, a_situation(gpu_count=2)).problem is None


def test_a_submit_that_is_applied_again_is_admitted_as_it_was() -> None:
    """The machine may have lost a GPU since; what was answered stays answered."""
    command = a_command(CommandKind.SUBMIT, runs=[a_submission(1, spec=a_spec(gpus=2))])
    assert apply_command(command, a_situation(gpu_count=0, admitted={1})).problem is None


def test_a_submit_that_is_older_than_an_applied_one_comes_out_as_it_was() -> None:
    """When the state is folded anew: without a directory it was refused, or its run has been removed."""
    refused = a_command(CommandKind.SUBMIT, 4, runs=[a_submission(1)])
    assert "refused when it was given" in problem_of(apply_command(refused, a_situation(newest_proven=5)))
    applied = a_command(CommandKind.SUBMIT, 5, runs=[a_submission(2), a_submission(3)])
    effects = apply_command(applied, a_situation(admitted={3}, newest_proven=5))
    assert [birth.record.id for birth in effects.born] == [3]
    new = a_command(CommandKind.SUBMIT, 6, runs=[a_submission(4)])
    assert apply_command(new, a_situation(newest_proven=5)).problem is None


@pytest.mark.parametrize(("checkpoint", "order"), [(True, Order.STOP), (False, Order.STOP_WITHOUT_CHECKPOINT)])
def test_stopping_a_running_run_asks_its_trainer(checkpoint: bool, order: Order) -> None:
    command = a_command(CommandKind.STOP, run=1, checkpoint=checkpoint)
    effects = apply_command(command, a_situation(a_run(1, State.RUNNING)))
    assert effects.orders == ((1, order),)
    assert effects.changed[0].state is State.STOPPING
    assert effects.changed[0].ended_at is None


def test_stopping_a_run_without_a_trainer_ends_it() -> None:
    effects = apply_command(a_command(CommandKind.STOP, run=1), a_situation(a_run(1, State.RETRYING, retry_at=1.0)))
    (stopped,) = effects.changed
    assert (stopped.state, stopped.reason, stopped.retry_at) == (State.STOPPED, Reason.USER_STOP, None)
    assert effects.orders == ()


def test_a_refusal_names_the_state_and_what_is_legal() -> None:
    effects = apply_command(a_command(CommandKind.CANCEL, run=1), a_situation(a_run(1, State.RUNNING)))
    assert "it is running; legal now: stop" in problem_of(effects)


def test_an_order_for_a_run_that_does_not_exist_is_refused() -> None:
    assert "no run '9'" in problem_of(apply_command(a_command(CommandKind.STOP, run=9), a_situation()))


@given(st.sampled_from(State), st.sampled_from([CommandKind.STOP, CommandKind.CANCEL]))
def test_orders_never_leave_the_table(state: State, kind: CommandKind) -> None:
    effects = apply_command(a_command(kind, run=1), a_situation(a_run(1, state)))
    legal = ORDERS[Verb(kind)].get(state)
    assert [record.state for record in effects.changed] == ([legal] if legal else [])
    assert (effects.problem is None) == (legal is not None)
    for record in effects.changed:
        assert (record.ended_at is not None) == (record.state in ENDED)
        assert bool(effects.orders) == (record.state in LIVE)


@pytest.mark.parametrize("state", [State.FAILED, State.STOPPED, State.CANCELLED])
def test_waiting_for_a_run_that_will_not_complete_any_more_is_refused(state: State) -> None:
    command = a_command(CommandKind.SUBMIT, runs=[a_submission(2, after=1)])
    assert f"run 1 is {state}" in problem_of(apply_command(command, a_situation(a_run(1, state))))
    assert apply_command(command, a_situation(a_run(1, State.COMPLETED))).problem is None
