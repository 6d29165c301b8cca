"""resume and retry: a run goes on, as it was or with a changed configuration, or starts anew as another run.

Both are inspected before they are ordered, as a submit is: what would fail in the trainer is refused here, and the run
stays as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import Request

from trainerd.contracts.commands import Command, CommandKind
from trainerd.contracts.errors import DiskError, Finding, NotAllowed, SpecificationRefused, describe
from trainerd.contracts.messages import Inspect, Inspected
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import RESTARTABLE, Verb, explain_refusal, legal_verbs, next_state
from trainerd.control.admission import append_submit, check, find_earlier_submit
from trainerd.control.commands import digest_of, new_key, refuse_who_has_left, used_for_another
from trainerd.control.orders import find_earlier_order
from trainerd.control.plane import ControlPlane
from trainerd.control.problems import AnsweredProblem
from trainerd.control.requests import GoingOnRequest, SubmittedFile

_SOURCE_LINE = re.compile(r"^source: .*\n", re.MULTILINE)


@dataclass(frozen=True)
class Ordered:
    """A command, and what its answer says besides what has become of the run."""

    command: Command
    told: dict[str, Any] = field(default_factory=dict)


async def order_going_on(
    plane: ControlPlane, verb: Verb, reference: str, request: GoingOnRequest, connection: Request, key: str | None
) -> Ordered:
    """The resume or retry, on disk. Raises NoSuchRun, NotAllowed, Unreachable, and what the inspection finds."""
    kind, digest = CommandKind(verb), digest_of(request)
    earlier = find_earlier_order(plane, kind, reference, key)
    if earlier is not None:
        if earlier.body["request"] != digest:
            raise used_for_another(earlier)
        return Ordered(earlier)
    record = plane.state.find(reference)
    answer = await _inspect_until_still(plane, verb, record, request)
    await refuse_who_has_left(connection)
    body = {"run": record.id, "request": digest, "spec": None, "spec_yaml": None, "accepted_data": None}
    if answer is None:
        return Ordered(plane.commands.append(kind, body, key or new_key()))
    body["accepted_data"] = answer.accepted_data
    if request.overrides:
        body |= {"spec": answer.spec, "spec_yaml": answer.spec_yaml}
    told = {"changes": answer.changes, "warnings": answer.warnings}
    return Ordered(plane.commands.append(kind, body, key or new_key()), told)


async def order_start_anew(
    plane: ControlPlane, reference: str, request: GoingOnRequest, connection: Request, key: str | None
) -> Ordered:
    """The submit of a new run of the same configuration, on disk. Raises as `order_going_on`."""
    digests = [digest_of(request, reference)]
    earlier = find_earlier_submit(plane, digests, key)
    if earlier is not None:
        return Ordered(earlier)
    record = plane.state.find(reference)
    if record.state not in RESTARTABLE:
        raise NotAllowed(_explain_no_start(record))
    path, text = _read_configuration(plane, record)
    file = SubmittedFile(path=path, text=text, overrides=request.overrides, priority=record.priority)
    checked = await check(plane, [file])
    await refuse_who_has_left(connection)
    return Ordered(append_submit(plane, [file], digests, checked, key), {"warnings": checked.warnings})


async def _inspect_until_still(
    plane: ControlPlane, verb: Verb, record: RunRecord, request: GoingOnRequest
) -> Inspected | None:
    """What the inspector says of the run as it stands behind the inspection; None where nothing is to be inspected."""
    while True:
        answer = await _inspect(plane, verb, record, request)
        now = plane.state.find(str(record.id))
        if (now.state, now.attempt, now.spec) == (record.state, record.attempt, record.spec):
            return answer
        record = now


async def _inspect(plane: ControlPlane, verb: Verb, record: RunRecord, request: GoingOnRequest) -> Inspected | None:
    is_changed = bool(request.overrides) or request.accept_changed_data
    if next_state(verb, record.state) is None:
        if is_changed:  # by the time the supervisor looks it might be legal, and what was not inspected would be lost
            raise NotAllowed(explain_refusal(verb, str(record.id), record.state))
        return None  # the supervisor refuses it in its own words
    if record.attempt == 0 and not is_changed:
        return None
    path, text = _read_configuration(plane, record)
    question = Inspect(
        path=path,
        text=text,
        overrides=request.overrides,
        run_dir=str(plane.home.run(record.id)),
        accept_changed_data=request.accept_changed_data,
    )
    answer = await plane.inspectors.inspect(question)
    if answer.findings:
        refusal = SpecificationRefused([Finding.from_json(finding) for finding in answer.findings])
        raise AnsweredProblem({**describe(refusal), "changes": answer.changes})
    return answer


def _read_configuration(plane: ControlPlane, record: RunRecord) -> tuple[str, str]:
    """(path, text) of the run's resolved configuration: relative paths in overrides start where it came from."""
    directory = RunDirectory(plane.home.run(record.id))
    try:
        text = directory.spec.read_text(encoding="utf-8")
    except OSError as error:
        if not directory.path.exists():
            raise NotAllowed(_explain_without_directory(record)) from error
        raise DiskError(f"cannot be read: {error.strerror or error}", str(directory.spec)) from error
    return str(Path(record.spec.get("source") or directory.spec)), _SOURCE_LINE.sub("", text)


def _explain_without_directory(record: RunRecord) -> str:
    legal = [verb for verb in legal_verbs(record.state) if verb not in (Verb.RESUME, Verb.RETRY)]
    return f"run {record.id} cannot go on: its run directory is gone; legal now: {', '.join(legal)}"


def _explain_no_start(record: RunRecord) -> str:
    legal = ", ".join(legal_verbs(record.state)) or "nothing"
    return f"cannot start run {record.id} anew: it is {record.state}, neither ended nor paused; legal now: {legal}"
