"""Giving one order about several runs: all orders first, then waiting for what each of them leads to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainctl.daemon import Daemon
from trainctl.waiting import await_command

Json = dict[str, Any]


def give_order(daemon: Daemon, verb: str, references: Sequence[str], **details: Any) -> list[Json]:
    """Order `verb` of each run; the runs once all orders are applied. Raises ReportedError at the first refusal."""
    named = [daemon.run(reference) for reference in references]
    return [_order_one(daemon, verb, str(run["id"]), details) for run in named]


def _order_one(daemon: Daemon, verb: str, run_id: str, details: Json) -> Json:
    answer = daemon.order(verb, run_id, **details)
    if "command" not in answer:
        return answer
    await_command(daemon, answer["command"])
    return daemon.run(run_id)
