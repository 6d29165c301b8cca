"""A home whose supervisor has died while trainers live, with orders of many kinds waiting, and its copies."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.integration.supervisor.fake_worker_host import FakeWorkerHost
from tests.integration.supervisor.supervisor_harness import Daemon
from trainerd.contracts.commands import CommandKind
from trainerd.contracts.json_lines import read_lines
from trainerd.contracts.messages import Start
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.states import State

SLOTS = 3
STATES = {1: State.PAUSED, 2: State.STOPPED, 4: State.CANCELLED, 5: State.RUNNING, 6: State.RUNNING, 7: State.RUNNING}
REMOVED = 3
_AS_IT_IS = {"spec": None, "spec_yaml": None, "accepted_data": None, "request": "as it is"}


@dataclass(frozen=True)
class WaitingOrders:
    """The home, and the trainers that live. By the orders its runs come to STATES."""

    path: Path
    living: list[Start]

    @contextmanager
    def copied_to(self, path: Path) -> Iterator[Daemon]:
        """A daemon on a copy, with a worker host that has these trainers; no supervisor yet, and none afterwards."""
        shutil.copytree(self.path, path, ignore=shutil.ignore_patterns("*.sock"))
        daemon = Daemon(path)
        host = FakeWorkerHost(daemon.home.worker_socket)
        host.has_started(*[replace(start, run_dir=str(daemon.home.run(start.run))) for start in self.living])
        try:
            yield daemon
        finally:
            if daemon.supervisor is not None and daemon.supervisor.poll() is None:
                daemon.kill_supervisor()
            host.close()
            daemon.state.close()
            daemon.commands.close()


def make_waiting_orders(path: Path) -> WaitingOrders:
    path.mkdir()
    daemon = Daemon(path)
    host = FakeWorkerHost(daemon.home.worker_socket)
    daemon.start_supervisor(SLOTS)
    paused, stopped, removed = daemon.submit({}, {}, {})
    cancelled, resumed = daemon.submit({"hold": True}, {"hold": True})
    for run in (paused, stopped, removed):
        daemon.wait_for(run, State.RUNNING)
    host.commit_checkpoint(paused, 10)
    host.finish(removed, "completed", "finished")
    daemon.wait_for(removed, State.COMPLETED)
    daemon.wait_for(cancelled, State.HELD)
    daemon.kill_supervisor()
    host.close()
    daemon.order(CommandKind.PAUSE, paused)
    daemon.order(CommandKind.STOP, stopped, checkpoint=True)
    daemon.order(CommandKind.REMOVE, removed)
    daemon.order(CommandKind.CANCEL, cancelled)
    daemon.order(CommandKind.RESUME, resumed, **_AS_IT_IS)
    _, moved = daemon.submit({}, {})
    daemon.order(CommandKind.MOVE, moved, priority=None, first=True, before=None)
    daemon.state.close()
    daemon.commands.close()
    return WaitingOrders(path, [start for start in host.starts if start.run in (paused, stopped)])


def are_carried_out(daemon: Daemon) -> bool:
    """Whether everything has come to what the orders ask for."""
    found = {record.id: record.state for record in daemon.state.runs()}
    return found == STATES and not list(daemon.home.runs.glob("removing-*"))


def what_was_done(daemon: Daemon) -> dict[str, Any]:
    """Every answer, every run directory, and what its journal and its end tell, as far as no clock comes into it."""
    with closing(sqlite3.connect(daemon.home.state)) as state:
        answers = state.execute("SELECT number, problem FROM answers ORDER BY number").fetchall()
    directories = sorted(path.name for path in daemon.home.runs.iterdir() if path.is_dir())
    return {
        "answers": answers,
        "directories": directories,
        "journals": {name: _lines_of(RunDirectory(daemon.home.runs / name)) for name in directories},
        "orders": {name: (daemon.home.runs / name / "orders.page").read_bytes() for name in directories},
    }


def _lines_of(directory: RunDirectory) -> Counter[tuple[Any, ...]]:
    return Counter(
        (line["event"], line["attempt"], line.get("command"), line.get("state"), line.get("reason"), line.get("place"))
        for line in read_lines(directory.events)[0]
    )
