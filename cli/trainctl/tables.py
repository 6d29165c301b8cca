"""Plain tables: columns as wide as their widest cell, two spaces apart. No frames, no colour, no wrapping."""

from __future__ import annotations

from collections.abc import Sequence


def draw_table(headers: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "") -> list[str]:
    """The lines of a table. Columns that hold numbers only are flush right."""
    columns = list(zip(headers, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    to_the_right = [bool(rows) and all(map(_is_numeric, column[1:])) for column in columns]
    return [indent + _line(row, widths, to_the_right) for row in (headers, *rows)]


def draw_facts(facts: Sequence[tuple[str, str]], indent: str = "") -> list[str]:
    """One line for each (name, value), the values below each other."""
    width = max((len(name) for name, _ in facts), default=0)
    return [f"{indent}{name:<{width}}  {value}".rstrip() for name, value in facts]


def _line(row: Sequence[str], widths: Sequence[int], to_the_right: Sequence[bool]) -> str:
    cells = zip(row, widths, to_the_right, strict=True)
    return "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells).rstrip()


def _is_numeric(cell: str) -> bool:
    return cell == "-" or cell[:1].isdigit() or (cell[:1] in "+-" and cell[1:2].isdigit())
