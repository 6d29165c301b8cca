"""trainctl checkpoint: have runs commit a checkpoint now, and keep it."""

from __future__ import annotations

import json
from typing import Any

import click

from trainctl.command_line import examples
from trainctl.daemon import Daemon
from trainctl.order_reports import is_removed, newest_checkpoint, report_removal, report_state
from trainctl.ordering import Order, conclude, takes_runs
from trainctl.terminal import say, write
from trainerd.contracts.errors import ExitCode
from trainerd.contracts.journal import Event
from trainerd.contracts.states import ENDED, State, Verb
from trainerd.contracts.waiting import Until

Json = dict[str, Any]


@click.command(
    "checkpoint",
    epilog=examples("trainctl checkpoint", "trainctl checkpoint 7", "cp -r $(trainctl checkpoint 7) kept/"),
)
@takes_runs(Verb.CHECKPOINT, all_help="Every run that trains.")
def command(order: Order) -> int:
    """Have runs commit a checkpoint; prints its path once it is on disk.

    The runs go on. Such a checkpoint is pinned: it stays until the run is removed. Without an ID: the only active run.
    """
    given = order.give(order.find_runs())
    if order.no_wait:
        for run in given:
            say(f"run {run['id']} ({run['name']}) is asked for a checkpoint")
        return conclude(order, given)
    numbers = {run["id"]: run.get("pending_checkpoint") for run in given}
    outcome, has_every_one = [], True
    for run in order.await_each(given, Until.CHECKPOINTED):
        path = _find_checkpoint(order.daemon, run, numbers[run["id"]])
        if path is None:
            has_every_one = False
            said = report_removal(run) if is_removed(run) else report_state(run)
            say(f"{said}; {_explain_none(run)}")
        elif order.output is None:
            write(path)
        outcome.append(run)
    return conclude(order, outcome) or (ExitCode.DONE if has_every_one else ExitCode.FAILED)


def _find_checkpoint(daemon: Daemon, run: Json, number: int | None) -> str | None:
    """Where the checkpoint is that order `number` (None: obeyed already) has made; None if it has made none."""
    pinned = None if is_removed(run) else newest_checkpoint(run, "pinned")
    if pinned is None or run["pending_checkpoint"] is not None:
        return None
    has_to_be_proven = number is not None and run["state"] in ENDED  # one that ends is waited for no longer
    return None if has_to_be_proven and not _is_obeyed(daemon, run, number or 0) else str(pinned["path"])


def _explain_none(run: Json) -> str:
    if run.get("state") == State.HELD:
        return f"it commits the checkpoint once it goes on: trainctl resume {run['id']}"
    return "it ended without the checkpoint"


def _is_obeyed(daemon: Daemon, run: Json, number: int) -> bool:
    """Whether the journal says that a checkpoint was committed because of this order, or of a later one."""
    journal = b"".join(daemon.read(str(run["id"]), "events"))
    lines = [json.loads(line) for line in journal.splitlines() if b'"checkpoint"' in line]
    return any(line["event"] == Event.CHECKPOINT and (line.get("order") or 0) >= number for line in lines)
