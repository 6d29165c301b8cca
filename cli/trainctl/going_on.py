"""What resume and retry share: the order goes with overrides, and the answer says what they change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from trainctl.configuration_files import split_overrides
from trainctl.order_reports import report_queued
from trainctl.ordering import Order, carry_out, conclude
from trainctl.terminal import say, write
from trainerd.contracts.errors import ExitCode

Function = TypeVar("Function", bound=Callable[..., Any])

accept_changed_data_option = click.option(
    "--accept-changed-data", is_flag=True, help="Go on although the data is not what it was."
)


def go_on(order: Order, *, accept_changed_data: bool) -> ExitCode:
    """Order it of the same runs, with the overrides that stand among their ids."""
    order.references, overrides = split_overrides(order.references)
    return carry_out(order, report=report_queued, overrides=overrides, accept_changed_data=accept_changed_data)


def start_anew(order: Order) -> ExitCode:
    """Order new runs of the same configurations; their ids are the data that it prints."""
    order.references, overrides = split_overrides(order.references)
    old = order.find_runs()
    new = order.give(old, overrides=overrides, from_start=True)
    for run in new:
        say(f"run {run['id']} ({run['name']}) is {run['state']}; watch it with: trainctl follow {run['id']}")
        if order.output is None:
            write(str(run["id"]))
    return conclude(order, new)
