"""What the supervisor writes into a run's directory: its birth, orders, and lines that stand in the journal once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from run_records import TIME, a_command, a_run

from tests.polling import poll
from trainerd.contracts.commands import Command, CommandKind
from trainerd.contracts.journal import Event, Line
from trainerd.contracts.outcome import read_outcome
from trainerd.contracts.pages import Order, OrdersPage
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.states import Reason, State
from trainerd.store.removals import newest_id, removals_of_log
from trainerd.supervisor.apply import Birth
from trainerd.supervisor.endings import record_end
from trainerd.supervisor.journals import append_if_last, lines_before, read_unfolded
from trainerd.supervisor.orders import give_order, interrupt, newest_order, repeat_checkpoint_order
from trainerd.supervisor.removal import Deletion, set_aside
from trainerd.supervisor.run_birth import bear_run, find_newest_proven, was_born


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "runs" / "1")
    bear_run(directory, Birth(a_run(1, name="overnight"), "name: overnight\n"), a_command(CommandKind.SUBMIT, 5))
    return directory


def test_a_run_is_born_once(directory: RunDirectory) -> None:
    assert was_born(directory)
    before = directory.events.read_bytes()
    bear_run(directory, Birth(a_run(1), "name: other\n"), a_command(CommandKind.SUBMIT, 5))
    assert directory.events.read_bytes() == before
    assert directory.spec.read_text() == "name: overnight\n"
    (admitted,) = read_unfolded(directory.events, 0).lines
    wanted = {"event": "admitted", "attempt": 0, "run": 1, "name": "overnight", "command": 5, "submitted_at": TIME}
    assert wanted.items() <= admitted.event.items()


def test_a_birth_that_was_cut_off_is_completed(directory: RunDirectory) -> None:
    directory.spec.unlink()
    directory.pulse_page.unlink()
    assert not was_born(directory)
    bear_run(directory, Birth(a_run(1), "name: overnight\n"), a_command(CommandKind.SUBMIT, 5))
    assert len(read_unfolded(directory.events, 0).lines) == 1
    assert directory.pulse_page.exists()


def a_log(*commands: Command) -> Callable[[int], Command | None]:
    return {command.number: command for command in commands}.get


def the_submit_of(run_id: int, number: int) -> Command:
    return a_command(CommandKind.SUBMIT, number, runs=[{"id": run_id}])


def the_removal_of(run_id: int, number: int) -> Command:
    return a_command(CommandKind.REMOVE, number, run=run_id)


def test_the_newest_run_directory_shows_how_far_commands_were_applied(directory: RunDirectory) -> None:
    runs = directory.path.parent
    bear_run(RunDirectory(runs / "10"), Birth(a_run(10), "name: run\n"), a_command(CommandKind.SUBMIT, 9))
    (runs / "11").mkdir()
    first = the_submit_of(1, 5)
    assert find_newest_proven(runs, a_log(first, the_submit_of(10, 9))) == 9
    assert find_newest_proven(runs, a_log(first)) == 5, "a directory from a newer command log proves nothing"
    assert find_newest_proven(runs, a_log(first, the_submit_of(6, 9))) == 5, "nor where this log has come as far"
    assert find_newest_proven(runs / "none", a_log(first)) == 0


def test_a_removal_shows_how_far_commands_were_applied(directory: RunDirectory) -> None:
    """Else the submit of a removed run that was the newest would count as new, and the run would come back."""
    runs = directory.path.parent
    for _ in range(2):
        set_aside(runs, 1, 12)
    assert not directory.path.exists()
    removal = the_removal_of(1, 12)
    assert find_newest_proven(runs, a_log(removal)) == 12
    assert find_newest_proven(runs, a_log()) == 0, "a removal from a newer command log proves nothing"
    assert removals_of_log(runs, a_log(the_removal_of(2, 12))) == {}, "nor where this log has come as far"
    set_aside(runs, 9, 13)
    assert find_newest_proven(runs, a_log(removal, the_removal_of(9, 13))) == 13, "its directory was gone before"


def test_the_id_of_a_removed_run_counts_as_given(directory: RunDirectory) -> None:
    runs = directory.path.parent
    set_aside(runs, 9, 13)
    assert newest_id(runs) == 9
    assert newest_id(runs / "none") == 0


def test_what_was_set_aside_is_deleted_also_by_the_next_supervisor(directory: RunDirectory) -> None:
    runs = directory.path.parent
    set_aside(runs, 1, 12)
    assert [path.name for path in runs.iterdir() if path.is_dir()] == ["removing-1"]
    Deletion(runs).go_on()
    poll(lambda: not (runs / "removing-1").exists(), lambda: "the directory to be deleted")


def test_a_checkpoint_order_that_is_repeated_is_newer_than_all_that_is_settled(directory: RunDirectory) -> None:
    give_order(directory, Order.CHECKPOINT, 6)
    interrupt(directory)
    settled = newest_order(directory)
    assert repeat_checkpoint_order(directory, None) is None
    assert newest_order(directory) == settled
    assert repeat_checkpoint_order(directory, 6 << 20) == settled + 1
    assert OrdersPage(directory.orders_page).number(Order.CHECKPOINT) == settled + 1


def test_an_end_is_written_once_and_never_over_a_newer_one(directory: RunDirectory) -> None:
    offset = read_unfolded(directory.events, 0).lines[-1].end
    killed = a_run(1, State.STOPPED, attempt=1, reason=Reason.KILLED, ended_at=TIME)
    for _ in range(2):
        directory.outcome.unlink(missing_ok=True)
        record_end(directory, killed, offset, TIME, command=7)
        assert read_outcome(directory.outcome).reason == "killed"
    (line,) = read_unfolded(directory.events, offset).lines
    assert (line.event["state"], line.event["reason"], line.event["command"]) == ("stopped", "killed", 7)
    append_if_last(directory, 2, line.end, Event.STARTED)
    directory.outcome.unlink()
    record_end(directory, killed, offset, TIME)
    assert not directory.outcome.exists(), "the journal goes on"


def test_a_commands_order_is_newer_than_any_interruption_before_it(directory: RunDirectory) -> None:
    give_order(directory, Order.STOP, 6)
    for _ in range(3):
        interrupt(directory)
    settled = newest_order(directory)
    give_order(directory, Order.STOP, 7)
    assert OrdersPage(directory.orders_page).number(Order.STOP) > settled


def test_an_interruption_is_newer_than_what_was_settled(directory: RunDirectory) -> None:
    give_order(directory, Order.STOP, 6)
    settled = newest_order(directory)
    interrupt(directory)
    assert OrdersPage(directory.orders_page).number(Order.INTERRUPT) > settled


def test_giving_a_commands_order_again_changes_nothing(directory: RunDirectory) -> None:
    give_order(directory, Order.STOP, 6)
    give_order(directory, Order.STOP_WITHOUT_CHECKPOINT, 7)
    before = directory.orders_page.read_bytes()
    give_order(directory, Order.STOP, 6)
    assert directory.orders_page.read_bytes() == before


def test_a_line_is_appended_only_where_the_journal_ends(directory: RunDirectory) -> None:
    end = read_unfolded(directory.events, 0).lines[-1].end
    for _ in range(2):
        append_if_last(directory, 1, end, Event.WARNING, message="once")
    assert [line.event["event"] for line in read_unfolded(directory.events, end).lines] == ["warning"]


def test_a_torn_line_is_not_read_and_a_foreign_one_is_passed_over(directory: RunDirectory) -> None:
    end = read_unfolded(directory.events, 0).lines[-1].end
    with directory.events.open("ab") as file:
        file.write(b'not json\n[1]\n{"event": "warning", "attempt": 1}\n{"event": "to')
    lines = read_unfolded(directory.events, end).lines
    assert [line.event for line in lines] == [{}, {}, {"event": "warning", "attempt": 1}]
    assert read_unfolded(directory.events, lines[-1].end).lines == []


def test_an_offset_beyond_the_end_reads_from_the_start(directory: RunDirectory) -> None:
    unfolded = read_unfolded(directory.events, 10_000)
    assert (unfolded.start, len(unfolded.lines)) == (0, 1)


def a_decision(applied: int) -> Line:
    return Line({"event": "starting", "attempt": 1, "time": LATER, "applied": applied}, end=0)


def a_word_of_the_trainer(time: str) -> Line:
    return Line({"event": "started", "attempt": 1, "time": time}, end=0)


EARLIER, LATER = TIME.replace("03:00", "02:00"), TIME.replace("03:00", "04:00")


@pytest.mark.parametrize(
    ("lines", "before"),
    [
        ([a_decision(6)], 1),
        ([a_decision(7)], 0),
        ([a_word_of_the_trainer(EARLIER), a_word_of_the_trainer(LATER)], 1),
        ([a_word_of_the_trainer(LATER), a_decision(6), a_word_of_the_trainer(EARLIER)], 3),
        ([a_decision(5), a_word_of_the_trainer(EARLIER), a_decision(7), a_word_of_the_trainer(EARLIER)], 2),
    ],
)
def test_a_command_is_applied_again_after_the_same_lines(lines: list[Line], before: int) -> None:
    """A decision of the supervisor tells which command was the newest then, and that all lines before it were known."""
    assert lines_before(a_command(CommandKind.KILL, 7), lines) == lines[:before]
