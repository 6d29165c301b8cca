"""trainctl move: the queue's order."""

from __future__ import annotations

from typing import Any

import click

from trainctl.command_line import examples
from trainctl.ordering import Order, conclude, takes_runs
from trainctl.terminal import say
from trainerd.contracts.errors import UsageError
from trainerd.contracts.states import Verb

Json = dict[str, Any]


@click.command(
    "move", epilog=examples("trainctl move 9 --first", "trainctl move 9 --before 7", "trainctl move 9 10 --priority 5")
)
@click.option("--priority", type=int, metavar="P", help="Give it this priority; higher is first.")
@click.option("--first", is_flag=True, help="Before all runs that wait.")
@click.option("--before", metavar="ID2", help="Just before this waiting run, with its priority.")
@takes_runs(Verb.MOVE)
def command(order: Order, priority: int | None, first: bool, before: str | None) -> int:
    """Move waiting runs within the queue.

    Runs start by priority, and within one priority by their place. Several runs stay in the order in which they are
    named. Without an ID: the only one that waits.
    """
    if [priority is not None, first, before is not None].count(True) != 1:
        raise UsageError("say where to: one of --priority, --first and --before")
    runs = order.find_runs()
    moved = order.give(runs[::-1] if first else runs, priority=priority, first=first, before=before)
    for run in moved:
        say(f"run {run['id']} ({run['name']}) is {run['state']} with priority {run['priority']}; see: trainctl status")
    return conclude(order, moved)
