"""trainctl retry: give failed and cancelled runs another chance."""

from __future__ import annotations

import click

from trainctl.command_line import examples
from trainctl.going_on import accept_changed_data_option, go_on, start_anew
from trainctl.ordering import Order, takes_runs
from trainerd.contracts.states import Verb


@click.command(
    "retry",
    epilog=examples(
        "trainctl retry",
        "trainctl retry 7 data.batch_size=16",
        "trainctl retry 7 --accept-changed-data",
        "trainctl retry 7 --from-start trainer.max_epochs=800",
    ),
)
@click.option("--from-start", is_flag=True, help="Queue a new run of the same configuration, and print its id.")
@takes_runs(Verb.RETRY, metavar="[ID]... [KEY=VALUE]...", all_help="Every run that has failed or was cancelled.")
@accept_changed_data_option
def command(order: Order, accept_changed_data: bool, from_start: bool) -> int:
    """Queue failed and cancelled runs again; returns when they are queued.

    A run keeps its number, goes on from its newest checkpoint, and may fail as often as a new one before it is given
    up. With --from-start the run stays as it is, whatever way it has ended, and a new one begins. Without an ID: the
    only run that has failed.
    """
    if from_start:
        return start_anew(order)
    return go_on(order, accept_changed_data=accept_changed_data)
