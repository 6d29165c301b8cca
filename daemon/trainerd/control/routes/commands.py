"""/v1/commands: what became of an order that was answered with 202."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse

from trainerd.contracts.commands import Answer
from trainerd.contracts.errors import UsageError
from trainerd.control.plane import Plane

router = APIRouter(prefix="/v1/commands", tags=["commands"])


@router.get("/{number}")
async def show(plane: Plane, number: Annotated[int, Path(ge=1, lt=1 << 62)]) -> JSONResponse:
    """The command's number, whether it waits, was applied or was refused, and why.

    Raises StateAway while the state cannot tell: what was applied long ago must not look as if it waited.
    """
    if plane.acknowledged.get(number) is None:
        raise UsageError(f"no command {number}")
    answer = plane.state.answer(number)
    problem = answer.problem if answer else None
    return JSONResponse({"number": number, "state": _state_of(answer), "problem": problem})


def _state_of(answer: Answer | None) -> str:
    if answer is None:
        return "pending"
    return "applied" if answer.problem is None else "refused"
