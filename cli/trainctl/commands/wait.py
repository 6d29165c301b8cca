"""trainctl wait: block until runs have ended or are paused."""

from __future__ import annotations

import math
import time

import click

from trainctl.command_line import daemon_option, examples, runs_argument
from trainctl.daemon import Daemon
from trainctl.detaching import detachable
from trainctl.references import runs_to_wait_for
from trainctl.terminal import say
from trainctl.waiting import await_run, exit_code_of
from trainerd.contracts.errors import ExitCode


def _a_number(_ctx: click.Context, _option: click.Parameter, value: float | None) -> float | None:
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is no length of time")
    return value


@click.command(
    "wait", epilog=examples("trainctl wait 7", "trainctl wait 7 8 --timeout 3600", "trainctl wait && ./publish.sh")
)
@runs_argument
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    callback=_a_number,
    help="Give up after so long, with exit code 124.",
)
@daemon_option
def command(references: tuple[str, ...], timeout: float | None, daemon: Daemon) -> int:
    """Wait until runs have ended or are paused.

    Exits with 0 if all have completed, 75 if one was stopped or paused, 1 if one has failed or was cancelled.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    named = [daemon.run(reference) for reference in runs_to_wait_for(daemon, references)]
    settled = []
    with detachable([run["id"] for run in named], "is no longer waited for; see it with: trainctl show"):
        for run in named:
            ended = await_run(daemon, str(run["id"]), deadline=deadline)
            if ended is None:
                say(f"run {run['id']} has not ended within {timeout:g} s; it goes on")
                return ExitCode.TIMEOUT
            settled.append(ended)
    return exit_code_of(settled)
