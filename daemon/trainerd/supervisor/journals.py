"""Reads runs' journals for the fold, and appends to one while its run has no trainer.

A journal has one writer at a time: the supervisor writes only before hand-over and after the worker host has reaped.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainerd.contracts.journal import Event, Journal
from trainerd.contracts.run_directory import RunDirectory

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Line:
    """One whole line of a journal, and the byte offset behind it."""

    event: dict[str, Any]
    end: int


@dataclass(frozen=True)
class Unfolded:
    """What is new in a journal: the offset at which it starts, and whole lines that are on disk."""

    start: int
    lines: list[Line]


def read_unfolded(path: Path, offset: int) -> Unfolded:
    """The whole lines behind `offset`, synced to disk: the caller may commit that it has folded them.

    An offset beyond the end of the file (a power cut took the tail) is named, and the journal read from its start. A
    line that is no JSON object is named and comes as an empty event. A journal that is not there reads as empty.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Unfolded(offset, [])
    try:
        size = os.fstat(fd).st_size
        if offset > size:
            _log.warning("%s: was folded up to byte %d and ends at byte %d: folding it anew", path, offset, size)
            offset = 0
        if offset == size:
            return Unfolded(offset, [])
        os.fdatasync(fd)
        return Unfolded(offset, list(_whole_lines(os.pread(fd, size - offset, offset), offset, path)))
    finally:
        os.close(fd)


def append_if_last(directory: RunDirectory, attempt: int, offset: int, event: Event, **fields: Any) -> None:
    """Append an event behind `offset` and sync it, unless the journal already goes on there.

    So an event is written once, also where the supervisor was killed before it could commit that it had written it, and
    not at all where a lost state is folded anew. Raises OSError.
    """
    if read_unfolded(directory.events, offset).lines:
        return
    journal = Journal(directory.events, attempt)
    try:
        journal.record(event, **fields)
        journal.sync()
    finally:
        journal.close()


def _whole_lines(data: bytes, offset: int, path: Path) -> Iterator[Line]:
    for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
        end = offset + len(line)
        try:
            event = json.loads(line)
            if not isinstance(event, dict):
                raise ValueError("not an object")
            yield Line(event, end)
        except ValueError as error:
            _log.warning("%s: the line at byte %d is passed over: %s", path, offset, error)
            yield Line({}, end)
        offset = end
