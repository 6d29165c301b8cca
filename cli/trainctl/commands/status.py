"""trainctl status: what is going on, at a glance."""

from __future__ import annotations

from typing import Any

import click

from trainctl.command_line import daemon_option, examples, output_option
from trainctl.daemon import Daemon
from trainctl.figures import (
    UNKNOWN,
    best_of_run,
    block_of_run,
    epoch_of_run,
    exactness_of_run,
    moment,
    size,
    stall_of_run,
)
from trainctl.output import write_json, write_lines, write_list, write_runs
from trainctl.tables import draw_table
from trainerd.contracts.states import Exactness, State

Json = dict[str, Any]


@click.command("status", epilog=examples("trainctl status", "trainctl status 7", "trainctl status -o json"))
@click.argument("reference", metavar="[ID]", required=False)
@output_option()
@daemon_option
def command(reference: str | None, output: str, daemon: Daemon) -> None:
    """Show what is going on.

    The runs that train, the queue in its order, and what has ended lately; with an ID, that run.
    """
    if reference is not None:
        write_runs([daemon.run(reference)], output)
        return
    status = daemon.status()
    if output == "table":
        write_lines(draw_status(status))
    elif output == "json":
        write_json(status)
    else:
        write_list([*status["active"], *status["queue"], *status["recent"]], output)


def draw_status(status: Json) -> list[str]:
    """The whole of /v1/status as lines."""
    sections = [
        _draw_daemon(status),
        _draw_active(status),
        _draw_queue(status["queue"]),
        _draw_ended(status["recent"]),
    ]
    filled = [section for section in sections if section]
    return [line for index, section in enumerate(filled) for line in [*([""] if index else []), *section]]


def _draw_daemon(status: Json) -> list[str]:
    away = [name for name in ("supervisor", "worker") if status[name]["state"] != "up"]
    health = f"{' and '.join(away)} away" if away else "up"
    free = size(status["disk"]["free_bytes"])
    warnings = [f"warning: {warning}" for warning in status.get("warnings", [])]
    return [f"trainerd {status['version']} of {status['owner']}, {health}; {status['home']}, {free} free", *warnings]


def _draw_active(status: Json) -> list[str]:
    if not status["active"]:
        return ["nothing is running" + ("" if status["queue"] else "; submit with: trainctl submit FILE")]
    rows = [
        [str(run["id"]), run["name"], _state_and_notes(run), epoch_of_run(run), str(run["step"]), best_of_run(run)]
        for run in status["active"]
    ]
    return draw_table(["ID", "NAME", "STATE", "EPOCH", "STEP", "BEST"], rows)


def _state_and_notes(run: Json) -> str:
    notes = [stall_of_run(run)] if run.get("stalled") else []
    notes += [block_of_run(run)] if run.get("blocked") else []
    notes += [] if run.get("exactness") in (None, Exactness.EXACT) else [str(exactness_of_run(run))]
    return f"{run['state']} ({', '.join(notes)})" if notes else str(run["state"])


def _draw_queue(runs: list[Json]) -> list[str]:
    """Queued runs by their place; what waits for something else comes behind them and has none."""
    rows = [
        [
            str(place) if run["state"] == State.QUEUED else UNKNOWN,
            str(run["id"]),
            run["name"],
            _state_and_dependency(run),
            str(run["priority"]),
            moment(run["created_at"]),
        ]
        for place, run in enumerate(runs, start=1)
    ]
    return draw_table(["PLACE", "ID", "NAME", "WAITING", "PRIORITY", "SUBMITTED"], rows) if rows else []


def _state_and_dependency(run: Json) -> str:
    return f"{run['state']} after {run['after']}" if run.get("after") else str(run["state"])


def _draw_ended(runs: list[Json]) -> list[str]:
    rows = [
        [
            str(run["id"]),
            run["name"],
            run["state"],
            run["reason"] or "-",
            epoch_of_run(run),
            best_of_run(run),
            moment(run["ended_at"]),
        ]
        for run in runs
    ]
    return draw_table(["ID", "NAME", "ENDED", "REASON", "EPOCH", "BEST", "AT"], rows) if rows else []
