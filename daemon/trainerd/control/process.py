"""The control plane's process: one per home, from its locks to its last answer."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import uvicorn
from fastapi import FastAPI

from trainerd.contracts.errors import DiskError, StateAway
from trainerd.contracts.locks import PlaceLock
from trainerd.contracts.places import Home
from trainerd.contracts.service_manager import ALIVE, seconds_between_signs_of_life, tell_service_manager
from trainerd.contracts.settings import Settings
from trainerd.control.app import build_app
from trainerd.control.changes import ChangedSocket, Changes
from trainerd.control.inspection import Inspectors
from trainerd.control.listening import ControlSocket
from trainerd.control.peer import PeerProtocol
from trainerd.control.plane import ControlPlane
from trainerd.control.unknown_runs import warn_of_unknown_runs
from trainerd.control.warm_up import warm_up
from trainerd.store.agreement import check_log_reaches_state
from trainerd.store.command_log import CommandLog, CommandLogReader
from trainerd.store.removals import newest_id
from trainerd.store.state import StateReader

_log = logging.getLogger("trainerd.control")
ANSWER_SECONDS = 5.0
_GOODBYE_SECONDS = 2  # for answers that are being sent


def run_control(home: Home, settings: Settings, answer_seconds: float = ANSWER_SECONDS) -> int:
    """Serve the control socket of `home` until SIGTERM or SIGINT; returns the exit code.

    An order waits `answer_seconds` for the supervisor before its caller is told to wait.
    Raises AlreadyRunning where another control plane serves this home or its socket, DiskError where its files cannot
    be used or do not belong together.
    """
    lock = PlaceLock(home.lock("control"), "control plane")
    try:
        asyncio.run(_serve(home, settings, answer_seconds))
    finally:
        lock.release()
    return 0


async def _serve(home: Home, settings: Settings, answer_seconds: float) -> None:
    """Open everything, serve, and close it in the opposite order."""
    changes = Changes()
    with (
        _open_plane(home, settings, changes, answer_seconds) as plane,
        closing(ChangedSocket(home.changed_socket, changes)),
        closing(ControlSocket(home.control_socket, os.environ)) as listener,
    ):
        server = ControlServer(build_app(plane), changes)
        signs_of_life = asyncio.create_task(_show_signs_of_life())
        await server.serve(sockets=[listener.socket])
        signs_of_life.cancel()


async def _show_signs_of_life() -> None:
    """Tell whoever watches over this process that its event loop turns."""
    interval_seconds = seconds_between_signs_of_life()
    while interval_seconds is not None:
        tell_service_manager(ALIVE)
        await asyncio.sleep(interval_seconds)


class ControlServer(uvicorn.Server):
    """uvicorn's server; lets streams go as soon as it is asked to end, and does not raise that signal again."""

    def __init__(self, app: FastAPI, changes: Changes) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=PeerProtocol,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=_GOODBYE_SECONDS,
            )
        )
        self._changes = changes

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await warm_up(lambda: PeerProtocol(self.config, self.server_state, {}))
        await super().startup(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        self.should_exit = True
        self._changes.close()


@contextmanager
def _open_plane(home: Home, settings: Settings, changes: Changes, answer_seconds: float) -> Iterator[ControlPlane]:
    commands = CommandLog(home.command_log)
    acknowledged = CommandLogReader(home.command_log)
    state = StateReader(home.state, is_expected=lambda: acknowledged.newest_number() > 0)
    try:
        check_log_reaches_state(home.command_log, acknowledged.newest_number(), home.state, _applied_position(state))
        commands.keep_ids_above(newest_id(home.runs))
        for warning in warn_of_unknown_runs(acknowledged, home):
            _log.warning(warning)
        yield ControlPlane(
            home=home,
            settings=settings,
            commands=commands,
            acknowledged=acknowledged,
            state=state,
            changes=changes,
            inspectors=Inspectors(home.worker_socket),
            owner=os.getuid(),
            answer_seconds=answer_seconds,
        )
    finally:
        state.close()
        acknowledged.close()
        commands.close()


def _applied_position(state: StateReader) -> int:
    """As the state says; 0 where it is lost: the supervisor names the damage, and folds it anew."""
    try:
        return state.applied_position()
    except (DiskError, StateAway):
        return 0
