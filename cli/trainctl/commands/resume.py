"""trainctl resume: take up runs that are held, paused or stopped."""

from __future__ import annotations

import click

from trainctl.command_line import examples
from trainctl.going_on import accept_changed_data_option, go_on
from trainctl.ordering import Order, takes_runs
from trainerd.contracts.states import Verb


@click.command(
    "resume",
    epilog=examples(
        "trainctl resume", "trainctl resume overnight", "trainctl resume 7 optimizer.lr=1e-4", "trainctl resume --all"
    ),
)
@takes_runs(Verb.RESUME, metavar="[ID]... [KEY=VALUE]...", all_help="Every run that is held, paused or stopped.")
@accept_changed_data_option
def command(order: Order, accept_changed_data: bool) -> int:
    """Take up held, paused and stopped runs; returns when they are queued.

    A run keeps its number and its place, and goes on from its newest checkpoint at the very next step. A changed
    configuration is compared with the checkpoint's: each changed key is applied, kept as it was, or refused. Without an
    ID: the only run that is paused or held, or, if there is none, the only stopped one.
    """
    return go_on(order, accept_changed_data=accept_changed_data)
