"""trainctl follow: watch runs while they train."""

from __future__ import annotations

import click

from trainctl.command_line import daemon_option, examples, output_option, runs_argument
from trainctl.daemon import Daemon
from trainctl.references import runs_to_watch


@click.command("follow", epilog=examples("trainctl follow 7", "trainctl follow", "trainctl follow 7 > progress.txt"))
@runs_argument
@output_option(default=None)
@daemon_option
def command(references: tuple[str, ...], output: str | None, daemon: Daemon) -> int:
    """Watch runs while they train.

    Shows progress, losses, and a summary once a run has ended or is paused. Ctrl+C ends the watching (exit code 130)
    and never the run. Off a terminal: one line an epoch. Exits like wait.
    """
    from trainctl.follow import follow_runs

    return follow_runs(daemon, [daemon.run(reference) for reference in runs_to_watch(daemon, references)], output)
