"""What every route works with, put together once at the start of the process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from trainerd.contracts.places import Home
from trainerd.contracts.settings import Settings
from trainerd.control.changes import Changes
from trainerd.control.inspection import Inspectors
from trainerd.store.command_log import CommandLog, CommandLogReader
from trainerd.store.state import StateReader


@dataclass(frozen=True)
class ControlPlane:
    """The open ends of one control plane."""

    home: Home
    settings: Settings
    commands: CommandLog  # the only connection that ever writes the command log
    acknowledged: CommandLogReader  # what it holds already
    state: StateReader
    changes: Changes
    inspectors: Inspectors
    owner: int  # UID that this process, and every run, belongs to
    answer_seconds: float  # how long an order waits for the supervisor before its caller is told to wait


async def _plane_of(request: Request) -> ControlPlane:
    plane = request.app.state.plane
    assert isinstance(plane, ControlPlane)
    return plane


Plane = Annotated[ControlPlane, Depends(_plane_of)]
