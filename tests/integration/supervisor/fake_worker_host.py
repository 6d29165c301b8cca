"""A worker host without torch: speaks the real messages over the real socket, and writes what trainers write.

Its "trainers" are entries in a table: they obey the orders page, and end in the way a test asks for.
"""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainerd.contracts import unix_sockets
from trainerd.contracts.journal import Event, Journal
from trainerd.contracts.messages import Connection, Kill, Message, Quit, Refused, Running, Start, Supervise
from trainerd.contracts.pages import Order, OrdersPage
from trainerd.contracts.run_directory import RunDirectory

_POLL_SECONDS = 0.01
_ENDS = {
    Order.STOP: ("stopped", "user_stop"),
    Order.STOP_WITHOUT_CHECKPOINT: ("stopped", "user_stop"),
    Order.PAUSE: ("paused", None),
    Order.INTERRUPT: ("interrupted", None),
}


class FakeWorkerHost:
    """Serves one supervisor at a time, in a thread; `close` drops it and everything that lived, like a SIGKILL."""

    def __init__(
        self, socket_path: Path, *, obeys: bool = True, refuses: str | None = None, begins: bool = True
    ) -> None:
        self.starts: list[Start] = []
        self.kills: list[Kill] = []
        self.has_quit = threading.Event()
        self._obeys = obeys
        self._refuses = refuses
        self._begins = begins  # else every start waits, as for a directory that is not free yet
        self._waiting: dict[int, Start] = {}
        self._living: dict[int, Start] = {}
        self._highest_epoch = 0
        self._supervisor: Connection | None = None
        self._is_closed = threading.Event()
        self._turn = threading.Lock()
        self._listener = unix_sockets.bind(socket_path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def has_started(self, *starts: Start) -> None:
        """These trainers live already, as where the supervisor has died and they have not."""
        with self._turn:
            self._living |= {start.run: start for start in starts}

    def finish(self, run: int, state: str, reason: str | None = None) -> None:
        """The trainer of `run` ends by itself."""
        with self._turn:
            self._end(run, state, reason)

    def close(self) -> None:
        self._is_closed.set()
        self._thread.join(timeout=10)
        self._listener.close()
        if self._supervisor is not None:
            self._supervisor.close()

    def _serve(self) -> None:
        while not self._is_closed.is_set():
            sources: list[Any] = [self._listener, *([self._supervisor] if self._supervisor else [])]
            ready, _, _ = select.select(sources, [], [], _POLL_SECONDS)
            with self._turn:
                for source in ready:
                    self._accept(source) if source is self._listener else self._hear(source)
                for run in list(self._living) if self._obeys else ():
                    self._obey_the_page(run)

    def _accept(self, listener: socket.socket) -> None:
        self._supervisor = Connection(listener.accept()[0])

    def _hear(self, connection: Connection) -> None:
        messages = None
        with suppress(OSError):
            messages = connection.receive_available()
        if messages is None:
            connection.close()
            self._supervisor = None
        for message in messages or ():
            self._take(message)

    def _take(self, message: Message) -> None:
        match message:
            case Supervise(epoch) if epoch < self._highest_epoch:
                self._say(Refused("fenced off"))
            case Supervise(epoch):
                self._highest_epoch = epoch
                self._report()
            case Start():
                self._start(message)
            case Kill(run, attempt):
                self.kills.append(message)
                if self._waiting.pop(run, None):
                    self._say(Refused("killed before it had begun", run, attempt))
                if run in self._living:
                    self._end(run, "crashed", "error", signal=9)
            case Quit():
                self.has_quit.set()

    def _start(self, start: Start) -> None:
        self.starts.append(start)
        if self._refuses is not None:
            self._say(Refused(self._refuses, start.run, start.attempt))
            return
        if not self._begins:
            self._waiting[start.run] = start
            return
        self._living[start.run] = start
        monitor = {"name": "val_loss", "mode": "min"}
        self._write(start, Event.STARTED, pid=4711, steps_per_epoch=10, monitor=monitor)
        self._report()

    def commit_checkpoint(self, run: int, step: int) -> None:
        """The trainer of `run` commits one that obeys whatever checkpoint was ordered."""
        with self._turn:
            start = self._living[run]
            ordered = OrdersPage(RunDirectory(Path(start.run_dir)).orders_page).number(Order.CHECKPOINT)
            order = ordered if ordered > start.settled_order else None
            self._write(start, Event.CHECKPOINT, step=step, epoch=0, order=order)

    def _obey_the_page(self, run: int) -> None:
        start = self._living[run]
        page = OrdersPage(RunDirectory(Path(start.run_dir)).orders_page)
        for order, end in _ENDS.items():
            if page.number(order) > start.settled_order and run in self._living:
                self._end(run, *end)

    def _end(self, run: int, state: str, reason: str | None, signal: int | None = None) -> None:
        start = self._living.pop(run)
        facts = {"exit_code": None, "signal": signal, "error": None, "step": 10, "epoch": 1}
        self._write(start, Event.ENDED, state=state, reason=reason, **facts)
        self._report()

    def _write(self, start: Start, event: Event, **fields: Any) -> None:
        if not Path(start.run_dir).exists():
            return
        journal = Journal(RunDirectory(Path(start.run_dir)).events, start.attempt)
        journal.record(event, **fields)
        journal.close()

    def _report(self) -> None:
        self._say(Running([{"run": run, "attempt": start.attempt, "pid": 4711} for run, start in self._living.items()]))

    def _say(self, message: Message) -> None:
        if self._supervisor is not None:
            with suppress(OSError):
                self._supervisor.send(message)
