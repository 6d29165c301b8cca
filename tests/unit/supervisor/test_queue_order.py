"""What move makes of the queue."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from run_records import a_command, a_run, a_situation, problem_of

from trainerd.contracts.commands import CommandKind
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import State
from trainerd.supervisor.apply import Effects, apply_command


def order(run: int, *records: RunRecord, **body: Any) -> Effects:
    wish = {"priority": None, "first": False, "before": None, **body}
    return apply_command(a_command(CommandKind.MOVE, run=run, **wish), a_situation(*records))


def queue_after(run: int, *records: RunRecord, **body: Any) -> list[int]:
    effects = order(run, *records, **body)
    assert effects.problem is None
    by_id = {record.id: record for record in (*records, *effects.changed)}
    assert sorted(record.place for record in by_id.values()) == sorted(record.place for record in records)
    ordered = sorted(by_id.values(), key=lambda record: (-record.priority, record.place))
    return [record.id for record in ordered]


def test_a_run_is_given_another_priority_and_keeps_its_place() -> None:
    effects = order(2, a_run(1), a_run(2), priority=-3)
    assert [(run.priority, run.place) for run in effects.changed] == [(-3, 2)]


def test_the_first_run_is_before_all_that_wait() -> None:
    runs = [a_run(1), a_run(2, priority=5), a_run(3, State.HELD, priority=5), a_run(4)]
    assert queue_after(4, *runs, first=True) == [4, 2, 3, 1]
    assert queue_after(3, *runs, first=True) == [3, 2, 1, 4]
    assert queue_after(2, *runs, first=True) == [2, 3, 1, 4]
    assert queue_after(1, a_run(1), first=True) == [1]


def test_a_run_is_placed_just_before_another_one() -> None:
    runs = [a_run(1), a_run(2), a_run(3), a_run(4, priority=-1)]
    assert queue_after(3, *runs, before=2) == [1, 3, 2, 4]
    assert queue_after(1, *runs, before=3) == [2, 1, 3, 4]
    assert queue_after(4, *runs, before=1) == [4, 1, 2, 3]
    assert queue_after(1, *runs, before=4) == [2, 3, 1, 4]


def test_a_place_can_be_had_only_before_a_run_that_waits() -> None:
    assert "it does not wait, it is running" in problem_of(order(1, a_run(1), a_run(2, State.RUNNING), before=2))
    assert "no run '9'" in problem_of(order(1, a_run(1), before=9))
    assert "before itself" in problem_of(order(1, a_run(1), before=1))


RUNS = st.lists(st.tuples(st.integers(-1, 1), st.booleans()), min_size=2, max_size=7)


@given(RUNS, st.data())
def test_a_move_changes_the_order_of_no_others(wishes: list[tuple[int, bool]], data: st.DataObject) -> None:
    runs = [
        a_run(number, State.HELD if held else State.QUEUED, priority=priority)
        for number, (priority, held) in enumerate(wishes, start=1)
    ]
    moved, target = data.draw(st.permutations([run.id for run in runs]))[:2]
    before = [run.id for run in sorted(runs, key=lambda run: (-run.priority, run.place)) if run.id != moved]
    after = queue_after(moved, *runs, before=target)
    assert after.index(moved) + 1 == after.index(target)
    assert [run for run in after if run != moved] == before
    first = queue_after(moved, *runs, first=True)
    assert first == [moved, *before]
