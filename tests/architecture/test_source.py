"""What every source file has."""

from __future__ import annotations

import ast
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for folder in ("daemon", "cli", "demo", "benchmarks", "tests")
    for path in (PROJECT / folder).rglob("*.py")
    if path.stat().st_size
)


def test_every_module_says_what_it_is() -> None:
    silent = [path for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))]

    assert not silent


def test_no_checkpoint_or_journal_is_ever_a_pickle() -> None:
    """Reading a file of a run must not be able to run code."""
    forbidden = {"pickle", "dill", "cloudpickle", "joblib"}
    offenders = [path for path in SOURCES if "tests" not in path.parts and imported_names(path) & forbidden]

    assert not offenders


def imported_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names
