"""How a run's record follows from its journal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_records import TIME, a_checkpoint, a_line, a_run, a_spec, an_epoch, ended, started

from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import ENDED, LIVE, Reason, State
from trainerd.supervisor.attempt_end import end_never_begun
from trainerd.supervisor.fold import begin_attempt, fold_event


def fold_all(record: RunRecord, *lines: dict[str, Any]) -> RunRecord:
    for line in lines:
        record = fold_event(record, line)
    return record


def a_started_run(**facts: Any) -> RunRecord:
    return begin_attempt(a_run(**facts), 1)


def test_a_starting_run_is_running_once_its_trainer_says_so() -> None:
    run = fold_event(a_started_run(), started())
    assert (run.state, run.pid, run.steps_per_epoch) == (State.RUNNING, 4711, 10)
    assert run.started_at is not None
    nothing_yet = {"best": None, "best_epoch": None, "best_step": None, "last": None}
    assert run.monitor == {"name": "val_loss", "mode": "min", **nothing_yet}


def test_an_epoch_moves_step_epoch_and_what_is_monitored() -> None:
    best = {"value": 0.5, "epoch": 1, "step": 10}
    run = fold_all(a_started_run(), started(), an_epoch(1, 0.5, best), an_epoch(2, 0.7, best))
    assert (run.step, run.epoch) == (20, 2)
    measured = {"best": 0.5, "best_epoch": 1, "best_step": 10, "last": 0.7}
    assert run.monitor == {"name": "val_loss", "mode": "min", **measured}


@pytest.mark.parametrize(
    ("said", "reason"), [("completed", "early_stopping"), ("failed", "diverged"), ("stopped", "user_stop")]
)
def test_an_ended_trainer_ends_the_run_with_its_reason(said: str, reason: str) -> None:
    run = fold_all(a_started_run(gpus=("GPU-1",)), started(), ended(said, reason=reason, exit_code=0))
    assert (run.state, run.reason, run.exit_code) == (State(said), Reason(reason), 0)
    assert run.ended_at is not None
    assert (run.pid, run.gpus) == (None, ())


@pytest.mark.parametrize("said", ["paused", "interrupted"])
def test_a_run_that_can_go_on_has_not_ended(said: str) -> None:
    run = fold_all(a_started_run(), started(), ended(said))
    assert (run.state, run.reason, run.ended_at) == (State(said), None, None)


def test_the_first_crash_is_retried_at_once_and_the_next_ones_later_and_later() -> None:
    run, delays = a_started_run(spec=a_spec(max_failures=5, backoff_seconds=5)), []
    for attempt in range(1, 5):
        run = fold_all(begin_attempt(run, attempt), started(attempt), ended("crashed", attempt, signal=9))
        assert run.state is State.RETRYING
        assert run.retry_at is not None
        delays.append(run.retry_at)
    first = delays[0]
    assert [delay - first for delay in delays] == [0, 5, 10, 20]


def test_a_run_that_keeps_crashing_without_a_newer_checkpoint_has_failed() -> None:
    run = a_started_run()
    for attempt in (1, 2, 3):
        run = fold_all(begin_attempt(run, attempt), started(attempt), ended("crashed", attempt))
    assert (run.state, run.reason, run.failures) == (State.FAILED, Reason.CRASH_LOOP, 3)


@pytest.mark.parametrize("reason", ["out_of_memory", "hang", "disk_full"])
def test_a_run_that_keeps_crashing_for_a_cause_that_can_be_told_has_failed_for_it(reason: str) -> None:
    run = a_started_run()
    for attempt in (1, 2, 3):
        run = fold_all(begin_attempt(run, attempt), started(attempt), ended("crashed", attempt, reason))
    assert (run.state, run.reason) == (State.FAILED, Reason(reason))


def test_a_run_whose_disk_is_full_is_blocked_with_what_it_needs_until_it_starts_again() -> None:
    word = a_line("finishing", state="blocked", error="full", monitor=None, model=None, step=9, epoch=0, needed_bytes=7)
    run = fold_all(a_started_run(), started(), word, ended("blocked", reason="disk_full", error="full"))
    assert (run.state, run.reason, run.needed_bytes, run.failures) == (State.BLOCKED, Reason.DISK_FULL, 7, 0)
    again = begin_attempt(run, 2)
    assert (again.reason, again.needed_bytes, again.retry_at) == (None, None, None)


def test_a_newer_checkpoint_gives_the_run_its_retries_back() -> None:
    run = fold_all(a_started_run(), started(), ended("crashed"), started(2), ended("crashed", 2))
    assert run.failures == 2
    run = fold_all(run, started(3), a_checkpoint(100, 3))
    assert run.failures == 0
    run = fold_all(run, ended("crashed", 3), started(4), a_checkpoint(100, 4))
    assert run.failures == 1, "the same step again is no progress"


def test_a_checkpoint_counts_once_a_run_has_gone_on_from_it_though_nobody_could_say_that_it_was_committed() -> None:
    run = fold_all(a_started_run(), started(), ended("crashed"), started(2))
    run = fold_event(run, a_line("resumed", 2, step=100, epoch=1, exactness="exact"))
    assert (run.checkpoint_step, run.failures) == (100, 0)


@pytest.mark.parametrize("said", ["crashed", "interrupted"])
def test_a_stop_stands_where_the_trainer_died_before_it_could_obey(said: str) -> None:
    stopping = fold_event(a_started_run(), started()).updated(state=State.STOPPING)
    run = fold_event(stopping, ended(said))
    assert (run.state, run.reason) == (State.STOPPED, Reason.USER_STOP)


def test_a_trainer_that_the_daemon_killed_as_it_ended_is_no_failure_of_its_run() -> None:
    run = a_started_run(spec=a_spec(max_failures=1)).updated(killed_by_daemon=True)
    run = fold_all(run, started(), ended("crashed", signal=9))
    assert (run.state, run.reason, run.failures) == (State.INTERRUPTED, None, 0)
    assert not begin_attempt(run.updated(killed_by_daemon=True), 2).killed_by_daemon


@pytest.mark.parametrize("said", ["crashed", "interrupted", "paused", "stopped"])
def test_a_killed_run_is_stopped_and_killed_and_that_is_no_error(said: str) -> None:
    killed = fold_event(a_started_run(), started()).updated(state=State.STOPPING, kill_ordered=True)
    run = fold_event(killed, ended(said, reason="user_stop", signal=9, error="killed by SIGKILL"))
    assert (run.state, run.reason, run.error, run.signal) == (State.STOPPED, Reason.KILLED, None, 9)
    assert (run.kill_ordered, run.retry_at, run.ended_at is None) == (False, None, False)


@pytest.mark.parametrize(("said", "reason"), [("completed", "finished"), ("failed", "diverged")])
def test_the_last_word_of_a_killed_trainer_stands(said: str, reason: str) -> None:
    for state in (State.STOPPING, State.PAUSING):
        killed = fold_event(a_started_run(), started()).updated(state=state, kill_ordered=True)
        run = fold_event(killed, ended(said, reason=reason))
        assert (run.state, run.reason, run.kill_ordered) == (State(said), Reason(reason), False)


@pytest.mark.parametrize("said", ["crashed", "interrupted", "paused"])
def test_a_run_that_was_paused_before_it_had_begun_is_held(said: str) -> None:
    pausing = a_started_run().updated(state=State.PAUSING, kill_ordered=True)
    run = fold_event(pausing, ended(said, signal=9, error="killed by SIGKILL"))
    assert (run.state, run.attempt, run.failures, run.kill_ordered) == (State.HELD, 1, 0, False)
    assert (run.reason, run.ended_at, run.error, run.signal) == (None, None, None, None)


@pytest.mark.parametrize("said", ["crashed", "interrupted", "paused"])
def test_a_pausing_run_is_paused_however_its_trainer_ended(said: str) -> None:
    pausing = fold_event(a_started_run(), started()).updated(state=State.PAUSING)
    run = fold_event(pausing, ended(said))
    assert (run.state, run.reason, run.failures) == (State.PAUSED, None, 0)


def test_a_stop_overrules_a_pause_that_was_obeyed_at_the_same_time() -> None:
    stopping = fold_event(a_started_run(), started()).updated(state=State.STOPPING)
    run = fold_event(stopping, ended("paused"))
    assert (run.state, run.reason) == (State.STOPPED, Reason.USER_STOP)


@pytest.mark.parametrize(
    ("state", "said", "reason"),
    [(State.PAUSING, "held", None), (State.STOPPING, "stopped", Reason.KILLED)],
)
def test_a_trainer_that_never_began_ends_as_was_ordered(state: State, said: str, reason: Reason | None) -> None:
    run = end_never_begun(a_started_run().updated(state=state, kill_ordered=True), "killed", TIME)
    assert (run.state, run.reason, run.kill_ordered) == (State(said), reason, False)
    assert (run.ended_at is not None) == (run.state in ENDED)
    failed = end_never_begun(a_started_run(gpus=("GPU-1",)), "attempt 1 is not newer than 3", TIME)
    assert (failed.state, failed.error, failed.gpus) == (State.FAILED, "attempt 1 is not newer than 3", ())


@pytest.mark.parametrize("decided", ["held", "paused", "stopped"])
def test_what_was_decided_about_a_crash_stands_where_the_order_is_not_known(decided: str) -> None:
    """A state that was lost does not know that the run was starting when the order came."""
    reason = "killed" if decided == "stopped" else None
    for max_failures in (1, 3):
        run = fold_all(a_started_run(spec=a_spec(max_failures=max_failures)), started(), ended("crashed", signal=9))
        run = fold_event(run, ended(decided, reason=reason, signal=9))
        assert (run.state, run.reason, run.failures) == (State(decided), reason, 0)
        assert (run.ended_at is not None) == (run.state in ENDED)
        assert run.retry_at is None
    stopped = fold_all(a_started_run(), started(), ended("stopped", reason="user_stop"))
    assert fold_event(stopped, ended("stopped", reason="killed")).reason is Reason.KILLED


def test_an_end_that_a_command_brought_about_is_no_news() -> None:
    """A run that was cancelled and queued again is not cancelled once more by the line about the first time."""
    cancelled = ended("cancelled", attempt=0, reason="cancelled")
    assert fold_event(a_run(), cancelled).state is State.CANCELLED
    assert fold_event(a_run(), {**cancelled, "command": 7}) == a_run()


def test_a_checkpoint_order_waits_until_it_is_obeyed() -> None:
    run = fold_event(a_started_run(), started()).updated(pending_checkpoint=50)
    run = fold_event(run, a_checkpoint(10))
    run = fold_event(run, {**a_checkpoint(20), "order": 49})
    assert run.pending_checkpoint == 50
    crashed = fold_event(run, ended("crashed"))
    assert crashed.pending_checkpoint == 50, "the next attempt owes it"
    assert fold_event(run, ended("failed", reason="error")).pending_checkpoint is None
    again = fold_event(run, {**a_checkpoint(20), "order": 50})
    assert (again.pending_checkpoint, again.checkpoint_step) == (None, 20), "the one that was there is pinned"


def test_the_label_of_a_run_is_the_worst_of_all_its_resumes() -> None:
    run = fold_event(a_started_run(), started())
    labels = []
    for event, label in [
        ("resumed", "exact"),
        ("replayed", "exact"),
        ("resumed", "within_tolerance"),
        ("replayed", "exact"),
        ("replay_differed", "diverged_on_resume"),
        ("resumed", "exact"),
    ]:
        assert run.exactness == (labels[-1] if labels else None)
        run = fold_event(run, a_line(event, step=10, epoch=1, exactness=label))
        labels.append(run.exactness)
    assert labels == ["exact", "exact", *["within_tolerance"] * 2, *["diverged_on_resume"] * 2]
    assert begin_attempt(run, 2).exactness == "diverged_on_resume"


def test_a_state_that_was_lost_knows_what_was_decided_about_an_attempt() -> None:
    decision = {"gpus": ["GPU-a"], "settled_order": 7, "checkpoint_order": 8}
    run = fold_event(a_run(pending_checkpoint=3), a_line("starting", 1, **decision, applied=6))
    assert (run.state, run.attempt, run.gpus) == (State.STARTING, 1, ("GPU-a",))
    assert (run.settled_order, run.pending_checkpoint) == (7, 8)


def test_a_state_that_was_lost_learns_the_gpus_from_the_trainer() -> None:
    line = {**started(), "gpus": ["GPU-a"]}
    assert fold_event(a_run(), line).gpus == ("GPU-a",)
    assert fold_event(a_started_run(gpus=("GPU-b",)), line).gpus == ("GPU-b",)


def test_an_interruption_that_follows_a_crash_takes_the_failure_back() -> None:
    """So reads the journal of a trainer that the daemon killed, to one who has lost the state."""
    for max_failures in (1, 3):
        run = fold_all(a_started_run(spec=a_spec(max_failures=max_failures)), started(), ended("crashed", signal=9))
        run = fold_event(run, ended("interrupted", signal=9))
        assert (run.state, run.reason, run.failures) == (State.INTERRUPTED, None, 0)
        assert (run.ended_at, run.retry_at) == (None, None)


def test_a_run_that_finished_before_it_saw_the_stop_has_completed() -> None:
    stopping = fold_event(a_started_run(), started()).updated(state=State.STOPPING)
    assert fold_event(stopping, ended("completed", reason="finished")).state is State.COMPLETED


def test_lines_of_an_older_attempt_change_nothing() -> None:
    run = begin_attempt(a_run(), 2)
    assert fold_all(run, started(1), a_checkpoint(10, 1), ended("failed", 1, "error")) == run


def test_a_state_that_was_lost_is_folded_anew_from_the_whole_journal() -> None:
    """The record of a queued run that the state forgot to have been started."""
    admitted = a_line("admitted", 0, run=1, name="run1")
    journal = [
        admitted,
        started(1),
        ended("crashed", 1),
        a_line("retrying", 1, delay_seconds=0, failures=1),
        started(2),
    ]
    run = fold_all(a_run(), *journal)
    assert (run.state, run.attempt, run.failures) == (State.RUNNING, 2, 1)


def test_a_trainer_that_could_not_open_its_run_takes_back_no_step() -> None:
    run = begin_attempt(a_run(step=300, epoch=3), 2)
    nothing = {"state": "failed", "reason": "error", "monitor": None, "model": None, "error": "no such file"}
    run = fold_all(
        run, a_line("finishing", 2, step=0, epoch=0, **nothing), ended("failed", 2, "error", step=0, epoch=0)
    )
    assert (run.state, run.step, run.epoch) == (State.FAILED, 300, 3)


def test_a_line_without_its_fields_is_an_error() -> None:
    with pytest.raises(KeyError):
        fold_event(a_started_run(), a_line("started"))


LINES = st.one_of(
    st.builds(started, st.integers(1, 4)),
    st.builds(a_checkpoint, st.integers(1, 50), st.integers(1, 4)),
    st.builds(
        ended,
        st.sampled_from(["completed", "failed", "stopped", "paused", "interrupted", "crashed"]),
        st.integers(1, 4),
        st.sampled_from(["error", "finished"]),
    ),
)


@given(st.lists(LINES, max_size=20))
def test_folding_a_journal_twice_is_folding_it_once(lines: list[dict[str, Any]]) -> None:
    """Whatever the lines are: attempts never fall, live runs have no end, and what ended has no trainer."""
    record = a_run()
    for line in lines:
        before, record = record, fold_event(record, line)
        assert record.attempt >= before.attempt
        assert (record.ended_at is not None) == (record.state in ENDED)
        assert record.pid is None or record.state in LIVE
        assert record.retry_at is None or record.state in LIVE | {State.RETRYING, State.PAUSED, State.STOPPED}
    if record.state not in LIVE:
        assert fold_all(record, *lines) == record
