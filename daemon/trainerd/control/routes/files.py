"""/v1/runs/{reference}/events, metrics, log and follow: a run's files, whole or as they grow.

With `Accept: text/event-stream` they are streams that end when the run has settled, and go on behind `Last-Event-ID`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import Response, StreamingResponse

from trainerd.contracts.run_directory import RunDirectory
from trainerd.control.plane import ControlPlane, Plane
from trainerd.control.server_sent_events import EventStream, offsets_in
from trainerd.control.streams import LineFollower, stream_lines, stream_log, stream_run
from trainerd.control.tails import LogTail, read_chunks, visible_bytes

router = APIRouter(prefix="/v1/runs/{reference}", tags=["files"])

Accept = Annotated[str | None, Header(alias="Accept")]
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID")]


@router.get("/events")
async def events(plane: Plane, reference: str, accept: Accept = None, last_event_id: LastEventId = None) -> Response:
    """The journal of the run, JSON lines."""
    run_id, directory = _find(plane, reference)
    return _json_lines(plane, run_id, directory.events, "event", accept, last_event_id)


@router.get("/metrics")
async def metrics(plane: Plane, reference: str, accept: Accept = None, last_event_id: LastEventId = None) -> Response:
    """The points that were measured, JSON lines."""
    run_id, directory = _find(plane, reference)
    return _json_lines(plane, run_id, directory.metrics, "metrics", accept, last_event_id)


@router.get("/log")
async def log(plane: Plane, reference: str, accept: Accept = None, last_event_id: LastEventId = None) -> Response:
    """What the trainer wrote to stdout and stderr."""
    run_id, directory = _find(plane, reference)
    if not _wants_stream(accept):
        return _whole_log(directory.log)
    (offset,) = offsets_in(last_event_id, count=1)
    return EventStream(stream_log(plane, run_id, LogTail(directory.log, directory.older_log, offset)))


@router.get("/follow")
async def follow(plane: Plane, reference: str, last_event_id: LastEventId = None) -> EventStream:
    """The run, its metrics and its events in one stream."""
    run_id, directory = _find(plane, reference)
    events_offset, metrics_offset = offsets_in(last_event_id, count=2)
    journal = LineFollower(directory.events, "event", events_offset)
    points = LineFollower(directory.metrics, "metrics", metrics_offset)
    return EventStream(stream_run(plane, run_id, journal, points))


def _json_lines(
    plane: ControlPlane, run_id: int, path: Path, event: str, accept: str | None, last_event_id: str | None
) -> Response:
    if not _wants_stream(accept):
        return _whole_lines(path)
    (offset,) = offsets_in(last_event_id, count=1)
    return EventStream(stream_lines(plane, run_id, LineFollower(path, event, offset)))


def _whole_lines(path: Path) -> StreamingResponse:
    """The whole lines that the file holds now."""
    size_bytes = visible_bytes(path, whole_lines=True)
    length = {"content-length": str(size_bytes)}
    return StreamingResponse(read_chunks(path, size_bytes), headers=length, media_type="application/jsonl")


def _whole_log(path: Path) -> StreamingResponse:
    """What the log holds now; of unknown length, because it may be cut while it is read."""
    size_bytes = visible_bytes(path, whole_lines=False)
    return StreamingResponse(read_chunks(path, size_bytes), media_type="text/plain; charset=utf-8")


def _find(plane: ControlPlane, reference: str) -> tuple[int, RunDirectory]:
    run_id = plane.state.find(reference).id
    return run_id, RunDirectory(plane.home.run(run_id))


def _wants_stream(accept: str | None) -> bool:
    return accept is not None and EventStream.media_type in accept
