"""trainctl why: how a run has come to be as it is, and what to do about it."""

from __future__ import annotations

import click

from trainctl.command_line import daemon_option, examples, output_option, run_argument
from trainctl.daemon import Daemon
from trainctl.output import write_json, write_lines
from trainctl.references import runs_to_watch
from trainctl.why_report import describe_cause


@click.command("why", epilog=examples("trainctl why 7", "trainctl why overnight", "trainctl why latest -o json"))
@run_argument
@output_option(formats=("table", "json"))
@daemon_option
def command(reference: str | None, output: str, daemon: Daemon) -> None:
    """Say why a run ended, or is as it is.

    The cause, how its attempts ended, the last lines of its log, its memory and step times, its stacks if it hung or
    crashed, and the exact next command.
    """
    [chosen] = runs_to_watch(daemon, (reference,) if reference else ())
    answer = daemon.why(chosen)
    if output == "json":
        write_json(answer)
    else:
        write_lines(describe_cause(answer))
