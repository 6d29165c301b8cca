"""trainctl pause: free the machine for something else; the run goes on later at the very next step."""

from __future__ import annotations

from typing import Any

import click

from trainctl.command_line import examples
from trainctl.order_reports import report_state
from trainctl.ordering import Order, carry_out, takes_runs
from trainerd.contracts.states import ENDED, Verb
from trainerd.contracts.waiting import Until

Json = dict[str, Any]


@click.command(
    "pause", epilog=examples("trainctl pause", "trainctl pause overnight", "trainctl pause --all && nvidia-smi")
)
@takes_runs(Verb.PAUSE, all_help="Every run that can be paused, queued ones included.")
def command(order: Order) -> int:
    """Pause runs; returns when no process of theirs is left.

    A run that trains commits a checkpoint and ends its trainer, so that the GPU is really free. One that is queued is
    held. `trainctl resume` takes either up again. Without an ID: the only active run.
    """
    return carry_out(order, Until.HALTED, _report)


def _report(run: Json) -> str:
    return report_state(run) + ("; it ended before it could be paused" if run["state"] in ENDED else "")
