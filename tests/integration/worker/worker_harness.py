"""A worker host in a process of its own, and the supervisor's and control plane's side of its socket."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.polling import poll
from trainerd.contracts import unix_sockets
from trainerd.contracts.journal import Event, Journal
from trainerd.contracts.json_lines import read_lines
from trainerd.contracts.messages import Connection, Message, Running, Start, Supervise
from trainerd.contracts.pages import create_pages
from trainerd.contracts.run_directory import RunDirectory

SECONDS = 15.0


def eventually(what: str, is_true: Callable[[], Any]) -> Any:
    """What `is_true` returns once it is true; fails naming `what` after a deadline."""
    return poll(is_true, what, SECONDS)


@dataclass
class Supervisor:
    """The supervisor's end of a conversation with the host."""

    connection: Connection
    unread: list[Message] = field(default_factory=list)

    def order(self, message: Message) -> None:
        self.connection.send(message)

    def hears(self) -> Message | None:
        """The next message; None once the host has closed the connection."""
        while not self.unread:
            messages = self.connection.receive_available()
            if messages is None:
                return None
            self.unread += messages
        return self.unread.pop(0)

    def hears_running(self) -> list[dict[str, int]]:
        """The next report of what lives; anything else is a failure."""
        message = self.hears()
        assert isinstance(message, Running), message
        return message.trainers

    def hears_pid(self, run: int) -> int:
        """The PID of the trainer of `run`, from the next report that has it."""
        while True:
            for trainer in self.hears_running():
                if trainer["run"] == run:
                    return trainer["pid"]

    def hears_gone(self, run: int) -> None:
        """Returns with the next report that has no trainer of `run`."""
        while any(trainer["run"] == run for trainer in self.hears_running()):
            continue


class Host:
    """A worker host process on a home of its own."""

    def __init__(self, home: Path, command: list[str]) -> None:
        self.home = home
        self._command = command
        self._runs = 0
        self._supervisors: list[Supervisor] = []  # kept: one that nobody refers to would close its connection
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command)
        eventually("the host listens", self._listens)

    def _listens(self) -> bool:
        assert self.process.poll() is None, "the host has died"
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def connect(self) -> Connection:
        return Connection(unix_sockets.connect(self.home / "worker.sock", timeout_seconds=SECONDS))

    def supervise(self, epoch: int = 1) -> Supervisor:
        supervisor = Supervisor(self.connect())
        supervisor.order(Supervise(epoch))
        self._supervisors.append(supervisor)
        return supervisor

    def new_run(self, behaviour: str) -> tuple[int, RunDirectory]:
        """The number and the directory of a run whose trainer does `behaviour`, as a supervisor would make it."""
        self._runs += 1
        directory = RunDirectory(self.home / "runs" / str(self._runs))
        directory.path.mkdir(parents=True)
        (directory.path / "behaviour").write_text(behaviour)
        create_pages(directory.orders_page, directory.pulse_page)
        journal = Journal(directory.events, attempt=0)
        journal.record(Event.ADMITTED, run=self._runs, name="stand-in")
        journal.close()
        return self._runs, directory

    def children(self) -> set[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return {int(pid) for pid in path.read_text().split()}

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def start_order(run: int, directory: RunDirectory, attempt: int = 1, gpus: list[str] | None = None) -> Start:
    return Start(run, attempt, str(directory.path), settled_order=0, gpus=gpus or [])


def events_of(directory: RunDirectory, event: Event) -> list[dict[str, Any]]:
    return [line for line in read_lines(directory.events)[0] if line["event"] == event]


def has_ended(directory: RunDirectory, attempt: int = 1) -> dict[str, Any] | None:
    """The ENDED line of an attempt once it is there."""
    return next((line for line in events_of(directory, Event.ENDED) if line["attempt"] == attempt), None)
