"""Admission: every configuration is inspected, all that is wrong is collected, and only then is one submit appended.

All files are admitted or none is.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import dataclass
from typing import Any

from trainerd.contracts.commands import Command, CommandKind
from trainerd.contracts.errors import DiskError, Finding, SpecificationRefused
from trainerd.contracts.messages import Inspect, Inspected
from trainerd.control.commands import new_key, used_for_another
from trainerd.control.plane import ControlPlane
from trainerd.control.requests import SubmittedFile

ROOM_BYTES = 1 << 20  # for the state, the run directory and the first lines of its journal


@dataclass(frozen=True)
class Checked:
    """Files that may run: what each came to, and what is worth a warning."""

    specifications: list[Inspected]
    warnings: list[dict[str, Any]]


def find_earlier_submit(plane: ControlPlane, requests: list[str], key: str | None) -> Command | None:
    """The submit that `key` already stands for; `requests` are the digests of its runs.

    Raises UsageError if it was for something else.
    """
    command = plane.acknowledged.by_key(key) if key else None
    if command is None:
        return None
    if command.kind is not CommandKind.SUBMIT or [run["request"] for run in command.body["runs"]] != requests:
        raise used_for_another(command)
    return command


async def check(plane: ControlPlane, files: list[SubmittedFile]) -> Checked:
    """What the inspectors say of `files`. Raises SpecificationRefused with all findings; Unreachable, NoSuchRun."""
    for file in files:
        _resolve_dependency(plane, file)
    answers = await asyncio.gather(*(plane.inspectors.inspect(_question(file)) for file in files))
    findings = [Finding.from_json(finding) for answer in answers for finding in answer.findings]
    if findings:
        raise SpecificationRefused(findings)
    return Checked(answers, [warning for answer in answers for warning in answer.warnings])


def append_submit(
    plane: ControlPlane, files: list[SubmittedFile], requests: list[str], checked: Checked, key: str | None
) -> Command:
    """The submit of all `files`, on disk, with an id for each; `requests` are the digests of what was sent for each.

    Raises DiskError where nothing could be stored, or what follows from it could not.
    """
    _check_room(plane)
    runs = [
        {
            "name": answer.spec["name"],
            "spec": answer.spec,
            "spec_yaml": answer.spec_yaml,
            "owner": plane.owner,
            "priority": file.priority,
            "after": _resolve_dependency(plane, file),
            "hold": file.hold,
            "request": request,
        }
        for file, request, answer in zip(files, requests, checked.specifications, strict=True)
        if answer.spec is not None
    ]
    assert len(runs) == len(files), "an inspector gave neither a specification nor a finding"
    return plane.commands.append_submit(runs, key or new_key())


def _check_room(plane: ControlPlane) -> None:
    """Refuse at once what would be acknowledged and then stand still, because the supervisor has no room for it."""
    free_bytes = shutil.disk_usage(plane.home.path).free
    if free_bytes < ROOM_BYTES:
        raise DiskError(f"{free_bytes} bytes are free; a submit needs {ROOM_BYTES}", str(plane.home.path))


def _question(file: SubmittedFile) -> Inspect:
    name = [] if file.name is None else [f"name={json.dumps(file.name)}"]
    return Inspect(path=file.path, text=file.text, overrides=[*file.overrides, *name])


def _resolve_dependency(plane: ControlPlane, file: SubmittedFile) -> int | None:
    return None if file.after is None else plane.state.find(str(file.after)).id
