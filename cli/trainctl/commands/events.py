"""trainctl events: the journal of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from trainctl.command_line import daemon_option, examples, output_option, run_argument
from trainctl.daemon import Daemon
from trainctl.figures import moment
from trainctl.json_line_files import FORMATS, follow_file, print_file
from trainctl.references import runs_to_watch

Json = dict[str, Any]

_COLUMNS = ("time", "attempt", "event")


@click.command("events", epilog=examples("trainctl events 7", "trainctl events -f", "trainctl events latest -o jsonl"))
@run_argument
@click.option("-f", "--follow", is_flag=True, help="Print JSON lines as they come, until the run has ended.")
@output_option(default=None, formats=FORMATS)
@daemon_option
def command(reference: str | None, follow: bool, output: str | None, daemon: Daemon) -> None:
    """Print a run's journal.

    A table on a terminal, JSON lines off it.
    """
    (chosen,) = runs_to_watch(daemon, [reference] if reference else [])
    if follow:
        follow_file(daemon, chosen, "events")
    else:
        print_file(daemon, chosen, "events", output, tabulate_events)


def tabulate_events(events: Sequence[Json]) -> tuple[list[str], list[list[str]]]:
    """(headers, rows): when, in which attempt, what, and every further field as name=value."""
    return ["TIME", "ATTEMPT", "EVENT", "DETAILS"], [
        [moment(event["time"]), str(event.get("attempt", "-")), event["event"], _details(event)] for event in events
    ]


def _details(event: Json) -> str:
    given = {name: value for name, value in event.items() if name not in _COLUMNS and value is not None}
    return " ".join(f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in given.items())
