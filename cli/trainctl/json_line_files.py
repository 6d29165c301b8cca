"""A run's files of JSON lines (metrics, events), whole or as they grow: as a table for people, else line by line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from trainctl.daemon import Daemon
from trainctl.detaching import detachable
from trainctl.output import write_json, write_lines
from trainctl.tables import draw_table
from trainctl.terminal import say

Json = dict[str, Any]

FORMATS = ("table", "json", "jsonl")


def print_file(
    daemon: Daemon,
    reference: str,
    file: str,
    form: str | None,
    tabulate: Callable[[Sequence[Json]], tuple[list[str], list[list[str]]]],
) -> None:
    """Print what the file holds now. Without a form it is a table on a terminal and JSON lines off it."""
    whole = list(_whole_lines(daemon.read(reference, file), file))
    match form or ("table" if sys.stdout.isatty() else "jsonl"):
        case "table":
            write_lines(draw_table(*tabulate([document for _, document in whole])))
        case "json":
            write_json([document for _, document in whole])
        case _:
            write_lines(line for line, _ in whole)


def follow_file(daemon: Daemon, reference: str, file: str) -> None:
    """Print each line as it comes, until the run has ended."""
    run = daemon.run(reference)
    with detachable([run["id"]]):
        for event in daemon.stream(str(run["id"]), file):
            if event.name != "end":
                write_lines([event.data])
                sys.stdout.flush()


def _whole_lines(blocks: Iterable[bytes], file: str) -> Iterator[tuple[str, Json]]:
    """Each line and what it says; a damaged one is named and passed over."""
    for number, line in enumerate(_lines(blocks), start=1):
        try:
            document = json.loads(line)
        except ValueError:
            document = None
        if isinstance(document, dict):
            yield line, document
        else:
            say(f"{file}: line {number} is damaged and passed over")


def _lines(blocks: Iterable[bytes]) -> Iterator[str]:
    pending = b""
    for block in blocks:
        *whole, pending = (pending + block).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in whole)
