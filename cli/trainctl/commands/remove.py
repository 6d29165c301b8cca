"""trainctl remove: delete runs that have ended."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from trainctl.command_line import examples
from trainctl.order_reports import report_removal
from trainctl.ordering import Order, conclude, takes_runs
from trainctl.terminal import say
from trainerd.contracts.errors import ExitCode
from trainerd.contracts.states import Verb

Json = dict[str, Any]


@click.command("remove", epilog=examples("trainctl remove 7", "trainctl remove 7 8 9", "trainctl remove --all --yes"))
@click.option("--yes", is_flag=True, help="Do not ask.")
@takes_runs(Verb.REMOVE, all_help="Every run that has ended. Asks first on a terminal.")
def command(order: Order, yes: bool) -> int:
    """Remove runs that have ended, for ever.

    Their directories go with every checkpoint, pinned ones and the model included. The numbers are never used again.
    """
    runs = order.find_runs()
    if order.everything and runs and not yes and sys.stdin.isatty() and not _is_confirmed(runs):
        say("nothing was removed")
        return ExitCode.FAILED
    removed = order.give(runs)
    for run in removed:
        say(report_removal(run))
    return conclude(order, removed)


def _is_confirmed(runs: Sequence[Json]) -> bool:
    named = ", ".join(f"{run['id']} ({run['name']})" for run in runs)
    return click.confirm(f"remove {named} with all checkpoints and models?", err=True)
