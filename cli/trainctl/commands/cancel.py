"""trainctl cancel: take runs out of the queue before they start."""

from __future__ import annotations

import click

from trainctl.command_line import daemon_option, examples, output_option, runs_argument
from trainctl.daemon import Daemon
from trainctl.ordering import give_order
from trainctl.output import write_if_asked
from trainctl.references import runs_that_permit, runs_to_cancel
from trainctl.terminal import say
from trainerd.contracts.states import WAITING, Verb


@click.command("cancel", epilog=examples("trainctl cancel 8", "trainctl cancel 8 9", "trainctl cancel --all"))
@runs_argument
@click.option("--all", "everything", is_flag=True, help="Every run that is held or queued.")
@output_option(default=None)
@daemon_option
def command(references: tuple[str, ...], everything: bool, output: str | None, daemon: Daemon) -> None:
    """Take waiting runs out of the queue.

    Only runs that have not started. Without an ID: the only one that waits.
    """
    chosen = runs_that_permit(daemon, Verb.CANCEL, WAITING) if everything else runs_to_cancel(daemon, references)
    runs = give_order(daemon, "cancel", chosen)
    say("\n".join(f"run {run['id']} ({run['name']}) is {run['state']}" for run in runs) or "no run is waiting")
    write_if_asked(runs, output)
