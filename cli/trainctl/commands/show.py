"""trainctl show: everything about runs."""

from __future__ import annotations

import click

from trainctl.command_line import daemon_option, examples, output_option, runs_argument
from trainctl.daemon import Daemon
from trainctl.output import write_runs
from trainctl.references import runs_to_watch
from trainctl.run_report import describe_checkpoints, describe_run


@click.command("show", epilog=examples("trainctl show 7", "trainctl show overnight -o json", "trainctl show latest"))
@runs_argument
@output_option()
@daemon_option
def command(references: tuple[str, ...], output: str, daemon: Daemon) -> None:
    """Show everything about runs.

    Their checkpoints are included; -o json also has the resolved configuration.
    """
    runs = [daemon.run(reference) for reference in runs_to_watch(daemon, references)]
    write_runs(runs, output, lambda run: [*describe_run(run), *describe_checkpoints(run)])
