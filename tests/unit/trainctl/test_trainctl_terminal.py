"""What people see: escaped on terminals, aligned in tables, in figures that can be read."""

from __future__ import annotations

import pytest

from trainctl.figures import duration, epoch_of_run, number, size
from trainctl.tables import draw_facts, draw_table
from trainctl.terminal import escaped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain läuft\n\tok", "plain läuft\n\tok"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("10%\r20%\r\n", "10%\n20%\n"),
        ("\x9b31m", "\\x9b31m"),
        ("exe\u202etxt", "exe\\u202etxt"),
    ],
)
def test_nothing_that_is_shown_can_steer_a_terminal(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_columns_are_aligned_and_numbers_stand_to_the_right() -> None:
    assert draw_table(["ID", "NAME", "STEP"], [["7", "a", "100"], ["12", "long name", "-"]]) == [
        "ID  NAME       STEP",
        " 7  a           100",
        "12  long name     -",
    ]


def test_facts_stand_below_each_other() -> None:
    assert draw_facts([("best", "0.1"), ("directory", "/x")], indent="  ") == ["  best       0.1", "  directory  /x"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (8.4, "8 s"),
        (60, "1 min"),
        (250, "4 min 10 s"),
        (7980, "2 h 13 min"),
        (3605, "1 h"),
        (90000, "1 d 1 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("byte_count", "text"), [(0, "0 B"), (999, "999 B"), (83457, "83.5 kB"), (999_999, "1 MB"), (10**15, "1e+03 TB")]
)
def test_a_size_has_the_unit_that_leaves_three_digits(byte_count: int, text: str) -> None:
    assert size(byte_count) == text


def test_what_is_not_known_is_a_dash() -> None:
    assert (number(None), size(None), duration(None)) == ("-", "-", "-")


@pytest.mark.parametrize(
    ("state", "finished", "shown"),
    [("running", 11, "12/400"), ("completed", 330, "330/400"), ("stopping", 400, "400/400")],
)
def test_the_epoch_shown_is_the_running_one_while_there_is_one(state: str, finished: int, shown: str) -> None:
    assert epoch_of_run({"state": state, "epoch": finished, "max_epochs": 400}) == shown
