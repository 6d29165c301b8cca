"""/v1/runs: submitting, listing and showing runs, and waiting for one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from trainerd.contracts.commands import Command
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import ENDED, State
from trainerd.contracts.waiting import Until
from trainerd.control.admission import Checked, append_submit, check, find_earlier_submit
from trainerd.control.commands import describe_run_or_removal, digest_of, is_applied, refuse_who_has_left
from trainerd.control.plane import ControlPlane, Plane
from trainerd.control.requests import IdempotencyKey, SubmitRequest
from trainerd.control.views import describe_run, summarize_run
from trainerd.control.why import explain_run

router = APIRouter(prefix="/v1/runs", tags=["runs"])

_NOT_ENDED = frozenset(State) - ENDED
_NEWEST_ENDED = 10
_LONGEST_WAIT_SECONDS = 300.0


@router.post("")
async def submit(plane: Plane, request: SubmitRequest, connection: Request, key: IdempotencyKey = None) -> JSONResponse:
    """Check configurations and queue a run for each: all or none. Nothing is queued for a caller who has left."""
    if request.dry_run:
        return _resolved(await check(plane, request.runs))
    digests = [digest_of(file) for file in request.runs]
    command, warnings = find_earlier_submit(plane, digests, key), list[Any]()
    if command is None:
        checked = await check(plane, request.runs)
        await refuse_who_has_left(connection)
        command, warnings = append_submit(plane, request.runs, digests, checked, key), checked.warnings
    return await _submitted(plane, command, warnings)


@router.get("")
async def list_runs(
    plane: Plane,
    state: Annotated[list[State] | None, Query(description="Only runs in one of these states.")] = None,
    all: Annotated[bool, Query(description="Every run, not only the newest ended ones.")] = False,  # noqa: A002 - as in the URL
    limit: Annotated[int | None, Query(ge=1)] = None,
    before: Annotated[int | None, Query(description="Only runs with a smaller id.")] = None,
) -> JSONResponse:
    """Runs, newest first; without a filter those that have not ended and the newest that have."""
    if state or all:
        records = plane.state.runs(state or None, limit, before)
    else:
        records = plane.state.runs(_NOT_ENDED, limit, before) + plane.state.runs(ENDED, _NEWEST_ENDED, before)
        records = sorted(records, key=lambda record: record.id, reverse=True)[:limit]
    return JSONResponse({"runs": [summarize_run(record, plane.home) for record in records]})


@router.get("/{reference}")
async def show(plane: Plane, reference: str) -> JSONResponse:
    """Everything about one run."""
    return JSONResponse(describe_run(plane.state.find(reference), plane.home))


@router.get("/{reference}/why")
async def why(plane: Plane, reference: str) -> JSONResponse:
    """How the run has come to be as it is, and what to do about it."""
    return JSONResponse(explain_run(plane.state.find(reference), plane.home))


@router.get("/{reference}/wait")
async def wait(
    plane: Plane,
    reference: str,
    timeout: Annotated[float, Query(ge=0, le=_LONGEST_WAIT_SECONDS, description="Seconds.")] = 30.0,
    until: Annotated[Until, Query(description="What to wait for.")] = Until.SETTLED,
) -> JSONResponse:
    """The run as soon as it is what is waited `until`; as it is then, if that takes longer than `timeout`."""
    run_id = plane.state.find(reference).id
    await plane.changes.wait_until(lambda: _is_over(plane.state.run(run_id), until), timeout)
    return JSONResponse(describe_run(plane.state.find(str(run_id)), plane.home))


def _is_over(record: RunRecord | None, until: Until) -> bool | None:
    """True once there is nothing more to wait for (a removed run included)."""
    return True if record is None or until.is_true_of(record.state, record.pending_checkpoint) else None


async def _submitted(plane: ControlPlane, command: Command, warnings: list[Any]) -> JSONResponse:
    """201 with the runs once they are queued; 202 with the command's number while the supervisor is away."""
    submitted = command.body["runs"]
    if not await is_applied(plane, command):
        runs = [{"id": run["id"], "name": run["name"]} for run in submitted]
        return JSONResponse({"command": command.number, "runs": runs, "warnings": warnings}, status_code=202)
    views = [{"name": run["name"], **describe_run_or_removal(plane, run["id"])} for run in submitted]
    return JSONResponse({"runs": views, "warnings": warnings}, status_code=201)


def _resolved(checked: Checked) -> JSONResponse:
    runs = [{"spec": answer.spec, "spec_yaml": answer.spec_yaml} for answer in checked.specifications]
    return JSONResponse({"runs": runs, "warnings": checked.warnings})
