"""What the supervisor writes into a run's directory: its birth, orders, and lines that stand in the journal once."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_records import TIME, a_command, a_run

from trainerd.contracts.commands import CommandKind
from trainerd.contracts.journal import Event
from trainerd.contracts.pages import Order, OrdersPage
from trainerd.contracts.run_directory import RunDirectory
from trainerd.supervisor.apply import Birth
from trainerd.supervisor.journals import append_if_last, read_unfolded
from trainerd.supervisor.orders import give_order, interrupt, newest_order
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


def test_the_newest_run_directory_shows_how_far_commands_were_applied(directory: RunDirectory) -> None:
    runs = directory.path.parent
    bear_run(RunDirectory(runs / "10"), Birth(a_run(10), "name: run\n"), a_command(CommandKind.SUBMIT, 9))
    (runs / "11").mkdir()
    assert find_newest_proven(runs, 20) == 9
    assert find_newest_proven(runs, 8) == 5, "a directory from a newer command log proves nothing"
    assert find_newest_proven(runs / "none", 20) == 0


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
