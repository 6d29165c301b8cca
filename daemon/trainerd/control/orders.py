"""From what was sent about a run to the command that stands for it, on disk.

A repeated request (the same Idempotency-Key) is the order that it was, also where its run has been removed since.
"""

from __future__ import annotations

from typing import Any

from trainerd.contracts.commands import Command, CommandKind
from trainerd.contracts.errors import UsageError
from trainerd.contracts.states import Verb
from trainerd.control.commands import new_key, used_for_another
from trainerd.control.plane import ControlPlane
from trainerd.control.requests import Body, MoveRequest


def append_order(plane: ControlPlane, verb: Verb, reference: str, request: Body, key: str | None) -> Command:
    """The order, on disk. Raises NoSuchRun; UsageError where `key` stands for another order."""
    kind = CommandKind(verb)
    earlier = find_earlier_order(plane, kind, reference, key)
    if earlier is not None:
        if not _is_same(request, earlier.body):
            raise used_for_another(earlier)
        return earlier
    run_id = plane.state.find(reference).id
    body = _body_of_move(plane, request) if isinstance(request, MoveRequest) else request.model_dump()
    return plane.commands.append(kind, {"run": run_id, **body}, key or new_key())


def find_earlier_order(plane: ControlPlane, kind: CommandKind, reference: str, key: str | None) -> Command | None:
    """The order that `key` already stands for. Raises UsageError if it was another one, or about another run."""
    command = plane.acknowledged.by_key(key) if key else None
    if command is None:
        return None
    if command.kind is not kind or (reference.isdigit() and int(reference) != command.body["run"]):
        raise used_for_another(command)
    return command


def _is_same(request: Body, body: dict[str, Any]) -> bool:
    """Whether the request says what an earlier one said; a name in it may mean another run by now, and is not asked."""
    said = request.model_dump()
    if isinstance(said.get("before"), str) and not said["before"].isdigit() and body["before"] is not None:
        said["before"] = body["before"]
    elif said.get("before") is not None:
        said["before"] = int(said["before"])
    return {"run": body["run"], **said} == body


def _body_of_move(plane: ControlPlane, request: MoveRequest) -> dict[str, object]:
    """As contracts.commands says. Raises UsageError unless it is asked for exactly one place; NoSuchRun."""
    wanted = [request.priority is not None, request.first, request.before is not None]
    if sum(wanted) != 1:
        raise UsageError("a run is moved to exactly one place: a priority, first, or before another run")
    before = None if request.before is None else plane.state.find(str(request.before)).id
    return {"priority": request.priority, "first": request.first, "before": before}
