"""Data on stdout, in the form that was asked for: a table for people, or JSON, JSON lines or ids for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from trainctl.terminal import write

FORMATS = ("table", "json", "jsonl", "id")

Json = dict[str, Any]


def write_runs(runs: Sequence[Json], form: str, draw: Callable[[Json], list[str]] | None = None) -> None:
    """Write what is known about runs that were named one by one: one object for one run, an array for several.

    `draw` turns one into a table; run_report.describe_run does where it is not given.
    """
    if form == "table":
        draw = draw or _describe_run()
        write_lines(line for index, run in enumerate(runs) for line in [*([""] if index else []), *draw(run)])
    elif form == "json" and len(runs) == 1:
        write_json(runs[0])
    else:
        write_list(runs, form)


def _describe_run() -> Callable[[Json], list[str]]:
    """Imported when it is called for: most orders draw nothing."""
    from trainctl.run_report import describe_run

    return describe_run


def write_list(records: Sequence[Json], form: str) -> None:
    """Write records as an array (json), one a line (jsonl), or by their ids alone (id)."""
    match form:
        case "json":
            write_json(list(records))
        case "jsonl":
            write_lines(json.dumps(record) for record in records)
        case "id":
            write_lines(str(record["id"]) for record in records)


def write_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def write_lines(lines: Iterable[str]) -> None:
    for line in lines:
        write(line)
