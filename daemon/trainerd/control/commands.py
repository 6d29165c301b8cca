"""From a command to its answer: wake the supervisor, and wait until it has applied or refused.

Whether an order is legal is the supervisor's decision alone.
"""

from __future__ import annotations

import uuid

from trainerd.contracts.commands import Command
from trainerd.contracts.unix_sockets import send_wake_up
from trainerd.control.plane import ControlPlane
from trainerd.control.problems import AnsweredProblem


async def is_applied(plane: ControlPlane, command: Command) -> bool:
    """Whether the supervisor has applied the command before `plane.answer_seconds` were over.

    Raises AnsweredProblem with the supervisor's own words where it has refused.
    """
    send_wake_up(plane.home.wake_socket)
    answer = await plane.changes.wait_until(lambda: plane.state.answer(command.number), plane.answer_seconds)
    if answer is not None and answer.problem is not None:
        raise AnsweredProblem(answer.problem)
    return answer is not None


def new_key() -> str:
    """An idempotency key for a caller who gave none."""
    return uuid.uuid4().hex
