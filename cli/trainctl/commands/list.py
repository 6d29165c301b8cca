"""trainctl list: runs, newest first."""

from __future__ import annotations

from typing import Any

import click

from trainctl.command_line import daemon_option, examples, output_option
from trainctl.daemon import Daemon
from trainctl.figures import best_of_run, epoch_of_run, moment
from trainctl.output import write_lines, write_list
from trainctl.tables import draw_table
from trainctl.terminal import say
from trainerd.contracts.states import State

Json = dict[str, Any]


@click.command("list", epilog=examples("trainctl list", "trainctl list --all -o jsonl", "trainctl list --state failed"))
@click.option(
    "--all", "everything", is_flag=True, help="Every run; otherwise those that have not ended and the last ten."
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in State]),
    help="Only runs in this state; repeatable.",
)
@output_option()
@daemon_option
def command(everything: bool, states: tuple[str, ...], output: str, daemon: Daemon) -> None:
    """List runs, newest first."""
    runs = daemon.runs(all="true" if everything else None, state=[str(state) for state in states])
    if output != "table":
        write_list(runs, output)
    elif runs:
        write_lines(draw_runs(runs))
    else:
        say("no such runs" if states else "no runs yet; submit one with: trainctl submit FILE")


def draw_runs(runs: list[Json]) -> list[str]:
    """The runs as a table."""
    headers = ["ID", "NAME", "STATE", "REASON", "EPOCH", "STEP", "BEST", "SUBMITTED"]
    return draw_table(headers, [_row(run) for run in runs])


def _row(run: Json) -> list[str]:
    progress = [epoch_of_run(run), str(run["step"]), best_of_run(run), moment(run["created_at"])]
    return [str(run["id"]), run["name"], run["state"], run["reason"] or "-", *progress]
