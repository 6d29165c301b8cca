"""The entry of the worker host: takes its place, warms up, listens, and serves until it is told to end."""

from __future__ import annotations

import logging

from trainerd.contracts import unix_sockets
from trainerd.contracts.locks import PlaceLock
from trainerd.contracts.messages import Connection, Inspect, Start
from trainerd.contracts.places import Home
from trainerd.contracts.processes import become_subreaper
from trainerd.contracts.settings import Settings
from trainerd.worker.host import WorkerHost
from trainerd.worker.inspections import Inspections
from trainerd.worker.inspector_process import be_inspector
from trainerd.worker.trainer_process import be_trainer
from trainerd.worker.trainers import Trainers
from trainerd.worker.warm_up import warm_up

_log = logging.getLogger(__name__)


def run_worker(home: Home, settings: Settings) -> int:
    """Be the worker host of `home`; returns the exit code. It accepts connections only once it is warm.

    Raises AlreadyRunning where another worker host has the home.
    """
    lock = PlaceLock(home.lock("worker"), "worker host")
    become_subreaper()
    warm_up()
    from trainerd.training.trainer import run_trainer

    def become_trainer(start: Start) -> int:
        return be_trainer(start, run_trainer)

    def become_inspector(request: Inspect, connection: Connection) -> int:
        return be_inspector(request, connection, home.path)

    with unix_sockets.bind(home.worker_socket) as listener:
        listener.listen()
        _log.info("warm, and listening on %s", home.worker_socket)
        host = WorkerHost(
            listener,
            Trainers(become_trainer, settings.hang_seconds),
            Inspections(become_inspector),
            grace_seconds=settings.grace_seconds,
        )
        host.serve()
        home.worker_socket.unlink(missing_ok=True)
    lock.release()
    return 0
