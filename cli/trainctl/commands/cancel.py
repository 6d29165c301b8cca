"""trainctl cancel: take runs out of the queue before they start."""

from __future__ import annotations

import click

from trainctl.command_line import examples
from trainctl.ordering import Order, carry_out, takes_runs
from trainerd.contracts.states import Verb


@click.command("cancel", epilog=examples("trainctl cancel 8", "trainctl cancel 8 9", "trainctl cancel --all"))
@takes_runs(Verb.CANCEL, all_help="Every run that is held or queued.")
def command(order: Order) -> int:
    """Take waiting runs out of the queue.

    Only runs that are held or queued; `trainctl retry` queues them again. Without an ID: the only one that waits.
    """
    return carry_out(order)
