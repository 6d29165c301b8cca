"""Reads runs' journals for the fold, and appends to one while its run has no trainer.

A journal has one writer at a time: the supervisor writes only before hand-over and after the worker host has reaped.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def append_if_last(directory: RunDirectory, attempt: int, offset: int, event: Event, **fields: Any) -> None:
    """Append an event behind `offset` and sync it, unless the journal already goes on there.

    So an event is written once, also where the supervisor was killed before it could commit that it had written it, and
    not at all where a lost state is folded anew. A `retrying` line there keeps no other event away: it is the
    supervisor's own, and a run may be stopped right behind it. Raises OSError.
    """
    behind = {line.event.get("event") for line in read_unfolded(directory.events, offset).lines}
    if behind - {Event.RETRYING} or event in behind:
        return
    journal = Journal(directory.events, attempt)
    try:
        journal.record(event, **fields)
        journal.sync()
    finally:
        journal.close()
