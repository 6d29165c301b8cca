"""/v1/runs/{reference}/VERB: what may be ordered of a run that exists. A new verb is a new row of VERBS."""

# No `from __future__ import annotations` here: FastAPI reads the body's model, which is a value of the row, from the
# annotation of a nested function.

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from trainerd.contracts.commands import CommandKind
from trainerd.contracts.states import Verb
from trainerd.control.commands import is_applied, new_key
from trainerd.control.plane import Plane
from trainerd.control.requests import Body, CancelRequest, IdempotencyKey, StopRequest
from trainerd.control.views import describe_run

router = APIRouter(prefix="/v1/runs", tags=["orders"])


@dataclass(frozen=True)
class Row:
    """One verb: the command that it becomes, and the body whose fields travel with the command."""

    verb: Verb
    kind: CommandKind
    request: type[Body]


VERBS = (
    Row(Verb.STOP, CommandKind.STOP, StopRequest),
    Row(Verb.CANCEL, CommandKind.CANCEL, CancelRequest),
)


def _endpoint(row: Row) -> Callable[..., Awaitable[JSONResponse]]:
    default = row.request()

    async def give_order(
        plane: Plane,
        reference: str,
        request: row.request = default,  # type: ignore[name-defined]
        key: IdempotencyKey = None,
    ) -> JSONResponse:
        run_id = plane.state.find(reference).id
        command = plane.commands.append(row.kind, {"run": run_id, **request.model_dump()}, key or new_key())
        if not await is_applied(plane, command):
            return JSONResponse({"command": command.number}, status_code=202)
        return JSONResponse(describe_run(plane.state.find(str(run_id)), plane.home))

    return give_order


for _row in VERBS:
    router.add_api_route(
        f"/{{reference}}/{_row.verb}",
        _endpoint(_row),
        methods=["POST"],
        name=_row.verb,
        description=_row.request.__doc__,
    )
