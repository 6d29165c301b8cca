"""trainctl logs: what a trainer wrote to stdout and stderr."""

from __future__ import annotations

import codecs
import json
import sys

import click

from trainctl.command_line import daemon_option, examples, run_argument
from trainctl.daemon import Daemon
from trainctl.detaching import detachable
from trainctl.references import runs_to_watch
from trainctl.terminal import say, shown


@click.command("logs", epilog=examples("trainctl logs 7", "trainctl logs -f", "trainctl logs latest | tail -n 50"))
@run_argument
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows, until the run has ended.")
@daemon_option
def command(reference: str | None, follow: bool, daemon: Daemon) -> None:
    """Print a run's log."""
    (chosen,) = runs_to_watch(daemon, [reference] if reference else [])
    if follow:
        _follow(daemon, chosen)
    else:
        _print(daemon, chosen)


def _print(daemon: Daemon, reference: str) -> None:
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    for block in daemon.read(reference, "log"):
        sys.stdout.write(shown(decode(block), sys.stdout))


def _follow(daemon: Daemon, reference: str) -> None:
    run = daemon.run(reference)
    with detachable([run["id"]]):
        for event in daemon.stream(str(run["id"]), "log"):
            if event.name == "log":
                sys.stdout.write(shown(json.loads(event.data), sys.stdout))
                sys.stdout.flush()
            elif event.name == "cut":
                say(f"the log was cut; the end of what came before is in {json.loads(event.data)['older']}")
