"""trainctl stop: end runs in order, with a checkpoint of the step at which they stop."""

from __future__ import annotations

from typing import Any

import click

from trainctl.command_line import daemon_option, examples, output_option, runs_argument
from trainctl.daemon import Daemon
from trainctl.ordering import give_order
from trainctl.output import write_if_asked
from trainctl.references import runs_that_permit, runs_to_order
from trainctl.terminal import say
from trainctl.waiting import await_settled
from trainerd.contracts.errors import ExitCode
from trainerd.contracts.states import WAITING, State, Verb

Json = dict[str, Any]

_STOPPED_BY_ALL = frozenset(State) - WAITING  # what is queued or held keeps its place


@click.command("stop", epilog=examples("trainctl stop", "trainctl stop 7 8", "trainctl stop overnight --no-checkpoint"))
@runs_argument
@click.option("--all", "everything", is_flag=True, help="Every run that can be stopped, but not those held or queued.")
@click.option(
    "--checkpoint/--no-checkpoint", default=True, help="Whether to commit a checkpoint first; the default is to."
)
@click.option("--no-wait", is_flag=True, help="Return when the order is taken, not when the runs have ended.")
@output_option(default=None)
@daemon_option
def command(
    references: tuple[str, ...], everything: bool, checkpoint: bool, no_wait: bool, output: str | None, daemon: Daemon
) -> int:
    """Stop runs; returns when they have ended."""
    chosen = runs_that_permit(daemon, Verb.STOP, _STOPPED_BY_ALL) if everything else runs_to_order(daemon, references)
    runs = give_order(daemon, "stop", chosen, checkpoint=checkpoint)
    if not no_wait:
        runs = _await_ends(daemon, runs)
    say("\n".join(_report(run) for run in runs) or "no run can be stopped now")
    write_if_asked(runs, output)
    return ExitCode.FAILED if any(run["state"] == State.FAILED for run in runs) else ExitCode.DONE


def _await_ends(daemon: Daemon, runs: list[Json]) -> list[Json]:
    try:
        settled = [await_settled(daemon, str(run["id"])) for run in runs]
    except KeyboardInterrupt:
        say("the order stands: the runs will stop; see them with: trainctl status")
        raise
    return [run for run in settled if run is not None]


def _report(run: Json) -> str:
    text = f"run {run['id']} ({run['name']}) is {run['state']}"
    text += f" at step {run['step']}" if run["step"] else ""
    newest = max(run.get("checkpoints") or [], key=lambda checkpoint: checkpoint["step"], default=None)
    return text + (f"; newest checkpoint: {newest['path']}" if newest and run["state"] == State.STOPPED else "")
