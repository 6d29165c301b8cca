"""docs/operations.md, "What happens when something dies": each row is run by a test that names it, and no other.

A test shows a row by `@pytest.mark.dies("what dies")`, the text of the row's first cell without its backticks.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from documents import PROJECT

HEADING = "## What happens when something dies"
NOT_IN_EVERY_RUN = {"torture", "gpu", "root", "system"}


def test_every_row_is_shown_by_a_test_and_every_such_test_names_a_row() -> None:
    rows = rows_of_the_table()
    shown = {row for path in (PROJECT / "tests").rglob("test_*.py") for row in rows_shown_in(path)}

    assert len(rows) > 10
    assert rows - shown == set(), "rows that no test shows"
    assert shown - rows == set(), "tests that show what is no row"


def rows_of_the_table() -> set[str]:
    """What dies, for each row of the table."""
    section = (PROJECT / "docs/operations.md").read_text().split(HEADING)[1].split("\n## ")[0]
    first_cells = re.findall(r"^\| (.+?) \|", section, flags=re.MULTILINE)
    return {cell.replace("`", "") for cell in first_cells if cell not in ("what dies", "---")}


def rows_shown_in(path: Path) -> set[str]:
    """What dies in the tests of one file, those left out that not everybody runs."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    marks = [marks_of(function) for function in functions if function.name.startswith("test_")]
    return {row for of_one in marks if not NOT_IN_EVERY_RUN & of_one.keys() for row in of_one.get("dies", [])}


def marks_of(function: ast.FunctionDef) -> dict[str, list[str]]:
    """The names of a test's marks, each with the text arguments of all its uses."""
    marks: dict[str, list[str]] = {}
    for decorator in function.decorator_list:
        mark = decorator.func if isinstance(decorator, ast.Call) else decorator
        if not ast.unparse(mark).startswith("pytest.mark."):
            continue
        arguments = decorator.args if isinstance(decorator, ast.Call) else []
        texts = [each.value for each in arguments if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        marks.setdefault(ast.unparse(mark).removeprefix("pytest.mark."), []).extend(texts)
    return marks
