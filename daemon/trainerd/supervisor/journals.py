"""Reads runs' journals for the fold, and appends to one while its run has no trainer.

A journal has one writer at a time: the supervisor writes only before hand-over and after the worker host has reaped.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainerd.contracts.commands import Command
from trainerd.contracts.journal import Event, Journal, Line, decode_journal
from trainerd.contracts.run_directory import RunDirectory

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unfolded:
    """What is new in a journal: the offset at which it starts, and whole lines that are on disk."""

    start: int
    lines: list[Line]


def read_unfolded(path: Path, offset: int) -> Unfolded:
    """The whole lines behind `offset`, synced to disk: the caller may commit that it has folded them.

    An offset beyond the end of the file (a power cut took the tail) is named, and the journal read from its start. A
    damaged line is named and comes as an empty event. A journal that is not there reads as empty.
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
        return Unfolded(offset, list(decode_journal(os.pread(fd, size - offset, offset), offset, path)))
    finally:
        os.close(fd)


def lines_before(command: Command, lines: list[Line]) -> list[Line]:
    """What of a journal had happened when a command was given: the same lines now and whenever it is folded anew.

    The supervisor's lines tell up to which command they were decided, and that all before them was known by then. Lines
    of others go by the time at which they were written.
    """
    known = 0
    for number, line in enumerate(lines, start=1):
        decided = _decided_after(line)
        if decided is not None and decided < command.number:
            known = number
    for line in lines[known:]:
        if _decided_after(line) is not None or line.event.get("time", command.time) > command.time:
            break
        known += 1
    return lines[:known]


def _decided_after(line: Line) -> int | None:
    """The newest command that the supervisor had applied when it wrote this; None where others did."""
    return line.event.get("applied", line.event.get("command"))


def append(directory: RunDirectory, attempt: int, event: Event, **fields: Any) -> None:
    """Append an event and sync it. Raises OSError."""
    journal = Journal(directory.events, attempt)
    try:
        journal.record(event, **fields)
        journal.sync()
    finally:
        journal.close()


# The supervisor's own lines that keep no other event away: a run may be ended right behind them.
OWN_LINES = frozenset({Event.ADMITTED, Event.MOVED, Event.REQUEUED, Event.RETRYING})


def happened_behind(
    directory: RunDirectory, offset: int, besides: frozenset[Event] = OWN_LINES
) -> list[dict[str, Any]]:
    """The events behind `offset` of a journal, without those that are `besides`. Raises OSError."""
    events = [line.event for line in read_unfolded(directory.events, offset).lines]
    return [event for event in events if event.get("event") not in besides]


def append_if_last(directory: RunDirectory, attempt: int, offset: int, event: Event, **fields: Any) -> None:
    """Append an event behind `offset` and sync it, unless the journal already goes on there.

    So an event is written once, also where the supervisor was killed before it could commit that it had written it, and
    not at all where a lost state is folded anew. Raises OSError.
    """
    if happened_behind(directory, offset, besides=OWN_LINES - {event}):
        return
    append(directory, attempt, event, **fields)


def append_once(directory: RunDirectory, attempt: int, offset: int, event: Event, command: int, **fields: Any) -> None:
    """Append what a command has done and sync it, unless it stands behind `offset` already. Raises OSError."""
    behind = happened_behind(directory, offset, besides=frozenset())
    if any(line.get("event") == event and line.get("command") == command for line in behind):
        return
    append(directory, attempt, event, command=command, **fields)
