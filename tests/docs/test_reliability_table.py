"""docs/reliability.md: every row names the tests that show it, and they are there."""

from __future__ import annotations

import re

from documents import PROJECT


def test_every_row_of_both_tables_names_a_file_of_tests() -> None:
    rows = [line for line in (PROJECT / "docs/reliability.md").read_text().splitlines() if line.startswith("| ")]
    named = [
        re.findall(r"`(tests/[\w/]+\.py)`", row) for row in rows if not row.startswith(("| ---", "| fault", "| prot"))
    ]

    assert len(named) > 35
    assert all(len(files) == 1 for files in named)
    assert [file for [file] in named if not (PROJECT / file).is_file()] == []
