"""trainctl metrics: the points that a run has measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from trainctl.command_line import daemon_option, examples, output_option, run_argument
from trainctl.daemon import Daemon
from trainctl.figures import UNKNOWN, moment, number
from trainctl.json_line_files import FORMATS, follow_file, print_file
from trainctl.references import runs_to_watch

Json = dict[str, Any]

_FIRST = ("time", "step", "epoch", "split", "loss")


@click.command(
    "metrics",
    epilog=examples("trainctl metrics 7", "trainctl metrics 7 -f", "trainctl metrics -o jsonl > points.jsonl"),
)
@run_argument
@click.option("-f", "--follow", is_flag=True, help="Print JSON lines as they come, until the run has ended.")
@output_option(default=None, formats=FORMATS)
@daemon_option
def command(reference: str | None, follow: bool, output: str | None, daemon: Daemon) -> None:
    """Print the points that a run has measured.

    A table on a terminal, JSON lines off it.
    """
    (chosen,) = runs_to_watch(daemon, [reference] if reference else [])
    if follow:
        follow_file(daemon, chosen, "metrics")
    else:
        print_file(daemon, chosen, "metrics", output, tabulate_points)


def tabulate_points(points: Sequence[Json]) -> tuple[list[str], list[list[str]]]:
    """(headers, rows) with a column for every name that any point has."""
    names = list(dict.fromkeys([*_FIRST, *(name for point in points for name in point)]))
    return [name.upper() for name in names], [[_cell(name, point.get(name)) for name in names] for point in points]


def _cell(name: str, value: Any) -> str:
    if value is None:
        return UNKNOWN
    if name == "time":
        return moment(value)
    return number(value) if isinstance(value, float) else str(value)
