"""What commands do to runs, and what they may not do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_records import a_command, a_run, a_situation, a_spec, a_submission, problem_of

from trainerd.contracts.commands import CommandKind
from trainerd.contracts.pages import Order
from trainerd.contracts.states import ENDED, LIVE, ORDERS, Reason, State, Verb
from trainerd.supervisor.apply import Effects, apply_command


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
    effects = apply_command(applied, a_situation(admitted={3}, newest_proven=6))
    assert [birth.record.id for birth in effects.born] == [3]
    cut_off = apply_command(applied, a_situation(admitted={3}, newest_proven=5))
    assert [birth.record.id for birth in cut_off.born] == [2, 3], "the newest one may have been cut off"
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
    assert "it is running; legal now: pause, checkpoint, stop, kill" in problem_of(effects)


def test_an_order_for_a_run_that_does_not_exist_is_refused() -> None:
    assert "no run '9'" in problem_of(apply_command(a_command(CommandKind.STOP, run=9), a_situation()))


@given(st.sampled_from(State), st.sampled_from(Verb))
def test_orders_never_leave_the_table(state: State, verb: Verb) -> None:
    """What the table does not name is refused and changes nothing; what it names is done, and nothing more."""
    before = a_run(1, state, attempt=1, checkpoint_step=10)
    effects = apply_command(a_command(CommandKind(verb), run=1, priority=3), a_situation(before))
    legal = ORDERS[verb].get(state)
    if legal is None:
        assert f"cannot {verb} run 1: it is {state}; legal now: " in problem_of(effects)
        return
    assert effects.problem is None
    assert effects.removed == ((1,) if verb is Verb.REMOVE else ())
    for record in effects.changed:
        assert record.state is legal
        assert (record.ended_at is not None) == (record.reason is not None) == (record.state in ENDED)
    assert bool(effects.changed) == (verb is not Verb.REMOVE)
    asked_by_page = verb in (Verb.PAUSE, Verb.STOP, Verb.CHECKPOINT) and legal in LIVE
    kills = verb is Verb.KILL or (verb is Verb.PAUSE and state is State.STARTING)
    assert bool(effects.orders) == (asked_by_page and not kills)
    assert any(record.kill_ordered for record in effects.changed) == kills


@pytest.mark.parametrize("state", [State.FAILED, State.STOPPED, State.CANCELLED])
def test_waiting_for_a_run_that_will_not_complete_any_more_is_refused(state: State) -> None:
    command = a_command(CommandKind.SUBMIT, runs=[a_submission(2, after=1)])
    assert f"run 1 is {state}" in problem_of(apply_command(command, a_situation(a_run(1, state))))
    assert apply_command(command, a_situation(a_run(1, State.COMPLETED))).problem is None


def test_pausing_a_running_run_asks_its_trainer() -> None:
    effects = apply_command(a_command(CommandKind.PAUSE, run=1), a_situation(a_run(1, State.RUNNING, attempt=1)))
    assert effects.orders == ((1, Order.PAUSE),)
    assert [(run.state, run.kill_ordered) for run in effects.changed] == [(State.PAUSING, False)]


def test_pausing_a_starting_run_has_its_trainer_killed() -> None:
    """It has nothing to save."""
    effects = apply_command(a_command(CommandKind.PAUSE, run=1), a_situation(a_run(1, State.STARTING, attempt=1)))
    assert effects.orders == ()
    assert [(run.state, run.kill_ordered) for run in effects.changed] == [(State.PAUSING, True)]


def test_a_stop_of_a_run_that_was_to_be_held_is_a_stop() -> None:
    pausing = a_run(1, State.PAUSING, attempt=1, kill_ordered=True)
    effects = apply_command(a_command(CommandKind.STOP, run=1), a_situation(pausing))
    assert effects.orders == ((1, Order.STOP),)
    assert [(run.state, run.kill_ordered) for run in effects.changed] == [(State.STOPPING, False)]


def test_pausing_a_run_that_waits_to_be_retried_takes_its_time_away() -> None:
    retrying = a_run(1, State.RETRYING, attempt=1, retry_at=9.0)
    (paused,) = apply_command(a_command(CommandKind.PAUSE, run=1), a_situation(retrying)).changed
    assert (paused.state, paused.retry_at) == (State.PAUSED, None)


def test_a_checkpoint_order_is_remembered_until_it_is_obeyed() -> None:
    effects = apply_command(a_command(CommandKind.CHECKPOINT, 5, run=1), a_situation(a_run(1, State.RUNNING)))
    assert effects.orders == ((1, Order.CHECKPOINT),)
    assert [run.pending_checkpoint for run in effects.changed] == [5 << 20]


def test_an_ended_run_is_removed() -> None:
    effects = apply_command(a_command(CommandKind.REMOVE, run=1), a_situation(a_run(1, State.FAILED)))
    assert (effects.removed, effects.changed) == ((1,), ())


def test_a_run_that_another_one_waits_for_is_not_removed() -> None:
    first, second = a_run(1, State.COMPLETED), a_run(2, after=1)
    command = a_command(CommandKind.REMOVE, run=1)
    assert "run 2 waits for it" in problem_of(apply_command(command, a_situation(first, second)))
    started_before = a_run(2, after=1, attempt=1)
    assert apply_command(command, a_situation(first, started_before)).removed == (1,)


def test_a_removal_that_is_applied_again_comes_out_as_it_was() -> None:
    """When the state is folded anew, the run's directory is gone, and so its submit bears nothing."""
    submit, remove = a_command(CommandKind.SUBMIT, 1, runs=[a_submission(7)]), a_command(CommandKind.REMOVE, 2, run=7)
    proven = a_situation(newest_proven=2, removed_by={7: 2})
    assert apply_command(submit, proven) == Effects()
    assert apply_command(remove, proven) == Effects()
    refused = a_command(CommandKind.REMOVE, 1, run=7)
    assert "no run '7'" in problem_of(apply_command(refused, proven)), "only the one that has removed it was applied"


def test_a_submit_with_an_order_to_remove_it_behind_it_is_not_taken_for_a_removed_one() -> None:
    """Both were acknowledged while the supervisor was away."""
    submit = a_command(CommandKind.SUBMIT, 1, runs=[a_submission(7)])
    assert [birth.record.id for birth in apply_command(submit, a_situation()).born] == [7]
    remove = a_command(CommandKind.REMOVE, 2, run=7)
    assert "it is queued" in problem_of(apply_command(remove, a_situation(a_run(7))))
