"""trainctl stop: end runs in order, with a checkpoint of the step at which they stop."""

from __future__ import annotations

import click

from trainctl.command_line import examples
from trainctl.ordering import Order, carry_out, takes_runs
from trainerd.contracts.states import Verb
from trainerd.contracts.waiting import Until


@click.command("stop", epilog=examples("trainctl stop", "trainctl stop 7 8", "trainctl stop overnight --no-checkpoint"))
@click.option(
    "--checkpoint/--no-checkpoint", default=True, help="Whether to commit a checkpoint first; the default is to."
)
@takes_runs(Verb.STOP, all_help="Every run that can be stopped, but not those held or queued.")
def command(order: Order, checkpoint: bool) -> int:
    """Stop runs; returns when they have ended.

    Each commits a checkpoint of the step at which it stops; `trainctl resume` takes it up from there. One that waits is
    cancelled. Without an ID: the only active run.
    """
    return carry_out(order, Until.HALTED, checkpoint=checkpoint)
