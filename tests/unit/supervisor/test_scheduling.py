"""Which runs start, and in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_records import a_run, a_spec

from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import LIVE, State
from trainerd.supervisor.scheduling import Resources, choose_starts, dependency_failed, has_room, is_ready

NOW = 1.8e9
YEAR_SECONDS = 365 * 86400.0
TWO_GPUS = Resources(slots=8, gpus=("GPU-a", "GPU-b"))


def started(*records: RunRecord, resources: Resources = TWO_GPUS) -> list[int]:
    by_id = {record.id: record for record in records}
    starts = choose_starts(records, resources, NOW, lambda record: is_ready(record, by_id.get))
    return [start.record.id for start in starts]


def test_no_more_runs_start_than_there_are_slots() -> None:
    one_slot = Resources(1, ())
    assert started(a_run(1), a_run(2), resources=one_slot) == [1]
    assert started(a_run(1, State.RUNNING), a_run(2), resources=one_slot) == []


def test_higher_priority_comes_first_and_then_the_older_place() -> None:
    assert started(a_run(1, place=9), a_run(2), a_run(3, priority=5)) == [3, 2, 1]


def test_runs_that_were_going_before_come_before_the_queue() -> None:
    retrying = a_run(4, State.RETRYING, retry_at=NOW - 1)
    assert started(a_run(1, priority=9), a_run(3, State.INTERRUPTED), retrying) == [3, 4, 1]


def test_a_run_that_waits_to_be_retried_keeps_its_slot() -> None:
    waiting = a_run(1, State.RETRYING, retry_at=NOW + 1)
    assert started(waiting, a_run(2), resources=Resources(1, ())) == []
    assert started(waiting, a_run(2), resources=Resources(2, ())) == [2]


def test_a_blocked_run_holds_no_slot_and_starts_before_the_queue_once_there_is_room() -> None:
    blocked, resources = a_run(1, State.BLOCKED), Resources(1, ())
    queued = a_run(2)
    without = choose_starts([blocked, queued], resources, NOW, lambda record: record is queued)
    with_room = choose_starts([blocked, queued], resources, NOW, lambda _: True)
    assert [start.record.id for start in without] == [2]
    assert [start.record.id for start in with_room] == [1]


def test_a_blocked_run_has_room_where_the_disk_has_what_it_said_it_needs() -> None:
    run = a_run(1, State.BLOCKED, needed_bytes=1000)
    assert not has_room(run, free_bytes=999)
    assert has_room(run, free_bytes=1000)
    assert not has_room(a_run(1, State.BLOCKED), free_bytes=1000)  # it could not even say what it needs


@pytest.mark.parametrize("jump_seconds", [-YEAR_SECONDS, -3600.0, YEAR_SECONDS])
def test_a_clock_that_is_set_anew_never_makes_a_retry_wait_longer_than_its_backoff(jump_seconds: float) -> None:
    """Nobody waits for a year because the wall clock was wrong when the run crashed; it may come too early instead."""
    waiting = a_run(1, State.RETRYING, retry_at=NOW + 4, failures=2)
    assert started(waiting) == []
    assert started(waiting.updated(retry_at=NOW + 4 - jump_seconds)) == [1]


def test_a_long_backoff_is_waited_for_to_its_end() -> None:
    """It doubles with each failure."""
    patient = a_spec(max_failures=9, backoff_seconds=600.0)
    waiting = a_run(1, State.RETRYING, retry_at=NOW + 600 * 2**6, failures=8, spec=patient)
    assert started(waiting) == []
    assert started(waiting.updated(retry_at=NOW)) == [1]


def test_the_order_of_the_queue_knows_no_clock() -> None:
    """Whatever times the records bear: places are dealt in the order of the commands."""
    late, early = a_run(1, created_at="2027-11-23T03:00:00+00:00"), a_run(2, created_at="2025-11-23T03:00:00+00:00")
    assert started(early, late) == [1, 2]


def test_held_paused_and_ended_runs_never_start() -> None:
    assert started(a_run(1, State.HELD), a_run(2, State.PAUSED), a_run(3, State.COMPLETED)) == []


def test_nothing_overtakes_a_run_that_waits_for_gpus() -> None:
    busy = a_run(1, State.RUNNING, gpus=("GPU-a",))
    assert started(busy, a_run(2, spec=a_spec(gpus=2)), a_run(3)) == []


def test_each_run_has_gpus_of_its_own() -> None:
    records = [a_run(1, spec=a_spec(gpus=1)), a_run(2, spec=a_spec(gpus="auto")), a_run(3, spec=a_spec(gpus=0))]
    starts = choose_starts(records, TWO_GPUS, NOW, lambda _: True)
    assert [start.gpus for start in starts] == [("GPU-a",), ("GPU-b",), ()]


def test_a_run_waits_until_the_one_it_follows_has_completed() -> None:
    assert started(a_run(1, State.HELD), a_run(2, after=1), a_run(3)) == [3]
    assert started(a_run(1, State.COMPLETED), a_run(2, after=1)) == [2]


def test_a_run_waits_in_vain_for_one_that_ended_otherwise() -> None:
    dependent = a_run(2, after=1)
    assert dependency_failed(dependent, {1: a_run(1, State.FAILED)}.get)
    assert dependency_failed(dependent, lambda _: None), "the other was removed"
    assert not dependency_failed(dependent, {1: a_run(1, State.RUNNING)}.get)
    assert not dependency_failed(dependent, {1: a_run(1, State.COMPLETED)}.get)


def test_a_run_that_has_started_once_waits_for_no_other_any_more() -> None:
    """The other may have been removed since."""
    resumed = a_run(2, after=1, attempt=1)
    assert not dependency_failed(resumed, lambda _: None)
    assert started(resumed) == [2]


RUNS = st.builds(
    lambda state, priority, gpus, held: (state, priority, gpus, held),
    st.sampled_from(State),
    st.integers(-2, 2),
    st.sampled_from([0, 1, 2, "auto"]),
    st.booleans(),
)


@given(st.lists(RUNS, max_size=8), st.integers(1, 4))
def test_slots_and_gpus_are_never_given_twice(runs: list[tuple[State, int, int | str, bool]], slots: int) -> None:
    resources = Resources(slots, ("GPU-a", "GPU-b"))
    records = [
        a_run(number, state, priority=priority, spec=a_spec(gpus=gpus), gpus=("GPU-a",) if held and number == 1 else ())
        for number, (state, priority, gpus, held) in enumerate(runs, start=1)
    ]
    live = [record for record in records if record.state in LIVE]
    starts = choose_starts(records, resources, NOW, lambda _: True)
    given_out = [uuid for start in starts for uuid in start.gpus] + [uuid for record in live for uuid in record.gpus]
    assert len(given_out) == len(set(given_out))
    assert not starts or len(starts) + len(live) <= slots
