"""The curve in the terminal: what is higher is higher, and nothing that training produces breaks it."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from trainctl.curve import draw_curve

BRAILLE = "".join(map(chr, range(0x2800, 0x2900)))
ANY_FLOAT = st.none() | st.floats(allow_nan=True, allow_infinity=True)


def dots_of(lines: list[str]) -> set[tuple[int, int]]:
    """(column, row) of every dot in the chart, labels left out."""
    margin = max(len(line.rstrip(BRAILLE)) for line in lines)
    bits = [
        (0, 0, 0x01),
        (0, 1, 0x02),
        (0, 2, 0x04),
        (1, 0, 0x08),
        (1, 1, 0x10),
        (1, 2, 0x20),
        (0, 3, 0x40),
        (1, 3, 0x80),
    ]
    cells = [(x, y, ord(char) - 0x2800) for y, line in enumerate(lines) for x, char in enumerate(line[margin:])]
    return {(2 * x + dx, 4 * y + dy) for x, y, cell in cells for dx, dy, bit in bits if cell & bit}


def test_a_falling_loss_falls_from_the_upper_left_to_the_lower_right() -> None:
    dots = dots_of(draw_curve([3.0, 2.0, 1.0], width=30, height=4))

    assert (0, 0) in dots
    assert (55, 15) in dots
    assert [row for _, row in sorted(dots)] == sorted(row for _, row in dots)


def test_a_line_has_no_gap_between_few_points() -> None:
    dots = dots_of(draw_curve([1.0, 2.0], width=30, height=4))

    assert {column for column, _ in dots} == set(range(56))


def test_the_labels_are_the_largest_and_the_smallest_value() -> None:
    lines = draw_curve([0.5, 0.25], width=30, height=4)

    assert lines[0].split()[0] == "0.5"
    assert lines[-1].split()[0] == "0.25"


def test_values_of_many_sizes_get_a_logarithmic_axis_and_say_so() -> None:
    """A loss that fell by a factor of ten three times goes down evenly."""
    lines = draw_curve([1.0, 0.1, 0.01, 0.001], width=28, height=4)
    rows = dict(sorted(dots_of(lines)))

    assert any("log" in line for line in lines)
    assert [rows[column] for column in (0, 14, 28, 43)] == [0, 5, 10, 15]


def test_both_series_share_one_scale() -> None:
    alone = dots_of(draw_curve([1.0, 1.0], width=30, height=4))
    below = dots_of(draw_curve([1.0, 1.0], [3.0, 3.0], width=30, height=4))

    assert {row for _, row in alone} != {15}
    assert (0, 15) in below
    assert (0, 0) in below


def test_dots_never_touch_so_that_they_are_told_from_the_line() -> None:
    dots = sorted(
        column for column, _ in dots_of(draw_curve([], [1.0 + i % 3 for i in range(200)], width=40, height=5))
    )

    assert all(right - left >= 2 for left, right in itertools.pairwise(dots))


def test_there_is_no_curve_before_there_are_two_values() -> None:
    assert draw_curve([]) == []
    assert draw_curve([1.0]) == []
    assert draw_curve([math.nan, 1.0, None]) == []


@given(st.lists(ANY_FLOAT, max_size=50), st.lists(ANY_FLOAT, max_size=50), st.integers(0, 90), st.integers(2, 12))
def test_any_values_fit_into_the_space_that_was_given(
    line: list[float | None], dots: list[float | None], width: int, height: int
) -> None:
    lines = draw_curve(line, dots, width, height)

    assert len(lines) in (0, height)
    assert all(len(text) <= width for text in lines)
