"""From a command to its answer: wake the supervisor, and wait until it has applied or refused.

Whether an order is legal is the supervisor's decision alone.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from fastapi import Request

from trainerd.contracts.commands import Command
from trainerd.contracts.errors import UsageError
from trainerd.contracts.unix_sockets import send_wake_up
from trainerd.control.plane import ControlPlane
from trainerd.control.problems import AnsweredProblem
from trainerd.control.requests import Body
from trainerd.control.views import describe_run


async def is_applied(plane: ControlPlane, command: Command) -> bool:
    """Whether the supervisor has applied the command before `plane.answer_seconds` were over.

    Raises AnsweredProblem with the supervisor's own words where it has refused.
    """
    send_wake_up(plane.home.wake_socket)
    answer = await plane.changes.wait_until(lambda: plane.state.answer(command.number), plane.answer_seconds)
    if answer is not None and answer.problem is not None:
        raise AnsweredProblem(answer.problem)
    return answer is not None


def describe_run_or_removal(plane: ControlPlane, run_id: int) -> dict[str, Any]:
    """A run as it is after an order about it; a repeated order may be about one that has been removed since."""
    record = plane.state.run(run_id)
    return {"id": run_id, "removed": True} if record is None else describe_run(record, plane.home)


async def refuse_who_has_left(connection: Request) -> None:
    """Nothing is ordered for a caller who left while it was checked. Raises UsageError."""
    if await connection.is_disconnected():
        raise UsageError("the caller left during the check; nothing was ordered")


def new_key() -> str:
    """An idempotency key for a caller who gave none."""
    return uuid.uuid4().hex


def digest_of(request: Body, *context: str) -> str:
    """What a repeated request is known by."""
    sent = "\n".join([request.model_dump_json(), *context])
    return hashlib.sha256(sent.encode()).hexdigest()


def used_for_another(command: Command) -> UsageError:
    """The error of a request whose idempotency key stands for `command` already, which is another one."""
    return UsageError(
        f"the idempotency key {command.key!r} was already used for another request (command {command.number})"
    )
