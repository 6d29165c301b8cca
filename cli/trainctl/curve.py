"""A small curve made of braille dots: two dots wide and four high in every character. Pure: values in, lines out.

The first series is drawn as a line, the second as dots; both share the axes, so their heights can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeGuard

Values = Sequence[float | None]

_BLANK = 0x2800
_DOT_BITS = (
    (0x01, 0x08),
    (0x02, 0x10),
    (0x04, 0x20),
    (0x40, 0x80),
)  # [row][column] of one character (Unicode, block 28xx)
_LOGARITHMIC_FROM = 20.0  # largest over smallest value from which small differences would vanish on a linear axis


def draw_curve(line: Values, dots: Values = (), width: int = 60, height: int = 7) -> list[str]:
    """The lines of a chart of `width` x `height` characters, labels included (height 2 or more).

    No lines where there are not two values, or no room. Position i of both series is the same moment. None, NaN and
    infinity are gaps.
    """
    shown = [value for value in (*line, *dots) if _is_finite(value)]
    if len(shown) < 2:
        return []
    scale = _Scale(min(shown), max(shown), 4 * height)
    labels = _labels(scale, height)
    cells = width - len(labels[0]) - 1
    if cells < 2:
        return []
    grid = [[_BLANK] * cells for _ in range(height)]
    length = max(len(line), len(dots))
    _draw_line(grid, _points(line, length, 2 * cells, scale))
    _draw_dots(grid, _points(dots, length, 2 * cells, scale))
    rows = ["".join(map(chr, row)).rstrip(chr(_BLANK)) for row in grid]
    return [f"{label} {row}".rstrip() for label, row in zip(labels, rows, strict=True)]


class _Scale:
    """The vertical axis: which row of dots, from the top, shows a value."""

    def __init__(self, low: float, high: float, rows: int) -> None:
        self.low, self.high, self._rows = low, high, rows
        self.is_logarithmic = low > 0 and high / low >= _LOGARITHMIC_FROM

    def row(self, value: float) -> int:
        low, high, value = (math.log(v) if self.is_logarithmic else v for v in (self.low, self.high, value))
        span = high / 2 - low / 2  # halves cannot overflow
        share = (high / 2 - value / 2) / span if span > 0 else 0.5
        return min(self._rows - 1, max(0, round(share * (self._rows - 1))))


def _points(values: Values, length: int, columns: int, scale: _Scale) -> Iterator[tuple[int, int]]:
    """(column, row) for every column of dots that has a value: the mean of those that fall on it."""
    held: dict[int, list[float]] = {}
    for index, value in enumerate(values):
        if _is_finite(value):
            held.setdefault(index * (columns - 1) // max(1, length - 1), []).append(value)
    for column, found in sorted(held.items()):
        yield column, scale.row(math.fsum(value / len(found) for value in found))


def _draw_line(grid: list[list[int]], points: Iterator[tuple[int, int]]) -> None:
    """Join the points, from left to right."""
    previous: tuple[int, int] | None = None
    for column, row in points:
        start, from_row = previous or (column, row)
        for between in range(start, column + 1):
            share = (between - start) / (column - start) if column > start else 1.0
            _set_dot(grid, between, round(from_row + share * (row - from_row)))
        previous = column, row


def _draw_dots(grid: list[list[int]], points: Iterator[tuple[int, int]]) -> None:
    """Leave a gap between neighbours, so that no line appears."""
    last = -2
    for column, row in points:
        if column - last >= 2:
            _set_dot(grid, column, row)
            last = column


def _set_dot(grid: list[list[int]], column: int, row: int) -> None:
    grid[row // 4][column // 2] |= _DOT_BITS[row % 4][column % 2]


def _labels(scale: _Scale, height: int) -> list[str]:
    """One for each line, all of one width: the largest value, the smallest, and how the axis runs between them."""
    labels = [f"{scale.high:.3g}", *[""] * (height - 2), f"{scale.low:.3g}"]
    if scale.is_logarithmic and height > 2:
        labels[height // 2] = "log"
    width = max(map(len, labels))
    return [label.rjust(width) for label in labels]


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
