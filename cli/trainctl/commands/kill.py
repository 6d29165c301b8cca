"""trainctl kill: end trainers at once."""

from __future__ import annotations

import click

from trainctl.command_line import examples
from trainctl.ordering import Order, carry_out, takes_runs
from trainerd.contracts.states import Verb
from trainerd.contracts.waiting import Until


@click.command("kill", epilog=examples("trainctl kill 7", "trainctl kill --all"))
@takes_runs(Verb.KILL, all_help="Every run that has a trainer.")
def command(order: Order) -> int:
    """Kill the trainers of runs; returns when they are gone.

    For a trainer that does not obey `trainctl stop`: what it did since its last checkpoint is lost. The run is stopped
    and never starts again by itself; `trainctl resume` takes it up from that checkpoint. Without an ID: the only active
    run.
    """
    return carry_out(order, Until.HALTED)
