"""/v1/status and /v1/health: what is going on, and whether this process answers at all."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from trainerd import __version__
from trainerd.contracts import unix_sockets
from trainerd.contracts.errors import StateAway, Unreachable
from trainerd.contracts.places import Home
from trainerd.contracts.states import ENDED, State
from trainerd.control.access import user_name
from trainerd.control.plane import Plane
from trainerd.control.unknown_runs import warn_of_unknown_runs
from trainerd.control.views import summarize_run
from trainerd.store.state import CORRUPT

router = APIRouter(prefix="/v1", tags=["daemon"])

_RECENT = 5
_NOBODY_REBUILDS = "the daemon's state is lost, and its supervisor, which would rebuild it from the logs, is away"
_WAITING_ELSEWHERE = frozenset({State.HELD, State.INTERRUPTED, State.PAUSED})  # they have no place in the queue


@router.get("/health")
async def health() -> JSONResponse:
    """Answers while the control plane lives."""
    return JSONResponse({"status": "ok", "version": __version__})


@router.get("/status")
async def status(plane: Plane) -> JSONResponse:
    """The daemon, what runs, what waits and what has ended lately."""

    def views(records: list[Any]) -> list[dict[str, Any]]:
        return [summarize_run(record, plane.home) for record in records]

    try:
        daemon = plane.state.daemon()
    except StateAway:
        if _presence(plane.home.wake_socket, socket.SOCK_DGRAM) == "up":
            raise
        raise Unreachable(_NOBODY_REBUILDS) from None
    supervisor = {"state": _presence(plane.home.wake_socket, socket.SOCK_DGRAM), "pid": daemon.supervisor_pid}
    worker = {"state": _presence(plane.home.worker_socket, socket.SOCK_STREAM), "supervised": daemon.worker_reachable}
    return JSONResponse(
        {
            "version": __version__,
            "home": str(plane.home.path),
            "owner": user_name(plane.owner),
            "slots": plane.settings.slots,
            "supervisor": supervisor if supervisor["state"] == "up" else {"state": "away"},
            "worker": worker if supervisor["state"] == "up" else {"state": worker["state"]},
            "active": views(plane.state.active()),
            "queue": views([*plane.state.queue(), *reversed(plane.state.runs(_WAITING_ELSEWHERE))]),
            "recent": views(plane.state.runs(ENDED, limit=_RECENT)),
            "warnings": [*_warnings(plane.home), *warn_of_unknown_runs(plane.acknowledged, plane.home)],
            "disk": {"path": str(plane.home.path), "free_bytes": shutil.disk_usage(plane.home.path).free},
        }
    )


def _warnings(home: Home) -> list[str]:
    """What the owner of the daemon should know, until the files that it is about are gone."""
    kept = sorted(home.path.glob(f"{home.state.name}.{CORRUPT}-*[0-9]"))
    return [f"the state was damaged and has been rebuilt; the damaged file is kept as {path}" for path in kept]


def _presence(path: Path, kind: socket.SocketKind) -> str:
    """Whether somebody listens at `path`; nothing is said to them."""
    try:
        unix_sockets.connect(path, kind, timeout_seconds=0.1).close()
    except BlockingIOError:  # there, with more callers than it has answered yet
        return "up"
    except OSError:
        return "away"
    return "up"
