"""What a reader sees of a run as it goes on: the lines of its files, its log, or all of it together.

A stream holds no transaction and no open file between two looks. It looks when the state has changed, four times a
second while a trainer lives, and seldom otherwise; a burst of changes is one look. The state is always read before the
files: once it says that the run has settled, whatever is in the files is all that there will be.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from trainerd.contracts.errors import StateAway
from trainerd.contracts.run_record import RunRecord
from trainerd.contracts.states import LIVE, SETTLED
from trainerd.control.changes import POLL_SECONDS, wait_for_event
from trainerd.control.plane import ControlPlane
from trainerd.control.server_sent_events import encode_end, encode_message
from trainerd.control.tails import LogTail, check_offset, read_whole_lines, split_lines
from trainerd.control.views import describe_run, summarize_run

_IDLE_SECONDS = 2.0  # between two looks at a run without a trainer; only after a lost datagram is this the latency
_PAUSE_SECONDS = 0.05  # at least, between two looks


async def observe(plane: ControlPlane, run_id: int) -> AsyncIterator[RunRecord]:
    """The run's record, now and whenever there may be news of it. Ends behind a settled one, and at shutdown."""
    while not plane.changes.closed:
        change = plane.changes.upcoming()
        try:
            record = plane.state.run(run_id)
        except StateAway:
            await wait_for_event(change, POLL_SECONDS)
            continue
        if record is None:
            return
        yield record
        if record.state in SETTLED:
            return
        await asyncio.sleep(_PAUSE_SECONDS)
        await wait_for_event(change, (POLL_SECONDS if record.state in LIVE else _IDLE_SECONDS) - _PAUSE_SECONDS)


async def stream_lines(plane: ControlPlane, run_id: int, lines: LineFollower) -> AsyncIterator[bytes]:
    """Each line of a file as it comes; the id is the offset behind the line."""
    async for record in observe(plane, run_id):
        for messages in lines.messages(str):
            yield messages
        if record.state in SETTLED:
            yield encode_end(summarize_run(record, plane.home))


async def stream_log(plane: ControlPlane, run_id: int, log: LogTail) -> AsyncIterator[bytes]:
    """Chunks of whole lines of the log, as JSON strings; at the end what is left, with or without a newline.

    Where the log was cut, `cut` names the file that has what came before, and the log comes from its start.
    """
    async for record in observe(plane, run_id):
        if log.was_cut():
            yield encode_message("cut", json.dumps({"older": str(log.older_log)}).encode(), "0")
        while data := log.read_lines():
            yield _log_message(data, log.offset)
        if record.state in SETTLED:
            if rest := log.read_rest():
                yield _log_message(rest, log.offset)
            yield encode_end(summarize_run(record, plane.home))


async def stream_run(
    plane: ControlPlane, run_id: int, events: LineFollower, metrics: LineFollower
) -> AsyncIterator[bytes]:
    """The run whenever it has changed, its metrics and its events; ids are "eventsOffset.metricsOffset".

    That it has settled is the last word, behind everything that happened before.
    """
    shown = _Shown()
    async for record in observe(plane, run_id):
        view = summarize_run(record, plane.home)
        if record.state not in SETTLED and shown.is_news(view):
            yield encode_message("run", json.dumps(view).encode(), f"{events.offset}.{metrics.offset}")
        for messages in metrics.messages(lambda offset: f"{events.offset}.{offset}"):
            yield messages
        for messages in events.messages(lambda offset: f"{offset}.{metrics.offset}"):
            yield messages
        if record.state in SETTLED:
            yield encode_end(describe_run(record, plane.home))


class LineFollower:
    """Turns the lines of a growing JSON lines file into messages. `offset`: bytes that have been read.

    Raises UsageError where the file does not reach to the offset at which to begin.
    """

    def __init__(self, path: Path, event: str, offset: int) -> None:
        self._path = path
        self._event = event
        self.offset = check_offset(path, offset)

    def messages(self, id_of: Callable[[int], str]) -> Iterator[bytes]:
        """The new whole lines as messages, a chunk of the file at a time; `id_of` names the offset behind a line."""
        while data := read_whole_lines(self._path, self.offset):
            start, self.offset = self.offset, self.offset + len(data)
            messages = b"".join(encode_message(self._event, line, id_of(end)) for end, line in split_lines(data, start))
            del data  # nothing is held twice for a reader who does not read
            yield messages


class _Shown:
    """What a reader has seen of a run last: a new state is news at once, all else every POLL_SECONDS at most."""

    def __init__(self) -> None:
        self._view: dict[str, Any] | None = None
        self._due_at = 0.0

    def is_news(self, view: dict[str, Any]) -> bool:
        now = asyncio.get_running_loop().time()
        moved = self._view is None or view["state"] != self._view["state"]
        if not moved and (view == self._view or now < self._due_at):
            return False
        self._view, self._due_at = view, now + POLL_SECONDS
        return True


def _log_message(data: bytes, offset: int) -> bytes:
    return encode_message("log", json.dumps(data.decode(errors="replace")).encode(), str(offset))
