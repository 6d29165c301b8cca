"""/v1/runs/{reference}/VERB: what may be ordered of a run that exists. A verb without a check of its own is a new row
of VERBS.
"""

# No `from __future__ import annotations` here: FastAPI reads the body's model, which is a value of the row, from the
# annotation of a nested function.

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from trainerd.contracts.commands import Command, CommandKind
from trainerd.contracts.states import Verb
from trainerd.control import requests
from trainerd.control.commands import describe_run_or_removal, is_applied
from trainerd.control.going_on import Ordered, order_going_on, order_start_anew
from trainerd.control.orders import append_order
from trainerd.control.plane import ControlPlane, Plane
from trainerd.control.requests import Body, IdempotencyKey, ResumeRequest, RetryRequest

router = APIRouter(prefix="/v1/runs", tags=["orders"])


@dataclass(frozen=True)
class Row:
    """One verb that becomes the command of its name, and the body whose fields travel with the command."""

    verb: Verb
    request: type[Body]


VERBS = (
    Row(Verb.PAUSE, requests.PauseRequest),
    Row(Verb.CHECKPOINT, requests.CheckpointRequest),
    Row(Verb.STOP, requests.StopRequest),
    Row(Verb.KILL, requests.KillRequest),
    Row(Verb.CANCEL, requests.CancelRequest),
    Row(Verb.REMOVE, requests.RemoveRequest),
    Row(Verb.MOVE, requests.MoveRequest),
)


def _endpoint(row: Row) -> Callable[..., Awaitable[JSONResponse]]:
    default = row.request()

    async def give_order(
        plane: Plane,
        reference: str,
        request: row.request = default,  # type: ignore[name-defined]
        key: IdempotencyKey = None,
    ) -> JSONResponse:
        return await _answer(plane, Ordered(append_order(plane, row.verb, reference, request, key)))

    return give_order


for _row in VERBS:
    router.add_api_route(
        f"/{{reference}}/{_row.verb}",
        _endpoint(_row),
        methods=["POST"],
        name=_row.verb,
        description=_row.request.__doc__,
    )


@router.post("/{reference}/resume", description=ResumeRequest.__doc__)
async def resume(
    plane: Plane,
    reference: str,
    connection: Request,
    request: ResumeRequest = ResumeRequest(),  # noqa: B008 - frozen
    key: IdempotencyKey = None,
) -> JSONResponse:
    return await _answer(plane, await order_going_on(plane, Verb.RESUME, reference, request, connection, key))


@router.post("/{reference}/retry", description=RetryRequest.__doc__)
async def retry(
    plane: Plane,
    reference: str,
    connection: Request,
    request: RetryRequest = RetryRequest(),  # noqa: B008 - frozen
    key: IdempotencyKey = None,
) -> JSONResponse:
    if request.from_start:
        return await _answer(plane, await order_start_anew(plane, reference, request, connection, key))
    return await _answer(plane, await order_going_on(plane, Verb.RETRY, reference, request, connection, key))


async def _answer(plane: ControlPlane, ordered: Ordered) -> JSONResponse:
    """200 with the run once the order is applied; 202 with the command's number while the supervisor is away."""
    run_id = _run_of(ordered.command)
    if not await is_applied(plane, ordered.command):
        return JSONResponse({"command": ordered.command.number, "id": run_id, **ordered.told}, status_code=202)
    return JSONResponse({**describe_run_or_removal(plane, run_id), **ordered.told})


def _run_of(command: Command) -> int:
    """The run that the order is about; of one that starts a run anew, the new one."""
    run_id: int = command.body["runs"][0]["id"] if command.kind is CommandKind.SUBMIT else command.body["run"]
    return run_id
